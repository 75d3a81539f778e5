//! The only place that reads clocks.

use flockwork_core::time::{Mono, Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a loop gets the time from. [`SystemClock`] outside of tests.
pub trait Clock: Debug + Send + 'static {
    /// What both clocks show now.
    fn now(&self) -> Now;
}

/// The clocks of the host: the wall, and `CLOCK_BOOTTIME`, which goes on while the host sleeps, so
/// that a session which ended meanwhile is not trusted on waking up.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let boot = clock_gettime(ClockId::Boottime);
        let millis = boot.tv_sec.saturating_mul(1000).saturating_add(boot.tv_nsec / 1_000_000);
        Now {
            wall: wall(SystemTime::now()),
            mono: Mono::from_millis(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

fn wall(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::default().plus(since),
        Err(before) => Timestamp::default().minus(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_wall_clock_before_the_epoch_is_read_as_such() {
        assert_eq!(wall(UNIX_EPOCH - Duration::from_secs(2)), Timestamp::from_millis(-2000));
        assert_eq!(wall(UNIX_EPOCH + Duration::from_secs(2)), Timestamp::from_millis(2000));
    }

    #[test]
    fn the_monotonic_clock_is_the_one_that_counts_suspend() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let mono = SystemClock.now().mono.as_millis();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an uptime fits"
        )]
        let uptime = (seconds * 1000.0) as u64;
        assert!(mono >= uptime && mono - uptime < 5_000, "{mono} and {uptime}");
    }
}
