//! The node's messages to a job.

use super::Job;
use super::timer::Instant;
use crate::Report;
use crate::alarms::Alarm;
use crate::outbox::{JobChange, Purpose};
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{CancelReason, Outcome, RunId};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use std::sync::Arc;

impl Job {
    /// Takes a job that is given to this node once more, perhaps changed.
    pub(crate) fn offer(&mut self, turn: &mut Turn<'_>, offered: Arc<JobConfig>, applies: bool) {
        self.definition.offer(offered, applies);
        self.membership.offer(&self.mirror, turn.instance());
    }

    /// Watches and reads the keys that tell whether and how the job is to be served.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        self.reading.begin(turn, &mut self.mirror);
    }

    /// Handles what the edge found out about the script of a definition.
    pub(crate) fn looked(
        &mut self,
        turn: &mut Turn<'_>,
        definition: &JobConfig,
        found: Result<(), Hindrance>,
    ) {
        self.definition.looked(turn, definition, found);
    }

    /// Looks whether what is known of the script has changed with time.
    pub(crate) fn look_has_waited(&mut self, turn: &mut Turn<'_>) {
        self.definition.look_has_waited(turn);
    }

    /// Leaves the job because the program no longer serves it, whatever the program said before.
    pub(crate) fn withdraw(&mut self, turn: &mut Turn<'_>) {
        self.membership.comes_back_no_more();
        self.leave(turn, "this node withdrew it");
    }

    /// Leaves the job because the node stops. Even if the job was being left already, it is not joined again.
    pub(crate) fn drain(&mut self, turn: &mut Turn<'_>) {
        self.membership.comes_back_no_more();
        self.leave(turn, "this node stops");
    }

    /// Joins the job again under a new session, which holds nothing of this node.
    pub(crate) fn session_is_new(&mut self, turn: &mut Turn<'_>) {
        self.membership.session_is_new();
        let shards = &self.shards;
        let record_is = |shard: ShardIndex| shards[shard as usize].record_is();
        self.reading.session_is_new(turn, &mut self.mirror, record_is);
    }

    /// Notes that the session is proven again. The shards are known to have been held up meanwhile because
    /// the session was not proven.
    pub(crate) fn session_is_back(&mut self, turn: &mut Turn<'_>) {
        for shard in &mut self.shards {
            shard.session_is_back(turn.now.wall);
        }
        self.listener.session_is_back(turn.now.wall);
        turn.mark_job();
    }

    /// Tells the registry what a run could not tell without a session.
    pub(crate) fn tell_again(&mut self, turn: &mut Turn<'_>, shard: Option<ShardIndex>) {
        let Some(shard) = shard else { return };
        self.at(turn, shard, |shard, turn, facts, mirror| shard.tell_again(turn, facts, mirror));
    }

    /// Reads everything again because watches may have been silent for a while.
    pub(crate) fn resync(&mut self, turn: &mut Turn<'_>) {
        let shards = &self.shards;
        let record_is = |shard: ShardIndex| shards[shard as usize].record_is();
        self.reading.resync(turn, &mut self.mirror, record_is);
        self.listener.reread(turn, &mut self.mirror);
    }

    /// Reads everything again from time to time: even with all watches lost, a node comes to know of changes.
    pub(crate) fn resync_by_time(&mut self, turn: &mut Turn<'_>) {
        turn.alarm_in(self.definition.resync_interval(), Alarm::Resync(turn.job));
        if turn.session().is_some() {
            self.reread(turn);
            // Clocks drift: they are compared again even if nothing is committed.
            self.clock_note.is_due();
            turn.mark_job();
        }
    }

    /// Sends again the reads that gave no answer.
    pub(crate) fn reread_unanswered(&mut self, turn: &mut Turn<'_>) {
        self.reading.rereads_now();
        self.reread(turn);
    }

    pub(super) fn reread(&mut self, turn: &mut Turn<'_>) {
        let shards = &self.shards;
        self.mirror.reread(turn, |shard| shards[shard as usize].record_is());
        self.listener.reread(turn, &mut self.mirror);
    }

    /// Stops the timer because the wall clock was set back: the clock again shows instants that the timer has
    /// passed.
    pub(crate) fn clock_was_set_back(&mut self, turn: &mut Turn<'_>) {
        self.timer.stop();
        for shard in &mut self.shards {
            shard.clock_was_set_back(turn.now.wall);
        }
        self.listener.clock_was_set_back(turn.now.wall);
        self.mark_all_shards(turn);
        turn.mark_job();
    }

    /// Gives back a claim made ahead for an instant that is far off since the clock was set back.
    pub(crate) fn give_back_if_far_ahead(
        &mut self,
        turn: &mut Turn<'_>,
        shard: Option<ShardIndex>,
    ) {
        let Some(shard) = shard else { return };
        self.shards[shard as usize].give_back_if_far_ahead(turn);
    }

    /// Measures again a clock that differs.
    pub(crate) fn probe_clock(&mut self, turn: &mut Turn<'_>) {
        self.clock_note.probe(turn);
    }

    /// Handles an instant that the job asked for, which has come.
    pub(crate) fn instant_has_come(&mut self, turn: &mut Turn<'_>, at: Timestamp) {
        match self.timer.what_is(at, turn.now.wall) {
            Instant::Due => {
                self.set_timer(turn);
                self.mark_all_shards(turn);
                if self.listener.leads() {
                    turn.mark_job();
                }
            }
            Instant::Ahead { next } => self.claim_ahead(turn, at, next),
            Instant::Past => {}
        }
    }

    /// Handles the instant of a claim made ahead, which has come.
    pub(crate) fn start_on_time(&mut self, turn: &mut Turn<'_>, shard: Option<ShardIndex>) {
        let Some(shard) = shard else { return };
        self.shards[shard as usize].instant_has_come(turn);
    }

    /// Lets a shard that waited for a free place go on, because there is one.
    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        self.shards[shard as usize].admitted(turn);
    }

    /// Looks at a shard again, whatever has happened.
    pub(crate) fn reconsider(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.reconsider(turn, &mut self.mirror);
        }
    }

    /// Handles the end of a run: its code has really ended.
    pub(crate) fn run_ended(
        &mut self,
        turn: &mut Turn<'_>,
        shard: Option<ShardIndex>,
        ended: (RunId, Outcome),
    ) {
        let Some(shard) = shard else { return self.listener.ended(turn, ended) };
        self.at(turn, shard, |shard, turn, facts, mirror| {
            shard.run_ended(turn, facts, mirror, ended);
        });
    }

    /// Handles a run whose code was not started after all.
    pub(crate) fn not_started(
        &mut self,
        turn: &mut Turn<'_>,
        shard: Option<ShardIndex>,
        run: RunId,
    ) {
        let Some(shard) = shard else { return self.listener.not_started(turn, run) };
        self.shards[shard as usize].not_started(turn, run);
    }

    /// Tells a run to stop, if its code runs.
    pub(crate) fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        shard: Option<ShardIndex>,
        reason: CancelReason,
    ) {
        let Some(shard) = shard else { return self.listener.cancel(turn, reason) };
        self.shards[shard as usize].cancel(turn, reason);
    }

    /// Notes that a run was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>, shard: Option<ShardIndex>) {
        let Some(shard) = shard else { return self.listener.overdue(turn) };
        self.shards[shard as usize].overdue(turn);
    }

    /// Refuses the job because the registry will never take what was to be written. The other jobs go on.
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
