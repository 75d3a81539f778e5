//! How an instance leaves a job, and how a removed job ends here. The job's runs end first. Then the
//! instance's entries go, so that other instances take over at once.

use super::Job;
use super::listener::By;
use crate::Report;
use crate::history::Absence;
use crate::outbox::{Change, Verdict};
use crate::shard::Shard;
use crate::turn::Turn;
use flockwork_core::execution::CancelReason;
use flockwork_layout::keys::Facet;
use flockwork_registry::Op;

impl Job {
    /// Leaves the job because this instance's entry is gone, although its session lives.
    pub(super) fn taken_off(&mut self, turn: &mut Turn<'_>) {
        // A job that was defined anew was removed before, and this instance's entry with it.
        let mirror = &self.mirror;
        if mirror.instances().known().is_none() || mirror.config().known().is_none() {
            return;
        }
        self.cancel_for_others(turn);
        self.leave(turn, "an operator took this instance off");
        self.membership.taken_off();
    }

    /// Deregisters this instance. Other instances must not count on an instance that runs nothing of a job.
    /// While this instance still runs something, they must not take it for gone, or they would repeat its
    /// runs.
    pub(super) fn deregister(&mut self, turn: &mut Turn<'_>) {
        if self.is_busy() {
            return self.wait_to_leave(turn);
        }
        if self.membership.can_be_deregistered() {
            let leads = self.mirror.leader().last_seen() == Some(turn.instance());
            self.send_leave(turn, leads);
        }
    }

    /// Starts nothing new of the job, and leaves the job when its runs have ended.
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

    /// Waits until the job's runs end. Another instance deals the shards meanwhile, or the others already
    /// take this instance for gone.
    pub(super) fn wait_to_leave(&mut self, turn: &mut Turn<'_>) {
        if self.definition.is_gone(&self.mirror) {
            self.cancel_runs(turn, CancelReason::Removed, |_| true);
        } else if self.membership.is_registered(turn.session()) && self.membership.is_unlisted() {
            self.cancel_for_others(turn);
        }
        self.reconcile_handover(turn);
        self.finish_listener(turn);
        // A call that goes on would be repeated by the next leader.
        if !self.listener.is_busy() {
            self.leadership.give_up(turn, &self.mirror);
        }
    }

    /// Tells the registry of a call of the listener that has ended, and begins none.
    pub(super) fn finish_listener(&mut self, turn: &mut Turn<'_>) {
        let Self { mirror, once, listener, timer, definition, .. } = self;
        if let Some(config) = definition.config() {
            let (memo, clock_agrees) = (timer.memo(), false);
            listener.finish(turn, &mut By { mirror, once, config, memo, clock_agrees });
        }
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
        // Without a session no entry of this instance lasts. With a session, a registration whose answer was
        // lost may have happened: its entry is deleted whether or not this node knows of it. While the leader
        // is not known, it may be this instance: the leader is being read.
        let Some(leader) = self.mirror.leader().known() else { return };
        let leads = leader
            .is_some_and(|held| held.value == *turn.instance() && held.session == turn.session());
        self.membership.begins_to_leave();
        self.send_leave(turn, leads);
    }

    /// Takes all entries of this instance off the job, the leader's entry included if this instance leads.
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
            self.definition.looks_no_more(turn);
            turn.report(Report::Left { job: turn.name.clone(), why });
        }
    }

    /// Handles a definition that was there and is not any more.
    pub(super) fn gone(&mut self, turn: &mut Turn<'_>) {
        match self.definition.absence(turn.history) {
            // The job is looked at again when it is known.
            Absence::Unknown => {}
            Absence::Removed => self.removed(turn),
            Absence::Lost => self.lost(turn),
        }
    }

    /// Takes back a job that went with what the registry lost: as nobody removed it, this node offers it
    /// again. What must not run twice is told to stop, as its claims are gone: the session may live on.
    pub(super) fn lost(&mut self, turn: &mut Turn<'_>) {
        self.cancel_runs(turn, CancelReason::SessionLost, Shard::must_stop_without_session);
        self.forget(turn);
        self.definition.lost(&self.mirror);
        self.membership.is_defined_again();
        turn.mark_job();
    }

    /// Handles the removal of the job from the registry. The job's runs are told to stop; if the job is
    /// defined there again, this instance serves it again.
    pub(super) fn removed(&mut self, turn: &mut Turn<'_>) {
        self.forget(turn);
        self.definition.removed(&self.mirror);
        self.cancel_runs(turn, CancelReason::Removed, |_| true);
        let why = "it was removed from the registry";
        turn.report(Report::Left { job: turn.name.clone(), why });
        turn.mark_job();
    }

    /// Forgets what each duty knew of a job that is not in the registry any more.
    fn forget(&mut self, turn: &mut Turn<'_>) {
        self.membership.removed();
        self.definition.looks_no_more(turn);
        self.timer.stop();
        self.leadership.removed(turn, &mut self.mirror);
        self.once.removed();
        self.listener.removed(turn);
        self.trigger.removed();
        self.clock_note.forget();
        for shard in &mut self.shards {
            shard.job_removed(turn);
        }
    }

    /// Stops the runs that must not run twice: other instances take this instance for gone, and take its runs
    /// over. (ElasticJob's `shutdown` deletes an instance's entry while the instance runs.)
    pub(super) fn cancel_for_others(&mut self, turn: &mut Turn<'_>) {
        self.cancel_runs(turn, CancelReason::Shutdown, Shard::must_stop_without_session);
    }

    /// Tells the chosen runs to stop, in the order of their numbers.
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
