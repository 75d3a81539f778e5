//! When runs have had their time.
//!
//! Nearly every run ends long before. So nothing is looked for when one does: its entry stays, is passed
//! over when it comes, and goes with all others of its kind once most entries are such.
#![expect(clippy::disallowed_types, reason = "its order is never seen")]

use crate::spread::Spread;
use flockwork_core::execution::RunId;
use flockwork_core::time::Mono;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::BuildHasherDefault;

/// So many entries of runs that are over are never worth a look at all of them.
const FEW: usize = 64;

/// The time-outs of runs, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    entries: BinaryHeap<Reverse<(Mono, RunId)>>,
    /// Those that go on.
    runs: HashSet<RunId, BuildHasherDefault<Spread>>,
    /// How many ended since entries were last taken out for that.
    over: usize,
}

impl Timeouts {
    pub(crate) fn add(&mut self, at: Mono, run: RunId) {
        self.entries.push(Reverse((at, run)));
        self.runs.insert(run);
    }

    /// A run that has an entry is over.
    pub(crate) fn is_over(&mut self, run: RunId) {
        self.runs.remove(&run);
        self.over += 1;
        if self.over > FEW && self.over > self.entries.len() / 2 {
            self.entries.retain(|Reverse((_, run))| self.runs.contains(run));
            self.over = 0;
        }
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.entries.peek().map(|Reverse((at, _))| *at)
    }

    /// A run whose time has passed, perhaps one that is over.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<RunId> {
        self.entries.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.entries.pop().map(|Reverse((_, run))| run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn entries_come_in_order_and_not_before_their_time() {
        let mut timeouts = Timeouts::default();
        for (ms, run) in [(30, 1), (10, 2), (20, 3)] {
            timeouts.add(at(ms), RunId(run));
        }
        assert_eq!(timeouts.next(), Some(at(10)));
        let popped: Vec<_> = std::iter::from_fn(|| timeouts.pop(at(20))).collect();
        assert_eq!(popped, [RunId(2), RunId(3)]);
    }

    /// A million runs that end at once, beside ten that go on for ever.
    #[test]
    fn runs_that_are_over_take_no_room_for_long() {
        let mut timeouts = Timeouts::default();
        for run in 0..10 {
            timeouts.add(at(1_000_000), RunId(run));
        }
        for run in 10..1_000_000 {
            timeouts.add(at(run), RunId(run));
            timeouts.is_over(RunId(run));
            assert!(timeouts.entries.len() <= 2 * (10 + FEW), "{}", timeouts.entries.len());
        }
        let left = std::iter::from_fn(|| timeouts.pop(at(u64::MAX))).filter(|run| run.0 < 10);
        assert_eq!(left.count(), 10, "those that go on are kept");
    }
}
