//! The invariants between the parts of a node: they must hold after each event, whatever has happened. Each
//! part keeps its own state whole; this file compares what two parts say about the same thing.

use crate::alarms::Alarms;
use crate::asking::Asking;
use crate::capacity::Capacity;
use crate::dirty::Dirty;
use crate::job::Job;
use crate::names::JobIx;
use crate::outbox::{Outbox, Purpose};

/// The parts of a node that are compared.
pub(crate) struct Parts<'a> {
    pub(crate) jobs: &'a [Job],
    pub(crate) asking: &'a Asking,
    pub(crate) capacity: &'a Capacity,
    pub(crate) outbox: &'a Outbox,
    pub(crate) alarms: &'a Alarms,
    pub(crate) dirty: &'a Dirty,
}

impl Parts<'_> {
    /// Finds what does not hold between the parts.
    ///
    /// # Errors
    /// The text says, for people, what does not hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_places()?;
        self.check_answers()?;
        self.check_turns()
    }

    /// Checks that each run, and nothing else, has a place under its own number, and that each fire that
    /// waits, and nothing else, waits for a place.
    fn check_places(&self) -> Result<(), String> {
        let (mut runs, mut waiting) = (0, 0);
        for (ix, job) in self.each() {
            for (shard, run, waits_since) in job.places() {
                let whose = (ix, shard);
                if let Some(run) = run {
                    runs += 1;
                    if self.capacity.whose(run) != Some(whose) {
                        return Err(format!("{run:?} of {whose:?} has no place"));
                    }
                }
                if let Some((due, shard)) = waits_since.zip(shard) {
                    waiting += 1;
                    if !self.capacity.waits(due, (ix, shard)) {
                        return Err(format!("shard {whose:?} waits, and nobody knows"));
                    }
                }
            }
        }
        let counted = (self.capacity.running(), self.capacity.waiting());
        match counted == (runs, waiting) {
            true => Ok(()),
            false => {
                Err(format!("places: {counted:?}; runs and fires that wait: {:?}", (runs, waiting)))
            }
        }
    }

    /// Checks that each answer that is waited for will come: the change is under way.
    fn check_answers(&self) -> Result<(), String> {
        let under_way: Vec<Purpose> = self.outbox.purposes().collect();
        for (ix, job) in self.each() {
            let mut forgotten = None;
            job.awaited(ix, &mut |purpose| {
                if !under_way.contains(&purpose) {
                    forgotten = Some(purpose);
                }
            });
            if let Some(purpose) = forgotten {
                return Err(format!("{purpose:?} is waited for, and is not under way"));
            }
        }
        let is_asked = |id| {
            under_way.contains(&Purpose::Trigger(id)) || self.outbox.asked_for().any(|of| of == id)
        };
        match self.asking.open().find(|id| !is_asked(*id)) {
            Some(id) => Err(format!("{id:?} waits for an answer, and asked nothing")),
            None => Ok(()),
        }
    }

    /// Checks that nothing of a turn is left between two events, and that a run that waits for its instant
    /// will be woken.
    fn check_turns(&self) -> Result<(), String> {
        if !self.dirty.has_no_shard() {
            return Err("a shard was marked and not looked at".to_owned());
        }
        for (ix, job) in self.each() {
            if let Some(shard) = job.unsettled() {
                return Err(format!("shard {shard} of {ix:?} has a claim that nobody begins"));
            }
            if job.waits_for_an_instant() && !self.alarms.has_starts() {
                return Err(format!("{ix:?} waits for an instant, and no alarm is set"));
            }
            if !job.is_whole() {
                return Err(format!("{ix:?} has shards without keys, or keys without shards"));
            }
        }
        Ok(())
    }

    fn each(&self) -> impl Iterator<Item = (JobIx, &Job)> {
        self.jobs.iter().enumerate().map(|(at, job)| (JobIx::at(at), job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{JobChange, ShardChange, Verdict};
    use crate::rig::{ME, OTHER, Rig, at, config, entry, instance};
    use bytes::Bytes;
    use flockwork_core::config::JobConfig;
    use flockwork_core::execution::RunId;
    use flockwork_layout::document;
    use flockwork_layout::keys::Facet;
    use flockwork_layout::plan::{self, Plan};
    use flockwork_layout::record::{self, Stored};
    use flockwork_registry::{Answer, Entry, Index, SessionId};
    use std::collections::BTreeMap;

    const DONE: Verdict = Verdict::Done(Index(9));

    /// What the registry holds of a job of one shard of this instance's, whose fires are accounted up to
    /// an instant. One comes due each second, and is claimed half a second before.
    fn registry(config: &JobConfig, through: i64) -> BTreeMap<Facet, Answer> {
        let schedule = config.schedule_fingerprint();
        let plan = Plan::new(schedule.into(), 1, at(1_000));
        let mut stored = Stored::default();
        stored.record.watermark = at(through);
        let held = |facet, value: Bytes| (facet, Answer::Entry(Some(entry(value, 1))));
        let list = |facet| (facet, Answer::Children(None));
        let led = Entry { session: Some(SessionId(8)), ..entry(OTHER, 1) };
        BTreeMap::from([
            held(Facet::Config, document::encode(config).into()),
            held(Facet::Job, "x".into()),
            held(Facet::OwnJob, "".into()),
            held(Facet::Server(instance(ME).server().to_owned()), "ENABLED".into()),
            held(Facet::Plan, plan::encode(&plan)),
            (Facet::Leader, Answer::Entry(Some(led))),
            held(Facet::Owner(0), ME.into()),
            held(Facet::Record(0), record::encode(&stored)),
            list(Facet::Instances),
            list(Facet::Sharding),
            list(Facet::Retries),
        ])
    }

    /// Answers what is read until all is known.
    fn learn(rig: &mut Rig, job: &mut Job, registry: &BTreeMap<Facet, Answer>) {
        for _ in 0..10 {
            for facet in rig.asked() {
                let answer = registry.get(&facet).cloned().unwrap_or(Answer::Entry(None));
                job.read(&mut rig.turn(), &facet, answer);
            }
            job.reconcile(&mut rig.turn());
        }
    }

    /// That job, served by this instance.
    fn served(rig: &mut Rig, through: i64) -> Job {
        let lines = "shardingTotalCount: 1\nprops:\n  flockwork.every: 1s";
        let config = config(&format!("{lines}\n  flockwork.claim_ahead: 500ms"));
        let mut registry = registry(&config, through);
        let mut job = Job::new(config, false);
        job.begin(&mut rig.turn());
        learn(rig, &mut job, &registry);
        let change = rig.sent_one();
        job.answered(&mut rig.turn(), JobChange::Register, change, &DONE);
        let live = Answer::Children(Some(vec![ME.to_owned()]));
        registry.insert(Facet::Instances, live);
        learn(rig, &mut job, &registry);
        job
    }

    fn found(rig: &mut Rig, job: &Job) -> String {
        let turn = rig.turn();
        let parts = Parts {
            jobs: std::slice::from_ref(job),
            asking: &Asking::default(),
            capacity: turn.capacity,
            outbox: turn.outbox,
            alarms: turn.alarms,
            dirty: turn.dirty,
        };
        parts.check().err().unwrap_or_default()
    }

    #[test]
    fn a_change_that_is_waited_for_is_under_way() {
        let mut rig = Rig::new();
        let job = served(&mut rig, 1_000);
        assert!(job.places().any(|(_, run, _)| run.is_some()), "what is due is claimed");
        assert_eq!(found(&mut rig, &job), "");
        rig.sent();
        let found = found(&mut rig, &job);
        assert!(found.contains("Claim") && found.ends_with("is not under way"), "{found}");
    }

    #[test]
    fn each_run_has_a_place_and_each_place_a_run() {
        let mut rig = Rig::new();
        let job = served(&mut rig, 1_000);
        let (_, run, _) = job.places().next().unwrap();
        rig.capacity.take(RunId(99), (JobIx(0), Some(0)));
        assert!(found(&mut rig, &job).starts_with("places: (2, 0)"));
        rig.capacity.free(RunId(99));
        assert_eq!(found(&mut rig, &job), "");
        // The same number, and another shard's.
        rig.capacity.take(run.unwrap(), (JobIx(0), Some(1)));
        assert!(found(&mut rig, &job).ends_with("has no place"));
        rig.capacity = Capacity::new(8);
        assert!(found(&mut rig, &job).ends_with("has no place"));
    }

    #[test]
    fn each_fire_that_waits_is_known_to_wait() {
        let mut rig = Rig::new();
        rig.capacity = Capacity::new(0);
        let job = served(&mut rig, 1_000);
        assert!(job.places().any(|(.., waits)| waits.is_some()), "there is no place");
        assert_eq!(found(&mut rig, &job), "");
        rig.capacity.wait(at(7_000), (JobIx(0), 0));
        assert!(found(&mut rig, &job).starts_with("places: (0, 2)"));
        rig.capacity = Capacity::new(0);
        assert!(found(&mut rig, &job).ends_with("waits, and nobody knows"));
    }

    #[test]
    fn nothing_is_left_of_a_turn_and_what_waits_for_its_instant_is_woken() {
        let mut rig = Rig::new();
        let mut job = served(&mut rig, 10_000);
        assert_eq!(found(&mut rig, &job), "");
        rig.pass(500);
        job.instant_has_come(&mut rig.turn(), at(10_500));
        let (_, run, _) = job.places().next().unwrap();
        let what = ShardChange::Claim(run.expect("it is claimed ahead"));
        let change = rig.sent_one();
        job.shard_answered(&mut rig.turn(), 0, (what, change, &DONE));
        assert!(found(&mut rig, &job).starts_with("a shard was marked"));
        let marked = rig.marked();
        assert!(found(&mut rig, &job).ends_with("has a claim that nobody begins"));
        for shard in marked {
            rig.turn().mark_shard(shard);
        }
        job.settle(&mut rig.turn());
        assert!(job.waits_for_an_instant());
        assert_eq!(found(&mut rig, &job), "");
        rig.alarms = Alarms::default();
        assert!(found(&mut rig, &job).ends_with("no alarm is set"));
    }
}
