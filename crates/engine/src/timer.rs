//! How long the loop may sleep, and whether the wall clock was set meanwhile.
//!
//! All waiting of a node is one sleep: the queue of due instants is in the state machine. A sleep
//! runs on the kernel's monotonic clock, so a wall clock that is set, or a host that was suspended,
//! moves a due instant without ending the sleep. Hence the bound: at most [`LONGEST_SLEEP`], after
//! which both clocks are read again. One wake-up a second that finds nothing to do costs some ten
//! microseconds, whatever the number of jobs.

use flockwork_core::time::{Mono, Now, Timestamp};
use std::time::Duration;

/// A clock that was set is noticed at the latest after this.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How far the wall clock must have moved against the monotonic one to count as set. Slewing by NTP
/// (at most 0.5 ms a second) stays below it for minutes, and then costs one harmless wake-up.
pub(crate) const CLOCK_STEP_MILLIS: i64 = 100;

/// When the machine wants to be woken: on the wall clock and on the monotonic one.
pub(crate) type WakeAt = (Option<Timestamp>, Option<Mono>);

/// Whether one of the two instants has come.
pub(crate) fn is_due(now: Now, (wall, mono): WakeAt) -> bool {
    wall.is_some_and(|at| at <= now.wall) || mono.is_some_and(|at| at <= now.mono)
}

/// How long to sleep: until the earlier of the two, at most [`LONGEST_SLEEP`].
pub(crate) fn pause(now: Now, (wall, mono): WakeAt) -> Duration {
    let wall = wall.map(|at| at.since(now.wall));
    let mono = mono.map(|at| at.since(now.mono));
    wall.into_iter().chain(mono).fold(LONGEST_SLEEP, Duration::min)
}

/// Watches the distance of the two clocks.
#[derive(Debug)]
pub(crate) struct StepWatch {
    distance: i64,
}

impl StepWatch {
    pub(crate) fn new(now: Now) -> Self {
        Self { distance: distance(now) }
    }

    /// By how many milliseconds the wall clock was set since the last answer of this kind, if it
    /// was.
    pub(crate) fn check(&mut self, now: Now) -> Option<i64> {
        let distance = distance(now);
        let moved = distance - self.distance;
        if moved.abs() < CLOCK_STEP_MILLIS {
            return None;
        }
        self.distance = distance;
        Some(moved)
    }
}

fn distance(now: Now) -> i64 {
    now.wall.as_millis().saturating_sub(i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, mono: u64) -> Now {
        Now { wall: Timestamp::from_millis(wall), mono: Mono::from_millis(mono) }
    }

    #[test]
    fn the_earlier_clock_ends_the_sleep_and_a_second_bounds_it() {
        let now = at(10_000, 500);
        let wall = |millis| Some(Timestamp::from_millis(millis));
        let mono = |millis| Some(Mono::from_millis(millis));
        for (wake, millis) in [
            ((None, None), 1000),
            ((wall(10_300), None), 300),
            ((wall(10_300), mono(501)), 1),
            ((wall(99_000), mono(99_000)), 1000),
            ((wall(9_000), mono(99_000)), 0),
        ] {
            assert_eq!(pause(now, wake), Duration::from_millis(millis), "{wake:?}");
            assert_eq!(is_due(now, wake), millis == 0, "{wake:?}");
        }
    }

    #[test]
    fn a_clock_set_forward_or_back_is_told_once() {
        let mut watch = StepWatch::new(at(10_000, 0));
        assert_eq!(watch.check(at(11_010, 1_000)), None);
        assert_eq!(watch.check(at(3_611_000, 1_000)), Some(3_600_000));
        assert_eq!(watch.check(at(3_612_000, 2_000)), None);
        assert_eq!(watch.check(at(12_000, 2_000)), Some(-3_600_000));
    }

    #[test]
    fn slow_drift_adds_up_to_one_wake_up() {
        let mut watch = StepWatch::new(at(0, 0));
        let told = (1..=1000)
            .filter_map(|k| watch.check(at(i64::from(k) * 1001, u64::from(k as u32) * 1000)));
        assert_eq!(told.count(), 10);
    }
}
