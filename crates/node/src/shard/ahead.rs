//! Claims that stand and whose code has not started. The code starts at once if the fire is due. If the fire
//! was claimed before it was due (`claim_ahead`), the code starts at the due instant: the registry's cost is
//! paid by then, and nothing is left but to start the code.
//!
//! A claim made ahead is like any other claim, held a little longer: no other instance can run its fire. It
//! is made only where nothing else is to be decided about the shard. It is given back as soon as what it was
//! based on is known not to stand any more, and at its instant also where that is in doubt. The fire is then
//! settled as if it had never been claimed. An instance that takes over such a claim waits for the instant as
//! well.

use super::back::TakingBack;
use super::claim::OwnClaim;
use crate::alarms::Alarm;
use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::account::{Claim, Hold, Policy, Settled, settle};
use flockwork_core::config::MAX_CLAIM_AHEAD;
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::record::Stored;
use flockwork_registry::{SessionId, Stamp};

/// A claim that stands and whose code has not started.
#[derive(Debug)]
pub(crate) struct Standing {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    /// Whether the claim's instant has come, or the claim has waited for as long as any claim does.
    has_waited: bool,
}

/// Whether a claim that stands waits for its fire's instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The claim's fire is due.
    No,
    /// The claim waits until this instant.
    Until(Timestamp),
    /// The claim is for an instant further off than claims are made ahead: the clock by which the claim was
    /// made was set back since.
    TooLong,
}

impl Standing {
    pub(crate) fn new(claim: Box<OwnClaim>, stamp: Stamp) -> Self {
        Self { claim, stamp, has_waited: false }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    /// Notes that the claim's instant has come.
    pub(crate) fn has_waited(self) -> Self {
        Self { has_waited: true, ..self }
    }

    /// Returns whether the run may begin only on a switched-on shard of this node, because the claim was made
    /// ahead. A run that was taken over runs wherever its taker is.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.claim.is_first() && is_ahead(self.claim.claim())
    }

    /// Returns whether what the claim was based on still stands, as far as the shard is concerned. By the
    /// watch barrier, this node has heard of all that changed the assignment, or the schedule in force,
    /// before the claim.
    pub(crate) fn stands(
        &self,
        session: Option<SessionId>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        shard: ShardIndex,
    ) -> bool {
        let since = mirror.plan_in_force(facts.shards()).map(|plan| plan.from(shard));
        let owner = mirror.owner(shard).and_then(|owner| owner.held()).map(|held| held.stamp);
        // A shard that the definition no longer has ends its run and does nothing else.
        let is_counted = shard < facts.shards();
        self.claim.is_of(session)
            && self.claim.is_dealt(owner)
            && self.claim.is_planned(since)
            && is_counted
    }

    /// Returns whether the claim is to wait for its fire to come due.
    ///
    /// If code ran for the fire already, the fire was due by the clock of an instance. A claim that took over
    /// a claim made ahead waits as well, but, by a clock that is never set, no longer than any claim is made
    /// ahead.
    pub(crate) fn wait(&self, now: Timestamp) -> Wait {
        let fire = self.claim.claim().fire;
        let ahead = fire.due.since(now);
        let before = self.claim.before().record.claim.as_ref();
        let has_begun = !self.claim.is_first() && !before.is_some_and(is_ahead);
        if self.has_waited || fire.source == Source::Trigger || ahead.is_zero() || has_begun {
            return Wait::No;
        }
        match self.claim.is_first() && ahead > MAX_CLAIM_AHEAD {
            true => Wait::TooLong,
            false => Wait::Until(fire.due),
        }
    }

    /// Sets the alarms for the claim's instant.
    pub(crate) fn wait_until(&self, turn: &mut Turn<'_>, due: Timestamp) {
        turn.start_at(due, self.claim.id());
        if !self.claim.is_first() {
            turn.alarm_in(MAX_CLAIM_AHEAD, Alarm::Begin(self.claim.id()));
        }
    }

    /// Returns whether the claim is stale: its run is known not to begin, which is more than not known to
    /// begin.
    pub(crate) fn is_known_stale(
        &self,
        turn: &Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        shard: ShardIndex,
    ) -> bool {
        let is_counted = shard < facts.shards();
        if !facts.is_served || !is_counted || !self.claim.is_of(turn.session()) {
            return true;
        }
        if !self.claim.is_first() {
            return false;
        }
        let owner = mirror.owner(shard).and_then(|owner| owner.known());
        let is_dealt_anew =
            owner.is_some_and(|held| !self.claim.is_dealt(held.map(|held| held.stamp)));
        let is_off =
            mirror.is_surely_off(shard) || mirror.is_enabled(turn.instance()) == Some(false);
        let is_planned_anew = mirror.plan().value().is_some_and(|plan| {
            !plan.agrees(mirror.schedule(), plan.shards)
                || !self.claim.is_planned(Some(plan.from(shard)))
        });
        is_dealt_anew || is_off || is_planned_anew
    }

    /// Returns whether the claim waits for an instant further off than claims are made ahead, because the
    /// wall clock was set back. A claim that was taken over stays: no other instance would wait for less.
    pub(crate) fn is_far_ahead(&self, now: Timestamp) -> bool {
        self.claim.is_first() && self.claim.claim().fire.due.since(now) > MAX_CLAIM_AHEAD
    }

    pub(crate) fn take_back(self) -> TakingBack {
        TakingBack::new(self.claim, self.stamp)
    }

    pub(crate) fn into_parts(self) -> (Box<OwnClaim>, Stamp) {
        (self.claim, self.stamp)
    }
}

/// Returns whether nothing is pending for a shard now, and only this fire when it is due.
pub(crate) fn is_all_there_is(
    policy: &Policy<'_>,
    stored: &Stored,
    (alive, hold): (Timestamp, Option<Hold>),
    (now, due): (Timestamp, Timestamp),
) -> bool {
    let by = |instant| settle(policy, stored.record.watermark, alive, hold, instant);
    let run = Some(Fire { due, source: Source::Schedule });
    by(now) == Settled::default() && by(due) == Settled { notes: Vec::new(), run }
}

/// Returns whether a claim was made before its fire was due.
pub(crate) fn is_ahead(claim: &Claim) -> bool {
    claim.fire.source != Source::Trigger && claim.at < claim.fire.due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{ME, OTHER, SESSION, at, entry, instance};
    use crate::shard::scene::{DUE, Scene, fire, theirs};
    use flockwork_core::config::JobConfig;
    use flockwork_core::time::Mono;
    use flockwork_layout::keys::Facet;
    use std::sync::Arc;
    use std::time::Duration;

    /// What changes while a claim stands, and what is expected then.
    type Change<T> = (&'static str, fn(&mut Scene), T);

    /// A claim made ahead, of the own shard.
    fn ahead(scene: &mut Scene) -> Standing {
        scene.standing(fire(15_000, Source::Schedule))
    }

    /// A claim that took over what another had claimed for an instant, before it or then.
    fn taken_over(scene: &mut Scene, due: i64, claimed: i64) -> Standing {
        let (fire, at) = (fire(due, Source::Schedule), at(claimed));
        let claiming = scene.again(&Claim { fire, at, ..theirs() });
        scene.stands(claiming)
    }

    fn stands(scene: &mut Scene, standing: &Standing) -> bool {
        scene.act(|turn, facts, mirror| standing.stands(turn.session(), facts, mirror, 0))
    }

    fn is_stale(scene: &mut Scene, standing: &Standing) -> bool {
        scene.act(|turn, facts, mirror| standing.is_known_stale(turn, facts, mirror, 0))
    }

    fn another_schedule(scene: &mut Scene) {
        scene.act(|turn, _, mirror| mirror.adopt(turn, "every 2s".to_owned(), 2));
    }

    #[test]
    fn a_claim_waits_for_its_instant_unless_its_fire_is_due_by_someones_clock() {
        use Source::{Schedule, Trigger};
        let until = |due| Wait::Until(at(due));
        let table = [
            (Schedule, 10_000, Wait::No),
            (Schedule, 10_001, until(10_001)),
            (Schedule, 20_000, until(20_000)),
            (Schedule, 20_001, Wait::TooLong),
            (Trigger, 15_000, Wait::No),
        ];
        for (source, due, wanted) in table {
            let standing = Scene::new().standing(fire(due, source));
            assert_eq!(standing.wait(at(10_000)), wanted, "{source:?} {due}");
            assert_eq!(standing.has_waited().wait(at(10_000)), Wait::No, "{source:?} {due}");
        }
        // When it is due, when the claim was made that was taken over.
        let taken = [
            (15_000, 12_000, until(15_000)),
            (90_000, 89_999, until(90_000)),
            (15_000, 15_000, Wait::No),
            (9_000, 8_000, Wait::No),
        ];
        for (due, claimed, wanted) in taken {
            let standing = taken_over(&mut Scene::new(), due, claimed);
            assert_eq!(standing.wait(at(10_000)), wanted, "{due} {claimed}");
        }
    }

    #[test]
    fn what_was_taken_over_waits_no_longer_than_any_claim_is_made_ahead() {
        let mut scene = Scene::new();
        let first = ahead(&mut scene);
        let taken = taken_over(&mut scene, 90_000, 80_000);
        for (standing, alarm) in [(first, None), (taken, Some(()))] {
            let run = standing.claim().id();
            standing.wait_until(&mut scene.rig.turn(), at(15_000));
            assert_eq!(scene.rig.alarms.pop_start(at(14_999)), None);
            assert_eq!(scene.rig.alarms.pop_start(at(15_000)), Some(run));
            let longest = scene.rig.now.mono.plus(MAX_CLAIM_AHEAD);
            assert_eq!(scene.rig.alarms.pop(Mono::from_millis(longest.as_millis() - 1)), None);
            let wanted = alarm.map(|()| Alarm::Begin(run));
            assert_eq!(scene.rig.alarms.pop(longest), wanted);
        }
    }

    #[test]
    fn a_claim_stands_only_on_what_is_known_to_be_as_it_was_made_on() {
        let table: [Change<bool>; 8] = [
            ("nothing", |_| {}, true),
            ("the owner", |s| s.mirror.holds(Facet::Owner(0), Some(entry(ME, 2))), false),
            ("whether it is", |s| s.doubts(Facet::Owner(0)), false),
            ("the plan", |s| s.plans(2_000), false),
            ("whether it did", |s| s.doubts(Facet::Plan), false),
            ("the schedule", another_schedule, false),
            ("the session", Scene::another_session, false),
            ("that there is one", |s| s.rig.trust.end(), false),
        ];
        for (what, change, wanted) in table {
            let mut scene = Scene::new();
            let standing = ahead(&mut scene);
            change(&mut scene);
            assert_eq!(stands(&mut scene, &standing), wanted, "{what}");
        }
    }

    #[test]
    fn a_run_again_rests_on_its_session_and_that_there_is_such_a_shard() {
        let table: [Change<bool>; 4] = [
            ("the owner", |s| s.mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2))), true),
            ("the plan", |s| s.doubts(Facet::Plan), true),
            ("the session", Scene::another_session, false),
            ("the number of shards", |s| s.redefine(|config| config.shards = 0), false),
        ];
        for (what, change, wanted) in table {
            let mut scene = Scene::new();
            let standing = taken_over(&mut scene, 15_000, 12_000);
            change(&mut scene);
            assert_eq!(stands(&mut scene, &standing), wanted, "{what}");
        }
    }

    #[test]
    fn a_claim_made_ahead_is_stale_once_that_is_known_and_not_while_it_is_in_doubt() {
        // Whether it is stale then, made of a fire of its own, and taken over.
        let table: [Change<(bool, bool)>; 12] = [
            ("nothing", |_| {}, (false, false)),
            ("owner unknown", |s| s.doubts(Facet::Owner(0)), (false, false)),
            ("plan unknown", |s| s.doubts(Facet::Plan), (false, false)),
            ("switch unknown", |s| s.doubts(Facet::Disabled(0)), (false, false)),
            ("dealt anew", |s| s.mirror.holds(Facet::Owner(0), Some(entry(ME, 2))), (true, false)),
            ("no owner", |s| s.mirror.holds(Facet::Owner(0), None), (true, false)),
            (
                "switched off",
                |s| s.mirror.holds(Facet::Disabled(0), Some(entry("", 1))),
                (true, false),
            ),
            (
                "server switched off",
                |s| {
                    let server = Facet::Server(instance(ME).server().to_owned());
                    s.mirror.holds(server, Some(entry("DISABLED", 2)));
                },
                (true, false),
            ),
            ("planned anew", |s| s.plans(2_000), (true, false)),
            ("another schedule", another_schedule, (true, false)),
            ("session", Scene::another_session, (true, true)),
            ("fewer shards", |s| s.redefine(|config| config.shards = 0), (true, true)),
        ];
        for (what, change, wanted) in table {
            let mut scene = Scene::new();
            let own = ahead(&mut scene);
            let taken = taken_over(&mut scene, 15_000, 12_000);
            change(&mut scene);
            let found = (is_stale(&mut scene, &own), is_stale(&mut scene, &taken));
            assert_eq!(found, wanted, "{what}");
        }
    }

    #[test]
    fn a_claim_of_a_job_that_is_left_is_stale() {
        let mut scene = Scene::new();
        let standing = taken_over(&mut scene, 15_000, 12_000);
        let is_stale = scene.act(|turn, facts, mirror| {
            let facts = Facts { is_served: false, ..*facts };
            standing.is_known_stale(turn, &facts, mirror, 0)
        });
        assert!(is_stale);
    }

    #[test]
    fn a_clock_set_back_gives_back_what_is_further_off_than_claims_are_made_ahead() {
        let mut scene = Scene::new();
        let (own, taken) = (ahead(&mut scene), taken_over(&mut scene, 15_000, 12_000));
        for (now, is_far) in [(5_000, false), (4_999, true)] {
            assert_eq!(own.is_far_ahead(at(now)), is_far, "{now}");
            assert!(!taken.is_far_ahead(at(now)));
        }
    }

    #[test]
    fn only_the_own_fires_that_were_claimed_ahead_are_looked_at_again() {
        let mut scene = Scene::new();
        let trigger = fire(15_000, Source::Trigger);
        assert!(ahead(&mut scene).is_looked_at());
        for standing in [scene.standing(DUE), scene.standing(trigger)] {
            assert!(!standing.is_looked_at(), "{standing:?}");
        }
        assert!(!taken_over(&mut scene, 15_000, 12_000).is_looked_at());
    }

    #[test]
    fn a_fire_is_claimed_ahead_only_where_nothing_else_is_pending() {
        let config: Arc<JobConfig> =
            crate::rig::config("shardingTotalCount: 1\nprops:\n  flockwork.every: 1s");
        let policy = Policy::of(&config, at(1_000));
        // Accounted up to; now; the fire. Each second one is due.
        let table = [
            (9_000, 9_500, 10_000, true),
            (9_000, 9_500, 11_000, false),
            (8_000, 9_500, 10_000, false),
            (10_000, 9_500, 10_000, false),
        ];
        for (through, now, due, wanted) in table {
            let mut stored = Stored::default();
            stored.record.watermark = at(through);
            let instants = (at(now), at(due));
            let is_all = is_all_there_is(&policy, &stored, (at(1_000), None), instants);
            assert_eq!(is_all, wanted, "{through} {now} {due}");
        }
    }

    #[test]
    fn a_claim_is_taken_back_over_the_record_it_has_written() {
        let mut scene = Scene::new();
        let standing = ahead(&mut scene);
        let (run, stamp) = (standing.claim().id(), standing.stamp);
        assert!(standing.claim().is_of(Some(SESSION)));
        let back = standing.take_back();
        assert_eq!((back.claim().id(), back.stamp(), back.is_sent()), (run, stamp, false));
        assert_eq!(MAX_CLAIM_AHEAD, Duration::from_secs(10), "the tables above go by it");
    }
}
