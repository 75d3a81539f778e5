//! A change that a duty wants made, and what becomes of it.

use crate::names::JobIx;
use flockwork_core::execution::RunId;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Index, Op, Refusal, SessionId, Why};

/// How often a change is repaired (a parent made, a mark that is gone left out) before it fails.
const MOST_REPAIRS: u8 = 12;

/// What a change is for: who hears what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A missing parent of another change's key. Nobody hears of it.
    Parent,
    /// A job as a whole.
    Job(JobIx, JobChange),
    /// One shard of a job.
    Shard(JobIx, ShardIndex, ShardChange),
}

impl Purpose {
    /// The job it is about, if it is about one.
    pub(crate) fn job(self) -> Option<JobIx> {
        match self {
            Self::Parent => None,
            Self::Job(ix, _) | Self::Shard(ix, ..) => Some(ix),
        }
    }
}

/// What is changed of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobChange {
    /// Its nodes are made.
    Tree,
    /// Its definition is written.
    Config,
    /// This instance serves it.
    Register,
    /// This instance serves it no longer.
    Leave,
    /// This instance assigns its shards, or no longer does.
    Elect,
    /// Its shards are given to instances.
    Assign,
    /// A request to run it now is answered.
    Trigger,
    /// This instance waits to leave it, or no longer does.
    Handover,
    /// What this instance says of its clock.
    ClockNote,
}

/// What is changed of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardChange {
    /// The right to run is taken.
    Claim(RunId),
    /// A run's end is told.
    End(RunId),
    /// A claim is taken back before anything started.
    Undo(RunId),
    /// Fires are accounted that no run is claimed for, or a crashed run is.
    Account,
}

/// A change that is made as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) purpose: Purpose,
    pub(crate) ops: Vec<Op>,
    repairs: u8,
    /// Whether it must not share a commit.
    is_alone: bool,
}

impl Change {
    pub(crate) fn new(purpose: Purpose, ops: Vec<Op>) -> Self {
        Self { purpose, ops, repairs: 0, is_alone: false }
    }

    /// The parent that another change lacks.
    pub(crate) fn parent_of(other: &Self, ops: Vec<Op>) -> Self {
        Self { repairs: other.repairs, ..Self::new(Purpose::Parent, ops) }
    }

    pub(crate) fn is_parent(&self) -> bool {
        self.purpose == Purpose::Parent
    }

    pub(crate) fn makes_the_tree(&self) -> bool {
        matches!(self.purpose, Purpose::Job(_, JobChange::Tree))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// It shares no commit from here on.
    pub(crate) fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// Whether it may be changed and sent once more.
    pub(crate) fn may_be_repaired(&mut self) -> bool {
        self.repairs += 1;
        self.repairs <= MOST_REPAIRS
    }

    /// Whether it deletes something at its end, rather than make or write it; also where that was left out,
    /// as there was nothing to delete.
    pub(crate) fn ends_in_deletion(&self) -> bool {
        matches!(self.ops.last(), None | Some(Op::Delete(..)))
    }
}

/// What has become of a change.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It was made.
    Done(Index),
    /// A condition did not hold: that of the operation about this facet, if it is about one.
    Refused(Why, Option<Facet>),
    /// Nobody knows whether it was made.
    Unknown,
    /// It was not made: the session for which it was meant is over.
    SessionEnded(SessionId),
    /// The registry cannot take it now. Sent again, it waits.
    NotTaken,
    /// The registry will never take it.
    TooLarge,
}

impl Verdict {
    /// What a refusal says, with the facet of its key.
    pub(crate) fn refused(refusal: &Refusal, facet: Option<Facet>) -> Self {
        Self::Refused(refusal.why, facet)
    }

    /// Whether it tells of a session that another has followed by now.
    pub(crate) fn is_of_the_past(&self, session: Option<SessionId>) -> bool {
        let Self::SessionEnded(ended) = self else { return false };
        session.is_some_and(|session| session != *ended)
    }
}

impl From<&Failure> for Verdict {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Unknown(_) => Self::Unknown,
            Failure::SessionEnded(session) => Self::SessionEnded(*session),
            Failure::TooLarge { .. } => Self::TooLarge,
            Failure::NotSent(_) | Failure::Full(_) | Failure::Denied(_) => Self::NotTaken,
        }
    }
}
