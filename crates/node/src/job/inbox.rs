//! What the node tells a job.

use super::Job;
use super::timer::Instant;
use crate::Report;
use crate::alarms::Alarm;
use crate::outbox::{JobChange, Purpose};
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{CancelReason, Outcome, RunId};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use std::sync::Arc;

impl Job {
    /// It is given to this node once more, perhaps otherwise.
    pub(crate) fn offer(&mut self, turn: &mut Turn<'_>, offered: Arc<JobConfig>, applies: bool) {
        self.definition.offer(offered, applies);
        self.membership.offer(&self.mirror, turn.instance());
    }

    /// Watches and reads what tells whether and how it is to be served.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        self.reading.begin(turn, &mut self.mirror);
    }

    /// The program no longer serves it, whatever it said before.
    pub(crate) fn withdraw(&mut self, turn: &mut Turn<'_>) {
        self.membership.comes_back_no_more();
        self.leave(turn, "this node withdrew it");
    }

    /// The node stops. Also where the job was being left: nothing is joined any more.
    pub(crate) fn drain(&mut self, turn: &mut Turn<'_>) {
        self.membership.comes_back_no_more();
        self.leave(turn, "this node stops");
    }

    /// A new session holds nothing of this node: the job is joined again.
    pub(crate) fn session_is_new(&mut self, turn: &mut Turn<'_>) {
        self.membership.session_is_new();
        let shards = &self.shards;
        let record_is = |shard: ShardIndex| shards[shard as usize].record_is();
        self.reading.session_is_new(turn, &mut self.mirror, record_is);
    }

    /// The session is proven again: what came due meanwhile is known to have been held up by that.
    pub(crate) fn session_is_back(&mut self, turn: &mut Turn<'_>) {
        for shard in &mut self.shards {
            shard.session_is_back(turn.now.wall);
        }
        turn.mark_job();
    }

    /// What a run waited with for a session is told now.
    pub(crate) fn tell_again(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.at(turn, shard, |shard, turn, facts, mirror| shard.tell_again(turn, facts, mirror));
    }

    /// Everything must be read again: watches may have been silent for a while.
    pub(crate) fn resync(&mut self, turn: &mut Turn<'_>) {
        let shards = &self.shards;
        let record_is = |shard: ShardIndex| shards[shard as usize].record_is();
        self.reading.resync(turn, &mut self.mirror, record_is);
    }

    /// From time to time everything is read again: with all watches lost, a node still comes to know.
    pub(crate) fn resync_by_time(&mut self, turn: &mut Turn<'_>) {
        turn.alarm_in(self.definition.resync_interval(), Alarm::Resync(turn.job));
        if turn.session().is_some() {
            self.reread(turn);
            // Clocks drift: compared again, also where nothing is committed.
            self.clock_note.is_due();
            turn.mark_job();
        }
    }

    /// Reads that gave no answer are sent again.
    pub(crate) fn reread_unanswered(&mut self, turn: &mut Turn<'_>) {
        self.reading.rereads_now();
        self.reread(turn);
    }

    pub(super) fn reread(&mut self, turn: &mut Turn<'_>) {
        let shards = &self.shards;
        self.mirror.reread(turn, |shard| shards[shard as usize].record_is());
    }

    /// The wall clock was set back: it shows instants again that the timer has passed.
    pub(crate) fn clock_was_set_back(&mut self, turn: &mut Turn<'_>) {
        self.timer.stop();
        for shard in &mut self.shards {
            shard.clock_was_set_back(turn.now.wall);
        }
        turn.mark_job();
    }

    /// What was claimed ahead for an instant that is far off since the clock was set back is given back.
    pub(crate) fn give_back_if_far_ahead(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.shards[shard as usize].give_back_if_far_ahead(turn);
    }

    /// A clock that differs is looked at again.
    pub(crate) fn probe_clock(&mut self, turn: &mut Turn<'_>) {
        self.clock_note.probe(turn);
    }

    /// An instant has come for which it asked.
    pub(crate) fn instant_has_come(&mut self, turn: &mut Turn<'_>, at: Timestamp) {
        match self.timer.what_is(at, turn.now.wall) {
            Instant::Due => {
                self.set_timer(turn);
                self.mark_all_shards(turn);
            }
            Instant::Ahead { next } => self.claim_ahead(turn, at, next),
            Instant::Past => {}
        }
    }

    /// The instant of a claim made ahead has come.
    pub(crate) fn start_on_time(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.shards[shard as usize].instant_has_come(turn);
    }

    /// A shard waited for a free place, and there is one.
    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.shards[shard as usize].admitted(turn);
    }

    /// A shard is to be looked at again, whatever has happened.
    pub(crate) fn look_again(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.look_again(turn, &mut self.mirror);
        }
    }

    /// A run's code has really ended.
    pub(crate) fn run_ended(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        ended: (RunId, Outcome),
    ) {
        self.at(turn, shard, |shard, turn, facts, mirror| {
            shard.run_ended(turn, facts, mirror, ended);
        });
    }

    /// A run's code was not started after all.
    pub(crate) fn not_started(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, run: RunId) {
        self.shards[shard as usize].not_started(turn, run);
    }

    /// A run is to stop, if its code runs.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, reason: CancelReason) {
        self.shards[shard as usize].cancel(turn, reason);
    }

    /// A run was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.shards[shard as usize].overdue(turn);
    }

    /// The registry will never take what was to be written: the job is refused, the others go on.
    pub(crate) fn is_too_large(&mut self, turn: &mut Turn<'_>, what: Purpose, why: &str) {
        self.membership.refuse_for_good();
        self.timer.stop();
        let (job, text) = (turn.name.clone(), format!("{why}; make the definition smaller"));
        turn.report(Report::Refused { job, code: "TOO_LARGE", text });
        if what != Purpose::Job(turn.job, JobChange::Leave) {
            self.deregister(turn);
        }
    }
}
