//! Claims made before their fire is due (`claim_ahead`): what the registry costs is paid by then, and at
//! the due instant nothing is left but to start the code.
//!
//! Such a claim is one like any other that is held a little longer: nobody else can run its fire. It is
//! made only where nothing else is to be decided about the shard, and is given back as soon as what it was
//! based on is known not to stand any more, at its instant also where that is in doubt: the fire is then
//! settled as if it had never been claimed. Whoever takes over such a claim waits for the instant as well.

use crate::Phase;
use crate::alarms::Alarm;
use crate::job::{Job, Shard};
use crate::runs::{LocalRun, Stage};
use crate::turn::Turn;
use flockwork_core::account::{Claim, Policy, Settled, settle};
use flockwork_core::config::MAX_CLAIM_AHEAD;
use flockwork_core::execution::{Fire, RunId, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::record::Stored;

/// What becomes of a claim that stands, for its fire's instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It is due.
    No,
    /// It waits now.
    Begun,
    /// It is for an instant that is further off than claims are made ahead: the clock by which it was made
    /// was set back since.
    TooLong,
}

impl Job {
    /// Claims a job's next fire, if `at` is when that is to be done.
    pub(crate) fn claim_ahead(&mut self, turn: &mut Turn<'_>, (at, due): (Timestamp, Timestamp)) {
        let job = &mut *self;
        let ahead = job.config.as_ref().map(|config| due.minus(config.claim_ahead));
        if ahead != Some(at) {
            return;
        }
        for shard in 0..job.count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider_ahead(turn, shard, due);
        }
    }

    /// Claims a fire of one shard if that is all there is to be done about it, now and when it is due.
    fn consider_ahead(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, due: Timestamp) {
        let may_run = self.may_run(turn) && self.may_own(turn, shard);
        if !may_run || !Self::has_room_ahead(turn) || !self.is_switched_on(shard) {
            return;
        }
        let is_wanted = |state: &mut Shard| state.is_busy() || state.is_triggered;
        if self.shard(shard).is_none_or(is_wanted) {
            return;
        }
        let Some(stored) = self.record_of(shard) else { return };
        let is_free = stored.record.claim.is_none() && self.clock_agrees(turn);
        if is_free && self.is_all_there_is(turn, shard, (&stored, due)) {
            let fire = Fire { due, source: Source::Schedule };
            self.claim(turn, shard, stored, (fire, Vec::new()));
        }
    }

    /// Fires that are due go first: half of the places are kept for them.
    fn has_room_ahead(turn: &Turn<'_>) -> bool {
        turn.waiting.is_empty() && turn.runs.len() < turn.settings.max_running / 2
    }

    fn is_switched_on(&mut self, shard: ShardIndex) -> bool {
        let state = self.shard(shard);
        state.is_some_and(|state| state.disabled.known().is_some_and(|held| held.is_none()))
    }

    /// Whether nothing is pending for a shard now, and only this fire when it is due.
    fn is_all_there_is(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        (stored, due): (&Stored, Timestamp),
    ) -> bool {
        let job = &mut *self;
        let (Some(config), Some(plan)) = (&job.config, job.plan_in_force()) else { return false };
        let policy = Policy { memo: job.memo, ..Policy::of(config, plan.from(shard)) };
        let hold = job.shards[shard as usize].hold;
        let by = |instant| settle(&policy, stored.record.through, plan.alive, hold, instant);
        let run = Some(Fire { due, source: Source::Schedule });
        by(turn.now.wall) == Settled::default() && by(due) == Settled { notes: Vec::new(), run }
    }

    /// Whether the run of a claim may begin: what it was based on stands and, if it was made ahead, was
    /// not switched off since. What was taken over runs wherever its taker is.
    pub(crate) fn may_begin(&mut self, turn: &mut Turn<'_>, id: RunId) -> bool {
        let Some(run) = turn.runs.get(&id) else { return false };
        let shard = run.shard;
        let is_looked_at = run.owner.is_some() && is_ahead(run.claim());
        let is_on = !is_looked_at || (self.may_own(turn, shard) && self.is_switched_on(shard));
        is_on && self.stands(turn, id)
    }

    /// Lets a claim that stands wait for its fire to come due, if it is yet to.
    ///
    /// Where code ran for the fire already, it was due by somebody's clock. What took over a claim made
    /// ahead waits as well, but not longer, by a clock that is never set, than any claim is made ahead.
    pub(crate) fn wait_for_its_instant(&mut self, turn: &mut Turn<'_>, id: RunId) -> Wait {
        let Some(run) = turn.runs.get_mut(&id) else { return Wait::TooLong };
        let (fire, is_own) = (run.claim().fire, run.owner.is_some());
        let ahead = fire.due.since(turn.now.wall);
        let has_begun = !is_own && !run.before.record.claim.as_ref().is_some_and(is_ahead);
        if fire.source == Source::Trigger || ahead.is_zero() || has_begun {
            return Wait::No;
        }
        if is_own && ahead > MAX_CLAIM_AHEAD {
            return Wait::TooLong;
        }
        run.stage = Stage::Ahead;
        turn.alarms.add_start(fire.due, id);
        if !is_own {
            turn.alarms.add(turn.now.mono.plus(MAX_CLAIM_AHEAD), Alarm::Begin(id));
        }
        Wait::Begun
    }

    /// A run that was claimed ahead is due.
    pub(crate) fn start_on_time(&mut self, turn: &mut Turn<'_>, id: RunId) {
        if turn.runs.get(&id).is_none_or(|run| run.stage != Stage::Ahead) {
            return;
        }
        match self.may_begin(turn, id) {
            true => self.begin_run(turn, id),
            false => self.take_back(turn, id),
        }
    }

    /// What of a job was claimed ahead.
    fn claimed_ahead(&mut self, turn: &mut Turn<'_>) -> Vec<RunId> {
        let (runs, job) = (&turn.runs, &*self);
        let waits = |id: &RunId| runs.get(id).is_some_and(|run| run.stage == Stage::Ahead);
        job.shards.iter().filter_map(|shard| shard.run).filter(waits).collect()
    }

    /// Gives back what was claimed ahead of a job's fires: it starts nothing new.
    pub(crate) fn give_back_ahead(&mut self, turn: &mut Turn<'_>) {
        for id in self.claimed_ahead(turn) {
            self.take_back(turn, id);
        }
    }

    /// Gives back what is known not to begin when its instant comes: others, or other fires, want the
    /// shard before.
    pub(crate) fn give_back_stale(&mut self, turn: &mut Turn<'_>) {
        if !turn.alarms.has_starts() {
            return;
        }
        for id in self.claimed_ahead(turn) {
            if self.is_known_stale(turn, id) {
                self.take_back(turn, id);
            }
        }
    }

    /// Whether it is known, not only no longer known otherwise, that a run cannot begin.
    fn is_known_stale(&self, turn: &Turn<'_>, id: RunId) -> bool {
        let Some(run) = turn.runs.get(&id) else { return false };
        let job = self;
        let is_served = job.phase == Phase::Serving && job.leaving.is_none();
        let is_counted = (run.shard as usize) < job.count();
        if !is_served || !is_counted || run.session != turn.trust.session() {
            return true;
        }
        let Some(dealt) = run.owner else { return false };
        let state = &job.shards[run.shard as usize];
        let owner = state.owner.known();
        let is_dealt_anew = owner.is_some_and(|held| held.is_none_or(|held| held.stamp != dealt));
        let is_off = state.disabled.known().is_some_and(|held| held.is_some())
            || job.is_enabled(&turn.settings.instance) == Some(false);
        let is_planned_anew = job.view.plan.value().is_some_and(|plan| {
            !plan.agrees(&job.schedule, plan.shards) || run.from != Some(plan.from(run.shard))
        });
        is_dealt_anew || is_off || is_planned_anew
    }

    /// The wall clock was set back: what waits for an instant further off than claims are made ahead is
    /// given back. What was taken over is not: nobody else would wait for less.
    pub(crate) fn give_back_if_far_ahead(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let far = |run: &LocalRun| run.claim().fire.due.since(turn.now.wall) > MAX_CLAIM_AHEAD;
        if turn.runs.get(&id).is_some_and(|run| run.owner.is_some() && far(run)) {
            self.take_back(turn, id);
        }
    }

    /// Whether a claim that is to be taken over finds no room yet, and need not: its fire is to come.
    pub(crate) fn can_be_taken_later(turn: &Turn<'_>, claim: &Claim) -> bool {
        is_ahead(claim) && claim.fire.due > turn.now.wall && !Self::has_room_ahead(turn)
    }
}

/// Whether a claim was made before its fire was due.
fn is_ahead(claim: &Claim) -> bool {
    claim.fire.source != Source::Trigger && claim.at < claim.fire.due
}
