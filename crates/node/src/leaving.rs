//! Leaving: one job, or all of them when the node stops. Runs end first; then the instance's nodes
//! go, so that others take over at once.

use crate::job::Job;
use crate::link::{Aim, Member};
use crate::runs::LocalRun;
use crate::turn::Turn;
use crate::{Phase, Report};
use flockwork_core::config::OnSessionLoss;
use flockwork_core::execution::CancelReason;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_registry::Op;

impl Job {
    /// Starts nothing new of a job, and leaves it when its runs have ended.
    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, why: &'static str) {
        let job = &mut *self;
        if matches!(job.phase, Phase::Left) || job.leaving.is_some() {
            return;
        }
        (job.leaving, job.comes_back) = (Some(why), false);
        job.next = None;
        let count = u32::try_from(job.shards.len()).expect("shards are counted in 32 bits");
        for shard in 0..count {
            self.no_longer_waits(turn, shard);
        }
        self.give_back_ahead(turn);
        turn.tend();
    }

    /// The program no longer serves a job, whatever it said before.
    pub(crate) fn withdraw(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        (job.comes_back, job.was_taken_off) = (false, false);
        self.leave(turn, "this node withdrew it");
    }

    /// A job that is being left was given to this node again. While others are known to see this
    /// instance serve it nothing was lost; else it is joined anew once it has been left.
    pub(crate) fn stay(&mut self, me: &InstanceId) {
        let job = &mut *self;
        let is_seen = job.view.instances.value().is_some_and(|live| live.contains(me));
        match is_seen && job.phase != Phase::Leaving {
            true => job.leaving = None,
            false => job.comes_back = true,
        }
    }

    /// Others take this instance for gone, and take its runs over: those that must not run twice end.
    /// (ElasticJob's `shutdown` deletes an instance's node while it runs.)
    pub(crate) fn cancel_for_others(&mut self, turn: &mut Turn<'_>) {
        let ix = turn.ix;
        let must_stop = |run: &LocalRun| run.ix == ix && run.on_session_loss == OnSessionLoss::Stop;
        for id in turn.runs.of(must_stop) {
            self.cancel(turn, id, CancelReason::Shutdown);
        }
    }

    /// The node stops. Also where the job was being left: nothing is joined any more.
    pub(crate) fn drain(&mut self, turn: &mut Turn<'_>) {
        (self.comes_back, self.was_taken_off) = (false, false);
        self.leave(turn, "this node stops");
    }

    /// Its runs are to end first. Others deal the shards meanwhile, or have taken it for gone already.
    pub(crate) fn wait_to_leave(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        if job.was_found && job.view.config.is_absent() {
            self.cancel_removed(turn);
        } else if self.is_registered(turn) && self.is_unlisted {
            self.cancel_for_others(turn);
        }
        self.tend_mark(turn);
        self.give_up_lead(turn);
    }

    pub(crate) fn tend_leaving(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let session = turn.trust.session();
        if self.is_busy_with(turn) {
            return self.wait_to_leave(turn);
        }
        let job = &mut *self;
        if job.under_way.leave || job.under_way.register || job.phase == Phase::Left {
            return;
        }
        // Without a session nothing of this instance lasts. With one, a registration whose answer
        // was lost may have happened: its node is deleted whether or not this node knows of it.
        if session.is_none() {
            return self.left(turn);
        }
        // Not knowing who leads is not knowing that this instance does not: it is being read.
        let Some(leader) = job.view.leader.known() else { return };
        let leads = leader.is_some_and(|held| held.value == me && held.session == session);
        job.phase = Phase::Leaving;
        self.send_leave(turn, leads);
    }

    /// Takes all of this instance off a job, what it leads with it.
    pub(crate) fn send_leave(&mut self, turn: &mut Turn<'_>, leads: bool) {
        self.under_way.leave = true;
        let me = turn.settings.instance.clone();
        let mut ops = vec![Op::Delete(self.key(turn, &Facet::Instance(me)), None)];
        if leads {
            ops.push(Op::Delete(self.key(turn, &Facet::Leader), None));
        }
        ops.extend(self.without_mark(turn));
        ops.extend(self.without_clock_note(turn));
        turn.link.gather(Member::new(Aim::Leave(turn.ix), ops));
    }

    /// This instance is no longer seen to serve a job.
    pub(crate) fn left(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        job.under_way.leave = false;
        job.registered = None;
        match job.phase {
            Phase::Refused | Phase::Removed => return,
            // Its definition could not be served when this was sent, and can be by now.
            Phase::Joining | Phase::Serving if job.leaving.is_none() => {
                job.phase = Phase::Joining;
                turn.tend();
                return;
            }
            _ => {}
        }
        job.phase = Phase::Left;
        let name = job.name.clone();
        let why = job.leaving.take().unwrap_or("it was left");
        let comes_back = std::mem::take(&mut job.comes_back);
        if comes_back {
            job.phase = Phase::Joining;
            turn.tend();
        }
        turn.report(Report::Left { job: name, why });
    }

    /// The job is gone from the registry. Its runs are told to stop; if it is defined there again, it is
    /// served again.
    pub(crate) fn job_removed(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        job.phase = Phase::Removed;
        (job.registered, job.was_found) = (None, false);
        if job.view.config.is_absent() {
            job.defined_at = None;
        }
        job.config = None;
        job.next = None;
        job.under_way = crate::job::UnderWay::default();
        job.clock_note.forget();
        let name = job.name.clone();
        for shard in &mut job.shards {
            shard.was_mine = false;
            shard.waits_since = None;
            (shard.is_triggered, shard.is_ask_open) = (false, false);
        }
        let ix = turn.ix;
        turn.waiting.retain(|(_, waits, _)| *waits != ix);
        self.cancel_removed(turn);
        turn.report(Report::Left { job: name, why: "it was removed from the registry" });
    }

    /// Nothing guards its shards any more.
    pub(crate) fn cancel_removed(&mut self, turn: &mut Turn<'_>) {
        for id in turn.runs.of(|run| run.ix == turn.ix) {
            self.cancel(turn, id, CancelReason::Removed);
        }
    }

    /// Whether nothing of this instance is left on the job.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left | Phase::Removed | Phase::Refused)
            || self.registered.is_none()
    }
}
