//! A change that a duty wants made, and its verdict.

use crate::event::TriggerId;
use crate::names::JobIx;
use flockwork_core::execution::RunId;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Index, Op, Refusal, SessionId, Why};

/// How often a change is repaired before it fails. A repair makes a parent, or leaves out a mark that is
/// gone.
const MOST_REPAIRS: u8 = 12;

/// The purpose of a change: it decides which duty receives the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The change makes a missing parent of another change's key. No duty receives its verdict.
    Parent,
    /// The change is about a job as a whole.
    Job(JobIx, JobChange),
    /// The change is about one shard of a job.
    Shard(JobIx, ShardIndex, ShardChange),
    /// A request of this process to run a job now.
    Trigger(TriggerId),
}

impl Purpose {
    /// Returns the job that the change is about, if there is one.
    pub(crate) fn job(self) -> Option<JobIx> {
        match self {
            Self::Parent | Self::Trigger(_) => None,
            Self::Job(ix, _) | Self::Shard(ix, ..) => Some(ix),
        }
    }
}

/// The kinds of changes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobChange {
    /// The tree of the job is made.
    Tree,
    /// The definition of the job is written.
    Config,
    /// This instance begins to serve the job.
    Register,
    /// This instance serves the job no longer.
    Leave,
    /// This instance assigns the job's shards, or no longer does.
    Elect,
    /// The shards of the job are given to instances.
    Assign,
    /// A request to run the job now is answered.
    Trigger,
    /// How far the job's listener has come is written.
    Once,
    /// This instance waits to leave the job, or no longer does.
    Handover,
    /// This instance notes how its clock stands.
    ClockNote,
    /// This instance says why it may not serve the job, or no longer does.
    Ineligible,
}

/// The kinds of changes of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardChange {
    /// The right to run is claimed.
    Claim(RunId),
    /// The end of a run is told.
    End(RunId),
    /// A claim is given back before anything started.
    Undo(RunId),
    /// Fires that no run is claimed for are accounted, or a crashed run is.
    Account,
}

/// A change that is made as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) purpose: Purpose,
    pub(crate) ops: Vec<Op>,
    repairs: u8,
    /// Whether the change must not share a commit.
    is_alone: bool,
}

impl Change {
    pub(crate) fn new(purpose: Purpose, ops: Vec<Op>) -> Self {
        Self { purpose, ops, repairs: 0, is_alone: false }
    }

    /// Creates the change that makes the parent which another change lacks.
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

    /// Lets the change share no commit from here on.
    pub(crate) fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// Counts a repair. Returns whether the change may be altered and sent once more.
    pub(crate) fn may_be_repaired(&mut self) -> bool {
        self.repairs += 1;
        self.repairs <= MOST_REPAIRS
    }

    /// Puts another operation in the place of one.
    pub(crate) fn replace(&mut self, at: usize, op: Op) {
        self.ops[at] = op;
    }

    /// Leaves an operation out. Returns whether any operation is left.
    pub(crate) fn leave_out(&mut self, at: usize) -> bool {
        self.ops.remove(at);
        !self.ops.is_empty()
    }

    /// Returns whether the change deletes something at its end, rather than make or write it. A deletion that
    /// was left out because there was nothing to delete counts, too.
    pub(crate) fn ends_in_deletion(&self) -> bool {
        matches!(self.ops.last(), None | Some(Op::Delete(..)))
    }
}

/// The verdict on a change.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The change was made.
    Done(Index),
    /// A condition did not hold. If the condition is about a facet, the verdict names the facet.
    Refused(Why, Option<Facet>),
    /// The result is unknown: the change may have been made.
    Unknown,
    /// The change was not made: the session for which it was meant is over.
    SessionEnded(SessionId),
    /// The registry cannot take the change now. A change that is sent again waits.
    NotTaken,
    /// The registry will never take the change.
    TooLarge,
}

impl Verdict {
    /// Creates the verdict of a refusal, with the facet of its key.
    pub(crate) fn refused(refusal: &Refusal, facet: Option<Facet>) -> Self {
        Self::Refused(refusal.why, facet)
    }

    /// Returns whether the verdict tells of a session that another has followed by now.
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
