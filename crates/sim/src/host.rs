//! One machine: a process that is started, dies, stands still, and the user code it runs.

use crate::dice::Dice;
use crate::link::Link;
use crate::queue::Happens;
use flockwork_checker::trace::Probe;
use flockwork_core::execution::{CancelReason, RunId};
use flockwork_core::id::InstanceId;
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_node::Node;
use std::collections::BTreeMap;

/// A process standing still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) since: u64,
    /// Whether its user code stands still too.
    pub(crate) runs_too: bool,
}

/// User code under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) probe: Probe,
    /// How it will end if nobody stops it.
    pub(crate) code: &'static str,
    /// Which of its scheduled ends counts.
    pub(crate) end: u64,
    pub(crate) cancelled: Option<CancelReason>,
    pub(crate) is_stubborn: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) number: u32,
    /// Which start of its process this is; events of an earlier one are stale.
    pub(crate) start: u64,
    pub(crate) instance: InstanceId,
    /// The process, if it lives.
    pub(crate) node: Option<Node>,
    pub(crate) link: Link,
    pub(crate) runs: BTreeMap<RunId, Running>,
    pub(crate) pause: Option<Pause>,
    /// What came due while it stood still.
    pub(crate) deferred: Vec<Happens>,
    /// Where its monotonic clock began.
    pub(crate) origin: u64,
    pub(crate) skew: i64,
    /// The instant for which it asked to be woken.
    pub(crate) wake_at: Option<u64>,
    pub(crate) is_flush_due: bool,
    pub(crate) is_draining: bool,
    pub(crate) dice: Dice,
}

impl Host {
    /// What its clocks show.
    pub(crate) fn clocks(&self, now: u64, wall: i64) -> Now {
        let since = i64::try_from(now).unwrap_or(i64::MAX);
        let wall = Timestamp::from_millis(wall + self.skew + since);
        Now { wall, mono: Mono::from_millis(self.origin + now) }
    }

    /// When, on the world's clock, it wants to be woken.
    pub(crate) fn wants_to_wake(&self, wall: i64) -> Option<u64> {
        let (due, deadline) = self.node.as_ref()?.wake_at();
        let of_wall = due.map(|due| {
            u64::try_from(due.as_millis().saturating_sub(wall + self.skew)).unwrap_or(0)
        });
        let of_mono = deadline.map(|deadline| deadline.as_millis().saturating_sub(self.origin));
        of_wall.into_iter().chain(of_mono).min()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }
}
