//! Firing: what a shard that is due, and free, is to do.

use crate::alarms::Alarm;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::turn::Turn;
use crate::{Account, Report};
use flockwork_core::account::{Hold, Note, Policy, Reason, Settled, settle};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::record;
use flockwork_registry::Op;
use std::sync::Arc;
use std::time::Duration;

impl Job {
    /// An instant has come for which the job asked.
    pub(crate) fn is_due(&mut self, turn: &mut Turn<'_>, at: Timestamp) {
        match self.next {
            Some(next) if next == at => self.fire(turn),
            Some(next) if next > turn.now.wall => self.claim_ahead(turn, (at, next)),
            _ => {}
        }
    }

    /// The job is due.
    pub(crate) fn fire(&mut self, turn: &mut Turn<'_>) {
        self.arm(turn);
        for shard in 0..self.count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider(turn, shard);
        }
    }

    /// Whether this node may run anything of a job. Nothing once it has heard that it is off it: what
    /// it claimed would be refused, and claimed again, as fast as the registry answers.
    pub(crate) fn may_run(&mut self, turn: &Turn<'_>) -> bool {
        turn.may_start() && self.serves() && self.is_registered(turn) && !self.is_unlisted
    }

    /// Whether this node may run anything of a shard that it owns.
    pub(crate) fn may_own(&mut self, turn: &Turn<'_>, shard: ShardIndex) -> bool {
        let me = turn.settings.instance.clone();
        let session = turn.trust.session();
        let job = &mut *self;
        let is_mine = job
            .shards
            .get(shard as usize)
            .is_some_and(|shard| shard.owner.value().is_some_and(|owner| *owner == me));
        is_mine
            && job.registered == session
            && job.plan_in_force().is_some()
            && job.is_enabled(&me) == Some(true)
    }

    /// Looks at one shard and does what is to be done now.
    pub(crate) fn consider(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        // A shard that the definition no longer has ends its run, and that is all.
        let is_counted = (shard as usize) < self.count();
        if !self.may_run(turn) || !is_counted {
            return;
        }
        let Some(state) = self.shard(shard) else { return };
        if state.is_busy() || !self.clock_agrees(turn) {
            return;
        }
        let Some(stored) = self.record_of(shard) else {
            if self.may_own(turn, shard) || self.was_own_retry(turn, shard) {
                self.look_quietly(turn, Facet::Record(shard));
            }
            return;
        };
        if stored.record.claim.is_some() {
            return self.consider_claim(turn, shard, &stored);
        }
        if !self.may_own(turn, shard) {
            return;
        }
        self.consider_due(turn, shard, stored);
    }

    /// A free shard of this node's: settles what came due.
    fn consider_due(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: Arc<record::Stored>,
    ) {
        let job = &mut *self;
        let (Some(config), Some(plan)) = (job.config.clone(), job.plan_in_force()) else { return };
        let (from, alive, memo) = (plan.from(shard), plan.alive, job.memo);
        let Some(state) = job.shard(shard) else { return };
        let Some(is_disabled) = state.disabled.known().map(|held| held.is_some()) else { return };
        if is_disabled {
            let until = turn.now.wall.plus(Duration::from_millis(1));
            state.hold = Some(Hold { until, reason: Reason::Disabled });
        }
        let hold = state.hold;
        let is_triggered = state.is_triggered && !is_disabled;
        let policy = Policy { memo, ..Policy::of(&config, from) };
        let settled = settle(&policy, stored.record.through, alive, hold, turn.now.wall);
        let settled = match settled {
            Settled { notes, run: None } if is_triggered => {
                let due = trigger_instant(&stored, turn.now.wall);
                Settled { notes, run: Some(Fire { due, source: Source::Trigger }) }
            }
            settled => settled,
        };
        match settled.run {
            None if settled.notes.is_empty() => self.no_longer_waits(turn, shard),
            None => {
                self.no_longer_waits(turn, shard);
                self.account(turn, shard, stored, &settled.notes);
            }
            Some(fire) if Self::is_next(turn, fire) => {
                self.claim(turn, shard, stored, (fire, settled.notes))
            }
            Some(fire) => self.wait(turn, shard, fire),
        }
    }

    /// Whether another run may start.
    pub(crate) fn has_room(turn: &Turn<'_>) -> bool {
        turn.runs.len() < turn.settings.max_running
    }

    /// Whether a fire may run now: there is room, and none that was due earlier waits for it.
    fn is_next(turn: &Turn<'_>, fire: Fire) -> bool {
        Self::has_room(turn) && turn.waiting.first().is_none_or(|(due, ..)| *due >= fire.due)
    }

    /// Waits for a free place, in the order of due instants.
    pub(crate) fn wait(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, fire: Fire) {
        let Some(state) = self.shard(shard) else { return };
        if state.waits_since.is_none() {
            state.waits_since = Some(fire.due);
            turn.waiting.insert((fire.due, turn.ix, shard));
        }
    }

    pub(crate) fn no_longer_waits(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let Some(state) = self.shard(shard) else { return };
        if let Some(due) = state.waits_since.take() {
            turn.waiting.remove(&(due, turn.ix, shard));
        }
    }

    /// It waited for a free place, and there is one.
    pub(crate) fn admit(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if let Some(state) = self.shard(shard) {
            state.waits_since = None;
        }
        self.consider(turn, shard);
    }

    /// Writes down what became of fires that no run is claimed for.
    pub(crate) fn account(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        mut stored: Arc<record::Stored>,
        notes: &[Note],
    ) {
        Arc::make_mut(&mut stored).record.account(notes);
        // What was due follows from the plan: one that is out of date accounts nothing.
        let Some(plan) = self.view.plan.held().map(|held| held.stamp) else { return };
        let check = Op::Check(self.key(turn, &Facet::Plan), Some(plan));
        let write = self.write_record(turn, shard, &stored);
        let Some(state) = self.shard(shard) else { return };
        state.accounting = Some((stored, notes.to_vec()));
        turn.link.gather(Member::new(Aim::Account(turn.ix, shard), vec![check, write]));
    }

    /// Writes a record over the state of it that was read.
    pub(crate) fn write_record(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: &record::Stored,
    ) -> Op {
        let key = self.keys(turn, shard).record.clone();
        let value = record::encode(stored);
        let held = self.shards[shard as usize].record.held().map(|held| held.stamp);
        match held {
            None => Op::create(key, value),
            stamp => Op::Set(key, value, stamp),
        }
    }

    pub(crate) fn report_notes(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, notes: &[Note]) {
        for note in notes {
            let job = self.name.clone();
            turn.report(Report::Accounted(Account {
                job,
                shard,
                fate: note.fate,
                reason: note.reason,
                fires: note.span.fires,
                first: note.span.first,
                last: note.span.last,
            }));
        }
    }

    /// Looks at a shard again after a while, or when a look is scheduled that comes earlier.
    pub(crate) fn look_later(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, after: Duration) {
        let Some(state) = self.shard(shard) else { return };
        let at = turn.now.mono.plus(after);
        if state.look_at.is_none_or(|scheduled| at < scheduled) {
            state.look_at = Some(at);
            turn.alarms.add(at, Alarm::Look(turn.ix, shard));
        }
    }

    pub(crate) fn look_again(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let Some(state) = self.shard(shard) else { return };
        if state.look_at.is_none_or(|at| at > turn.now.mono) {
            return;
        }
        state.look_at = None;
        let is_elsewhere = state.run.is_none()
            && !state.is_accounting()
            && state.record.value().is_some_and(|stored| stored.record.claim.is_some());
        if state.record.is_unreadable() || (is_elsewhere && !self.is_own_retry(turn, shard)) {
            self.look(turn, Facet::Record(shard));
        }
        if self.shard(shard).is_some_and(|state| state.is_mark_in_the_way) {
            self.look(turn, Facet::Running(shard));
        }
        self.consider(turn, shard);
    }
}

/// A trigger's fire is named by its own instant, which no other run of the shard has.
fn trigger_instant(stored: &record::Stored, now: Timestamp) -> Timestamp {
    let after_last = stored
        .record
        .last
        .as_ref()
        .map_or(now, |last| last.fire.due.plus(Duration::from_millis(1)));
    now.max(after_last)
}
