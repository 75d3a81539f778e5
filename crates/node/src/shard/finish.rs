//! The end of a run: its code ends, and the registry is told.

use super::Shard;
use super::ending::{Ended, Ending};
use super::state::State;
use crate::facts::Facts;
use crate::mirror::{Mirror, Slot};
use crate::turn::Turn;
use flockwork_core::account::Reason;
use flockwork_core::execution::{CancelReason, Outcome, RunId};
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::Stamp;
use std::sync::Arc;

impl Shard {
    /// Handles a run whose session's trust ended between the proof of its claim and the start of its code.
    pub(crate) fn not_started(&mut self, turn: &mut Turn<'_>, id: RunId) {
        match self.leave_stage() {
            State::Running(running) if running.run().id == id => {
                let (back, was_asked_for) = running.not_started(turn);
                self.began_no_run();
                if was_asked_for {
                    self.ask.reopen();
                }
                self.give_back(turn, back);
            }
            // The event is about a run that has gone on since, or is over.
            other => self.enter(other),
        }
    }

    /// Handles the end of the shard's run: its code has really ended.
    pub(crate) fn run_ended(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        (id, outcome): (RunId, Outcome),
    ) {
        match self.leave_stage() {
            State::Running(running) if running.run().id == id => {
                self.ended_with(outcome.ending.code());
                let ended = Box::new(running.ended(turn, outcome));
                self.tell(turn, facts, mirror, ended);
            }
            // The event is about a run that has gone on since, or is over.
            other => self.enter(other),
        }
    }

    /// Tells the registry of a run's end. Without a session the shard waits for one.
    pub(super) fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        ended: Box<Ended>,
    ) {
        if turn.session().is_none() {
            self.enter(State::Ended(ended));
            return;
        }
        let (index, keys) = (self.index, self.keys(turn));
        let ending = ended.tell(turn, (keys, index), facts, mirror);
        self.enter(State::Ending(ending));
    }

    /// Tells the registry what a run could not tell without a session. Under another session than the claim's
    /// the record is read first: the job may have been removed and made anew meanwhile, and a registry that
    /// compares versions alone would take the end for one of the new record.
    pub(crate) fn tell_again(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
    ) {
        match self.leave_stage() {
            State::Ended(ended) if !ended.claim().is_of(turn.session()) => {
                let ending = ended.untried(turn, self.index, facts, mirror);
                self.enter(State::EndDoubted(ending));
                mirror.read(turn, Facet::Record(self.index));
            }
            State::Ended(ended) => self.tell(turn, facts, mirror, ended),
            State::TakingBack(back) => self.give_back(turn, back),
            // The event is about a run that has gone on since, or is over.
            other => self.enter(other),
        }
    }

    /// Notes that the registry knows of a run's end.
    pub(super) fn end_known(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (ending, found, stamp): (Ending, Option<Arc<Stored>>, Stamp),
    ) {
        let run = ending.claim().id();
        let record = ending.known(turn, found);
        self.is_free_of(turn, facts, run);
        mirror.wrote_record(self.index, record, stamp);
        self.held_up(turn.now.wall, Reason::Overlap);
        if !self.is_settled(turn, facts, mirror) {
            turn.mark_shard(self.index);
        }
    }

    /// Returns whether nothing can be pending for the shard: the fire before the next one is accounted, and
    /// no run was requested. Most runs end so.
    pub(super) fn is_settled(&self, turn: &Turn<'_>, facts: &Facts<'_>, mirror: &Mirror) -> bool {
        let Some(next) = facts.next.filter(|next| *next > turn.now.wall) else { return false };
        let Some(stored) = mirror.record(self.index).and_then(Slot::value) else { return false };
        let is_accounted = facts.memo.newest() == Some((stored.record.watermark, next));
        is_accounted && stored.record.claim.is_none() && !self.ask.is_open()
    }

    /// Handles a shard that another instance took before a run's end was known.
    pub(super) fn superseded(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
    ) {
        let Some(run) = self.state.run_id() else { return };
        if let State::Ending(ending) | State::EndDoubted(ending) = self.leave_stage() {
            ending.superseded(turn);
        }
        self.abandon(turn, facts, run);
        mirror.read(turn, Facet::Record(self.index));
        // The instance that took the claim left the mark to its session, which may live on.
        mirror.read(turn, Facet::Running(self.index));
    }

    /// Tells the shard's run to stop, if its code runs.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        if let State::Running(running) = &mut self.state {
            running.cancel(turn, reason);
        }
    }

    /// Notes that the shard's run was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>) {
        if let State::Running(running) = &mut self.state {
            running.overdue(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;
    use crate::names::JobIx;
    use crate::outbox::{Purpose, ShardChange};
    use crate::rig::at;
    use crate::shard::ask::Ask;
    use crate::shard::scene::{DUE, Scene, failed, fire, shard, stage_of};
    use flockwork_core::execution::Source;
    use flockwork_core::schedule::Memo;

    /// A shard whose code runs, for a fire of this kind.
    fn running(scene: &mut Scene, source: Source) -> (Shard, RunId) {
        let claiming = scene.first(fire(10_000, source)).unwrap();
        let id = claiming.claim().id();
        (Shard { ran: 1, ..shard(State::Running(scene.runs(claiming))) }, id)
    }

    /// A shard of whose run's end the registry is being told.
    fn ending(scene: &mut Scene) -> Shard {
        let claiming = scene.first(DUE).unwrap();
        let ended = scene.ends(claiming, failed());
        let ending = scene.tells(ended);
        scene.rig.sent();
        shard(State::Ending(ending))
    }

    fn ends(scene: &mut Scene, shard: &mut Shard, id: RunId) {
        scene.act(|turn, facts, mirror| shard.run_ended(turn, facts, mirror, (id, failed())));
    }

    fn told(what: ShardChange) -> Vec<Purpose> {
        vec![Purpose::Shard(JobIx(0), 0, what)]
    }

    #[test]
    fn a_run_that_was_not_started_is_given_back_and_its_request_is_open_again() {
        for (source, ask) in [(Source::Trigger, Ask::Open), (Source::Schedule, Ask::None)] {
            let mut scene = Scene::new();
            let (mut shard, id) = running(&mut scene, source);
            scene.act(|turn, _, _| shard.not_started(turn, id));
            assert_eq!((stage_of(&shard).as_str(), shard.ran), ("TakingBack", 0));
            assert_eq!(shard.ask, ask, "{source:?}");
            assert_eq!(scene.rig.purposes(), told(ShardChange::Undo(id)));
        }
    }

    #[test]
    fn what_is_told_of_another_run_is_passed_over() {
        let mut scene = Scene::new();
        let (mut shard, _) = running(&mut scene, Source::Schedule);
        scene.act(|turn, _, _| shard.not_started(turn, RunId(999)));
        ends(&mut scene, &mut shard, RunId(999));
        assert_eq!((stage_of(&shard).as_str(), shard.ran), ("Running", 1));
        assert!(scene.rig.sent().is_empty());
    }

    #[test]
    fn an_end_is_told_at_once_or_waits_for_a_session() {
        let mut scene = Scene::new();
        let (mut shard, id) = running(&mut scene, Source::Schedule);
        scene.rig.trust.end();
        ends(&mut scene, &mut shard, id);
        assert_eq!((stage_of(&shard).as_str(), shard.last_code), ("Ended", Some("EXIT")));
        assert!(scene.rig.sent().is_empty());
        scene.another_session();
        let held = shard.state.claim().unwrap().after().record.clone();
        scene.rig.asked();
        scene.act(|turn, facts, mirror| shard.tell_again(turn, facts, mirror));
        assert_eq!(stage_of(&shard), "EndDoubted", "the job may have been made anew");
        assert!(scene.rig.sent().is_empty());
        assert!(scene.rig.asked().contains(&Facet::Record(0)));
        scene.stores(held);
        scene.act(|turn, facts, mirror| shard.record_read(turn, facts, mirror));
        assert_eq!(stage_of(&shard), "Ending");
        assert_eq!(scene.rig.purposes(), told(ShardChange::End(id)));
        scene.act(|turn, facts, mirror| shard.tell_again(turn, facts, mirror));
        assert!(scene.rig.sent().is_empty(), "it is under way");
    }

    #[test]
    fn what_waits_to_be_given_back_is_told_again_as_well() {
        let mut scene = Scene::new();
        let standing = scene.standing(DUE);
        let id = standing.claim().id();
        let mut shard = shard(State::TakingBack(standing.take_back()));
        scene.act(|turn, facts, mirror| shard.tell_again(turn, facts, mirror));
        assert_eq!(scene.rig.purposes(), told(ShardChange::Undo(id)));
    }

    #[test]
    fn a_shard_is_looked_at_after_a_run_unless_nothing_can_be_pending() {
        // When the next fire is due, whether the run's is the one before it, whether a run is asked for.
        let table = [
            (Some(11_000), true, Ask::None, false),
            (Some(11_000), true, Ask::Open, true),
            (Some(11_000), false, Ask::None, true),
            (Some(10_000), true, Ask::None, true),
            (None, true, Ask::None, true),
        ];
        for (next, is_before, ask, is_marked) in table {
            let mut scene = Scene::new();
            let mut shard = Shard { ask, ..ending(&mut scene) };
            let State::Ending(ending) = shard.leave_stage() else { panic!("{shard:?}") };
            scene.act(|turn, facts, mirror| {
                let mut memo = Memo::default();
                let config = facts.config.unwrap();
                let before = if is_before { at(10_000) } else { at(12_000) };
                memo.search(&config.schedule, before, at(1_000));
                let facts = Facts { next: next.map(at), memo, ..*facts };
                let stamp = ending.stamp(flockwork_registry::Index(200));
                shard.end_known(turn, &facts, mirror, (ending, None, stamp));
            });
            let row = format!("{next:?} {is_before} {ask:?}");
            assert_eq!(!scene.rig.marked().is_empty(), is_marked, "{row}");
            assert_eq!(shard.hold.map(|hold| hold.until), Some(at(10_000)), "{row}");
        }
    }

    #[test]
    fn a_run_whose_shard_was_taken_gives_its_place_back_and_asks_who_has_it() {
        let mut scene = Scene::new();
        let mut shard = Shard { ask: Ask::Claimed, ..ending(&mut scene) };
        scene.act(|turn, facts, mirror| shard.superseded(turn, facts, mirror));
        assert_eq!((stage_of(&shard).as_str(), shard.ask), ("Free", Ask::Open));
        assert_eq!(scene.rig.asked(), [Facet::Record(0), Facet::Running(0)]);
        assert_eq!(scene.rig.capacity.running(), 0);
        assert!(matches!(&scene.rig.reports()[..], [Report::Superseded { .. }]));
        scene.act(|turn, facts, mirror| shard.superseded(turn, facts, mirror));
        assert_eq!(scene.rig.asked(), [], "no run is left");
    }

    #[test]
    fn only_code_that_runs_is_told_to_stop_and_overdue() {
        for (is_running, effects) in [(true, 2), (false, 0)] {
            let mut scene = Scene::new();
            let mut shard = match is_running {
                true => running(&mut scene, Source::Schedule).0,
                false => ending(&mut scene),
            };
            scene.act(|turn, _, _| {
                shard.cancel(turn, CancelReason::Removed);
                shard.overdue(turn);
            });
            assert_eq!(scene.rig.effects.len(), effects);
            assert_eq!(shard.status(&scene.mirror).is_overdue, is_running);
        }
    }
}
