//! The timer that knows when a job is next due.

use crate::turn::Turn;
use flockwork_core::account::AHEAD;
use flockwork_core::config::JobConfig;
use flockwork_core::schedule::{Memo, Once, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::plan::Plan;

/// The timer of one job.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// The next due instant that the alarms know of.
    next: Option<Timestamp>,
    /// The memo of the search that found the next due instant.
    memo: Memo,
}

/// The meaning of an instant for which the job asked to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instant {
    /// A fire is due now.
    Due,
    /// A fire may be claimed ahead.
    Ahead { next: Timestamp },
    /// The instant was asked for by a schedule that no longer counts, or has been handled.
    Past,
}

impl Timer {
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    pub(crate) fn memo(&self) -> Memo {
        self.memo
    }

    /// Stops the timer: nothing is due until the timer is set again.
    pub(crate) fn stop(&mut self) {
        self.next = None;
    }

    /// Resets the timer because another schedule counts.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn what_is(&self, at: Timestamp, now: Timestamp) -> Instant {
        match self.next {
            Some(next) if next == at => Instant::Due,
            Some(next) if next > now => Instant::Ahead { next },
            _ => Instant::Past,
        }
    }

    /// Sets the alarms to the job's next due instant.
    pub(crate) fn set(&mut self, turn: &mut Turn<'_>, plan: &Plan, config: &JobConfig) {
        let now = turn.now.wall;
        if self.next.is_some_and(|next| next > now) {
            return;
        }
        let mut memo = self.memo;
        let mut first_after = |instant| {
            // What begins later by a clock that was ahead begins as soon as a shard finds that out. What is due
            // as soon as it begins needs no timer then.
            let is_at_once = config.schedule == Schedule::Once(Once::Now);
            let is_ahead = |from: Timestamp| from > now.plus(AHEAD) && !is_at_once;
            let first_of = |from| memo.search(&config.schedule, instant, from);
            let begins = plan.begins().map(|from| if is_ahead(from) { now } else { from });
            begins.filter_map(first_of).min()
        };
        // The search begins at the fire that is due now: what comes after that fire is asked again when the
        // fire is settled.
        let mut next = first_after(self.next.unwrap_or(now));
        if next.is_some_and(|next| next <= now) {
            next = first_after(now);
        }
        (self.next, self.memo) = (next, memo);
        if let Some(next) = next {
            turn.alarms.add_due(next, turn.job);
            let ahead = next.minus(config.claim_ahead);
            if now < ahead && ahead < next {
                turn.alarms.add_due(ahead, turn.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{Rig, at, config};

    fn every_second() -> (Plan, std::sync::Arc<JobConfig>) {
        let config = config("shardingTotalCount: 1\nprops:\n  flockwork.every: 1s");
        (Plan::new("every 1s".into(), 1, at(1_000)), config)
    }

    #[test]
    fn what_was_due_is_told_from_what_is_to_come() {
        let (mut rig, mut timer) = (Rig::new(), Timer::default());
        let (plan, config) = every_second();
        timer.set(&mut rig.turn(), &plan, &config);
        let next = timer.next().unwrap();
        assert!(next > rig.now.wall);
        assert_eq!(timer.what_is(next, next), Instant::Due);
        assert_eq!(timer.what_is(at(10_500), at(10_500)), Instant::Ahead { next });
        assert_eq!(timer.what_is(at(9_000), next), Instant::Past);
    }

    #[test]
    fn it_is_not_set_again_before_its_instant() {
        let (mut rig, mut timer) = (Rig::new(), Timer::default());
        let (plan, config) = every_second();
        timer.set(&mut rig.turn(), &plan, &config);
        let first = timer.next();
        timer.set(&mut rig.turn(), &plan, &config);
        assert_eq!(timer.next(), first);
        assert_eq!(std::iter::from_fn(|| rig.alarms.pop_due(at(60_000))).count(), 1);
        rig.pass(1_500);
        timer.set(&mut rig.turn(), &plan, &config);
        assert!(timer.next() > first);
    }
}
