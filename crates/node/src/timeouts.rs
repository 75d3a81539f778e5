//! The times at which runs time out.
//!
//! Nearly every run ends long before its time-out. So the end of a run removes no entry: the entry stays, and
//! is ignored when its time comes. Once most entries belong to runs that are over, all such entries are
//! removed together.
#![expect(clippy::disallowed_types, reason = "its order is never seen")]

use crate::spread::Spread;
use flockwork_core::execution::RunId;
use flockwork_core::time::Mono;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::BuildHasherDefault;

/// The number of ended runs up to which a search through all entries is never worth its cost.
const FEW: usize = 64;

/// The time-outs of runs, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    entries: BinaryHeap<Reverse<(Mono, RunId)>>,
    /// The runs that have a time-out and go on.
    runs: HashSet<RunId, BuildHasherDefault<Spread>>,
    /// The number of runs that ended since entries of ended runs were last removed.
    over: usize,
}

impl Timeouts {
    pub(crate) fn add(&mut self, at: Mono, run: RunId) {
        self.entries.push(Reverse((at, run)));
        self.runs.insert(run);
    }

    /// Notes that a run with an entry is over.
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

    /// Returns a run whose time-out has passed, perhaps a run that is over.
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
