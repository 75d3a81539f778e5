//! The calls of a job's listener: `before` once before the first shard of a fire starts, `after` once when
//! the last has ended. The job's leader calls it, for the whole cluster. One fire is under way at a time.
//!
//! ```text
//!             before is called            shards run            after is called
//!   Closed ──────────────────────▶ Open ─────────────▶ (Closing) ─────────────▶ Closed
//!      │ Repeated, by a new leader    ▲     written only where a shard
//!      └──────────────────────────────┘     could otherwise still start
//!      └──▶ Passed: before failed, or the fire is not run
//! ```
//!
//! What is drawn is the document of `once.rs`. The leader writes it on two conditions: that it still leads,
//! and that nothing has changed. A call is not written down before it begins, as long as the leader stays the
//! same: nobody else may call. A new leader cannot know whether the one before had begun, so it counts the
//! first call that was due by then as a repetition, and writes that before it calls.

mod call;
mod progress;

use super::once::{Once, Stands};
use crate::alarms::Alarm;
use crate::facts::Gate;
use crate::mirror::{Held, Mirror};
use crate::turn::Turn;
use crate::{Effect, Report};
use call::Call;
use flockwork_core::account::{Fate, Hold, Passed, Policy, Reason, Settled, settle};
use flockwork_core::config::{JobConfig, ListenerRules, OnBeforeFailure};
use flockwork_core::execution::{CancelReason, Ending, Fire, OVERDUE_AFTER, Outcome, Part, Run};
use flockwork_core::execution::{RunId, Source};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::schedule::Memo;
use flockwork_core::time::Timestamp;
use flockwork_layout::guarantee::{Guarantee, Stage};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Op, SessionId, Stamp};
use progress::{Awaits, Progress, Records, newest_accounted, newest_due};
use std::sync::Arc;
use std::time::Duration;

/// The calls of one job's listener, as far as they are this instance's.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// The leadership of this instance, while it leads.
    term: Option<Term>,
    call: Option<Call>,
    /// A call that was told to stop, whose code goes on.
    lingers: Option<Lingering>,
    /// Until when the job could open no fire, and why.
    hold: Option<Hold>,
    records: Records,
    progress: Progress,
}

/// One leadership of this instance.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// The leader's key.
    stamp: Stamp,
    /// The session that the key lives with.
    session: Option<SessionId>,
    /// Since when this instance leads: an earlier leader may have called for what was due by then. `None` if
    /// nobody led before.
    since: Option<Timestamp>,
    /// The repetition that this leadership has written.
    repeats: Option<(Fire, u32)>,
    /// The fire that this leadership has opened: nobody has called its `after`.
    opened: Option<Fire>,
    /// The last call of `before` that this leadership has made.
    called: Option<(Fire, u32)>,
}

/// A call that was told to stop, whose code goes on.
#[derive(Debug)]
struct Lingering {
    run: Arc<Run>,
    /// Whether it goes on long after it was told: it is waited for no more.
    is_overdue: bool,
}

/// What the calls go by.
pub(crate) struct By<'a> {
    pub(crate) mirror: &'a mut Mirror,
    pub(crate) once: &'a mut Once,
    pub(crate) config: &'a JobConfig,
    /// The memo of the search that found the next due instant.
    pub(crate) memo: Memo,
    /// Whether this node's clock may be gone by.
    pub(crate) clock_agrees: bool,
}

impl Term {
    fn new(leader: &Held<InstanceId>, since: Timestamp) -> Self {
        let Held { stamp, session, .. } = *leader;
        Self { stamp, session, since: Some(since), repeats: None, opened: None, called: None }
    }

    /// Returns how often `before` may have been called for a fire that is not open.
    fn calls_before(&self, fire: Fire, document: &Guarantee) -> u32 {
        if let Some((_, attempt)) = self.called.filter(|(called, _)| *called == fire) {
            return attempt;
        }
        let may_have_begun = self.since.is_some_and(|since| match fire.source {
            Source::Trigger => document.asked <= self.stamp.created.0,
            _ => fire.due <= since,
        });
        u32::from(may_have_begun)
    }

    /// Notes that a call was stopped, which is to be made again.
    fn stops(&mut self, run: &Run) {
        match run.part {
            Part::Before => self.repeats = None,
            Part::After | Part::Shard => self.opened = None,
        }
    }
}

impl Listener {
    /// Returns the call whose code goes on, if there is one.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        let running = self.call.as_ref().filter(|call| call.ending().is_none());
        running.map(Call::run).or(self.lingers.as_ref().map(|it| &it.run)).map(|run| run.id)
    }

    /// Returns whether code of the listener goes on, or has ended and the registry does not know it.
    pub(crate) fn is_busy(&self) -> bool {
        self.call.is_some() || self.lingers.is_some()
    }

    /// Returns whether this instance leads, as far as the calls know.
    pub(crate) fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// Returns the fire that this instance opens as the leader: its own shards need not wait until others know.
    /// (A fire that somebody asked for is opened first: a later leader could not tell from the records that
    /// it was.) A registry may tell one leader's key from another's by the session alone.
    pub(crate) fn opens(&self, rules: ListenerRules, session: Option<SessionId>) -> Option<Gate> {
        let term = self.term.filter(|term| term.session == session)?;
        let call = self.call.as_ref()?;
        let is_opened = call.ending()?.is_success() || rules.on_failure == OnBeforeFailure::Run;
        let (run, leads) = (call.run(), term.stamp);
        let is_before = run.part == Part::Before && run.fire.source != Source::Trigger;
        (is_before && is_opened).then_some(Gate::Opening(run.fire, leads))
    }

    /// Does what is to be done next, if this instance leads the job.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>) {
        if by.config.listener.is_none() {
            return self.retire(turn, by);
        }
        if !self.takes_office(turn, by.mirror) {
            return;
        }
        let opened = by.mirror.once().value().map_or(0, |document| match document.stage {
            Stage::Open { shards, .. } | Stage::Closing { shards, .. } => shards,
            _ => 0,
        });
        self.records.follow(turn, by.mirror, by.config.shards.max(opened));
        if self.tell(turn, by) && turn.may_start() && self.is_free() {
            self.advance(turn, by);
        }
    }

    /// Tells the registry of a call that has ended, and begins nothing: this instance is about to leave the
    /// job.
    pub(crate) fn finish(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>) {
        if self.takes_office(turn, by.mirror) {
            self.tell(turn, by);
        }
    }

    /// Returns whether this instance leads the job. Where that is new, its leadership begins; where another
    /// is known to lead, it calls nothing more.
    fn takes_office(&mut self, turn: &mut Turn<'_>, mirror: &Mirror) -> bool {
        let Some(leader) = mirror.leader().known() else { return false };
        let Some(held) = leader.filter(|leader| is_own(turn, leader)) else {
            self.resign(turn);
            return false;
        };
        if self.term.is_none_or(|term| term.stamp.created != held.stamp.created) {
            self.resign(turn);
            let since = turn.now.wall;
            self.term = Some(Term::new(held, since));
            // What was due while the server was switched off is not made up for.
            let was_off = self.hold.is_some_and(|hold| hold.reason == Reason::Disabled);
            if !was_off {
                self.held_up(since, Reason::Resharding);
            }
        }
        true
    }

    /// Calls nothing more, as the job has no listener any more. Nothing must be left that a later one would
    /// go by: until that is known, this instance does not resign.
    fn retire(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>) {
        let Some(term) = self.term else { return };
        self.stop(turn, CancelReason::Shutdown);
        match by.once.stands(by.mirror) {
            None => {}
            Some(Stands { stamp: None, .. }) => self.resign(turn),
            Some(Stands { stamp: Some(stamp), .. }) if self.leads_now(turn, by.mirror) => {
                let leads = Op::Check(turn.key(&Facet::Leader), Some(term.stamp));
                by.once.delete(turn, stamp, vec![leads]);
            }
            Some(_) => self.resign(turn),
        }
    }

    fn leads_now(&self, turn: &Turn<'_>, mirror: &Mirror) -> bool {
        mirror.leader().held().is_some_and(|held| is_own(turn, held))
    }

    fn resign(&mut self, turn: &mut Turn<'_>) {
        if self.term.take().is_some() {
            self.stop(turn, CancelReason::Shutdown);
            self.records.unfollow(turn);
            self.progress.is_over();
        }
    }

    /// Returns whether the listener may be called: no earlier call goes on, or one does that is waited for no
    /// more.
    fn is_free(&self) -> bool {
        self.lingers.as_ref().is_none_or(|lingering| lingering.is_overdue)
    }

    /// Tells the registry of a call that has ended. Returns whether no call goes on, and nothing is left to
    /// tell.
    fn tell(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>) -> bool {
        let Some(call) = &self.call else { return true };
        let Some(stands) = by.once.stands(by.mirror) else { return false };
        if !call.is_awaited(&stands.value) {
            self.stop(turn, CancelReason::Shutdown);
            return true;
        }
        let Some(ending) = call.ending() else { return false };
        let (run, is_success) = (call.run().clone(), ending.is_success());
        let stage = match run.part {
            Part::Before => self.stage_after_before(turn, run.fire, by.config, is_success),
            Part::After | Part::Shard => {
                self.held_up(turn.now.wall, Reason::Overlap);
                Stage::Closed
            }
        };
        self.write(turn, by, stands, stage, run.fire);
        false
    }

    /// Returns what follows a call of `before`.
    fn stage_after_before(
        &mut self,
        turn: &Turn<'_>,
        fire: Fire,
        config: &JobConfig,
        is_success: bool,
    ) -> Stage {
        let rules = config.listener.unwrap_or_default();
        if is_success || rules.on_failure == OnBeforeFailure::Run {
            return Stage::Open { fire, shards: config.shards };
        }
        self.held_up(turn.now.wall, Reason::Overlap);
        if fire.source == Source::Trigger {
            return Stage::Closed;
        }
        let (fate, reason) = (Fate::Skipped, Reason::BeforeFailed);
        Stage::Passed(Passed { first: fire.due, through: fire.due, fate, reason })
    }

    /// Does what comes next in the life of the job's fires.
    fn advance(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>) {
        let Some(stands) = by.once.stands(by.mirror) else { return };
        match stands.value.stage {
            _ if stands.stamp.is_none() => self.make_document(turn, by, stands),
            Stage::Closed | Stage::Passed(_) | Stage::Repeated { .. } => {
                self.progress.is_over();
                self.open(turn, by, stands);
            }
            Stage::Open { fire, shards } => self.close(turn, by, stands, (fire, shards)),
            Stage::Closing { fire, shards } => self.close(turn, by, stands, (fire, shards)),
        }
    }

    fn open(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Stands) {
        let Some(plan) = by.mirror.plan_in_force(by.config.shards) else { return };
        // What an earlier schedule left is accounted without being opened.
        // Nor does it count what a shard had accounted before the document was last written.
        let written = stands.stamp.map(|stamp| stamp.modified);
        let is_since = |shard, through, stamp: Stamp| {
            through > plan.from(shard) && written.is_none_or(|written| stamp.modified >= written)
        };
        let newest = newest_accounted(by.mirror, by.config, is_since);
        let Some(through) = newest else { return };
        if through > stands.value.through {
            // Only a leader's shards run what no document says: the leader before has opened it.
            let fire = Fire { due: through, source: Source::Schedule };
            let stage = Stage::Open { fire, shards: by.config.shards };
            return self.write(turn, by, stands, stage, fire);
        }
        match stands.value.stage {
            Stage::Repeated { fire, attempt } => self.repeat(turn, by, stands, (fire, attempt)),
            _ if by.clock_agrees => self.open_next(turn, by, stands),
            _ => {}
        }
    }

    /// Makes the document, so that each later leader knows that another was before it.
    fn make_document(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Stands) {
        // From here on a shard accounts only what the document tells, or what the leader opens.
        let Some(through) = newest_accounted(by.mirror, by.config, |_, _, _| true) else { return };
        if let Some(term) = &mut self.term {
            term.since = None;
        }
        self.send(turn, by, stands.stamp, &Guarantee { through, ..stands.value });
    }

    /// Looks for the job's next fire, as a shard does for its own, and calls `before` for it.
    fn open_next(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Stands) {
        if stands.value.asked > stands.value.answered {
            return self.open_asked(turn, by, stands);
        }
        let Some(settled) = self.settle(turn, by, &stands.value) else { return };
        if let Some(fire) = settled.run {
            self.begin(turn, by, stands, fire);
        } else if let Some(last) = settled.notes.last() {
            let (fate, reason, span) = (last.fate, last.reason, last.span);
            let passed = Passed { first: span.first, through: span.last, fate, reason };
            let fire = Fire { due: span.last, source: Source::Schedule };
            self.write(turn, by, stands, Stage::Passed(passed), fire);
        }
    }

    fn settle(&self, turn: &Turn<'_>, by: &By<'_>, document: &Guarantee) -> Option<Settled> {
        let plan = by.mirror.plan_in_force(by.config.shards)?;
        let policy = Policy { memo: by.memo, ..Policy::of(by.config, plan.begins().min()?) };
        Some(settle(&policy, document.through, plan.alive, self.hold, turn.now.wall))
    }

    /// Opens a fire that was asked for, unless every shard is switched off.
    fn open_asked(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Stands) {
        let Some(newest) = newest_due(by.mirror, by.config) else { return };
        let states: Option<Vec<bool>> =
            (0..by.config.shards).map(|shard| by.mirror.is_off(shard)).collect();
        let Some(states) = states else { return };
        // No other run of any shard has this instant.
        let newest = newest.unwrap_or_default().max(stands.value.newest);
        let due = turn.now.wall.max(newest.plus(Duration::from_millis(1)));
        let called = self.term.and_then(|term| term.called).map(|(fire, _)| fire);
        // One whose call was stopped is called again.
        let is_left =
            |fire: &Fire| fire.source == Source::Trigger && fire.due > stands.value.newest;
        let fire = called.filter(is_left).unwrap_or(Fire { due, source: Source::Trigger });
        if states.iter().all(|is_off| *is_off) {
            let text = "a request to run it now is dropped, as each of its shards is switched off";
            turn.trouble("DISABLED", text.to_owned());
            return self.write(turn, by, stands, Stage::Closed, fire);
        }
        self.begin(turn, by, stands, fire);
    }

    /// Calls `before` for a fire, or writes first that this may be a repetition.
    fn begin(&mut self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Stands, fire: Fire) {
        let Some(term) = &self.term else { return };
        match term.calls_before(fire, &stands.value) {
            0 => self.call(turn, by.config, (Part::Before, fire, 1)),
            calls => self.write_repeated(turn, by, stands, (fire, calls + 1)),
        }
    }

    /// Calls `before` once more because whoever called it is gone, but not without end.
    fn repeat(
        &mut self,
        turn: &mut Turn<'_>,
        by: &mut By<'_>,
        stands: Stands,
        (fire, attempt): (Fire, u32),
    ) {
        let Some(term) = &self.term else { return };
        if term.repeats == Some((fire, attempt)) {
            return self.call(turn, by.config, (Part::Before, fire, attempt));
        }
        if attempt <= ListenerRules::MAX_REPEATS {
            return self.write_repeated(turn, by, stands, (fire, attempt + 1));
        }
        let due = fire.due;
        let text = format!("before of the fire due {due} did not end in {attempt} calls");
        turn.trouble("BEFORE_FAILED", text);
        let stage = self.stage_after_before(turn, fire, by.config, false);
        self.write(turn, by, stands, stage, fire);
    }

    fn write_repeated(
        &mut self,
        turn: &mut Turn<'_>,
        by: &mut By<'_>,
        stands: Stands,
        (fire, attempt): (Fire, u32),
    ) {
        if let Some(term) = &mut self.term {
            term.repeats = Some((fire, attempt));
        }
        let stage = Stage::Repeated { fire, attempt };
        self.send(turn, by, stands.stamp, &Guarantee { stage, ..stands.value });
    }

    /// Calls `after` once each shard of the fire has ended it. Where a shard could still begin that nobody
    /// can run, it is written first that none begins any more.
    fn close(
        &mut self,
        turn: &mut Turn<'_>,
        by: &mut By<'_>,
        stands: Stands,
        (fire, shards): (Fire, u32),
    ) {
        let is_closing = matches!(stands.value.stage, Stage::Closing { .. });
        let what = (fire, shards, is_closing);
        match self.progress.awaits(turn, by.mirror, by.config, what) {
            Awaits::Shards => {}
            Awaits::Nothing => {
                let Some(term) = &self.term else { return };
                let attempt = if term.opened == Some(fire) { 1 } else { 2 };
                self.call(turn, by.config, (Part::After, fire, attempt));
            }
            Awaits::Nobody => {
                let stage = Stage::Closing { fire, shards };
                self.send(turn, by, stands.stamp, &Guarantee { stage, ..stands.value });
            }
        }
    }

    fn call(&mut self, turn: &mut Turn<'_>, config: &JobConfig, what: (Part, Fire, u32)) {
        let Some(term) = &mut self.term else { return };
        let (part, fire, attempt) = what;
        if part == Part::Before {
            term.called = Some((fire, attempt));
        }
        self.call = Some(match self.lingers {
            None => Call::begin(turn, config, what, term.stamp),
            Some(_) => {
                turn.mark_job();
                Call::not_begun(turn, config, what, term.stamp)
            }
        });
    }

    /// Writes what has become of a fire.
    fn write(
        &mut self,
        turn: &mut Turn<'_>,
        by: &mut By<'_>,
        stands: Stands,
        stage: Stage,
        fire: Fire,
    ) {
        if let (Stage::Open { .. }, Some(term)) = (stage, &mut self.term) {
            term.opened = Some(fire);
        }
        let mut value = Guarantee { stage, ..stands.value };
        match fire.source {
            Source::Trigger => (value.answered, value.newest) = (value.asked, fire.due),
            _ => value.through = value.through.max(fire.due),
        }
        self.send(turn, by, stands.stamp, &value);
    }

    /// Writes the document on the condition that this instance leads.
    fn send(&self, turn: &mut Turn<'_>, by: &mut By<'_>, stands: Option<Stamp>, value: &Guarantee) {
        let Some(term) = self.term else { return };
        let leads = Op::Check(turn.key(&Facet::Leader), Some(term.stamp));
        by.once.write(turn, stands, value, vec![leads]);
    }

    /// Handles the end of a call: its code has really ended.
    pub(crate) fn ended(&mut self, turn: &mut Turn<'_>, (id, outcome): (RunId, Outcome)) {
        if let Some(lingering) = self.lingers.take_if(|it| it.run.id == id) {
            Call::is_over(turn, &lingering.run);
        } else if let Some(call) = self.call.as_mut().filter(|call| call.run().id == id) {
            Call::is_over(turn, call.run());
            call.ended(turn, outcome.ending);
        }
        turn.mark_job();
    }

    /// Handles a call whose code was not started, as the session's trust was over: it is called again. By
    /// then it may have been told to stop.
    pub(crate) fn not_started(&mut self, turn: &mut Turn<'_>, id: RunId) {
        if let Some(lingering) = self.lingers.take_if(|it| it.run.id == id) {
            Call::is_over(turn, &lingering.run);
        } else if let Some(call) = self.call.take_if(|call| call.run().id == id) {
            Call::is_over(turn, call.run());
        }
        turn.mark_job();
    }

    /// Tells a call to stop. One that takes too long has failed; any other is called again, here or by the
    /// next leader.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        let run = self.call.as_ref().map(|call| call.run().clone());
        self.stop(turn, reason);
        match (reason, run, &mut self.term) {
            (CancelReason::TimedOut, Some(run), _) => {
                let mut call = Call::of(run);
                call.ended(turn, Ending::Cancelled(reason));
                self.call = Some(call);
            }
            (_, Some(run), Some(term)) => term.stops(&run),
            _ => {}
        }
        turn.mark_job();
    }

    /// Tells a call's code to stop, if it goes on, and forgets the call.
    fn stop(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        let Some(call) = self.call.take().filter(|call| call.ending().is_none()) else { return };
        let run = call.run().clone();
        turn.effect(Effect::Cancel(run.id, reason));
        turn.alarm_in(OVERDUE_AFTER, Alarm::Overdue(run.id));
        self.lingers = Some(Lingering { run, is_overdue: false });
    }

    /// Notes that a call was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>) {
        if let Some(lingering) = &mut self.lingers {
            lingering.is_overdue = true;
            turn.report(Report::Overdue(lingering.run.clone()));
            turn.mark_job();
        }
    }

    /// Handles what was heard of a shard's record.
    pub(crate) fn heard(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        config: Option<&JobConfig>,
        shard: ShardIndex,
    ) {
        if self.leads() && config.is_some_and(|it| self.progress.heard(mirror, it, shard)) {
            turn.mark_job();
        }
    }

    /// Reads what it follows again, as watches may have been silent.
    pub(crate) fn reread(&self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        self.records.reread(turn, mirror);
    }

    /// Notes that the job could open no fire until an instant.
    pub(crate) fn held_up(&mut self, until: Timestamp, reason: Reason) {
        self.hold = Some(Hold { until, reason });
    }

    /// Notes that the session is proven again.
    pub(crate) fn session_is_back(&mut self, now: Timestamp) {
        if self.leads() && self.call.is_none() && self.hold.is_none_or(|hold| hold.until < now) {
            self.held_up(now, Reason::NoRegistry);
        }
    }

    /// Notes that the wall clock was set back: what held the job up until a later instant is over.
    pub(crate) fn clock_was_set_back(&mut self, now: Timestamp) {
        if let Some(hold) = &mut self.hold {
            hold.until = hold.until.min(now);
        }
    }

    /// Stops a call of a job that is gone from the registry.
    pub(crate) fn removed(&mut self, turn: &mut Turn<'_>) {
        self.resign(turn);
        self.hold = None;
    }
}

fn is_own(turn: &Turn<'_>, leader: &Held<InstanceId>) -> bool {
    leader.value == *turn.instance() && leader.session == turn.session()
}

#[cfg(test)]
mod tests;
