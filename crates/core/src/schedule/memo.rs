//! The answers a schedule gave last, so that a fire costs one search however often it is asked for.

use super::Schedule;
use crate::time::Timestamp;

/// The two newest searches of one schedule: from which instant, and what was found.
///
/// A fire is asked for when it comes due, when what is pending is settled, and when its run has
/// ended: each time from one of the two last due instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memo([Option<(Timestamp, Timestamp)>; 2]);

impl Memo {
    /// What [`Schedule::next_after`] gives, remembered.
    #[must_use]
    pub fn next_after(
        &self,
        schedule: &Schedule,
        after: Timestamp,
        from: Timestamp,
    ) -> Option<Timestamp> {
        let start = after.max(from);
        let known = self.0.into_iter().flatten().find(|(asked, _)| *asked == start);
        match (known, schedule) {
            // Only for these does the answer depend on the start alone.
            (Some((_, next)), Schedule::Cron(_) | Schedule::Every(_)) => Some(next),
            _ => schedule.next_after(after, from),
        }
    }

    /// The last search: from which instant, and what was found.
    #[must_use]
    pub fn newest(&self) -> Option<(Timestamp, Timestamp)> {
        self.0[1]
    }

    /// Searches on, and keeps the answer in place of the older one.
    pub fn search(
        &mut self,
        schedule: &Schedule,
        after: Timestamp,
        from: Timestamp,
    ) -> Option<Timestamp> {
        let next = self.next_after(schedule, after, from)?;
        let answer = (after.max(from), next);
        if self.0[1] != Some(answer) {
            self.0 = [self.0[1], Some(answer)];
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Cron, DstPolicy, Once, Zone};
    use std::sync::Arc;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn what_is_remembered_is_what_would_be_found() {
        let zone = Zone::parse("America/New_York").unwrap();
        let cron = Cron::parse("0 30 0/1 * * ?", &zone, DstPolicy::Quartz).unwrap();
        let schedule = Schedule::Cron(Arc::new(cron));
        // Two days around the end of summer time.
        let (start, end) = (at(1_793_404_800_000), at(1_793_577_600_000));
        let mut memo = Memo::default();
        let mut last = start;
        while last < end {
            let next = memo.search(&schedule, last, start);
            for after in [last, start, next.unwrap()] {
                let found = memo.next_after(&schedule, after, start);
                assert_eq!(found, schedule.next_after(after, start), "after {after}");
            }
            last = next.unwrap();
        }
    }

    #[test]
    fn a_single_fire_is_due_by_its_own_start() {
        let mut memo = Memo::default();
        let once = Schedule::Once(Once::Now);
        assert_eq!(memo.search(&once, at(5), at(5)), Some(at(6)));
        assert_eq!(memo.next_after(&once, at(5), at(3)), None, "in force earlier, it is over");
    }
}
