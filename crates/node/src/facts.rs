//! What the shards of a job go by, of the job as a whole.

use flockwork_core::config::JobConfig;
use flockwork_core::schedule::Memo;
use flockwork_core::time::Timestamp;
use std::sync::Arc;

/// As of one moment of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The definition that counts, if one does.
    pub(crate) config: Option<&'a Arc<JobConfig>>,
    /// Whether this instance serves the job, and is not about to leave it.
    pub(crate) is_served: bool,
    /// Whether this instance leaves the job, or cannot serve it.
    pub(crate) goes: bool,
    /// Whether others see this instance serve the job, under the present session.
    pub(crate) is_registered: bool,
    /// The next due instant that the timer knows of.
    pub(crate) next: Option<Timestamp>,
    /// How it was found.
    pub(crate) memo: Memo,
}

impl Facts<'_> {
    /// How many shards count now.
    pub(crate) fn shards(&self) -> u32 {
        self.config.map_or(0, |config| config.shards)
    }

    /// Whether a crashed run is taken elsewhere.
    pub(crate) fn fails_over(&self) -> bool {
        self.config.is_some_and(|config| config.failover)
    }
}
