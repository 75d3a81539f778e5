//! The reading of a job's keys: at its beginning, from time to time, and whenever answers were lost.

use crate::alarms::Alarm;
use crate::mirror::{Mirror, RecordIs};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How soon reads that gave no answer are sent again.
pub(crate) const REREAD_AFTER: Duration = Duration::from_millis(500);

/// The state of one job's reading.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Whether reads and watches were sent.
    is_watched: bool,
    /// Whether reads that gave no answer are to be sent again.
    is_reread_due: bool,
    /// Whether the job is read again from time to time.
    is_timed: bool,
}

impl Reading {
    /// Watches and reads the keys that tell whether and how the job is to be served.
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

    /// Reads the job under a new session. The registry may be another one behind the same address.
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

    /// Reads the job again because watches may have been silent for a while.
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

    /// Sets an alarm to repeat a read that gave no answer.
    pub(crate) fn reread_soon(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.is_reread_due, true) {
            turn.alarm_in(REREAD_AFTER, Alarm::Reread(turn.job));
        }
    }

    /// Notes that the reads without an answer are sent again now.
    pub(crate) fn rereads_now(&mut self) {
        self.is_reread_due = false;
    }

    /// Sets the first alarm for the reads from time to time. Jobs that were joined together are not read
    /// together, or claims would queue behind the reads of thousands of jobs.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::rig::{ME, Rig, entry, instance};
    use flockwork_core::id::JobName;
    use flockwork_core::time::Mono;

    /// All that is watched from the beginning.
    fn watched() -> Vec<Facet> {
        vec![
            Facet::Config,
            Facet::Instances,
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Plan,
            Facet::Trigger(instance(ME)),
            Facet::Retries,
            Facet::Server(instance(ME).server().to_owned()),
        ]
    }

    fn others(_: ShardIndex) -> RecordIs {
        RecordIs::Others
    }

    /// A job that is watched, and all of it read.
    fn begun() -> (Rig, Mirror, Reading) {
        let (mut rig, mut mirror, mut reading) =
            (Rig::new(), Mirror::default(), Reading::default());
        reading.begin(&mut rig.turn(), &mut mirror);
        for facet in [watched(), vec![Facet::Job, Facet::OwnJob]].concat() {
            match facet {
                Facet::Instances | Facet::Sharding | Facet::Retries => mirror.lists(facet, &[]),
                facet => mirror.holds(facet, None),
            }
        }
        rig.asked();
        rig.is_job_marked();
        (rig, mirror, reading)
    }

    #[test]
    fn a_job_is_watched_and_read_once() {
        let (mut rig, mut mirror, mut reading) =
            (Rig::new(), Mirror::default(), Reading::default());
        reading.begin(&mut rig.turn(), &mut mirror);
        assert!(rig.is_job_marked());
        let asked = rig.asked();
        let count = |facet: &Facet| asked.iter().filter(|asked| *asked == facet).count();
        for facet in watched() {
            assert_eq!(count(&facet), 2, "{facet:?}: a watch, then a read");
        }
        for facet in [Facet::Job, Facet::OwnJob] {
            assert_eq!(count(&facet), 1, "{facet:?}: known to change with the definition");
        }
        reading.begin(&mut rig.turn(), &mut mirror);
        assert!(rig.asked().is_empty() && !rig.is_job_marked());
    }

    #[test]
    fn a_first_session_begins_and_any_other_reads_all_again() {
        let (mut rig, mut mirror, mut reading) =
            (Rig::new(), Mirror::default(), Reading::default());
        reading.session_is_new(&mut rig.turn(), &mut mirror, others);
        assert_eq!(rig.asked().len(), 2 * watched().len() + 2);

        let (mut rig, mut mirror, mut reading) = begun();
        mirror.holds(Facet::Leader, Some(entry(ME, 3)));
        reading.session_is_new(&mut rig.turn(), &mut mirror, others);
        let mut asked = rig.asked();
        asked.sort();
        let mut wanted = [watched(), vec![Facet::Job, Facet::OwnJob]].concat();
        wanted.sort();
        assert_eq!(asked, wanted, "each once: its watches stand");
    }

    #[test]
    fn what_was_not_begun_is_not_read_again() {
        let (mut rig, mut mirror) = (Rig::new(), Mirror::default());
        Reading::default().resync(&mut rig.turn(), &mut mirror, others);
        assert!(rig.asked().is_empty());
        let (mut rig, mut mirror, reading) = begun();
        reading.resync(&mut rig.turn(), &mut mirror, others);
        assert_eq!(rig.asked().len(), watched().len() + 2);
    }

    #[test]
    fn reads_that_gave_no_answer_are_sent_again_together() {
        let (mut rig, mut reading) = (Rig::new(), Reading::default());
        for millis in [0, 100] {
            rig.pass(millis);
            reading.reread_soon(&mut rig.turn());
        }
        let count = |rig: &mut Rig| {
            std::iter::from_fn(|| rig.alarms.pop(Mono::from_millis(60_000))).count()
        };
        assert_eq!(rig.alarms.next().1, Some(Mono::from_millis(10_500)));
        assert_eq!(count(&mut rig), 1);
        reading.rereads_now();
        reading.reread_soon(&mut rig.turn());
        assert_eq!(count(&mut rig), 1, "what then gives no answer is sent again, too");
    }

    #[test]
    fn jobs_that_were_joined_together_are_not_read_together() {
        let interval = Duration::from_secs(600);
        let mut firsts = Vec::new();
        for at in 0..40 {
            let (mut rig, mut reading) = (Rig::new(), Reading::default());
            let name = JobName::new(&format!("job-{at}")).unwrap();
            for _ in 0..2 {
                let mut turn = Turn { name: &name, ..rig.turn() };
                reading.resync_from_time_to_time(&mut turn, interval);
            }
            let first = rig.alarms.next().1.unwrap();
            assert_eq!(rig.alarms.pop(first), Some(Alarm::Resync(JobIx(0))));
            assert_eq!(rig.alarms.next().1, None, "one alarm");
            firsts.push(first.since(rig.now.mono));
        }
        assert!(firsts.iter().all(|first| (interval / 2..interval).contains(first)), "{firsts:?}");
        // Over the whole of that half: nowhere is a gap that is much more than its fortieth.
        firsts.extend([interval / 2, interval]);
        firsts.sort();
        let gap = firsts.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(gap < interval / 8, "{firsts:?}");
    }
}
