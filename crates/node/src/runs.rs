//! Runs of this node, from the sending of their claim until the registry knows of their end.
//!
//! ```text
//! Claiming ──committed──► Running ──code ended──► Ended ──sent──► Ending ──committed──► gone
//!    │  └─lost─► Doubted ─┬─held──┘                 ▲                │
//!    │                    └─not held─► gone         └── may be sent ─┴─lost─► EndDoubted
//!    └─committed, but no longer to be started─► TakingBack ─► gone
//! ```
//! Where `Running` stands, a claim made ahead is `Ahead` until its fire is due.
//! What a lost answer meant is read from the shard's record: it names the claim.

use crate::ahead::Wait;
use crate::alarms::Alarm;
use crate::job::Job;
use crate::job::JobIx;
use crate::link::{Aim, Member};
use crate::slot::Held;
use crate::turn::Turn;
use crate::{Effect, Phase, Report};
use flockwork_core::account::{Claim, ClaimState, Fate, Hold, Note, Reason, Span};
use flockwork_core::config::OnSessionLoss;
use flockwork_core::execution::{CancelReason, Fire, OVERDUE_AFTER, Outcome, Run, RunId, Source};
use flockwork_core::id::{Epoch, ShardIndex};
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_layout::record::{self, Stored};
use flockwork_registry::{Index, Lifetime, Op, SessionId, Stamp};
use std::sync::Arc;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its claim is under way.
    Claiming,
    /// Its claim's answer was lost.
    Doubted,
    /// Its claim stands, and its fire is not due yet.
    Ahead,
    /// Its claim is being given back, as nothing was started.
    TakingBack,
    /// Its code runs.
    Running,
    /// Its code has ended; the registry is to be told.
    Ended,
    /// The registry is being told.
    Ending,
    /// The answer to that was lost.
    EndDoubted,
}

/// One run of this node.
#[derive(Debug)]
pub(crate) struct LocalRun {
    pub(crate) ix: JobIx,
    pub(crate) shard: ShardIndex,
    pub(crate) stage: Stage,
    /// The session of its claim.
    pub(crate) session: Option<SessionId>,
    /// The assignment it was claimed on; none for a run taken over or tried again.
    pub(crate) owner: Option<Stamp>,
    /// Since when the schedule was in force that it is due by; none likewise.
    pub(crate) from: Option<Timestamp>,
    /// The record as it was before the claim.
    pub(crate) before: Arc<Stored>,
    /// The stamp of that record; none if there was none.
    pub(crate) before_stamp: Option<Stamp>,
    /// The record as the claim wrote it.
    pub(crate) claimed: Arc<Stored>,
    /// The stamp that gave it.
    pub(crate) claimed_stamp: Option<Stamp>,
    /// What became of other fires with this claim.
    pub(crate) notes: Vec<Note>,
    /// Whether its undoing was sent, and what became of that is not known.
    pub(crate) is_undo_sent: bool,
    /// Whether a mark of take-over was made.
    pub(crate) is_taken_over: bool,
    pub(crate) on_session_loss: OnSessionLoss,
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) started: Mono,
    pub(crate) ended_at: Mono,
    pub(crate) cancelled: Option<CancelReason>,
    /// Whether it runs on long after it was told to stop.
    pub(crate) is_overdue: bool,
    pub(crate) outcome: Option<Outcome>,
    /// The record as its end is to write it.
    pub(crate) ended: Option<Arc<Stored>>,
}

impl LocalRun {
    pub(crate) fn claim(&self) -> &Claim {
        self.claimed.record.claim.as_ref().expect("a claim's record holds the claim")
    }

    /// The stamp that a commit gives to the record, written over the one with stamp `old`.
    pub(crate) fn stamp(old: Option<Stamp>, index: Index) -> Stamp {
        let fresh = Stamp { created: index, modified: index, version: 0 };
        old.map_or(fresh, |old| Stamp { modified: index, version: old.version + 1, ..old })
    }
}

impl Job {
    /// Claims a fire of an own, free shard.
    pub(crate) fn claim(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        before: Arc<Stored>,
        (fire, mut notes): (Fire, Vec<Note>),
    ) {
        let job = &mut *self;
        let owner = job.shards[shard as usize].owner.held().map(|held| held.stamp);
        let plan = job.view.plan.held().map(|held| held.stamp);
        let (Some(owner), Some(plan)) = (owner, plan) else { return };
        let mut claimed = Stored::clone(&before);
        if fire.source == Source::Trigger {
            claimed.record.counts.ran += 1;
            claimed.record.counts.triggered += 1;
        } else {
            let span = Span { first: fire.due, last: fire.due, fires: 1 };
            notes.push(Note { fate: Fate::Ran, reason: Reason::Due, span });
        }
        claimed.record.account(&notes);
        let from = self.plan_in_force().map(|plan| plan.from(shard));
        let mark_lasts = self.config.as_ref().is_some_and(|config| config.failover);
        claimed.record.claim = Some(self.new_claim(turn, fire, 1, 0, mark_lasts));
        // What is due follows from the plan, and a claim that was made on one out of date would be
        // taken over by others if its answer is lost.
        let ops = vec![
            self.is_on(turn, shard),
            Op::Check(self.keys(turn, shard).plan.clone(), Some(plan)),
            Op::Check(self.keys(turn, shard).owner.clone(), Some(owner)),
            self.write_record(turn, shard, &claimed),
            self.mark(turn, shard, mark_lasts),
        ];
        self.send_claim(turn, shard, before, claimed, ops);
        let run = turn.runs.get_mut(&RunId(*turn.last_run)).expect("it was just put there");
        (run.owner, run.from, run.notes) = (Some(owner), from, notes);
    }

    /// The condition that this instance still serves the job: others take over what one that was taken
    /// off has claimed.
    pub(crate) fn is_on(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> Op {
        Op::Check(self.keys(turn, shard).instance.clone(), None)
    }

    pub(crate) fn new_claim(
        &mut self,
        turn: &mut Turn<'_>,
        fire: Fire,
        attempt: u32,
        crashes: u32,
        mark_lasts: bool,
    ) -> Claim {
        *turn.last_run += 1;
        Claim {
            fire,
            attempt,
            crashes,
            instance: turn.settings.instance.clone(),
            nonce: *turn.last_run,
            at: turn.now.wall,
            mark_lasts,
            state: ClaimState::Held,
        }
    }

    /// Makes the mark of a run, in ElasticJob's form.
    pub(crate) fn mark(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, lasts: bool) -> Op {
        Op::Create {
            key: self.keys(turn, shard).running.clone(),
            value: turn.me.clone(),
            lifetime: if lasts { Lifetime::Lasting } else { Lifetime::Session },
            sequence: false,
        }
    }

    /// Sends the claim that was just made, and keeps a place for its run.
    pub(crate) fn send_claim(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        before: Arc<Stored>,
        claimed: Stored,
        ops: Vec<Op>,
    ) {
        self.no_longer_waits(turn, shard);
        let id = RunId(*turn.last_run);
        let session = turn.trust.session();
        let job = &mut *self;
        let on_session_loss =
            job.config.as_ref().map_or(OnSessionLoss::Finish, |config| config.on_session_loss);
        let state = &mut job.shards[shard as usize];
        let before_stamp = state.record.held().map(|held| held.stamp);
        state.run = Some(id);
        turn.runs.insert(
            id,
            Box::new(LocalRun {
                ix: turn.ix,
                shard,
                stage: Stage::Claiming,
                session,
                owner: None,
                from: None,
                before,
                before_stamp,
                claimed: Arc::new(claimed),
                claimed_stamp: None,
                notes: Vec::new(),
                is_undo_sent: false,
                is_taken_over: false,
                on_session_loss,
                run: None,
                started: Mono::default(),
                ended_at: Mono::default(),
                cancelled: None,
                is_overdue: false,
                outcome: None,
                ended: None,
            }),
        );
        turn.link.gather(Member::new(Aim::Claim(id), ops));
    }

    /// The claim stands. Starts the run, unless what it was based on no longer does, or its fire is yet
    /// to come due.
    pub(crate) fn claimed(&mut self, turn: &mut Turn<'_>, id: RunId, stamp: Stamp) {
        let Some(run) = turn.runs.get_mut(&id) else { return };
        run.claimed_stamp = Some(stamp);
        let held = Held { value: run.claimed.clone(), stamp, session: None };
        let state = &mut self.shards[run.shard as usize];
        state.record.wrote(Some(held));
        if !self.may_begin(turn, id) {
            return self.take_back(turn, id);
        }
        match self.wait_for_its_instant(turn, id) {
            Wait::No => self.begin_run(turn, id),
            Wait::Begun => {}
            Wait::TooLong => self.take_back(turn, id),
        }
    }

    /// Whether what a claim was based on still stands.
    pub(crate) fn stands(&mut self, turn: &mut Turn<'_>, id: RunId) -> bool {
        // The claim's own answer may have told that the clocks differ; the definition may be one that
        // cannot be served by now.
        let may_start = self.may_run(turn) && self.clock_agrees(turn);
        let Some(run) = turn.runs.get(&id) else { return false };
        let is_same_session = run.session == turn.trust.session();
        let job = self;
        let is_planned = run.from.is_none_or(|from| {
            job.plan_in_force().is_some_and(|plan| plan.from(run.shard) == from)
        });
        // The watch barrier: whatever changed the assignment, or the schedule in force, before the
        // claim has been heard.
        let owner = &job.shards[run.shard as usize].owner;
        let is_based =
            run.owner.is_none_or(|stamp| owner.held().is_some_and(|held| held.stamp == stamp));
        // A shard that the definition no longer has ends its run, and that is all.
        let is_counted = (run.shard as usize) < job.count();
        may_start && is_same_session && is_based && is_planned && is_counted
    }

    /// Tells what became of the fires of a claim that stands, and starts its run.
    pub(crate) fn begin_run(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = turn.runs.get_mut(&id) else { return };
        let Some(stamp) = run.claimed_stamp else { return };
        let (shard, notes) = (run.shard, std::mem::take(&mut run.notes));
        let state = &mut self.shards[shard as usize];
        state.hold = None;
        state.ran += 1;
        self.report_notes(turn, shard, &notes);
        self.start(turn, id, stamp);
    }

    fn start(&mut self, turn: &mut Turn<'_>, id: RunId, stamp: Stamp) {
        let Some(local) = turn.runs.get_mut(&id) else { return };
        let job = &mut *self;
        // Removed meanwhile.
        let Some(config) = job.config.clone() else { return self.take_back(turn, id) };
        let claim = local.claim().clone();
        let state = &mut job.shards[local.shard as usize];
        if std::mem::take(&mut state.is_ask_open) || claim.fire.source == Source::Trigger {
            state.is_triggered = false;
            turn.untended.insert(turn.ix);
        }
        let run = Arc::new(Run {
            id,
            job: job.name.clone(),
            shard: local.shard,
            shards: config.shards,
            fire: claim.fire,
            attempt: claim.attempt,
            epoch: Epoch(stamp.modified.0),
            instance: claim.instance,
            shard_parameter: config.shard_parameters.get(&local.shard).cloned(),
            job_parameter: config.job_parameter.clone(),
            timeout: config.timeout,
            work: config.work.clone(),
        });
        local.stage = Stage::Running;
        local.on_session_loss = config.on_session_loss;
        local.started = turn.now.mono;
        local.run = Some(run.clone());
        if let Some(timeout) = run.timeout {
            turn.alarms.timeouts.add(turn.now.mono.plus(timeout), id);
        }
        if config.on_session_loss == OnSessionLoss::Stop {
            turn.watch_trust();
        }
        let late = turn.now.wall.since(run.fire.due);
        turn.effects.push(Effect::Start(run.clone()));
        turn.report(Report::Started { run, late });
    }

    /// Gives a claim back of which nothing was started: the record becomes what it was.
    pub(crate) fn take_back(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = turn.runs.get_mut(&id) else { return };
        run.stage = Stage::TakingBack;
        let shard = run.shard;
        let (before, stamp) = (run.before.clone(), run.claimed_stamp);
        let mark_stands = run.claim().mark_lasts || run.session == turn.trust.session();
        if turn.trust.session().is_none() || std::mem::replace(&mut run.is_undo_sent, true) {
            return;
        }
        let mut ops =
            vec![Op::Set(self.keys(turn, shard).record.clone(), record::encode(&before), stamp)];
        if mark_stands {
            ops.push(Op::Delete(self.keys(turn, shard).running.clone(), None));
        }
        turn.link.gather(Member::new(Aim::Undo(id), ops));
    }

    /// A claim that never came to be, or was given back: the shard is as free as before.
    pub(crate) fn abandon(&mut self, turn: &mut Turn<'_>, id: RunId) -> Option<ShardIndex> {
        let run = turn.runs.remove(&id)?;
        let state = &mut self.shards[run.shard as usize];
        state.run = None;
        state.is_ask_open = false;
        self.tend_if_leaving(turn);
        Some(run.shard)
    }

    /// The session's trust ended between the proof of a claim and the start of its code.
    pub(crate) fn not_started(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = turn.runs.get_mut(&id).filter(|run| run.stage == Stage::Running) else {
            return;
        };
        let Some(told) = run.run.take() else { return };
        let shard = run.shard;
        let has_timeout = told.timeout.is_some();
        let text = "the process stood still until its session could have ended; the claim is \
                    given back and the fire is settled again";
        turn.trouble(Some(&told.job), "GIVEN_BACK", text.to_owned());
        let Some(state) = self.shard(shard) else { return };
        state.ran = state.ran.saturating_sub(1);
        state.is_triggered |= told.fire.source == Source::Trigger;
        self.take_back(turn, id);
        if has_timeout {
            Self::timeout_is_over(turn);
        }
    }

    pub(crate) fn run_ended(&mut self, turn: &mut Turn<'_>, id: RunId, outcome: Outcome) {
        let Some(run) = turn.runs.get_mut(&id) else { return };
        if run.stage != Stage::Running {
            return;
        }
        run.stage = Stage::Ended;
        run.ended_at = turn.now.mono;
        let has_timeout = run.run.as_ref().is_some_and(|run| run.timeout.is_some());
        let state = &mut self.shards[run.shard as usize];
        state.last_code = Some(outcome.ending.code());
        run.outcome = Some(outcome);
        if has_timeout {
            Self::timeout_is_over(turn);
        }
        self.end(turn, id);
    }

    fn timeout_is_over(turn: &mut Turn<'_>) {
        let runs = &turn.runs;
        let goes_on = |id| runs.get(&id).is_some_and(|run| run.stage == Stage::Running);
        turn.alarms.timeouts.one_is_over(goes_on);
    }

    /// Tells the registry of a run's end.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, id: RunId) {
        if turn.trust.session().is_none() {
            return;
        }
        let Some(ended) = self.ended_record(turn, id).map(Arc::new) else { return };
        let session = turn.trust.session();
        let Some(run) = turn.runs.get_mut(&id) else { return };
        run.stage = Stage::Ending;
        run.ended = Some(ended.clone());
        let shard = run.shard;
        let stamp = run.claimed_stamp;
        let is_same_session = run.session == session;
        let mark_stands = run.claim().mark_lasts || is_same_session;
        let is_taken_over = run.is_taken_over && is_same_session;
        let mut ops =
            vec![Op::Set(self.keys(turn, shard).record.clone(), record::encode(&ended), stamp)];
        if mark_stands {
            ops.push(Op::Delete(self.keys(turn, shard).running.clone(), None));
        }
        if is_taken_over {
            ops.push(Op::Delete(self.key(turn, &Facet::Failover(shard)), None));
        }
        if let Some(ClaimState::Released { to, is_signalled: true, .. }) =
            ended.record.claim.as_ref().map(|claim| &claim.state)
        {
            ops.push(Op::create(self.key(turn, &Facet::Retry(shard)), to.to_string()));
        }
        turn.link.gather(Member::new(Aim::End(id), ops));
    }

    /// The registry knows of a run's end.
    pub(crate) fn end_known(&mut self, turn: &mut Turn<'_>, id: RunId, stamp: Stamp) {
        let Some(run) = turn.runs.remove(&id) else { return };
        let Some(ended) = run.ended else { return };
        let retry = ended.record.claim.as_ref().and_then(|claim| match &claim.state {
            ClaimState::Released { to, not_before, .. } => Some((to.clone(), *not_before)),
            ClaimState::Held => None,
        });
        let shard = run.shard;
        let state = &mut self.shards[shard as usize];
        state.run = None;
        state.record.wrote(Some(Held { value: ended, stamp, session: None }));
        state.hold = Some(Hold { until: turn.now.wall, reason: Reason::Overlap });
        if let (Some(told), Some(outcome)) = (run.run, run.outcome) {
            let took = run.ended_at.since(run.started);
            turn.report(Report::Ended { run: told, outcome, took, retry });
        }
        if !self.is_settled(turn, shard) {
            self.consider(turn, shard);
        }
        self.tend_if_leaving(turn);
    }

    /// Whether nothing can be pending for a free shard: the fire before the next one is accounted, and
    /// nobody asked for a run. Most runs end so.
    fn is_settled(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> bool {
        let job = &mut *self;
        let state = &job.shards[shard as usize];
        let Some(next) = job.next.filter(|next| *next > turn.now.wall) else { return false };
        let Some(record) = state.record.value().map(|stored| &stored.record) else { return false };
        let is_accounted = job.memo.newest() == Some((record.through, next));
        is_accounted && record.claim.is_none() && !state.is_triggered
    }

    /// A job that is being left, or cannot be served, may be left once its last run has ended.
    pub(crate) fn tend_if_leaving(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        if job.leaving.is_some() || job.phase == Phase::Refused {
            turn.tend();
        }
    }

    /// The shard was taken by another before a run's end was known: the outcome counts for nothing.
    pub(crate) fn superseded(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = turn.runs.remove(&id) else { return };
        let state = &mut self.shards[run.shard as usize];
        (state.run, state.is_ask_open) = (None, false);
        if let (Some(told), Some(outcome)) = (run.run, run.outcome) {
            turn.report(Report::Superseded { run: told, outcome });
        }
        self.look(turn, Facet::Record(run.shard));
        // Whoever took the claim left the mark to its session, which may live on.
        self.look(turn, Facet::Running(run.shard));
        self.tend_if_leaving(turn);
    }

    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, id: RunId, reason: CancelReason) {
        let Some(run) = turn.runs.get_mut(&id) else { return };
        if run.stage == Stage::Running && run.cancelled.is_none() {
            run.cancelled = Some(reason);
            turn.effects.push(Effect::Cancel(id, reason));
            turn.alarms.add(turn.now.mono.plus(OVERDUE_AFTER), Alarm::Overdue(id));
        }
    }

    pub(crate) fn run_overdue(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(run) = turn.runs.get_mut(&id).filter(|run| run.stage == Stage::Running) else {
            return;
        };
        run.is_overdue = true;
        let told = run.run.clone();
        if let Some(told) = told {
            turn.report(Report::Overdue(told));
        }
    }
}
