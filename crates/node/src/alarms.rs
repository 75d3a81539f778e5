//! What the node wants to be woken for: one queue of due instants on the wall clock for all jobs,
//! one of deadlines on the monotonic clock.

use crate::names::JobIx;
use crate::timeouts::Timeouts;
use flockwork_core::execution::RunId;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::{Mono, Timestamp};
use flockwork_core::timetable::Timetable;
use std::collections::BTreeSet;

/// A deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// A run that was told to stop should have by now.
    Overdue(RunId),
    /// A run that took over a claim made ahead has waited for as long as any does.
    Begin(RunId),
    /// The session can no longer be proven.
    TrustEnd,
    /// A shard that waits for something is looked at again.
    Reconsider(JobIx, ShardIndex),
    /// A job is looked at again.
    Reconcile(JobIx),
    /// Reads of a job that gave no answer are sent again.
    Reread(JobIx),
    /// All that is believed about a job is read again, from time to time, whatever watches tell.
    Resync(JobIx),
    /// A clock that differs is measured anew.
    Clock(JobIx),
    /// Watches that were not confirmed are set again.
    Watch,
    /// What was held back may be sent.
    Send,
}

/// Both queues.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    due: Timetable<JobIx>,
    starts: Timetable<RunId>,
    /// Of runs. See there why they are apart.
    timeouts: Timeouts,
    /// When the end of the session's trust is looked at.
    trust_end: Option<Mono>,
    deadlines: BTreeSet<(Mono, Alarm)>,
}

impl Alarms {
    /// A job is due at an instant. Whoever is told compares with what the job says now: an entry
    /// that no longer holds is passed over.
    pub(crate) fn add_due(&mut self, at: Timestamp, job: JobIx) {
        self.due.enter(at, job);
    }

    /// A run that is claimed already starts at an instant. Whoever is told passes it over if it no longer
    /// waits for that.
    pub(crate) fn add_start(&mut self, at: Timestamp, run: RunId) {
        self.starts.enter(at, run);
    }

    pub(crate) fn add(&mut self, at: Mono, alarm: Alarm) {
        self.deadlines.insert((at, alarm));
    }

    /// Wakes when the session can no longer be proven.
    pub(crate) fn watch_trust(&mut self, now: Mono, until: Mono) {
        let is_set = self.trust_end.is_some_and(|at| at > now);
        if !is_set && until != Mono::from_millis(u64::MAX) && until > now {
            self.trust_end = Some(until);
            self.add(until, Alarm::TrustEnd);
        }
    }

    pub(crate) fn trust_alarm_came(&mut self) {
        self.trust_end = None;
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, JobIx)> {
        self.due.pop_due(now)
    }

    /// A run has had its time at an instant.
    pub(crate) fn add_timeout(&mut self, at: Mono, run: RunId) {
        self.timeouts.add(at, run);
    }

    /// A run that has a time-out is over.
    pub(crate) fn timeout_is_over(&mut self, run: RunId) {
        self.timeouts.is_over(run);
    }

    /// A run whose time has passed, perhaps one that is over.
    pub(crate) fn pop_timeout(&mut self, now: Mono) -> Option<RunId> {
        self.timeouts.pop(now)
    }

    /// Whether any run may wait for its instant: each that does has an entry.
    pub(crate) fn has_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    pub(crate) fn pop_start(&mut self, now: Timestamp) -> Option<RunId> {
        self.starts.pop_due(now).map(|(_, run)| run)
    }

    pub(crate) fn pop(&mut self, now: Mono) -> Option<Alarm> {
        self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.pop_first().map(|(_, alarm)| alarm)
    }

    /// The earliest of each.
    pub(crate) fn next(&self) -> (Option<Timestamp>, Option<Mono>) {
        let instants = [self.due.next(), self.starts.next()];
        let deadlines = [self.deadlines.first().map(|(at, _)| *at), self.timeouts.next()];
        (instants.into_iter().flatten().min(), deadlines.into_iter().flatten().min())
    }
}
