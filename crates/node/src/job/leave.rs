//! How a job is left, or gone: its runs end first; then the instance's nodes go, so that others take over
//! at once.

use super::Job;
use crate::Report;
use crate::outbox::{Change, Verdict};
use crate::shard::Shard;
use crate::turn::Turn;
use flockwork_core::execution::CancelReason;
use flockwork_layout::keys::Facet;
use flockwork_registry::Op;

impl Job {
    /// This instance's node is gone though its session lives.
    pub(super) fn taken_off(&mut self, turn: &mut Turn<'_>) {
        // What was defined anew was removed before, and this instance with it.
        let mirror = &self.mirror;
        if mirror.instances().known().is_none() || mirror.config().known().is_none() {
            return;
        }
        self.cancel_for_others(turn);
        self.leave(turn, "an operator took this instance off");
        self.membership.taken_off();
    }

    /// Others must not count on an instance that runs nothing of a job. While it still does they must
    /// not take it for gone, or they would run again what runs here.
    pub(super) fn deregister(&mut self, turn: &mut Turn<'_>) {
        if self.is_busy() {
            return self.wait_to_leave(turn);
        }
        if self.membership.can_be_deregistered() {
            let leads = self.mirror.leader().last_seen() == Some(turn.instance());
            self.send_leave(turn, leads);
        }
    }

    /// Starts nothing new of it, and leaves it when its runs have ended.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, why: &'static str) {
        if !self.membership.leave(why) {
            return;
        }
        self.timer.stop();
        for shard in &mut self.shards {
            shard.wait_no_more(turn);
        }
        for shard in &mut self.shards {
            shard.give_back_ahead(turn);
        }
        turn.mark_job();
    }

    /// Its runs are to end first. Others deal the shards meanwhile, or have taken it for gone already.
    pub(super) fn wait_to_leave(&mut self, turn: &mut Turn<'_>) {
        if self.definition.is_gone(&self.mirror) {
            self.cancel_runs(turn, CancelReason::Removed, |_| true);
        } else if self.membership.is_registered(turn.session()) && self.membership.is_unlisted() {
            self.cancel_for_others(turn);
        }
        self.reconcile_handover(turn);
        self.leadership.give_up(turn, &self.mirror);
    }

    pub(super) fn reconcile_handover(&mut self, turn: &mut Turn<'_>) {
        let goes = self.membership.goes();
        let is_registered = self.membership.is_registered(turn.session());
        let is_wanted = goes && is_registered && self.is_busy();
        self.handover.reconcile(turn, goes, is_wanted);
    }

    pub(super) fn reconcile_leaving(&mut self, turn: &mut Turn<'_>) {
        if self.is_busy() {
            return self.wait_to_leave(turn);
        }
        if !self.membership.may_send_leave() {
            return;
        }
        // Without a session nothing of this instance lasts. With one, a registration whose answer
        // was lost may have happened: its node is deleted whether or not this node knows of it.
        // Not knowing who leads is not knowing that this instance does not: it is being read.
        let Some(leader) = self.mirror.leader().known() else { return };
        let leads = leader
            .is_some_and(|held| held.value == *turn.instance() && held.session == turn.session());
        self.membership.begins_to_leave();
        self.send_leave(turn, leads);
    }

    /// Takes all of this instance off the job, what it leads with it.
    pub(super) fn send_leave(&mut self, turn: &mut Turn<'_>, leads: bool) {
        let leader = leads.then(|| Op::Delete(turn.key(&Facet::Leader), None));
        let mark = self.handover.without(turn);
        let note = self.clock_note.without(turn);
        let ops = leader.into_iter().chain(mark).chain(note).collect();
        self.membership.send_leave(turn, ops);
    }

    pub(super) fn leave_answered(
        &mut self,
        turn: &mut Turn<'_>,
        change: Change,
        verdict: &Verdict,
    ) {
        if matches!(verdict, Verdict::Done(_)) {
            self.handover.left(turn, &change.ops);
        }
        let mirror = &mut self.mirror;
        if self.membership.leave_answered(turn, mirror, change, verdict)
            && let Some(why) = self.membership.left(turn)
        {
            turn.report(Report::Left { job: turn.name.clone(), why });
        }
    }

    /// The job is gone from the registry. Its runs are told to stop; if it is defined there again, it is
    /// served again.
    pub(super) fn removed(&mut self, turn: &mut Turn<'_>) {
        self.membership.removed();
        self.definition.removed(&self.mirror);
        self.timer.stop();
        self.leadership.removed();
        self.trigger.removed();
        self.clock_note.forget();
        for shard in &mut self.shards {
            shard.job_removed(turn);
        }
        self.cancel_runs(turn, CancelReason::Removed, |_| true);
        let why = "it was removed from the registry";
        turn.report(Report::Left { job: turn.name.clone(), why });
    }

    /// Others take this instance for gone, and take its runs over: those that must not run twice end.
    /// (ElasticJob's `shutdown` deletes an instance's node while it runs.)
    pub(super) fn cancel_for_others(&mut self, turn: &mut Turn<'_>) {
        self.cancel_runs(turn, CancelReason::Shutdown, Shard::must_stop_without_session);
    }

    /// Tells runs of a kind to stop, in the order of their numbers.
    pub(super) fn cancel_runs(
        &mut self,
        turn: &mut Turn<'_>,
        reason: CancelReason,
        is_one: impl Fn(&Shard) -> bool,
    ) {
        let mut chosen: Vec<&mut Shard> = self
            .shards
            .iter_mut()
            .filter(|shard| shard.run_id().is_some() && is_one(shard))
            .collect();
        chosen.sort_by_key(|shard| shard.run_id());
        for shard in chosen {
            shard.cancel(turn, reason);
        }
    }
}
