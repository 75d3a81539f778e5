//! What is counted, by fixed sets of labels: a job's name is none, as a node may serve a million.

#[cfg(feature = "metrics")]
pub mod exposition;

use crate::report::{Reported, Reporter};
use flockwork_core::account::{Fate, Reason};
use flockwork_node::Report;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the histograms' buckets, in milliseconds: from what a fast registry needs to an
/// hour, each about 2.5 times the one before.
pub const BUCKETS_MILLIS: [u64; 17] = [
    1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000, 300_000, 900_000,
    3_600_000,
];

/// How often durations of each size were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each of [`BUCKETS_MILLIS`], not cumulated; the last one is beyond all.
    pub buckets: [u64; BUCKETS_MILLIS.len() + 1],
    /// Their sum.
    pub sum: Duration,
    /// How many.
    pub count: u64,
}

impl Histogram {
    fn observe(&mut self, value: Duration) {
        let bucket = BUCKETS_MILLIS.partition_point(|bound| Duration::from_millis(*bound) < value);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }
}

/// Whether the node may start work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionHealth {
    /// No session yet.
    #[default]
    Absent,
    /// Proven alive.
    Live,
    /// Not proven.
    Suspended,
    /// Ended; a new one follows.
    Ended,
}

/// All numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Fires of single shards by what became of them and why.
    pub fires: BTreeMap<(Fate, Reason), u64>,
    /// Ended runs by their outcome's code. Those whose outcome came too late to count are under
    /// `SUPERSEDED`.
    pub runs: BTreeMap<&'static str, u64>,
    /// Runs that will be tried again.
    pub retries: u64,
    /// Runs under way.
    pub running: u64,
    /// How late runs started.
    pub lateness: Histogram,
    /// How long runs took.
    pub durations: Histogram,
    /// How long commits waited for their answer.
    pub commits: Histogram,
    /// Whether work may start.
    pub session: SessionHealth,
    /// Sessions that ended though the node lived.
    pub sessions_lost: u64,
    /// How often the wall clock was set.
    pub clock_steps: u64,
    /// What may need a person, by code.
    pub troubles: BTreeMap<&'static str, u64>,
    /// Lines that the program dropped as nobody read them in time, by stream; empty for programs that
    /// do not tell.
    pub lines_dropped: BTreeMap<&'static str, u64>,
}

/// The numbers of a node. The loop writes, everybody may read.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Numbers>);

impl Metrics {
    /// A copy of all numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.lock().clone()
    }

    /// A panic elsewhere leaves the numbers whole: every change is one addition.
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines for a stream the program has dropped since its start.
    pub fn lines_dropped(&self, stream: &'static str, lines: u64) {
        self.lock().lines_dropped.insert(stream, lines);
    }

    pub(crate) fn commit_answered(&self, after: Duration) {
        self.lock().commits.observe(after);
    }

    pub(crate) fn clock_stepped(&self) {
        self.lock().clock_steps += 1;
    }

    pub(crate) fn running(&self, runs: usize) {
        self.lock().running = runs as u64;
    }
}

/// Counts reports.
#[derive(Debug)]
pub(crate) struct Counter(pub(crate) Arc<Metrics>);

impl Reporter for Counter {
    fn report(&mut self, reported: &Reported) {
        let mut numbers = self.0.lock();
        match &reported.report {
            Report::SessionLive(_) => numbers.session = SessionHealth::Live,
            Report::SessionSuspended(_) => numbers.session = SessionHealth::Suspended,
            Report::SessionEnded(_) => {
                numbers.session = SessionHealth::Ended;
                numbers.sessions_lost += 1;
            }
            Report::Started { late, .. } => numbers.lateness.observe(*late),
            Report::Ended { outcome, took, retry, .. } => {
                *numbers.runs.entry(outcome.ending.code()).or_default() += 1;
                numbers.durations.observe(*took);
                numbers.retries += u64::from(retry.is_some());
            }
            Report::Superseded { .. } => *numbers.runs.entry("SUPERSEDED").or_default() += 1,
            Report::Accounted(account) => {
                *numbers.fires.entry((account.fate, account.reason)).or_default() += account.fires;
            }
            Report::Trouble { code, .. } => *numbers.troubles.entry(code).or_default() += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::id::JobName;
    use flockwork_core::time::Timestamp;
    use flockwork_node::Account;
    use flockwork_registry::SessionId;

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 3_600_000_000, 3_600_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let last = BUCKETS_MILLIS.len();
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (2, 1));
        assert_eq!((histogram.buckets[last - 1], histogram.buckets[last]), (1, 1));
        assert_eq!(histogram.count, 5);
    }

    #[test]
    fn accounts_add_up_by_fate_and_reason() {
        let metrics = Arc::new(Metrics::default());
        let mut counter = Counter(Arc::clone(&metrics));
        let account = |fate, reason, fires| Account {
            job: JobName::new("j").unwrap(),
            shard: 0,
            fate,
            reason,
            fires,
            first: Timestamp::default(),
            last: Timestamp::default(),
        };
        for report in [
            Report::Accounted(account(Fate::Skipped, Reason::Overlap, 3)),
            Report::Accounted(account(Fate::Skipped, Reason::Overlap, 2)),
            Report::Accounted(account(Fate::Missed, Reason::NoNode, 1)),
            Report::SessionLive(SessionId(1)),
            Report::SessionEnded(SessionId(1)),
        ] {
            counter.report(&Reported { at: Timestamp::default(), report });
        }
        let numbers = metrics.numbers();
        assert_eq!(numbers.fires[&(Fate::Skipped, Reason::Overlap)], 5);
        assert_eq!(numbers.fires[&(Fate::Missed, Reason::NoNode)], 1);
        assert_eq!((numbers.session, numbers.sessions_lost), (SessionHealth::Ended, 1));
    }
}
