//! The way from a claim that stands to the start of its code, or back: at once, at its instant, or not at
//! all.

use super::Shard;
use super::ahead::{Standing, Wait};
use super::back::TakingBack;
use super::run::Running;
use super::state::State;
use super::{Begins, accounting};
use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::execution::Source;

impl Shard {
    /// Returns whether the run of a claim that stands may begin, as far as the shard is concerned. The facts
    /// are asked for where they matter, which is rare.
    pub(crate) fn begins<'a>(
        &self,
        turn: &Turn<'_>,
        facts: impl FnOnce() -> Facts<'a>,
        mirror: &Mirror,
    ) -> Begins {
        let State::Standing(standing) = &self.state else { return Begins::NoClaim };
        let is_mine_and_on =
            || mirror.is_off(self.index) == Some(false) && self.may_own(turn, &facts(), mirror);
        match !standing.is_looked_at() || is_mine_and_on() {
            true => Begins::IfAllowed,
            false => Begins::Never,
        }
    }

    /// Starts the run of a claim that stands. The claim is given back if what it was based on no longer
    /// stands, or if the node may not run it. The claim waits if its fire is yet to come due.
    pub(crate) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        is_allowed: bool,
    ) {
        let standing = match self.leave_stage() {
            State::Standing(standing) => standing,
            // The event is about a run that has gone on since, or is over.
            other => {
                self.enter(other);
                return;
            }
        };
        let stands = standing.stands(turn.session(), facts, mirror, self.index);
        if !(is_allowed && stands) {
            return self.take_back(turn, standing);
        }
        match standing.wait(turn.now.wall) {
            Wait::No => self.start(turn, facts, standing),
            Wait::TooLong => self.take_back(turn, standing),
            Wait::Until(due) => {
                standing.wait_until(turn, due);
                self.enter(State::Ahead(standing));
            }
        }
    }

    /// Reports what became of the fires of a claim that stands, and starts its run.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, standing: Standing) {
        // The job was removed meanwhile.
        let Some(config) = facts.config else { return self.take_back(turn, standing) };
        let (mut claim, stamp) = standing.into_parts();
        self.begins_a_run();
        accounting::report(turn, self.index, &claim.take_notes());
        if self.ask.run_starts(claim.claim().fire.source == Source::Trigger) {
            turn.mark_job();
        }
        let running = Running::start(turn, claim, stamp, self.index, config);
        self.enter(State::Running(Box::new(running)));
    }

    /// Gives back a claim of which nothing was started: the record becomes what it was.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, standing: Standing) {
        self.give_back(turn, standing.take_back());
    }

    pub(super) fn give_back(&mut self, turn: &mut Turn<'_>, mut back: TakingBack) {
        let (index, keys) = (self.index, self.keys(turn));
        back.send(turn, keys, index);
        self.enter(State::TakingBack(back));
    }

    /// Handles the instant of a claim made ahead, which has come.
    pub(crate) fn instant_has_come(&mut self, turn: &mut Turn<'_>) {
        match self.leave_stage() {
            State::Ahead(standing) => {
                self.enter(State::Standing(standing.has_waited()));
                turn.mark_shard(self.index);
            }
            // The event is about a run that has gone on since, or is over.
            other => self.enter(other),
        }
    }

    /// Gives back a claim made ahead.
    pub(crate) fn give_back_ahead(&mut self, turn: &mut Turn<'_>) {
        match self.leave_stage() {
            State::Ahead(standing) => self.take_back(turn, standing),
            // The event is about a run that has gone on since, or is over.
            other => self.enter(other),
        }
    }

    /// Gives back a claim made ahead that is stale: other instances, or other fires, want the shard before
    /// its instant.
    pub(crate) fn give_back_stale(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) {
        if let State::Ahead(standing) = &self.state
            && standing.is_known_stale(turn, facts, mirror, self.index)
        {
            self.give_back_ahead(turn);
        }
    }

    /// Gives back a claim for an instant that is far off now because the wall clock was set back.
    pub(crate) fn give_back_if_far_ahead(&mut self, turn: &mut Turn<'_>) {
        if matches!(&self.state, State::Ahead(standing) if standing.is_far_ahead(turn.now.wall)) {
            self.give_back_ahead(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::outbox::{Purpose, ShardChange};
    use crate::rig::{OTHER, at, entry};
    use crate::shard::ask::Ask;
    use crate::shard::scene::{DUE, Scene, fire, shard, stage_of};
    use crate::{Effect, Report};
    use flockwork_core::account::Reason;
    use flockwork_core::execution::Fire;
    use flockwork_layout::keys::Facet;

    /// What changes while a claim stands, and what is expected then.
    type Change<T> = (&'static str, fn(&mut Scene), T);

    const AHEAD: Fire = fire(15_000, Source::Schedule);

    fn standing(scene: &mut Scene, fire: Fire) -> Shard {
        shard(State::Standing(scene.standing(fire)))
    }

    /// A shard that waits for the instant of its claim.
    fn ahead(scene: &mut Scene) -> Shard {
        let mut shard = standing(scene, AHEAD);
        begin(scene, &mut shard, true);
        shard
    }

    fn begin(scene: &mut Scene, shard: &mut Shard, is_allowed: bool) {
        scene.act(|turn, facts, mirror| shard.begin(turn, facts, mirror, is_allowed));
    }

    fn begins(scene: &mut Scene, shard: &Shard) -> Begins {
        scene.act(|turn, facts, mirror| shard.begins(turn, || *facts, mirror))
    }

    fn switched_off(scene: &mut Scene) {
        scene.mirror.holds(Facet::Disabled(0), Some(entry("", 1)));
    }

    #[test]
    fn only_what_was_claimed_ahead_needs_the_shard_to_be_known_as_this_nodes_and_on() {
        use Begins::{IfAllowed, Never};
        let table: [Change<Begins>; 5] = [
            ("nothing changed", |_| {}, IfAllowed),
            ("switched off", switched_off, Never),
            ("switch unknown", |scene| scene.doubts(Facet::Disabled(0)), Never),
            ("owner unknown", |scene| scene.doubts(Facet::Owner(0)), Never),
            (
                "another's",
                |scene| scene.mirror.holds(Facet::Owner(0), Some(entry(OTHER, 2))),
                Never,
            ),
        ];
        for (what, change, wanted) in table {
            let mut scene = Scene::new();
            let (ahead, due) = (standing(&mut scene, AHEAD), standing(&mut scene, DUE));
            change(&mut scene);
            assert_eq!(begins(&mut scene, &ahead), wanted, "{what}");
            assert_eq!(begins(&mut scene, &due), IfAllowed, "{what}");
        }
        assert_eq!(begins(&mut Scene::new(), &shard(State::Free)), Begins::NoClaim);
    }

    #[test]
    fn a_claim_begins_waits_or_is_given_back() {
        // When its fire is due, whether the node may start it, whether it stands; the stage then.
        let table = [
            (10_000, true, true, "Running"),
            (10_000, false, true, "TakingBack"),
            (10_000, true, false, "TakingBack"),
            (10_000, false, false, "TakingBack"),
            (15_000, true, true, "Ahead"),
            (15_000, false, true, "TakingBack"),
            (15_000, true, false, "TakingBack"),
            (20_001, true, true, "TakingBack"),
        ];
        for (due, is_allowed, stands, rig) in table {
            let mut scene = Scene::new();
            let mut shard = standing(&mut scene, fire(due, Source::Schedule));
            let run = shard.run_id().unwrap();
            if !stands {
                scene.another_session();
            }
            begin(&mut scene, &mut shard, is_allowed);
            let row = format!("{due} {is_allowed} {stands}");
            assert_eq!(stage_of(&shard), rig, "{row}");
            let undo = Purpose::Shard(JobIx(0), 0, ShardChange::Undo(run));
            let sent = if rig == "TakingBack" { vec![undo] } else { vec![] };
            assert_eq!(scene.rig.purposes(), sent, "{row}");
            let starts = scene.rig.effects.iter().filter(|it| matches!(it, Effect::Start(_)));
            assert_eq!(starts.count(), usize::from(rig == "Running"), "{row}");
        }
    }

    #[test]
    fn a_run_of_a_job_that_was_removed_meanwhile_does_not_start() {
        let mut scene = Scene::new();
        let (mut shard, standing) = (shard(State::Free), scene.standing(DUE));
        scene.act(|turn, facts, _| {
            shard.start(turn, &Facts { config: None, ..*facts }, standing);
        });
        assert_eq!((stage_of(&shard).as_str(), shard.ran), ("TakingBack", 0));
        assert!(scene.rig.effects.is_empty());
    }

    #[test]
    fn what_became_of_fires_is_told_as_the_run_begins_and_not_if_it_does_not() {
        for (is_allowed, told) in [(true, 1), (false, 0)] {
            let mut scene = Scene::new();
            let mut shard = shard(State::Standing(scene.standing(DUE)));
            begin(&mut scene, &mut shard, is_allowed);
            let is_account = |it: &Report| matches!(it, Report::Accounted(_));
            assert_eq!(scene.rig.reports().iter().filter(|it| is_account(it)).count(), told);
        }
    }

    #[test]
    fn a_run_that_begins_ends_what_held_the_shard_up_and_answers_the_request_it_is_for() {
        // What the fire is for, what was asked; what is asked then, whether the job hears of it.
        let table = [
            (Source::Trigger, Ask::Open, Ask::None, true),
            (Source::Schedule, Ask::Claimed, Ask::None, true),
            (Source::Schedule, Ask::Open, Ask::Open, false),
            (Source::Schedule, Ask::None, Ask::None, false),
        ];
        for (source, before, ask, is_told) in table {
            let mut scene = Scene::new();
            let mut shard = standing(&mut scene, fire(10_000, source));
            shard.ask = before;
            shard.held_up(at(9_000), Reason::Overlap);
            begin(&mut scene, &mut shard, true);
            assert_eq!((shard.ask, shard.hold, shard.ran), (ask, None, 1), "{source:?} {before:?}");
            assert_eq!(scene.rig.is_job_marked(), is_told, "{source:?} {before:?}");
        }
    }

    #[test]
    fn a_claim_made_ahead_begins_when_its_instant_is_told_whatever_the_clock_shows() {
        let mut scene = Scene::new();
        let mut shard = ahead(&mut scene);
        assert!(shard.is_ahead());
        scene.rig.marked();
        scene.act(|turn, _, _| shard.instant_has_come(turn));
        assert_eq!((stage_of(&shard).as_str(), scene.rig.marked()), ("Standing", vec![0]));
        begin(&mut scene, &mut shard, true);
        assert_eq!(stage_of(&shard), "Running");
        scene.act(|turn, _, _| shard.instant_has_come(turn));
        assert_eq!(stage_of(&shard), "Running", "it has come before");
    }

    #[test]
    fn what_waits_is_given_back_once_it_is_known_not_to_begin() {
        let table: [Change<&str>; 3] = [
            ("nothing changed", |_| {}, "Ahead"),
            ("owner unknown", |scene| scene.doubts(Facet::Owner(0)), "Ahead"),
            ("switched off", switched_off, "TakingBack"),
        ];
        for (what, change, rig) in table {
            let mut scene = Scene::new();
            let mut shard = ahead(&mut scene);
            change(&mut scene);
            scene.act(|turn, facts, mirror| shard.give_back_stale(turn, facts, mirror));
            assert_eq!(stage_of(&shard), rig, "{what}");
        }
    }

    #[test]
    fn what_waits_for_an_instant_that_moved_far_off_is_given_back() {
        for (wall, rig) in [(5_000, "Ahead"), (4_999, "TakingBack")] {
            let mut scene = Scene::new();
            let mut shard = ahead(&mut scene);
            scene.rig.now.wall = at(wall);
            scene.act(|turn, _, _| shard.give_back_if_far_ahead(turn));
            assert_eq!(stage_of(&shard), rig, "{wall}");
        }
    }

    #[test]
    fn only_what_waits_is_given_back_for_others() {
        let mut scene = Scene::new();
        let (mut waits, mut stands) = (ahead(&mut scene), standing(&mut scene, DUE));
        scene.act(|turn, _, _| {
            waits.give_back_ahead(turn);
            stands.give_back_ahead(turn);
        });
        assert_eq!((stage_of(&waits), stage_of(&stands)), ("TakingBack".into(), "Standing".into()));
    }
}
