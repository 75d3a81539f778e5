//! The times at which the node wants to be woken: one queue of due instants on the wall clock for all jobs,
//! and one queue of deadlines on the monotonic clock.

use crate::names::JobIx;
use crate::timeouts::Timeouts;
use flockwork_core::execution::RunId;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::{Mono, Timestamp};
use flockwork_core::timetable::Timetable;
use std::collections::BTreeSet;

/// A deadline on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The run was told to stop and should have ended by now.
    Overdue(RunId),
    /// The run took over a claim made ahead and has waited as long as any such run may wait.
    Begin(RunId),
    /// The session can no longer be proven.
    TrustEnd,
    /// The shard waits for something and is looked at again.
    Reconsider(JobIx, ShardIndex),
    /// A job is looked at again.
    Reconcile(JobIx),
    /// The reads of a job that gave no answer are sent again.
    Reread(JobIx),
    /// All that is believed about a job is read again, from time to time, whatever the watches report.
    Resync(JobIx),
    /// A clock that differs from the registry's is measured again.
    Clock(JobIx),
    /// The namespace's root is read again, as there was no answer.
    Root,
    /// People are told of the jobs that were made anew.
    MadeAnew,
    /// What is known of a job's script may have changed with time.
    Looking(JobIx),
    /// Watches that were not confirmed are set again.
    Watch,
    /// A request of this process to run a job now has been waited for long enough.
    Asking,
    /// Changes that were held back may be sent.
    Send,
}

/// The queues of instants and of deadlines.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    due: Timetable<JobIx>,
    starts: Timetable<RunId>,
    /// The time-outs of runs. `timeouts.rs` says why they are apart.
    timeouts: Timeouts,
    /// The time at which the end of the session's trust is looked at.
    trust_end: Option<Mono>,
    deadlines: BTreeSet<(Mono, Alarm)>,
}

impl Alarms {
    /// Adds an instant at which a job is due. When the instant comes, the job compares it with its timer and
    /// ignores an instant that no longer holds.
    pub(crate) fn add_due(&mut self, at: Timestamp, job: JobIx) {
        self.due.enter(at, job);
    }

    /// Adds the instant at which a claimed run starts. When the instant comes, a run that no longer waits for
    /// it ignores it.
    pub(crate) fn add_start(&mut self, at: Timestamp, run: RunId) {
        self.starts.enter(at, run);
    }

    pub(crate) fn add(&mut self, at: Mono, alarm: Alarm) {
        self.deadlines.insert((at, alarm));
    }

    /// Sets an alarm for the time when the session can no longer be proven.
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

    /// Adds the time at which a run times out.
    pub(crate) fn add_timeout(&mut self, at: Mono, run: RunId) {
        self.timeouts.add(at, run);
    }

    /// Notes that a run with a time-out is over.
    pub(crate) fn timeout_is_over(&mut self, run: RunId) {
        self.timeouts.is_over(run);
    }

    /// Returns a run whose time-out has passed, perhaps a run that is over.
    pub(crate) fn pop_timeout(&mut self, now: Mono) -> Option<RunId> {
        self.timeouts.pop(now)
    }

    /// Returns whether any run may wait for its instant: each run that waits has an entry.
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

    /// Returns the earliest instant and the earliest deadline.
    pub(crate) fn next(&self) -> (Option<Timestamp>, Option<Mono>) {
        let instants = [self.due.next(), self.starts.next()];
        let deadlines = [self.deadlines.first().map(|(at, _)| *at), self.timeouts.next()];
        (instants.into_iter().flatten().min(), deadlines.into_iter().flatten().min())
    }
}
