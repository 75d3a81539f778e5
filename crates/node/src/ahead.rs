//! Claims made before their fire is due (`claim_ahead`): what the registry costs is paid by then, and at
//! the due instant nothing is left but to start the code.
//!
//! Such a claim is one like any other that is held a little longer: nobody else can run its fire. It is
//! made only where nothing else is to be decided about the shard, and is given back where what it was
//! based on no longer stands when the fire comes due: the fire is then settled as if it had never been
//! claimed. Any claim whose fire is yet to come due by the clock here waits for that, also one that took
//! over what another claimed ahead, or whose clock was set back meanwhile.

use crate::job::JobIx;
use crate::machine::{Node, Turn};
use crate::runs::{LocalRun, Stage};
use flockwork_core::account::{Policy, Settled, settle};
use flockwork_core::config::MAX_CLAIM_AHEAD;
use flockwork_core::execution::{Fire, RunId, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::record::Stored;

impl Node {
    /// Claims a job's next fire, if `at` is when that is to be done.
    pub(crate) fn claim_ahead(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        (at, due): (Timestamp, Timestamp),
    ) {
        let job = self.job(ix);
        let ahead = job.config.as_ref().map(|config| due.minus(config.claim_ahead));
        if ahead != Some(at) {
            return;
        }
        for shard in 0..job.count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider_ahead(turn, ix, shard, due);
        }
    }

    /// Claims a fire of one shard if that is all there is to be done about it, now and when it is due.
    fn consider_ahead(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        shard: ShardIndex,
        due: Timestamp,
    ) {
        let is_served = self.may_start(turn.now) && self.serves(ix) && self.is_registered(ix);
        if !is_served || !self.has_room_ahead() || !self.may_own(ix, shard) {
            return;
        }
        let Some(state) = self.job(ix).shard(shard) else { return };
        let is_busy = state.run.is_some() || state.is_accounting() || state.is_mark_in_the_way;
        if is_busy || state.is_triggered || !self.is_switched_on(ix, shard) {
            return;
        }
        let Some(stored) = self.record_of(ix, shard) else { return };
        let is_free = stored.record.claim.is_none() && self.clock_agrees(turn, ix);
        if is_free && self.is_all_there_is(turn, ix, shard, (&stored, due)) {
            let fire = Fire { due, source: Source::Schedule };
            self.claim(turn, ix, shard, stored, (fire, Vec::new()));
        }
    }

    /// Fires that are due go first: half of the places are kept for them.
    fn has_room_ahead(&self) -> bool {
        self.waiting.is_empty() && self.runs.len() < self.settings.max_running / 2
    }

    fn is_switched_on(&mut self, ix: JobIx, shard: ShardIndex) -> bool {
        let state = self.job(ix).shard(shard);
        state.is_some_and(|state| state.disabled.known().is_some_and(|held| held.is_none()))
    }

    /// Whether nothing is pending for a shard now, and only this fire when it is due.
    fn is_all_there_is(
        &mut self,
        turn: &Turn<'_>,
        ix: JobIx,
        shard: ShardIndex,
        (stored, due): (&Stored, Timestamp),
    ) -> bool {
        let job = self.job(ix);
        let (Some(config), Some(plan)) = (&job.config, job.plan_in_force()) else { return false };
        let policy = Policy { memo: job.memo, ..Policy::of(config, plan.from(shard)) };
        let hold = job.shards[shard as usize].hold;
        let by = |instant| settle(&policy, stored.record.through, plan.alive, hold, instant);
        let run = Some(Fire { due, source: Source::Schedule });
        by(turn.now.wall) == Settled::default() && by(due) == Settled { notes: Vec::new(), run }
    }

    /// Whether a claim that stands is to wait for its fire to come due; it then does.
    ///
    /// One that is further off than any claim is made ahead was claimed by a clock that was set back
    /// since: it is not held for as long as that takes.
    pub(crate) fn waits_for_its_instant(&mut self, turn: &Turn<'_>, id: RunId) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let fire = run.claim().fire;
        let ahead = fire.due.since(turn.now.wall);
        if fire.source == Source::Trigger || ahead.is_zero() || ahead > MAX_CLAIM_AHEAD {
            return false;
        }
        run.stage = Stage::Ahead;
        self.alarms.add_start(fire.due, id);
        true
    }

    /// A run that was claimed ahead is due.
    pub(crate) fn start_on_time(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = self.runs.get(&id).filter(|run| run.stage == Stage::Ahead) else { return };
        let (ix, shard, is_own) = (run.ix, run.shard, run.owner.is_some());
        // What others took over is run wherever its taker is; what was dealt, where it is switched on.
        let is_on = !is_own || (self.may_own(ix, shard) && self.is_switched_on(ix, shard));
        match is_on && self.stands(turn, id) {
            true => self.begin_run(turn, id),
            false => self.take_back(id),
        }
    }

    /// Gives back what was claimed ahead of a job's fires: it starts nothing new.
    pub(crate) fn give_back_ahead(&mut self, ix: JobIx) {
        let runs: Vec<RunId> = self.job(ix).shards.iter().filter_map(|shard| shard.run).collect();
        for id in runs {
            if self.runs.get(&id).is_some_and(|run| run.stage == Stage::Ahead) {
                self.take_back(id);
            }
        }
    }

    /// The wall clock was set back: what waits for an instant further off than claims are made ahead is
    /// given back.
    pub(crate) fn give_back_far_ahead(&mut self, now: Timestamp) {
        let far = |run: &LocalRun| run.claim().fire.due.since(now) > MAX_CLAIM_AHEAD;
        for id in self.runs.of(|run| run.stage == Stage::Ahead && far(run)) {
            self.take_back(id);
        }
    }
}
