//! When a job's keys are read: at its beginning, from time to time, and whenever answers were lost.

use crate::alarms::Alarm;
use crate::mirror::{Mirror, RecordIs};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How soon reads that gave no answer are sent again.
pub(crate) const REREAD_AFTER: Duration = Duration::from_millis(500);

/// One job's reading.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Whether reads and watches were sent.
    is_watched: bool,
    /// Whether reads that gave no answer are to be sent again.
    is_reread_due: bool,
    /// Whether it is read again from time to time.
    is_timed: bool,
}

impl Reading {
    /// Watches and reads what tells whether and how the job is to be served.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        if std::mem::replace(&mut self.is_watched, true) {
            return;
        }
        let me = turn.instance().clone();
        let facets = [
            Facet::Config,
            Facet::Instances,
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Plan,
            Facet::Trigger(me.clone()),
            Facet::Retries,
            Facet::Server(me.server().to_owned()),
        ];
        for facet in facets {
            mirror.watch(turn, facet);
        }
        mirror.read(turn, Facet::Job);
        mirror.read(turn, Facet::OwnJob);
        turn.mark_job();
    }

    /// The registry may be another one behind the same address.
    pub(crate) fn session_is_new(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        record_is: impl Fn(ShardIndex) -> RecordIs,
    ) {
        match self.is_watched {
            true => mirror.read_anew(turn, record_is),
            false => self.begin(turn, mirror),
        }
    }

    /// Watches may have been silent for a while.
    pub(crate) fn resync(
        &self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        record_is: impl Fn(ShardIndex) -> RecordIs,
    ) {
        if self.is_watched {
            mirror.reread(turn, record_is);
        }
    }

    /// A read gave no answer.
    pub(crate) fn reread_soon(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.is_reread_due, true) {
            turn.alarm_in(REREAD_AFTER, Alarm::Reread(turn.job));
        }
    }

    /// Such reads are sent again now.
    pub(crate) fn rereads_now(&mut self) {
        self.is_reread_due = false;
    }

    /// Sets the first alarm of those that come from time to time. Jobs that were joined together are not
    /// read together, or claims would queue behind the reads of thousands.
    pub(crate) fn resync_from_time_to_time(&mut self, turn: &mut Turn<'_>, interval: Duration) {
        if std::mem::replace(&mut self.is_timed, true) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (turn.name.as_str(), turn.me).hash(&mut hasher);
        let half = interval / 2;
        let first = half + half.mul_f64((hasher.finish() % 1_000) as f64 / 1_000.0);
        turn.alarm_in(first, Alarm::Resync(turn.job));
    }
}
