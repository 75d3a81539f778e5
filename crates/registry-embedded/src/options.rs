//! What can be set, and the bounds of it.

use crate::OpenError;
use flockwork_registry::Limits;
use std::time::Duration;

/// The shortest session time-out: a quarter of it is the heartbeat's interval, which must be well
/// above the hiccups of a loaded host.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest: a host's dead processes are seen by their locks at once, so a longer one only
/// makes stopped ones hold their work longer.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// What one process asks of the registry.
#[derive(Clone, Debug)]
pub struct Options {
    /// After how long without a heartbeat others end the session. Default 4 s: a process that
    /// *died* is noticed by its lock within milliseconds, so this is only about stopped ones; four
    /// beats of a second ride out a stalled disk, and a takeover waits no longer than with the
    /// shortest session ZooKeeper grants at its default tick.
    pub session_timeout: Duration,
    /// What one commit may hold.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { session_timeout: Duration::from_secs(4), limits: LIMITS }
    }
}

/// What fits ZooKeeper's default packet (1 MiB less a byte) fits here, so that data can move. A
/// thousand operations are three per shard of the largest claim and hold the writer's lock for some
/// milliseconds. A thousand requests under way are more than ten such claims for every core, and
/// bound the memory a node that hears no answer can take.
const LIMITS: Limits =
    Limits { max_ops: 1_000, max_bytes: 1_000_000, max_value: 512 * 1024, max_in_flight: 1_024 };

impl Options {
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let range = SHORTEST_TIMEOUT..=LONGEST_TIMEOUT;
        match range.contains(&self.session_timeout) {
            true => Ok(()),
            false => Err(OpenError::Timeout(self.session_timeout)),
        }
    }

    pub(crate) fn timeout_millis(&self) -> u64 {
        u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX)
    }
}
