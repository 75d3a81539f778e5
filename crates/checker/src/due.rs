//! When a schedule is due, computed from the definition alone.

use crate::trace::{Job, When};
use flockwork_core::schedule::{Cron, DstPolicy, Every, Schedule, Zone};
use flockwork_core::time::Timestamp;
use std::collections::BTreeMap;

/// A schedule that can be asked for its due instants.
#[derive(Clone, Debug)]
pub struct Due(Schedule);

impl Due {
    /// Reads a definition's schedule; none if it cannot be read.
    #[must_use]
    pub fn read(when: &When) -> Option<Self> {
        Some(Self(match when {
            When::Every { period, anchor } => {
                let anchor = Timestamp::from_millis(*anchor);
                Schedule::Every(Every { period_ms: *period, anchor })
            }
            When::Cron { expression, zone } => {
                let zone = Zone::parse(zone).ok()?;
                Schedule::Cron(Cron::parse(expression, &zone, DstPolicy::Quartz).ok()?.into())
            }
            When::OnTrigger => Schedule::OnTrigger,
        }))
    }

    /// How many instants are due after `after`, up to and with `through`.
    #[must_use]
    pub fn count(&self, after: i64, through: i64) -> u64 {
        let mut count = 0;
        let mut last = after;
        while let Some(next) = self.next_after(last).filter(|next| *next <= through) {
            count += 1;
            last = next;
        }
        count
    }

    /// The same without those that lie in some spans, which are ascending and apart.
    #[must_use]
    pub fn count_without(&self, (after, through): (i64, i64), spans: &[(i64, i64)]) -> u64 {
        let within = spans.iter().map(|(first, last)| {
            let (after, through) = (after.max(first - 1), through.min(*last));
            if after < through { self.count(after, through) } else { 0 }
        });
        self.count(after, through) - within.sum::<u64>()
    }

    /// The first due instant after `after` that lies in none of some spans.
    #[must_use]
    pub fn next_without(&self, after: i64, spans: &[(i64, i64)]) -> Option<i64> {
        let mut next = self.next_after(after)?;
        while let Some((_, last)) = spans.iter().find(|(a, z)| (*a..=*z).contains(&next)) {
            next = self.next_after(*last)?;
        }
        Some(next)
    }

    /// The first due instant after `after`.
    #[must_use]
    pub fn next_after(&self, after: i64) -> Option<i64> {
        let after = Timestamp::from_millis(after);
        self.0.next_after(after, after).map(Timestamp::as_millis)
    }

    /// Whether an instant is due.
    #[must_use]
    pub fn is_due(&self, instant: i64) -> bool {
        self.next_after(instant - 1) == Some(instant)
    }
}

/// All schedules a trace names, by job and canonical text.
#[derive(Debug, Default)]
pub struct Schedules(BTreeMap<(String, String), Option<Due>>);

impl Schedules {
    /// Takes a definition in.
    pub fn learn(&mut self, job: &Job) {
        let key = (job.job.clone(), job.schedule.clone());
        self.0.entry(key).or_insert_with(|| Due::read(&job.when));
    }

    /// The schedule that a plan names; none if no definition has it, or it cannot be read.
    #[must_use]
    pub fn named(&self, job: &str, schedule: &str) -> Option<&Due> {
        self.0.get(&(job.to_owned(), schedule.to_owned()))?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_instants_are_counted_after_one_end_and_through_the_other() {
        let each_second = Due::read(&When::Every { period: 1_000, anchor: 0 }).unwrap();
        let table = [(0, 0, 0), (0, 999, 0), (0, 1_000, 1), (-1, 1_000, 2), (500, 3_500, 3)];
        for (after, through, count) in table {
            assert_eq!(each_second.count(after, through), count, "({after}, {through}]");
        }
        assert!(each_second.is_due(2_000) && !each_second.is_due(2_001));
    }

    #[test]
    fn a_job_on_trigger_is_never_due() {
        let never = Due::read(&When::OnTrigger).unwrap();
        assert_eq!((never.count(0, i64::MAX), never.is_due(0)), (0, false));
    }

    #[test]
    fn a_cron_expression_is_due_in_its_zone() {
        let when = |expression: &str| When::Cron {
            expression: expression.into(),
            zone: "America/New_York".into(),
        };
        let noon = Due::read(&when("0 0 12 * * ?")).unwrap();
        // 2026-01-01T17:00:00Z is noon in New York.
        assert_eq!(noon.next_after(1_767_225_600_000), Some(1_767_286_800_000));
        assert!(Due::read(&when("0 0 12 * *")).is_none());
    }
}
