//! The one queue of due instants that all jobs of a node share.
//!
//! An entry is 16 bytes for a 4-byte key. Nothing is ever taken out of the middle: who changes its
//! mind enters again, and passes over the old entry when that comes due.

use crate::time::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Due instants, the earliest first; of equal ones the smallest key.
#[derive(Clone, Debug)]
pub struct Timetable<K>(BinaryHeap<Reverse<(Timestamp, K)>>);

impl<K: Ord> Default for Timetable<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<K: Ord + Copy> Timetable<K> {
    /// Enters `key` at an instant. It may be entered more than once.
    pub fn enter(&mut self, due: Timestamp, key: K) {
        self.0.push(Reverse((due, key)));
    }

    /// The earliest entry, if it is due by `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        self.0.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// When the earliest entry is due.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// How many entries there are, passed-over ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing will ever be due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_due_in_order_and_not_before() {
        let at = Timestamp::from_millis;
        let mut table = Timetable::default();
        for (due, key) in [(30, 1_u32), (10, 2), (10, 1), (20, 3)] {
            table.enter(at(due), key);
        }
        assert_eq!(table.next(), Some(at(10)));
        let popped: Vec<_> = std::iter::from_fn(|| table.pop_due(at(20))).collect();
        assert_eq!(popped, [(at(10), 1), (at(10), 2), (at(20), 3)]);
        assert_eq!((table.len(), table.pop_due(at(29))), (1, None));
    }
}
