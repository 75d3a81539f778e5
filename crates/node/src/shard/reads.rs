//! The reads of a shard: whose the shard is, what its record holds, whether a mark is gone.

use super::accounting::Accounting;
use super::foreign::{is_ended_by, is_released_to};
use super::state::State;
use super::{REREAD_AFTER, Shard};
use crate::facts::Facts;
use crate::mirror::{Mirror, Slot};
use crate::turn::Turn;
use flockwork_core::account::{ClaimState, Reason};
use flockwork_core::execution::RunId;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::{Answer, Op, Stamp};

impl Shard {
    /// Handles the shard's record, which was read.
    pub(crate) fn record_read(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
    ) {
        let Some(known) = mirror.record(self.index).and_then(Slot::known) else { return };
        let known = known.cloned();
        let Some(claim) = self.state.claim() else { return turn.mark_shard(self.index) };
        let (run, nonce) = (claim.id(), claim.claim().nonce);
        let me = turn.instance().clone();
        let held = known.as_ref().filter(|held| held.value.record.is_held_by(&me, nonce));
        match (self.leave_stage(), held) {
            (State::Doubted(claiming), Some(held)) => {
                self.claimed(turn, mirror, claiming, held.stamp);
            }
            (State::TakingBack(back), Some(_)) => self.give_back(turn, back),
            (State::EndDoubted(ending), Some(_)) => self.tell(turn, facts, mirror, ending.untold()),
            (State::EndDoubted(ending), None) => match known {
                Some(held) if is_ended_by(&held.value, &me, nonce) => {
                    let found = Some(held.value);
                    self.end_known(turn, facts, mirror, (ending, found, held.stamp));
                }
                _ => {
                    self.enter(State::EndDoubted(ending));
                    self.superseded(turn, facts, mirror);
                }
            },
            (stage @ (State::Doubted(_) | State::TakingBack(_)), None) => {
                self.enter(stage);
                self.give_up(turn, facts, run, known.as_ref().map(|held| &*held.value));
                turn.mark_shard(self.index);
            }
            // The record is known from what this node writes.
            (other, _) => self.enter(other),
        }
    }

    /// Gives up a claim that is no longer held, and that was to be given back or was in doubt. If the claim
    /// had been made, the instance that took it over has answered the request that it was made for.
    pub(super) fn give_up(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        run: RunId,
        found: Option<&Stored>,
    ) {
        let is_answered =
            self.state.claim().is_some_and(|claim| claim.was_answered_meanwhile(found));
        self.abandon(turn, facts, run);
        if is_answered {
            self.ask.is_answered();
            turn.mark_job();
        }
    }

    /// Handles a record that this release cannot read, and that no run of this node can have left so:
    /// whatever was in doubt there is over. The record is not watched, so it is read again after a while.
    pub(crate) fn record_not_understood(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
    ) {
        self.wait_no_more(turn);
        self.reconsider_in(turn, turn.settings.reconcile_interval);
        let Some(run) = self.state.run_id() else { return };
        match self.state {
            State::Doubted(_) | State::TakingBack(_) => self.give_up(turn, facts, run, None),
            State::EndDoubted(_) => self.superseded(turn, facts, mirror),
            _ => {}
        }
    }

    /// Handles the shard's assignment, which was read, or written by this node.
    pub(crate) fn owner_read(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        let Some(owner) = mirror.owner(self.index).and_then(Slot::known) else { return };
        let is_mine = owner.is_some_and(|held| held.value == *turn.instance());
        let was_mine = self.is_mine_now(is_mine);
        if !is_mine {
            return self.wait_no_more(turn);
        }
        if was_mine {
            return;
        }
        self.held_up(turn.now.wall, Reason::Resharding);
        self.read_record_if_free(turn, mirror);
    }

    /// Reads the shard's record, unless it is known from what this node writes.
    pub(crate) fn read_record_if_free(&self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        if self.state.leaves_the_record() {
            mirror.read(turn, Facet::Record(self.index));
        }
    }

    /// Handles a running mark that was read: the run elsewhere is over, goes on, or has left the mark behind.
    pub(crate) fn mark_read(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror, answer: &Answer) {
        let Answer::Entry(entry) = answer else { return self.reconsider_in(turn, REREAD_AFTER) };
        let is_free = self.state.leaves_the_record();
        let Some(entry) = entry else {
            if matches!(self.state, State::Blocked) {
                self.enter(State::Free);
            }
            self.foreign.mark_is_gone(turn, mirror, self.index);
            return self.read_record_if_free(turn, mirror);
        };
        let me = turn.instance();
        let stored = mirror.record(self.index).and_then(Slot::value);
        let is_orphan = is_free && stored.is_some_and(|stored| stored.record.claim.is_none());
        let runner = InstanceId::new(&String::from_utf8_lossy(&entry.value)).ok();
        let is_own = is_free && runner.as_ref() == Some(me);
        let is_gone = runner.is_some_and(|runner| mirror.is_live(&runner) == Some(false));
        let is_keeper = || mirror.keeper(self.index).as_ref() == Some(me);
        if is_own || (is_orphan && is_gone && is_keeper()) {
            return self.remove_mark(turn, mirror, entry.stamp);
        }
        self.foreign.follow_mark(turn, mirror, self.index);
        self.reconsider_in(turn, turn.settings.reconcile_interval);
    }

    pub(super) fn remove_mark(&mut self, turn: &mut Turn<'_>, mirror: &Mirror, stamp: Stamp) {
        let Some(stored) = mirror.stored(self.index) else {
            return self.reconsider_in(turn, turn.settings.reconcile_interval);
        };
        let op = Op::Delete(turn.key(&Facet::Running(self.index)), Some(stamp));
        self.enter(State::Accounting(Accounting::of_mark(turn, self.index, stored, op)));
    }

    /// Looks at the shard at the time that was set for that, unless the look was put off.
    pub(crate) fn reconsider(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        if !self.reconsider_has_come(turn.now.mono) {
            return;
        }
        let record = mirror.record(self.index);
        let is_unreadable = record.is_some_and(Slot::is_unreadable);
        let stored = record.and_then(Slot::value);
        let is_elsewhere = self.state.leaves_the_record()
            && stored.is_some_and(|stored| stored.record.claim.is_some());
        let is_own_retry = is_released_to(stored.map(|stored| &**stored), turn.instance());
        if is_unreadable || (is_elsewhere && !is_own_retry) {
            mirror.read(turn, Facet::Record(self.index));
        }
        if matches!(self.state, State::Blocked) {
            mirror.read(turn, Facet::Running(self.index));
        }
        turn.mark_shard(self.index);
    }

    /// Returns whether an attempt of the shard may have been released to this node, or taken, unseen.
    pub(crate) fn is_or_was_released(&self, mirror: &Mirror) -> bool {
        let released = mirror.retries().value().is_some_and(|all| all.contains(&self.index));
        let stored = mirror.record(self.index).and_then(Slot::value);
        let claim = stored.and_then(|stored| stored.record.claim.as_ref());
        released || claim.is_some_and(|claim| claim.state != ClaimState::Held)
    }
}

#[cfg(test)]
mod tests;
