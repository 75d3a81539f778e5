//! Requests to run a job now. Each request that is seen leads to one run of each shard here, or to a refusal
//! that is reported. The request is taken away only after the runs are claimed.

use super::once::Once;
use crate::Report;
use crate::mirror::{Mirror, Slot};
use crate::outbox::{Change, JobChange, Verdict};
use crate::shard::Shard;
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::id::ShardIndex;
use flockwork_layout::guarantee::Guarantee;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Op, Stamp};

/// The state of one job's request.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    /// The request that is being answered.
    taken: Option<Stamp>,
    /// Whether the request is being taken away.
    is_sending: bool,
}

impl Trigger {
    /// Returns the changes whose answers the trigger waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_sending.then_some(JobChange::Trigger).into_iter()
    }

    /// Answers a request to run now, if there is one.
    pub(crate) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        config: &JobConfig,
        shards: &mut [Shard],
    ) {
        if !turn.may_start() || self.is_sending {
            return;
        }
        let Some(stamp) = mirror.trigger().held().map(|held| held.stamp) else { return };
        if self.taken != Some(stamp) {
            // A shard whose owner is not known may be this instance's.
            if !knows_shards(turn, mirror, config.shards) {
                return;
            }
            self.taken = Some(stamp);
            take(turn, mirror, config, shards);
        }
        let counted = config.shards as usize;
        let mut is_open = false;
        for (at, shard) in shards.iter_mut().enumerate() {
            is_open |= shard.is_still_asked(mirror, turn.instance()) && at < counted;
        }
        if is_open {
            return;
        }
        self.is_sending = true;
        let key = turn.key(&own(turn));
        turn.send_for_job(JobChange::Trigger, vec![Op::Delete(key, Some(stamp))]);
    }

    /// Notes a request to run now in the document of a job that has a listener, if there is one: the job's
    /// leader opens one fire for it, for all shards. All instances were asked by one commit, so a request
    /// that another instance has noted is only taken away.
    pub(crate) fn note(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        once: &mut Once,
        config: &JobConfig,
    ) {
        if !turn.may_start() || self.is_sending {
            return;
        }
        let Some(stamp) = mirror.trigger().held().map(|held| held.stamp) else { return };
        // The leader makes the document, which says from when on the listener is called.
        let Some(stands) = once.stands(mirror).filter(|it| it.stamp.is_some()) else { return };
        if self.taken.replace(stamp) != Some(stamp) {
            let mine = |shard: &ShardIndex| {
                mirror.owner(*shard).and_then(Slot::value) == Some(turn.instance())
            };
            let shards = (0..config.shards).filter(mine).count();
            turn.report(Report::Triggered { job: turn.name.clone(), shards, refused: None });
        }
        let take_away = Op::Delete(turn.key(&own(turn)), Some(stamp));
        let asked = stamp.created.0;
        if stands.value.asked >= asked {
            self.is_sending = true;
            return turn.send_for_job(JobChange::Trigger, vec![take_away]);
        }
        let value = Guarantee { asked, ..stands.value };
        once.write(turn, stands.stamp, &value, vec![take_away]);
    }

    /// Handles the verdict on taking the request away.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        let own = own(turn);
        self.is_sending = !mirror.is_over(turn, change, verdict, std::slice::from_ref(&own));
        if matches!(verdict, Verdict::Done(_)) {
            mirror.read(turn, own);
        }
    }

    /// Notes that the job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        self.is_sending = false;
    }
}

fn own(turn: &Turn<'_>) -> Facet {
    Facet::Trigger(turn.instance().clone())
}

fn knows_shards(turn: &Turn<'_>, mirror: &Mirror, shards: u32) -> bool {
    let Some(is_enabled) = mirror.is_enabled(turn.instance()) else { return false };
    let is_known = |shard: ShardIndex| {
        let owner = mirror.owner(shard).and_then(Slot::known);
        // A shard that belongs to nobody is about to be dealt, perhaps to this instance.
        owner.is_some_and(|owner| owner.is_some() || !is_enabled) && mirror.is_off(shard).is_some()
    };
    (0..shards).all(is_known)
}

fn take(turn: &mut Turn<'_>, mirror: &Mirror, config: &JobConfig, shards: &mut [Shard]) {
    let is_enabled = mirror.is_enabled(turn.instance()) == Some(true);
    let (mut refused, mut taken, mut owned) = (None, 0, 0);
    for (index, shard) in (0..config.shards).zip(shards) {
        let owner = mirror.owner(index).and_then(Slot::value);
        if owner != Some(turn.instance()) {
            continue;
        }
        owned += 1;
        let refusal = match is_enabled {
            true => shard.asked(mirror, config.overlap),
            false => Some("DISABLED"),
        };
        match refusal {
            Some(code) => refused = Some(code),
            None => taken += 1,
        }
    }
    if owned == 0 {
        refused = Some("NO_SHARDS_HERE");
    }
    turn.report(Report::Triggered { job: turn.name.clone(), shards: taken, refused });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::outbox::{Purpose, ShardChange};
    use crate::rig::{ME, OTHER, Rig, config, entry, facts, instance, mirror, stamp};
    use flockwork_registry::Index;
    use std::sync::Arc;

    /// A job of two shards of this instance's, which it is asked to run.
    struct Asked {
        rig: Rig,
        mirror: Mirror,
        config: Arc<JobConfig>,
        shards: Vec<Shard>,
        trigger: Trigger,
    }

    impl Asked {
        fn new(lines: &str) -> Self {
            let mut rig = Rig::new();
            let config = config(&format!("{lines}\nprops:\n  flockwork.every: 1s"));
            let mut mirror = mirror(&mut rig, &config);
            mirror.holds(trigger(), Some(entry("", 4)));
            let shards = (0..config.shards).map(Shard::new).collect();
            Self { rig, mirror, config, shards, trigger: Trigger::default() }
        }

        fn of_two() -> Self {
            Self::new("shardingTotalCount: 2")
        }

        fn reconcile(&mut self) {
            let Self { rig, mirror, config, shards, trigger } = self;
            trigger.reconcile(&mut rig.turn(), mirror, config, shards);
        }

        /// Gives a shard to someone, in another state each time.
        fn give(&mut self, shard: ShardIndex, owner: &'static str) {
            let version = if owner == ME { 2 } else { 3 };
            self.mirror.holds(Facet::Owner(shard), Some(entry(owner, version)));
        }

        /// What is told of a request: how many shards run, and why others do not.
        fn told(&mut self) -> Option<(usize, Option<&'static str>)> {
            match self.rig.reports()[..] {
                [] => None,
                [Report::Triggered { shards, refused, .. }] => Some((shards, refused)),
                ref other => panic!("{other:?}"),
            }
        }

        /// Whether the request is taken away, as it was seen.
        fn is_deleted(&mut self) -> bool {
            let key = self.rig.turn().key(&trigger());
            let sent = self.rig.sent();
            assert!(
                sent.iter().all(|change| change.ops == [Op::Delete(key.clone(), Some(stamp(4)))])
            );
            sent.len() == 1
        }

        /// Starts a run of a shard that is due.
        fn run(&mut self, index: ShardIndex) {
            let (turn, facts) = (&mut self.rig.turn(), facts(&self.config));
            let (shard, mirror) = (&mut self.shards[index as usize], &mut self.mirror);
            shard.consider(turn, &facts, mirror);
            let Some(run) = shard.run_id() else { panic!("it is due") };
            let change = self.rig.sent_one();
            let turn = &mut self.rig.turn();
            let what = (ShardChange::Claim(run), change, &Verdict::Done(Index(9)));
            shard.answered(turn, &facts, mirror, what);
            shard.begin(turn, &facts, mirror, true);
            assert!(shard.has_started());
            self.rig.reports();
        }
    }

    fn trigger() -> Facet {
        Facet::Trigger(instance(ME))
    }

    #[test]
    fn a_request_waits_until_it_is_known_whose_each_shard_is_and_whether_it_is_on() {
        let server = Facet::Server(instance(ME).server().to_owned());
        for unknown in [Facet::Owner(1), Facet::Disabled(1), server, trigger()] {
            let mut asked = Asked::of_two();
            asked.mirror.read(&mut asked.rig.turn(), unknown.clone());
            asked.reconcile();
            assert_eq!((asked.told(), asked.is_deleted()), (None, false), "{unknown:?}");
        }
    }

    #[test]
    fn a_request_waits_until_each_shard_was_dealt_unless_this_instance_is_dealt_none() {
        let server = Facet::Server(instance(ME).server().to_owned());
        for (state, told) in [("ENABLED", None), ("DISABLED", Some((0, Some("DISABLED"))))] {
            let mut asked = Asked::of_two();
            asked.mirror.holds(Facet::Owner(1), None);
            asked.mirror.holds(server.clone(), Some(entry(state, 9)));
            asked.reconcile();
            assert_eq!(asked.told(), told, "{state}");
        }
    }

    #[test]
    fn nothing_is_answered_by_a_node_that_stops_or_cannot_prove_its_session() {
        let mut asked = Asked::of_two();
        let Asked { rig, mirror, config, shards, trigger } = &mut asked;
        trigger.reconcile(&mut Turn { is_draining: true, ..rig.turn() }, mirror, config, shards);
        asked.rig.pass(60_000);
        asked.reconcile();
        assert_eq!((asked.told(), asked.is_deleted()), (None, false));
    }

    #[test]
    fn a_request_is_told_once_and_taken_away_when_nothing_is_open() {
        let mut asked = Asked::of_two();
        for told in [Some((2, None)), None] {
            asked.reconcile();
            assert_eq!((asked.told(), asked.is_deleted()), (told, false));
        }
        asked.give(0, OTHER);
        asked.reconcile();
        assert!(!asked.is_deleted(), "the other shard's run is to be claimed");
        asked.give(1, OTHER);
        asked.reconcile();
        assert!(asked.is_deleted());
        asked.reconcile();
        assert!(!asked.is_deleted(), "once");
        assert_eq!(asked.trigger.awaited().collect::<Vec<_>>(), [JobChange::Trigger]);
    }

    #[test]
    fn a_request_that_cannot_be_answered_says_why_and_is_taken_away() {
        // The first row may run: its request stays.
        for (what, told) in [
            ("nothing", (2, None)),
            ("server off", (0, Some("DISABLED"))),
            ("shard off", (1, Some("DISABLED"))),
            ("shards off", (0, Some("DISABLED"))),
            ("one is another's", (1, None)),
            ("none is here", (0, Some("NO_SHARDS_HERE"))),
        ] {
            let mut asked = Asked::of_two();
            let off = || Some(entry("", 1));
            match what {
                "server off" => {
                    let server = Facet::Server(instance(ME).server().to_owned());
                    asked.mirror.holds(server, Some(entry("DISABLED", 2)));
                }
                "shard off" => asked.mirror.holds(Facet::Disabled(0), off()),
                "shards off" => {
                    (0..2).for_each(|at| asked.mirror.holds(Facet::Disabled(at), off()))
                }
                "one is another's" => asked.give(1, OTHER),
                "none is here" => (0..2).for_each(|at| asked.give(at, OTHER)),
                _ => {}
            }
            asked.reconcile();
            assert_eq!(asked.told(), Some(told), "{what}");
            assert_eq!(asked.is_deleted(), told.0 == 0, "{what}");
        }
    }

    #[test]
    fn a_shard_that_runs_is_refused_only_where_runs_must_not_follow_each_other() {
        for (overlap, told) in
            [("skip", (1, Some("OVERLAP"))), ("run-once-after", (2, None)), ("queue", (2, None))]
        {
            let lines = "shardingTotalCount: 2";
            let mut asked = Asked::new(lines);
            let text =
                format!("{lines}\nprops:\n  flockwork.every: 1s\n  flockwork.overlap: {overlap}");
            asked.config = config(&text);
            asked.run(0);
            asked.reconcile();
            assert_eq!(asked.told(), Some(told), "{overlap}");
        }
    }

    #[test]
    fn a_request_that_was_made_anew_is_answered_anew() {
        let mut asked = Asked::of_two();
        asked.reconcile();
        assert_eq!(asked.told(), Some((2, None)));
        asked.mirror.holds(trigger(), Some(entry("", 5)));
        asked.reconcile();
        assert_eq!(asked.told(), Some((2, None)));
    }

    #[test]
    fn shards_that_count_no_more_hold_no_request_up() {
        let mut asked = Asked::new("shardingTotalCount: 3");
        asked.reconcile();
        (0..2).for_each(|at| asked.give(at, OTHER));
        asked.reconcile();
        assert!(!asked.is_deleted(), "the third is open");
        asked.config = config("shardingTotalCount: 2\nprops:\n  flockwork.every: 1s");
        asked.reconcile();
        assert!(asked.is_deleted());
    }

    #[test]
    fn a_request_that_was_taken_away_is_looked_at_again() {
        for (verdict, is_over) in [
            (Verdict::Done(Index(9)), true),
            (Verdict::Refused(flockwork_registry::Why::Changed, Some(trigger())), true),
            (Verdict::Unknown, true),
            (Verdict::NotTaken, false),
        ] {
            let mut asked = Asked::of_two();
            (0..2).for_each(|at| asked.give(at, OTHER));
            asked.reconcile();
            let change = asked.rig.sent_one();
            assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Trigger));
            let Asked { rig, mirror, trigger: duty, .. } = &mut asked;
            duty.answered(&mut rig.turn(), mirror, change, &verdict);
            assert_eq!(duty.awaited().count(), usize::from(!is_over), "{verdict:?}");
            assert_eq!(rig.sent().len(), usize::from(!is_over), "{verdict:?}");
            assert_eq!(rig.asked(), vec![trigger(); usize::from(is_over)], "{verdict:?}");
            duty.removed();
            assert_eq!(duty.awaited().count(), 0);
        }
    }

    #[test]
    fn a_job_with_a_listener_has_its_request_noted_once_for_all_instances() {
        // The last request that the document names; what the change writes and deletes.
        let table = [(Some(0), true), (Some(3), true), (Some(4), false), (Some(5), false)];
        for (noted, is_written) in table {
            let mut asked = Asked::of_two();
            let mut made = entry("", 4);
            made.stamp.created = Index(4);
            asked.mirror.holds(trigger(), Some(made));
            let document = noted.map(|asked: u64| {
                let value = Guarantee { asked, ..Guarantee::default() };
                entry(flockwork_layout::guarantee::encode(&value), 1)
            });
            let mut once = Once::default();
            let Asked { rig, mirror, config, trigger: duty, .. } = &mut asked;
            duty.note(&mut rig.turn(), mirror, &mut once, config);
            assert_eq!(rig.sent().len(), 0, "the document was not read");
            mirror.holds(Facet::Once, None);
            duty.note(&mut rig.turn(), mirror, &mut once, config);
            assert_eq!(rig.sent().len(), 0, "the leader makes it");
            mirror.holds(Facet::Once, document);
            for _ in 0..2 {
                duty.note(&mut rig.turn(), mirror, &mut once, config);
            }
            let change = rig.sent_one();
            assert_eq!(rig.deleted(&change), [trigger()], "{noted:?}");
            let written = if is_written { vec![Facet::Once] } else { vec![] };
            assert_eq!(rig.written(&change), written, "{noted:?}");
            assert_eq!(asked.told(), Some((2, None)), "{noted:?}");
        }
    }
}
