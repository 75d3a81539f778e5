//! One shard on this node: from what is known of the shard, what is to be done next.
//!
//! What happens to the shard changes its [`State`] and marks the shard; [`Shard::consider`] and
//! [`Shard::begin`] decide.

mod accounting;
mod ahead;
mod answers;
mod ask;
mod back;
mod begin;
mod claim;
mod ending;
mod finish;
mod foreign;
mod gated;
mod keys;
mod last;
mod place;
mod reads;
mod run;
#[cfg(test)]
mod scene;
mod set_back;
mod state;

use crate::Report;
use crate::alarms::Alarm;
use crate::facts::{Facts, Gate};
use crate::mirror::{Mirror, RecordIs, Slot};
use crate::outbox::ShardChange;
use crate::status::ShardStatus;
use crate::turn::Turn;
use accounting::Accounting;
use ahead::{is_ahead, is_all_there_is};
use ask::Ask;
use claim::{Claiming, OwnClaim};
use flockwork_core::account::{Claim, ClaimState, Hold, Note, Policy, Reason, Settled, settle};
use flockwork_core::config::{MAX_CLAIM_AHEAD, Overlap};
use flockwork_core::execution::{Fire, RunId, Source};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::record::Stored;
use foreign::{Decision, Foreign, is_released_to};
pub(crate) use gated::has_run;
use gated::{alive_since, left_by_the_past, settle_by};
use keys::Keys;
use place::Place;
use state::State;
use std::sync::Arc;
use std::time::Duration;

/// How soon a mark is read again if its read gave no answer.
const REREAD_AFTER: Duration = Duration::from_millis(500);

/// One shard on this node.
#[derive(Debug)]
pub(crate) struct Shard {
    index: ShardIndex,
    state: State,
    /// The shard's keys, once the shard was claimed here.
    keys: Option<Box<Keys>>,
    /// The instant until which the shard could not run here, and the reason.
    hold: Option<Hold>,
    /// Whether the shard was assigned to this instance when last heard of.
    was_mine: bool,
    ask: Ask,
    place: Place,
    foreign: Foreign,
    /// The time at which the shard is looked at again, whatever happens.
    reconsider_at: Option<Mono>,
    /// The code of the shard's last outcome here.
    last_code: Option<&'static str>,
    /// The number of the shard's fires that were claimed here.
    ran: u64,
}

/// News that a shard learns and that matters to its job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// This instance does not serve the job any more, whatever was read.
    ThisInstanceIsGone,
}

/// Whether the run of a claim that stands may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// The shard has no claim that stands.
    NoClaim,
    /// The claim's run may not begin, whatever else holds.
    Never,
    /// The claim's run may begin, if the node may start runs of the job.
    IfAllowed,
}

impl Shard {
    /// Creates a shard of which nothing is known.
    pub(crate) fn new(index: ShardIndex) -> Self {
        Self {
            index,
            state: State::Free,
            keys: None,
            hold: None,
            was_mine: false,
            ask: Ask::None,
            place: Place::default(),
            foreign: Foreign::default(),
            reconsider_at: None,
            last_code: None,
            ran: 0,
        }
    }

    /// Returns whether nothing new can be done about the shard yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.is_busy()
    }

    /// Returns the shard's run here, from the claim's sending until the run's end is known.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        self.state.run_id()
    }

    /// Returns the due instant since which the shard waits for a free place, if it does.
    pub(crate) fn waits_since(&self) -> Option<Timestamp> {
        self.place.waits_since()
    }

    /// Returns the change whose answer the shard waits for.
    pub(crate) fn awaited(&self) -> Option<ShardChange> {
        self.state.awaited()
    }

    /// Returns whether a claim stands and its run has neither begun nor waits for its instant.
    pub(crate) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Standing(_))
    }

    /// Returns whether a claim made ahead waits for its instant.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self.state, State::Ahead(_))
    }

    /// Returns whether the code of the shard's run was started.
    pub(crate) fn has_started(&self) -> bool {
        self.state.run().is_some()
    }

    /// Returns whether the shard's run must stop once the session may be lost.
    pub(crate) fn must_stop_without_session(&self) -> bool {
        self.state.claim().is_some_and(OwnClaim::must_stop_without_session)
    }

    /// Returns how the shard's record is to be read when all is read again.
    pub(crate) fn record_is(&self) -> RecordIs {
        self.state.record_is(self.was_mine)
    }

    pub(crate) fn status(&self, mirror: &Mirror) -> ShardStatus {
        ShardStatus {
            shard: self.index,
            owner: mirror.owner(self.index).and_then(Slot::last_seen).cloned(),
            run: self.state.run().cloned(),
            waiting: self.place.waits_since().map(|due| Fire { due, source: Source::Schedule }),
            is_overdue: matches!(&self.state, State::Running(running) if running.is_overdue()),
            is_disabled: mirror.is_surely_off(self.index),
            last: self.last_code,
            ran: self.ran,
        }
    }

    /// Returns whether this node may run anything of the shard as its owner.
    fn may_own(&self, turn: &Turn<'_>, facts: &Facts<'_>, mirror: &Mirror) -> bool {
        let me = turn.instance();
        let owner = mirror.owner(self.index).and_then(Slot::value);
        owner == Some(me)
            && facts.is_registered
            && mirror.plan_in_force(facts.shards()).is_some()
            && mirror.is_enabled(me) == Some(true)
    }

    /// Looks at a free shard of a job that this node serves, and does what is to be done now.
    pub(crate) fn consider(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, mirror: &mut Mirror) {
        let Some(stored) = mirror.stored(self.index) else {
            // An attempt that was released to this node stays with it, whichever instance owns the shard by
            // now.
            let seen = mirror.record(self.index).and_then(Slot::last_seen);
            let was_own_retry = is_released_to(seen.map(|stored| &**stored), turn.instance());
            if self.may_own(turn, facts, mirror) || was_own_retry {
                mirror.read_record_if_unread(turn, self.index);
            }
            return;
        };
        if let Some(claim) = stored.record.claim.clone() {
            return self.consider_claim(turn, facts, mirror, (&stored, &claim));
        }
        if self.may_own(turn, facts, mirror) {
            self.consider_due(turn, facts, mirror, stored);
        }
    }

    /// Settles what came due on a free shard that this node owns.
    fn consider_due(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        stored: Arc<Stored>,
    ) {
        let Some(is_off) = mirror.is_off(self.index) else { return };
        if is_off {
            self.held_up(turn.now.wall.plus(Duration::from_millis(1)), Reason::Disabled);
        }
        if let Some(after) = facts.gate.opens_in(turn.now.wall) {
            // The clock of whoever opened it is ahead.
            self.wait_no_more(turn);
            return self.reconsider_in(turn, after);
        }
        if self.set_back(turn, facts, mirror, &stored) {
            return self.wait_no_more(turn);
        }
        let Some(settled) = self.settle(turn.now.wall, facts, mirror, (&stored, is_off)) else {
            return;
        };
        match settled.run {
            None => {
                self.wait_no_more(turn);
                if !settled.notes.is_empty() {
                    self.account(turn, mirror, stored, settled.notes);
                }
            }
            Some(fire) if turn.capacity.is_next(fire) => {
                self.claim(turn, facts, mirror, stored, (fire, settled.notes));
            }
            Some(fire) => self.place.wait(turn, self.index, fire),
        }
    }

    /// Returns what is to become of the due fires, and of a request to run now.
    fn settle(
        &self,
        now: Timestamp,
        facts: &Facts<'_>,
        mirror: &Mirror,
        (stored, is_off): (&Stored, bool),
    ) -> Option<Settled> {
        let plan = mirror.plan_in_force(facts.shards())?;
        let policy = Policy::of(facts.config?, plan.from(self.index)).of_record(&stored.record);
        let policy = Policy { memo: facts.memo, ..policy };
        let watermark = stored.record.watermark;
        let alive = alive_since(plan, &policy, &stored.record, now);
        if watermark < policy.from {
            let notes = left_by_the_past(plan, &policy, (self.index, &stored.record), now);
            if !notes.is_empty() {
                return Some(Settled { notes, run: None });
            }
        }
        let settled = match facts.gate {
            Gate::None => settle(&policy, watermark, alive, self.hold, now),
            // A shard that was added since has no part in the fire.
            Gate::Open(_, shards, _) if self.index >= shards => return Some(Settled::default()),
            gate => return Some(settle_by(gate, &policy, alive, (stored, is_off))),
        };
        Some(match settled {
            Settled { notes, run: None } if self.ask.is_open() && !is_off => {
                let due = trigger_instant(stored, now);
                Settled { notes, run: Some(Fire { due, source: Source::Trigger }) }
            }
            settled => settled,
        })
    }

    /// Claims a fire before it is due, if nothing else is to be done about the shard until then.
    pub(crate) fn consider_ahead(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        due: Timestamp,
    ) {
        let (Some(config), Some(stored)) = (facts.config, mirror.stored(self.index)) else {
            return;
        };
        let Some(plan) = mirror.plan_in_force(facts.shards()) else { return };
        let policy = Policy::of(config, plan.from(self.index)).of_record(&stored.record);
        let policy = Policy { memo: facts.memo, ..policy };
        let alive = alive_since(plan, &policy, &stored.record, turn.now.wall);
        let (held, instants) = ((alive, self.hold), (turn.now.wall, due));
        if !left_by_the_past(plan, &policy, (self.index, &stored.record), due).is_empty() {
            return;
        }
        if is_all_there_is(&policy, &stored, held, instants) {
            let fire = Fire { due, source: Source::Schedule };
            self.claim(turn, facts, mirror, stored, (fire, Vec::new()));
        }
    }

    /// Returns whether a fire of the shard may be claimed ahead, as far as can be seen without asking the
    /// clock.
    pub(crate) fn may_be_claimed_ahead(
        &self,
        turn: &Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> bool {
        let is_wanted = self.is_busy() || self.ask.is_open() || facts.gate != Gate::None;
        self.may_own(turn, facts, mirror)
            && turn.capacity.has_room_ahead()
            && mirror.is_off(self.index) == Some(false)
            && !is_wanted
            && mirror.stored(self.index).is_some_and(|stored| stored.record.claim.is_none())
    }

    fn claim(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        before: Arc<Stored>,
        what: (Fire, Vec<Note>),
    ) {
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)));
        let at = (&mut *turn, &**keys, self.index);
        if let Some(claiming) = Claiming::first(at, facts, mirror, before, what) {
            self.state = State::Claiming(claiming);
            self.wait_no_more(turn);
        }
    }

    /// Handles a foreign claim in the shard's record.
    fn consider_claim(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (stored, claim): (&Arc<Stored>, &Claim),
    ) {
        match self.foreign.decide(turn, (self.index, claim), facts, mirror) {
            Decision::Nothing => {}
            Decision::ReconsiderIn(after) => self.reconsider_in(turn, after),
            Decision::FollowMark => {
                self.foreign.follow_mark(turn, mirror, self.index);
                self.reconsider_in(turn, turn.settings.reconcile_interval);
            }
            Decision::ClaimAgain => self.claim_again(turn, facts, mirror, (stored, claim)),
            Decision::Close(code, text) => self.close(turn, mirror, (stored, claim), (code, text)),
        }
    }

    /// Runs a fire again under a new claim because its run failed or crashed.
    fn claim_again(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        (stored, old): (&Arc<Stored>, &Claim),
    ) {
        // The fire is not due yet, so it need not be claimed while there is little room.
        let is_to_come = is_ahead(old) && old.fire.due > turn.now.wall;
        if is_to_come && !turn.capacity.has_room_ahead() {
            return self
                .reconsider_in(turn, old.fire.due.since(turn.now.wall).min(MAX_CLAIM_AHEAD));
        }
        if !turn.capacity.has_room() {
            return self.place.wait(turn, self.index, old.fire);
        }
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)));
        let at = (&mut *turn, &**keys, self.index);
        self.state = State::Claiming(Claiming::again(at, facts, mirror, (stored, old)));
        if old.state == ClaimState::Held {
            self.report_crashed(turn, old, true);
        }
        self.wait_no_more(turn);
    }

    /// Writes into the record that a fire is over although it was not done.
    fn close(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        what: (&Stored, &Claim),
        why: (&str, &str),
    ) {
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)));
        let accounting = Accounting::of_claim(turn, (keys, self.index), mirror, what, why);
        self.state = State::Accounting(accounting);
        if what.1.state == ClaimState::Held {
            self.report_crashed(turn, what.1, false);
        }
        self.held_up(turn.now.wall, Reason::Overlap);
    }

    fn report_crashed(&self, turn: &mut Turn<'_>, claim: &Claim, taken: bool) {
        let (job, shard, instance) = (turn.name.clone(), self.index, claim.instance.clone());
        turn.report(Report::FoundCrashed { job, shard, instance, taken });
    }

    /// Accounts fires that no run is claimed for.
    fn account(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        stored: Arc<Stored>,
        notes: Vec<Note>,
    ) {
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)));
        if let Some(accounting) =
            Accounting::of_fires(turn, (keys, self.index), mirror, stored, notes)
        {
            self.state = State::Accounting(accounting);
        }
    }

    pub(crate) fn wait_no_more(&mut self, turn: &mut Turn<'_>) {
        self.place.wait_no_more(turn, self.index);
    }

    /// Handles the free place that the shard waited for.
    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>) {
        self.place.admitted();
        turn.mark_shard(self.index);
    }

    /// Looks at the shard again after a while, or earlier if an earlier look is scheduled.
    fn reconsider_in(&mut self, turn: &mut Turn<'_>, after: Duration) {
        let at = turn.now.mono.plus(after);
        if self.reconsider_at.is_none_or(|scheduled| at < scheduled) {
            self.reconsider_at = Some(at);
            turn.alarm_at(at, Alarm::Reconsider(turn.job, self.index));
        }
    }

    /// Returns whether a scheduled look has come, and removes it then.
    fn reconsider_has_come(&mut self, now: Mono) -> bool {
        self.reconsider_at.take_if(|at| *at <= now).is_some()
    }

    /// Returns the keys that the shard's runs write.
    fn keys(&mut self, turn: &Turn<'_>) -> &Keys {
        self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)))
    }

    /// Enters a stage of the shard's life.
    fn enter(&mut self, state: State) {
        self.state = state;
    }

    /// Returns the stage in which the shard is, and leaves the shard free.
    fn leave_stage(&mut self) -> State {
        std::mem::take(&mut self.state)
    }

    /// Frees the shard of a run or a claim of this node that is over or never came to be.
    fn is_free_of(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, run: RunId) {
        turn.capacity.free(run);
        self.state = State::Free;
        // A job that is being left, or cannot be served, may be left once its last run has ended.
        if facts.goes {
            turn.mark_job();
        }
    }

    /// Frees the shard of a claim that never came to be, or was given back.
    fn abandon(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, run: RunId) {
        self.is_free_of(turn, facts, run);
        self.ask.claim_is_gone();
    }

    /// Notes that a run begins: what held the shard up is over.
    fn begins_a_run(&mut self) {
        self.hold = None;
        self.ran += 1;
    }

    /// Notes that the run that had begun was not started after all.
    fn began_no_run(&mut self) {
        self.ran = self.ran.saturating_sub(1);
    }

    fn ended_with(&mut self, code: &'static str) {
        self.last_code = Some(code);
    }

    fn is_held_up_no_more(&mut self) {
        self.hold = None;
    }

    /// Notes whether the shard is assigned to this instance, as was heard now. Returns whether it was before.
    fn is_mine_now(&mut self, is_mine: bool) -> bool {
        std::mem::replace(&mut self.was_mine, is_mine)
    }

    /// Notes that the shard could not run until an instant.
    pub(crate) fn held_up(&mut self, until: Timestamp, reason: Reason) {
        self.hold = Some(Hold { until, reason });
    }

    /// Notes that the session is proven again. A shard without a run was held up until now because the
    /// session was not proven.
    pub(crate) fn session_is_back(&mut self, now: Timestamp) {
        if self.run_id().is_none() && self.hold.is_none_or(|held| held.until < now) {
            self.held_up(now, Reason::NoRegistry);
        }
    }

    /// Notes that the wall clock was set back: what held the shard up until a later instant is over.
    pub(crate) fn clock_was_set_back(&mut self, now: Timestamp) {
        if let Some(hold) = &mut self.hold {
            hold.until = hold.until.min(now);
        }
    }

    /// Notes that the shard's job is gone from the registry.
    pub(crate) fn job_removed(&mut self, turn: &mut Turn<'_>) {
        self.was_mine = false;
        self.ask.is_answered();
        self.wait_no_more(turn);
    }

    /// Takes a request for a run now. Returns why the request is refused, if it is.
    pub(crate) fn asked(&mut self, mirror: &Mirror, overlap: Overlap) -> Option<&'static str> {
        let runs = self.run_id().is_some();
        if mirror.is_surely_off(self.index) {
            return Some("DISABLED");
        }
        if runs && !self.state.may_come_to_nothing() && overlap == Overlap::Skip {
            return Some("OVERLAP");
        }
        // The request cannot be skipped for a claim that does not stand yet. While the shard runs, one run
        // follows, whatever the number of requests.
        self.ask = if runs && overlap == Overlap::Skip { Ask::Claimed } else { Ask::Open };
        None
    }

    /// Drops a request if the shard now belongs to another instance or is switched off. Returns whether a
    /// request is still open.
    pub(crate) fn is_still_asked(&mut self, mirror: &Mirror, me: &InstanceId) -> bool {
        let owner = mirror.owner(self.index).and_then(Slot::known);
        let is_lost = owner.is_some_and(|owner| owner.is_none_or(|held| held.value != *me));
        if is_lost || mirror.is_surely_off(self.index) {
            self.ask.is_answered();
        }
        self.ask.is_open()
    }
}

/// Returns the instant that names a trigger's fire; no other run of the shard has this instant.
fn trigger_instant(stored: &Stored, now: Timestamp) -> Timestamp {
    let after_last = stored
        .record
        .last
        .as_ref()
        .map_or(now, |last| last.fire.due.plus(Duration::from_millis(1)));
    now.max(after_last)
}

#[cfg(test)]
mod tests;
