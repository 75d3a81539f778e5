//! Jobs with a listener: which have one, its rules, and how its calls behave.

use crate::dice::Dice;
use crate::manners::Manners;
use flockwork_core::config::{JobConfig, ListenerRules, OnBeforeFailure, Overlap};
use std::time::Duration;

/// How many jobs in a thousand have a listener. Nothing else of a seed depends on it.
pub const WITH_LISTENER: u64 = 250;

/// The shortest time-out, in milliseconds: a call ends in less when all is healed.
const SHORTEST: u64 = 50;

/// How a job's listener is called, and how its calls behave.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// The rules, for when the job has one.
    pub rules: ListenerRules,
    /// How its calls behave.
    pub manners: Manners,
}

impl Listening {
    /// Draws both, for a job that is due about once in `period` milliseconds.
    pub(crate) fn draw(dice: &mut Dice, period: u64, overlap: Overlap) -> Self {
        // A job that queues its fires must have time for each of them; so must one that is due often.
        let is_queue = overlap == Overlap::Queue;
        let longest = (*dice.pick(&[20, 300, 2_000, 6_000])).min(period / 6).max(10);
        let mut timeout = |tenths: &[u64]| {
            let tenths = if is_queue { 40 } else { *dice.pick(tenths) };
            Duration::from_millis((longest * tenths / 10).max(SHORTEST))
        };
        let rules = ListenerRules {
            before_timeout: timeout(&[5, 8, 15, 40]),
            after_timeout: timeout(&[8, 15, 40]),
            on_failure: *dice.pick(&[OnBeforeFailure::Skip, OnBeforeFailure::Run]),
        };
        let manners = Manners {
            shortest: 1,
            longest,
            fails: *dice.pick(&[0, 0, 50, 300]),
            hangs: if is_queue { 0 } else { dice.below(40) },
            stubborn: if is_queue { 0 } else { *dice.pick(&[0, 0, 300]) },
        };
        Self { rules, manners }
    }

    /// Gives a job the listener.
    pub(crate) fn put_on(&self, config: &mut JobConfig) {
        config.listener = Some(self.rules);
        // Nothing is claimed before a listener was called.
        config.claim_ahead = Duration::ZERO;
    }
}

/// Whether a job has a listener from the beginning. The first one, which is to have much to do, has none.
pub(crate) fn has_one(dice: &mut Dice, number: u64) -> bool {
    number > 0 && dice.chance(WITH_LISTENER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_time_out_fail_and_hang_and_those_of_queues_end() {
        let root = Dice::new(1);
        let draw = |at, overlap| Listening::draw(&mut root.split("listener", at), 30_000, overlap);
        let some: Vec<Listening> = (0..100).map(|at| draw(at, Overlap::Skip)).collect();
        let longest = |it: &Listening| Duration::from_millis(it.manners.longest);
        assert!(some.iter().any(|it| it.rules.before_timeout < longest(it)));
        assert!(some.iter().any(|it| it.rules.before_timeout > longest(it)));
        assert!(some.iter().any(|it| it.manners.fails > 0 && it.manners.stubborn > 0));
        let of_queue = (0..100).map(|at| draw(at, Overlap::Queue));
        let mut of_queue = of_queue.into_iter();
        assert!(of_queue.all(|it| it.manners.hangs == 0 && it.rules.before_timeout > longest(&it)));
    }
}
