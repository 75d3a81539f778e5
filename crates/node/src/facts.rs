//! Facts about the job as a whole that its shards go by.

use flockwork_core::account::Passed;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Fire, Source};
use flockwork_core::schedule::Memo;
use flockwork_core::time::Timestamp;
use flockwork_registry::Stamp;
use std::sync::Arc;
use std::time::Duration;

/// The facts as of one moment of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The definition that counts, if one does.
    pub(crate) config: Option<&'a Arc<JobConfig>>,
    /// Whether this instance serves the job and is not about to leave it.
    pub(crate) is_served: bool,
    /// Whether this instance leaves the job or cannot serve it.
    pub(crate) goes: bool,
    /// Whether other instances see this instance serve the job under the present session.
    pub(crate) is_registered: bool,
    /// The next due instant that the timer knows of.
    pub(crate) next: Option<Timestamp>,
    /// The memo of the search that found the next due instant.
    pub(crate) memo: Memo,
    /// Which due fires a free shard may run.
    pub(crate) gate: Gate,
}

/// Which of its due fires a free shard may run. The fires of a job with a listener are opened one at a time,
/// for all its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The shard decides by itself: the job has no listener.
    #[default]
    None,
    /// No fire is open.
    Shut,
    /// This fire is open to so many shards, as long as the document that says so has this stamp.
    Open(Fire, u32, Stamp),
    /// This fire is being opened by this instance, as long as the leader's key has this stamp. The claims of
    /// this instance share a commit with the opening.
    Opening(Fire, Stamp),
    /// These fires were passed for all shards.
    Passed(Passed),
}

impl Facts<'_> {
    /// Returns the number of shards that count now.
    pub(crate) fn shards(&self) -> u32 {
        self.config.map_or(0, |config| config.shards)
    }

    /// Returns whether a crashed run of the job fails over to another instance.
    pub(crate) fn fails_over(&self) -> bool {
        self.config.is_some_and(|config| config.failover)
    }
}

impl Gate {
    /// Returns how long after now the open fire is due, or what was passed, if it is not due yet.
    pub(crate) fn opens_in(self, now: Timestamp) -> Option<Duration> {
        let due = match self {
            Self::None | Self::Shut => return None,
            Self::Open(fire, ..) | Self::Opening(fire, _) if fire.source == Source::Trigger => {
                return None;
            }
            Self::Open(fire, ..) | Self::Opening(fire, _) => fire.due,
            Self::Passed(passed) => passed.through,
        };
        (due > now).then(|| due.since(now))
    }
}
