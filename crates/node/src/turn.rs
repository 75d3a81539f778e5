//! One turn of a job: what time it is, and all that its duties may touch besides the job itself.

use crate::alarms::Alarms;
use crate::clock::RegistryClock;
use crate::job::JobIx;
use crate::link::Link;
use crate::run_table::RunTable;
use crate::trust::Trust;
use crate::{Effect, Report, Settings};
use bytes::Bytes;
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::{Now, Timestamp};
use std::collections::BTreeSet;

/// One turn of one job.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    /// The job whose turn it is.
    pub(crate) ix: JobIx,
    pub(crate) settings: &'a Settings,
    /// This instance as marks and flags hold it.
    pub(crate) me: &'a Bytes,
    pub(crate) is_draining: bool,
    pub(crate) trust: &'a Trust,
    pub(crate) clock: &'a mut RegistryClock,
    pub(crate) link: &'a mut Link,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) runs: &'a mut RunTable,
    pub(crate) last_run: &'a mut u64,
    pub(crate) waiting: &'a mut BTreeSet<(Timestamp, JobIx, ShardIndex)>,
    pub(crate) untended: &'a mut BTreeSet<JobIx>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    /// The job is looked at as a whole before anything is sent.
    pub(crate) fn tend(&mut self) {
        self.untended.insert(self.ix);
    }

    /// Whether something new may start.
    pub(crate) fn may_start(&self) -> bool {
        self.trust.is_proven(self.now) && !self.is_draining
    }

    /// Wakes when the session can no longer be proven, if a run must then stop.
    pub(crate) fn watch_trust(&mut self) {
        self.alarms.watch_trust(self.now.mono, self.trust.until());
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    pub(crate) fn trouble(&mut self, job: Option<&JobName>, code: &'static str, text: String) {
        self.report(Report::Trouble { job: job.cloned(), code, text });
    }
}
