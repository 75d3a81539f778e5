//! The registry's clock, as far as a node can know it.
//!
//! The answer to a commit that gives an entry a value names the time that the registry's clock showed when
//! the commit was made, some time between its sending and its answer. So the difference is known to within
//! the time that the answer took. A clock is said to differ only if it surely does.

use flockwork_core::time::{Mono, Now, Timestamp};

/// The clock of one registry.
#[derive(Debug, Default)]
pub(crate) struct RegistryClock {
    /// The least and the most, in milliseconds, that the registry's clock shows when the monotonic clock
    /// shows zero.
    bounds: Option<(i64, i64)>,
    /// The time at which a note was last written to measure the registry's clock.
    probed: Option<Mono>,
}

impl RegistryClock {
    /// Takes in that the registry's clock showed `at` at some time between `sent` and `heard`.
    pub(crate) fn told(&mut self, at: i64, sent: Mono, heard: Mono) {
        let (least, most) = (at.saturating_sub(millis(heard)), at.saturating_sub(millis(sent)));
        // A slow answer that contradicts nothing says less than what was known before.
        let says_less = self.bounds.is_some_and(|(from, to)| least <= from && to <= most);
        if !says_less {
            self.bounds = Some((least, most));
        }
    }

    /// Returns by how many milliseconds the wall clock is at least ahead of the registry's clock. A negative
    /// number means that the wall clock is behind.
    pub(crate) fn ahead(&self, now: Now) -> Option<i64> {
        let (least, most) = self.bounds?;
        let own = now.wall.as_millis().saturating_sub(millis(now.mono));
        let (at_least, at_most) = (own.saturating_sub(most), own.saturating_sub(least));
        Some(if at_most < 0 { at_most } else { at_least.max(0) })
    }

    /// Returns the latest instant that the registry's clock can show now, if the clock was ever measured.
    pub(crate) fn shows_at_most(&self, now: Mono) -> Option<Timestamp> {
        let (_, most) = self.bounds?;
        Some(Timestamp::from_millis(most.saturating_add(millis(now))))
    }

    /// Notes that the registry's clock is being measured.
    pub(crate) fn is_probed(&mut self, now: Mono) {
        self.probed = Some(now);
    }

    /// Returns whether the registry's clock was measured within the given time.
    pub(crate) fn was_probed_within(&self, now: Now, time: std::time::Duration) -> bool {
        self.probed.is_some_and(|at| now.mono.since(at) < time)
    }
}

fn millis(mono: Mono) -> i64 {
    i64::try_from(mono.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, mono: u64) -> Now {
        Now { wall: Timestamp::from_millis(wall), mono: Mono::from_millis(mono) }
    }

    #[test]
    fn a_difference_is_what_it_is_at_least() {
        let mut clock = RegistryClock::default();
        assert_eq!(clock.ahead(at(10_000, 0)), None, "nothing is known");
        // It showed 10,000 at some time from 100 to 300.
        clock.told(10_000, Mono::from_millis(100), Mono::from_millis(300));
        for (wall, ahead) in
            [(9_000, -1_000), (10_000, 0), (10_200, 0), (10_201, 1), (15_200, 5_000)]
        {
            assert_eq!(clock.ahead(at(wall, 300)), Some(ahead), "{wall}");
        }
        // Later, by the monotonic clock; and a wall clock that was set is noticed without asking.
        assert_eq!(clock.ahead(at(70_200, 60_300)), Some(0));
        assert_eq!(clock.ahead(at(130_200, 60_300)), Some(60_000));
        assert_eq!(
            clock.shows_at_most(Mono::from_millis(60_300)),
            Some(Timestamp::from_millis(70_200))
        );
    }

    #[test]
    fn a_slow_answer_takes_nothing_away_and_a_contradiction_counts() {
        let mut clock = RegistryClock::default();
        clock.told(10_000, Mono::from_millis(100), Mono::from_millis(110));
        clock.told(12_000, Mono::from_millis(110), Mono::from_millis(9_000));
        assert_eq!(clock.ahead(at(15_000, 2_100)), Some(3_000));
        // Its clock was set, or another server leads.
        clock.told(20_000, Mono::from_millis(9_000), Mono::from_millis(9_010));
        assert_eq!(clock.ahead(at(20_005, 9_010)), Some(0));
    }

    #[test]
    fn it_was_probed_within_a_time_and_not_before() {
        let mut clock = RegistryClock::default();
        let time = std::time::Duration::from_secs(5);
        assert!(!clock.was_probed_within(at(0, 1_000), time), "it never was");
        clock.is_probed(Mono::from_millis(1_000));
        for (mono, is_recent) in [(1_000, true), (5_999, true), (6_000, false)] {
            assert_eq!(clock.was_probed_within(at(0, mono), time), is_recent, "{mono}");
        }
    }
}
