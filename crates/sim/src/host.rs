//! One machine: a process that is started, dies, stands still, and the user code it runs.

use crate::asking::Asked;
use crate::dice::Dice;
use crate::link::Link;
use crate::queue::Happens;
use crate::zookeeper::Client;
use flockwork_checker::trace::{Call, Fact, Probe};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{CancelReason, RunId};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_node::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    pub(crate) who: Who,
    /// How it will end if nobody stops it.
    pub(crate) code: &'static str,
    /// Which of its scheduled ends counts.
    pub(crate) end: u64,
    pub(crate) cancelled: Option<CancelReason>,
    pub(crate) is_stubborn: bool,
}

/// What of a job user code is.
#[derive(Debug)]
pub(crate) enum Who {
    Shard(Probe),
    Listener(Call),
}

impl Who {
    pub(crate) fn job(&self) -> &str {
        match self {
            Self::Shard(probe) => &probe.job,
            Self::Listener(call) => &call.job,
        }
    }

    pub(crate) fn is_shard(&self) -> bool {
        matches!(self, Self::Shard(_))
    }

    pub(crate) fn begins(&self) -> Fact {
        match self {
            Self::Shard(probe) => Fact::Start(probe.clone()),
            Self::Listener(call) => Fact::CallBegins(call.clone()),
        }
    }

    pub(crate) fn ends(self, code: String) -> Fact {
        match self {
            Self::Shard(probe) => Fact::End { probe, code },
            Self::Listener(call) => Fact::CallEnds { call, code },
        }
    }
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
    /// The client of its registry, where that is the real one; the link says how the way is.
    pub(crate) client: Option<Client>,
    pub(crate) runs: BTreeMap<RunId, Running>,
    pub(crate) pause: Option<Pause>,
    /// What came due while it stood still.
    pub(crate) deferred: Vec<Happens>,
    /// What its program asked for and was not told of.
    pub(crate) asked: Asked,
    /// Where its monotonic clock began.
    pub(crate) origin: u64,
    /// How far its wall clock was off the world's when it was last set.
    pub(crate) skew: i64,
    /// By how much its clocks run fast, in millionths.
    pub(crate) drift: i64,
    /// When its wall clock was last set.
    pub(crate) set_at: u64,
    /// Whether it writes what other releases do not know.
    pub(crate) is_newer: bool,
    /// The instant for which it asked to be woken.
    pub(crate) wake_at: Option<u64>,
    pub(crate) is_flush_due: bool,
    /// How far the clock it fires by is ahead of the one it shows; by mistake.
    pub(crate) secretly_ahead: i64,
    /// Instances it ever heard of; kept by mistake.
    pub(crate) ever_seen: BTreeSet<String>,
    /// Jobs whose scripts it cannot start, whichever process asks.
    pub(crate) cannot_start: BTreeSet<JobName>,
    /// The definitions whose scripts are looked at.
    pub(crate) looks_at: BTreeMap<JobName, Arc<JobConfig>>,
    /// Jobs that an operator took it off, until it is told that they were left.
    pub(crate) taken_off: BTreeSet<JobName>,
    pub(crate) is_draining: bool,
    pub(crate) dice: Dice,
}

impl Host {
    /// What its clocks show.
    pub(crate) fn clocks(&self, now: u64, wall: i64) -> Now {
        let since = i64::try_from(now).unwrap_or(i64::MAX);
        let wall = Timestamp::from_millis(wall + since + self.offset(now) + self.secretly_ahead);
        Now { wall, mono: Mono::from_millis(self.mono(now)) }
    }

    /// How far its wall clock is off.
    pub(crate) fn offset(&self, now: u64) -> i64 {
        self.skew + drifted(now - self.set_at, self.drift)
    }

    /// What its monotonic clock shows.
    pub(crate) fn mono(&self, now: u64) -> u64 {
        self.origin.saturating_add(now).saturating_add_signed(drifted(now, self.drift))
    }

    /// When, on the world's clock, its monotonic clock shows this at last.
    pub(crate) fn when_it_shows(&self, mono: u64) -> u64 {
        let mut when = self.when_it_showed(mono);
        while self.mono(when) < mono {
            when += 1;
        }
        when
    }

    /// The last instant of the world's clock at which its monotonic clock does not show more.
    pub(crate) fn when_it_showed(&self, mono: u64) -> u64 {
        let shown = mono.saturating_sub(self.origin);
        let mut when = shown.saturating_add_signed(-drifted(shown, self.drift)) + 1;
        while when > 0 && self.mono(when) > mono {
            when -= 1;
        }
        when
    }

    /// When, on the world's clock, it wants to be woken.
    pub(crate) fn wants_to_wake(&self, now: u64, wall: i64) -> Option<u64> {
        let (due, deadline) = self.node.as_ref()?.wake_at();
        let shown = self.clocks(now, wall);
        let wait = |wanted: i64, shown: i64| {
            let wait = u64::try_from(wanted.saturating_sub(shown)).unwrap_or(0);
            // A clock that runs slow makes it wait longer.
            let slow = drifted(wait, -self.drift);
            now.saturating_add(wait.saturating_add_signed(slow.max(0) + i64::from(slow > 0)))
        };
        let of_wall = due.map(|due| wait(due.as_millis(), shown.wall.as_millis()));
        let signed = |mono: Mono| i64::try_from(mono.as_millis()).unwrap_or(i64::MAX);
        let of_mono = deadline.map(|deadline| wait(signed(deadline), signed(shown.mono)));
        of_wall.into_iter().chain(of_mono).min()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Whether it cannot start the script of a job; it can if the job runs none.
    pub(crate) fn cannot_start_script_of(&self, job: &str) -> bool {
        self.cannot_start.iter().any(|name| name.as_str() == job)
    }
}

/// By how much a clock that runs fast by so many millionths is ahead after a while.
fn drifted(millis: u64, millionths: i64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(millionths) / 1_000_000
}
