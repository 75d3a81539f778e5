//! How a run ends: its code, and the telling of the registry.

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
    /// The session's trust ended between the proof of a claim and the start of its code.
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
            other => self.enter(other),
        }
    }

    /// The code of its run has really ended.
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
            other => self.enter(other),
        }
    }

    /// Tells the registry of a run's end; without a session that waits for one.
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

    /// What a run waited with for a session is told now.
    pub(crate) fn tell_again(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, mirror: &Mirror) {
        match self.leave_stage() {
            State::Ended(ended) => self.tell(turn, facts, mirror, ended),
            State::TakingBack(back) => self.give_back(turn, back),
            other => self.enter(other),
        }
    }

    /// The registry knows of a run's end.
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

    /// Whether nothing can be pending for it: the fire before the next one is accounted, and nobody asked
    /// for a run. Most runs end so.
    pub(super) fn is_settled(&self, turn: &Turn<'_>, facts: &Facts<'_>, mirror: &Mirror) -> bool {
        let Some(next) = facts.next.filter(|next| *next > turn.now.wall) else { return false };
        let Some(stored) = mirror.record(self.index).and_then(Slot::value) else { return false };
        let is_accounted = facts.memo.newest() == Some((stored.record.watermark, next));
        is_accounted && stored.record.claim.is_none() && !self.ask.is_open()
    }

    /// The shard was taken by another before a run's end was known.
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
        // Whoever took the claim left the mark to its session, which may live on.
        mirror.read(turn, Facet::Running(self.index));
    }

    /// Tells its run to stop, if its code runs.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        if let State::Running(running) = &mut self.state {
            running.cancel(turn, reason);
        }
    }

    /// Its run was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>) {
        if let State::Running(running) = &mut self.state {
            running.overdue(turn);
        }
    }
}
