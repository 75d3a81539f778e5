//! A shard's life on this node, as one value: what is under way, and the data of that stage alone.
//!
//! ```text
//! Free ─► Claiming ─made─► Standing ─► Running ─code ended─► Ended ─told─► Ending ─made─► Free
//!   │        │ └─lost─► Doubted ─┬─held─► Standing            ▲               │
//!   │        │                   └─not held─► Free            └─ may be told ─┴─lost─► EndDoubted
//!   │        └─refused because of a mark─► Blocked ─mark gone─► Free
//!   │      Standing ─before its instant─► Ahead ─instant─► Standing
//!   │      Standing, Ahead ─no longer to be started─► TakingBack ─made─► Free
//!   └─► Accounting ─answered─► Free
//! ```
//! What a lost answer meant is read from the shard's record: it names the claim.

use super::accounting::Accounting;
use super::ahead::Standing;
use super::back::TakingBack;
use super::claim::{Claiming, OwnClaim};
use super::ending::{Ended, Ending};
use super::run::Running;
use crate::mirror::RecordIs;
use crate::outbox::ShardChange;
use flockwork_core::execution::{Run, RunId};
use std::sync::Arc;

/// Where a shard stands on this node.
#[derive(Debug, Default)]
pub(crate) enum State {
    /// Nothing of it is under way here.
    #[default]
    Free,
    /// A claim was refused because of a mark: none is made until that is known to be gone.
    Blocked,
    /// A change of its record other than a run's is under way.
    Accounting(Accounting),
    /// A claim is under way.
    Claiming(Claiming),
    /// The claim's answer was lost.
    Doubted(Claiming),
    /// A claim stands, and its run is to begin.
    Standing(Standing),
    /// A claim stands, and its fire is not due yet.
    Ahead(Standing),
    /// A claim is being given back, as nothing was started.
    TakingBack(TakingBack),
    /// Its code runs.
    Running(Box<Running>),
    /// Its code has ended; the registry is to be told.
    Ended(Box<Ended>),
    /// The registry is being told.
    Ending(Ending),
    /// The answer to that was lost.
    EndDoubted(Ending),
}

impl State {
    /// Whether nothing new can be done about the shard yet.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self, Self::Free)
    }

    /// Whether neither a run nor a change of the record is under way.
    pub(crate) fn leaves_the_record(&self) -> bool {
        matches!(self, Self::Free | Self::Blocked)
    }

    /// The claim of the run that is under way.
    pub(crate) fn claim(&self) -> Option<&OwnClaim> {
        match self {
            Self::Free | Self::Blocked | Self::Accounting(_) => None,
            Self::Claiming(claiming) | Self::Doubted(claiming) => Some(claiming.claim()),
            Self::Standing(standing) | Self::Ahead(standing) => Some(standing.claim()),
            Self::TakingBack(back) => Some(back.claim()),
            Self::Running(running) => Some(running.claim()),
            Self::Ended(ended) => Some(ended.claim()),
            Self::Ending(ending) | Self::EndDoubted(ending) => Some(ending.claim()),
        }
    }

    /// The run that is under way, by its number.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        self.claim().map(OwnClaim::id)
    }

    /// The run whose code was started, until the registry knows of its end.
    pub(crate) fn run(&self) -> Option<&Arc<Run>> {
        match self {
            Self::Running(running) => Some(running.run()),
            Self::Ended(ended) => Some(ended.run()),
            Self::Ending(ending) | Self::EndDoubted(ending) => Some(ending.run()),
            // No code was started.
            Self::Free
            | Self::Blocked
            | Self::Accounting(_)
            | Self::Claiming(_)
            | Self::Doubted(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::TakingBack(_) => None,
        }
    }

    /// The change whose answer the shard waits for.
    pub(crate) fn awaited(&self) -> Option<ShardChange> {
        match self {
            Self::Accounting(_) => Some(ShardChange::Account),
            Self::Claiming(claiming) => Some(ShardChange::Claim(claiming.claim().id())),
            Self::TakingBack(back) if back.is_sent() => Some(ShardChange::Undo(back.claim().id())),
            Self::Ending(ending) => Some(ShardChange::End(ending.claim().id())),
            // What these wait for is a read, an instant, the code or a session.
            Self::Free
            | Self::Blocked
            | Self::Doubted(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::TakingBack(_)
            | Self::Running(_)
            | Self::Ended(_)
            | Self::EndDoubted(_) => None,
        }
    }

    /// Whether a claim is under way whose run may yet begin, or not: it is no run that a request could be
    /// skipped for.
    pub(crate) fn may_come_to_nothing(&self) -> bool {
        matches!(
            self,
            Self::Claiming(_)
                | Self::Doubted(_)
                | Self::Standing(_)
                | Self::Ahead(_)
                | Self::TakingBack(_)
        )
    }

    /// How the record is to be read when all is read again.
    pub(crate) fn record_is(&self, was_mine: bool) -> RecordIs {
        match self {
            Self::Doubted(_) | Self::TakingBack(_) | Self::EndDoubted(_) => RecordIs::Followed,
            Self::Free | Self::Blocked if was_mine => RecordIs::Followed,
            Self::Free | Self::Blocked => RecordIs::Others,
            // Known by what this node writes, until that is refused.
            Self::Accounting(_)
            | Self::Claiming(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::Running(_)
            | Self::Ended(_)
            | Self::Ending(_) => RecordIs::Ours,
        }
    }
}
