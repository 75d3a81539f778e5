//! The turn of a job: the time, and all that the job's duties may touch besides their own state.

use crate::alarms::{Alarm, Alarms};
use crate::capacity::Capacity;
use crate::dirty::Dirty;
use crate::history::History;
use crate::names::JobIx;
use crate::outbox::{Change, JobChange, Outbox, Purpose};
use crate::registry_clock::RegistryClock;
use crate::trust::Trust;
use crate::{Effect, Report, Settings};
use bytes::Bytes;
use flockwork_core::execution::RunId;
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Key, Op, SessionId};
use std::time::Duration;

/// The turn of one job for one event.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    /// The job whose turn it is.
    pub(crate) job: JobIx,
    pub(crate) name: &'a JobName,
    pub(crate) settings: &'a Settings,
    /// The id of this instance, as marks and flags hold it.
    pub(crate) me: &'a Bytes,
    pub(crate) is_draining: bool,
    pub(crate) trust: &'a Trust,
    pub(crate) history: &'a mut History,
    pub(crate) clock: &'a mut RegistryClock,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) capacity: &'a mut Capacity,
    pub(crate) dirty: &'a mut Dirty,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    /// Returns the id of this instance.
    pub(crate) fn instance(&self) -> &InstanceId {
        &self.settings.instance
    }

    /// Returns the session that owns this node's entries, if there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.trust.session()
    }

    /// Returns whether anything new may start.
    pub(crate) fn may_start(&self) -> bool {
        self.trust.is_proven(self.now) && !self.is_draining
    }

    /// Marks the job: it is looked at as a whole before anything is sent.
    pub(crate) fn mark_job(&mut self) {
        self.dirty.mark_job(self.job);
    }

    /// Marks a shard of the job: the shard is looked at before this turn is over.
    pub(crate) fn mark_shard(&mut self, shard: ShardIndex) {
        self.dirty.mark_shard(shard);
    }

    /// Marks the job after a while, so that it is looked at as a whole then.
    pub(crate) fn mark_job_in(&mut self, after: Duration) {
        self.alarm_in(after, Alarm::Reconcile(self.job));
    }

    pub(crate) fn alarm_in(&mut self, after: Duration, alarm: Alarm) {
        self.alarms.add(self.now.mono.plus(after), alarm);
    }

    pub(crate) fn alarm_at(&mut self, at: Mono, alarm: Alarm) {
        self.alarms.add(at, alarm);
    }

    /// Sets an alarm for the time when the session can no longer be proven, for runs that must then stop.
    pub(crate) fn watch_trust(&mut self) {
        self.alarms.watch_trust(self.now.mono, self.trust.until());
    }

    /// Returns the key of a facet of the job.
    pub(crate) fn key(&self, facet: &Facet) -> Key {
        self.settings.namespace.key(self.name, facet)
    }

    /// Returns the facet that a key of this job belongs to.
    pub(crate) fn facet(&self, key: &Key) -> Option<Facet> {
        self.settings.namespace.parse(key).map(|(_, facet)| facet)
    }

    /// Sends a change of the whole job with the next commit.
    pub(crate) fn send_for_job(&mut self, what: JobChange, ops: Vec<Op>) {
        self.send(Purpose::Job(self.job, what), ops);
    }

    /// Sends a change with the next commit.
    pub(crate) fn send(&mut self, purpose: Purpose, ops: Vec<Op>) {
        self.outbox.gather(Change::new(purpose, ops));
    }

    /// Sends again a change that the registry could not take.
    pub(crate) fn send_again(&mut self, change: Change) {
        self.outbox.gather(change);
    }

    /// Sets the alarm for the instant at which a waiting run starts.
    pub(crate) fn start_at(&mut self, at: Timestamp, run: RunId) {
        self.alarms.add_start(at, run);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// Reports something about the job that a person may have to look at.
    pub(crate) fn trouble(&mut self, code: &'static str, text: String) {
        self.report(Report::Trouble { job: Some(self.name.clone()), code, text });
    }
}
