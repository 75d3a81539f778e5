//! One shard on this node: from what is known of it, what is to be done next.
//!
//! What happens to it changes its [`State`] and marks it; [`Shard::consider`] and [`Shard::begin`] decide.

mod accounting;
mod ahead;
mod answers;
mod ask;
mod back;
mod begin;
mod claim;
mod ending;
mod foreign;
mod keys;
mod last;
mod learned;
mod over;
mod place;
mod run;
#[cfg(test)]
mod scene;
mod state;

use crate::Report;
use crate::alarms::Alarm;
use crate::facts::Facts;
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
use foreign::{Foreign, Plan, is_released_to};
use keys::Keys;
use place::Place;
use state::State;
use std::sync::Arc;
use std::time::Duration;

/// How soon a mark is read again whose read gave no answer.
const REREAD_AFTER: Duration = Duration::from_millis(500);

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    index: ShardIndex,
    state: State,
    /// Its keys, once it was claimed here.
    keys: Option<Box<Keys>>,
    /// Until when it could not run here, and why.
    hold: Option<Hold>,
    /// Whether it was assigned to this instance when last heard of.
    was_mine: bool,
    ask: Ask,
    place: Place,
    foreign: Foreign,
    /// When it is looked at again, whatever happens.
    look_at: Option<Mono>,
    /// The last outcome's code here.
    last_code: Option<&'static str>,
    /// Fires claimed here.
    ran: u64,
}

/// Something that a shard learns and that matters to its job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// This instance does not serve the job any more, whatever was read.
    ThisInstanceIsGone,
}

/// What is to be done about a claim that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// There is none.
    NoClaim,
    /// Its run may not begin, whatever else holds.
    Never,
    /// It may, if the node may start runs of the job.
    IfAllowed,
}

impl Shard {
    /// A shard of which nothing is known.
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
            look_at: None,
            last_code: None,
            ran: 0,
        }
    }

    /// Whether nothing new can be done about it yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.is_busy()
    }

    /// Its run here, from the claim's sending until its end is known.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        self.state.run_id()
    }

    /// Since which due instant it waits for a free place, if it does.
    pub(crate) fn waits_since(&self) -> Option<Timestamp> {
        self.place.waits_since()
    }

    /// The change whose answer it waits for.
    pub(crate) fn awaited(&self) -> Option<ShardChange> {
        self.state.awaited()
    }

    /// Whether a claim stands, and its run has neither begun nor waits for its instant.
    pub(crate) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Standing(_))
    }

    /// Whether a claim made ahead waits for its instant.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self.state, State::Ahead(_))
    }

    /// Whether the code of that run was started.
    pub(crate) fn has_started(&self) -> bool {
        self.state.run().is_some()
    }

    /// Whether that run must stop once the session may be lost.
    pub(crate) fn must_stop_without_session(&self) -> bool {
        self.state.claim().is_some_and(OwnClaim::must_stop_without_session)
    }

    /// How its record is to be read when all is read again.
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

    /// Whether this node may run anything of it as its owner.
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
            // Whoever owns it by now leaves to this node what was released to it.
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

    /// A free shard of this node's: settles what came due.
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

    /// What is to become of what is due, and of a request to run now.
    fn settle(
        &self,
        now: Timestamp,
        facts: &Facts<'_>,
        mirror: &Mirror,
        (stored, is_off): (&Stored, bool),
    ) -> Option<Settled> {
        let plan = mirror.plan_in_force(facts.shards())?;
        let from = plan.from(self.index);
        let policy = Policy { memo: facts.memo, ..Policy::of(facts.config?, from) };
        let settled = settle(&policy, stored.record.watermark, plan.alive, self.hold, now);
        Some(match settled {
            Settled { notes, run: None } if self.ask.is_open() && !is_off => {
                let due = trigger_instant(stored, now);
                Settled { notes, run: Some(Fire { due, source: Source::Trigger }) }
            }
            settled => settled,
        })
    }

    /// Claims a fire before it is due, if that is all there is to be done about the shard, now and then.
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
        let policy = Policy { memo: facts.memo, ..Policy::of(config, plan.from(self.index)) };
        let (held, instants) = ((plan.alive, self.hold), (turn.now.wall, due));
        if is_all_there_is(&policy, &stored, held, instants) {
            let fire = Fire { due, source: Source::Schedule };
            self.claim(turn, facts, mirror, stored, (fire, Vec::new()));
        }
    }

    /// Whether a fire of it may be claimed ahead, as far as can be seen without asking the clock.
    pub(crate) fn may_be_claimed_ahead(
        &self,
        turn: &Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> bool {
        let is_wanted = self.is_busy() || self.ask.is_open();
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

    /// A claim in its record that is not a run of this node.
    fn consider_claim(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (stored, claim): (&Arc<Stored>, &Claim),
    ) {
        match self.foreign.plan(turn, (self.index, claim), facts, mirror) {
            Plan::Nothing => {}
            Plan::LookIn(after) => self.look_in(turn, after),
            Plan::FollowMark => {
                self.foreign.follow_mark(turn, mirror, self.index);
                self.look_in(turn, turn.settings.reconcile_interval);
            }
            Plan::ClaimAgain => self.claim_again(turn, facts, mirror, (stored, claim)),
            Plan::Close(code, text) => self.close(turn, mirror, (stored, claim), (code, text)),
        }
    }

    /// Runs a fire again whose run failed or crashed, under a new claim.
    fn claim_again(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        (stored, old): (&Arc<Stored>, &Claim),
    ) {
        // Its fire is to come, so it need not be taken while there is little room.
        let is_to_come = is_ahead(old) && old.fire.due > turn.now.wall;
        if is_to_come && !turn.capacity.has_room_ahead() {
            return self.look_in(turn, old.fire.due.since(turn.now.wall).min(MAX_CLAIM_AHEAD));
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

    /// Writes down that a fire is over though it was not done.
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

    /// Writes down what became of fires that no run is claimed for.
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

    /// It waited for a free place, and there is one.
    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>) {
        self.place.admitted();
        turn.mark_shard(self.index);
    }

    /// Looks at it again after a while, or when a look is scheduled that comes earlier.
    fn look_in(&mut self, turn: &mut Turn<'_>, after: Duration) {
        let at = turn.now.mono.plus(after);
        if self.look_at.is_none_or(|scheduled| at < scheduled) {
            self.look_at = Some(at);
            turn.alarm_at(at, Alarm::Reconsider(turn.job, self.index));
        }
    }

    /// Whether a look that was scheduled has come: then it is over with.
    fn look_has_come(&mut self, now: Mono) -> bool {
        self.look_at.take_if(|at| *at <= now).is_some()
    }

    /// The keys that its runs write.
    fn keys(&mut self, turn: &Turn<'_>) -> &Keys {
        self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, self.index)))
    }

    /// Enters a stage.
    fn enter(&mut self, state: State) {
        self.state = state;
    }

    /// Gives the stage back in which the shard is, and leaves it free.
    fn leave_stage(&mut self) -> State {
        std::mem::take(&mut self.state)
    }

    /// A run, or a claim, of this node is over, or never came to be: the shard is as free as before.
    fn is_free_of(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, run: RunId) {
        turn.capacity.free(run);
        self.state = State::Free;
        // A job that is being left, or cannot be served, may be left once its last run has ended.
        if facts.goes {
            turn.mark_job();
        }
    }

    /// A claim that never came to be, or was given back.
    fn abandon(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, run: RunId) {
        self.is_free_of(turn, facts, run);
        self.ask.claim_is_gone();
    }

    /// A run begins: what held it up is over.
    fn begins_a_run(&mut self) {
        self.hold = None;
        self.ran += 1;
    }

    /// The run that had begun was not started after all.
    fn began_no_run(&mut self) {
        self.ran = self.ran.saturating_sub(1);
    }

    fn ended_with(&mut self, code: &'static str) {
        self.last_code = Some(code);
    }

    fn is_held_up_no_more(&mut self) {
        self.hold = None;
    }

    /// It is assigned to this instance, or to another, as was heard now. Says how it was before.
    fn is_mine_now(&mut self, is_mine: bool) -> bool {
        std::mem::replace(&mut self.was_mine, is_mine)
    }

    /// It could not run until an instant.
    pub(crate) fn held_up(&mut self, until: Timestamp, reason: Reason) {
        self.hold = Some(Hold { until, reason });
    }

    /// The session is proven again: it was held up by that until now, if nothing of it runs.
    pub(crate) fn session_is_back(&mut self, now: Timestamp) {
        if self.run_id().is_none() && self.hold.is_none_or(|held| held.until < now) {
            self.held_up(now, Reason::NoRegistry);
        }
    }

    /// The wall clock was set back: what held it up until an instant that it showed before is over.
    pub(crate) fn clock_was_set_back(&mut self, now: Timestamp) {
        if let Some(hold) = &mut self.hold {
            hold.until = hold.until.min(now);
        }
    }

    /// Its job is gone from the registry.
    pub(crate) fn job_removed(&mut self, turn: &mut Turn<'_>) {
        self.was_mine = false;
        self.ask.is_answered();
        self.wait_no_more(turn);
    }

    /// Someone asks for a run now. Says why it is refused, if it is.
    pub(crate) fn asked(&mut self, mirror: &Mirror, overlap: Overlap) -> Option<&'static str> {
        let runs = self.run_id().is_some();
        if mirror.is_surely_off(self.index) {
            return Some("DISABLED");
        }
        if runs && !self.state.may_come_to_nothing() && overlap == Overlap::Skip {
            return Some("OVERLAP");
        }
        // A claim that does not stand yet is no run that the request could be skipped for. While it runs,
        // one run follows, whatever the number of requests.
        self.ask = if runs && overlap == Overlap::Skip { Ask::Claimed } else { Ask::Open };
        None
    }

    /// A request is dropped where the shard is another's by now, or switched off; says whether one is
    /// still open.
    pub(crate) fn is_still_asked(&mut self, mirror: &Mirror, me: &InstanceId) -> bool {
        let owner = mirror.owner(self.index).and_then(Slot::known);
        let is_lost = owner.is_some_and(|owner| owner.is_none_or(|held| held.value != *me));
        if is_lost || mirror.is_surely_off(self.index) {
            self.ask.is_answered();
        }
        self.ask.is_open()
    }
}

/// A trigger's fire is named by its own instant, which no other run of the shard has.
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
