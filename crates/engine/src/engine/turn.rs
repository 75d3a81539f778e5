//! The loop. All that happens to a node happens in turns of it.
//!
//! A turn takes what waits, without waiting itself, from its sources in this order, at most so much
//! of each:
//!
//! 1. the registry's inbox: what it says may forbid what the others would start (a session that is
//!    not proven, an assignment that moved), so it is heard first;
//! 2. the timer: what is due is to start on time;
//! 3. runs that ended, unless more is due at once: they make room for fires that wait;
//! 4. what was found out about scripts, commands from outside, and jobs to define: they can wait a turn.
//!
//! No source can starve another, as each has its share of every turn, and a turn ends in a yield to
//! the other tasks of the thread. Commits are shared by what is stepped within one millisecond:
//! whenever the clock has moved on since the first step that was not flushed, and at the end of the
//! turn, the machine is flushed.

use super::{EngineError, Outside, Stopped, Work};
use crate::connect::Link;
use crate::executor::Executor;
use crate::findings::Findings;
use crate::handle::{Answer, Command, Handle, triggered};
use crate::pulse::Pulse;
use crate::report::Audience;
use crate::timer::{StepWatch, WakeAt, is_due, pause};
use crate::{Clock, engine::LEAVE_TIMEOUT};
use flockwork_core::duration;
use flockwork_core::execution::{Outcome, Run, RunId};
use flockwork_core::id::JobName;
use flockwork_core::time::{Mono, Now};
use flockwork_node::{Define, Effect, Event, Looked, Node, Report, Status, TriggerId};
use flockwork_registry::{
    Answer as Answered, Event as Told, Inbox, Registry, Request, SessionState, SessionTimeout,
    Ticket,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// Events of the inbox in one turn. An answer may start a hundred runs, so this is some 10,000
/// starts at most; in the steady state it empties the inbox.
const INBOX_SHARE: usize = 128;

/// Ended runs in one turn: as many as fill two commits and a half.
const ENDINGS_SHARE: usize = 256;

/// Turns that runs that ended wait for what is due: at most some 30 ms.
const ENDINGS_WAIT: u32 = 32;

/// Findings about scripts in one turn: each may join a job, or leave one.
const FINDINGS_SHARE: usize = 256;

/// Commands in one turn.
const COMMANDS_SHARE: usize = 16;

/// Jobs defined in one turn: at the start there may be a million of them, and the session must be
/// heard of meanwhile.
const DEFINES_SHARE: usize = 256;

/// A status is made at most a tenth of the time, as it costs time in proportion to the jobs.
const STATUS_SHARE: u32 = 10;

/// What the loop drives: [`Node`], and scripts in tests.
pub(super) trait Machine: Debug + Send + 'static {
    fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>);
    fn flush(&mut self, now: Now, effects: &mut Vec<Effect>);
    fn wake_at(&self) -> WakeAt;
    fn status(&self) -> Status;
}

impl Machine for Node {
    fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        Self::step(self, now, event, effects);
    }

    fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        Self::flush(self, now, effects);
    }

    fn wake_at(&self) -> WakeAt {
        Self::wake_at(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }
}

/// What ended a wait.
#[derive(Debug)]
enum Arrived {
    Registry(Told),
    Ended(RunId, Outcome),
    Looked(Looked),
    Command(Command),
}

/// On the way out.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    No,
    /// Runs may go on until then.
    Draining(Mono),
    /// Runs were told to stop; what is not done then is left as it is.
    Over(Mono),
}

#[derive(Debug)]
pub(super) struct Loop<M> {
    machine: M,
    clock: Box<dyn Clock>,
    registry: Arc<dyn Registry>,
    inbox: Inbox,
    executor: Box<dyn Executor>,
    ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    findings: Findings,
    handle: Handle,
    commanded: mpsc::Receiver<Command>,
    drained: watch::Receiver<bool>,
    audience: Audience,
    /// Who waits to hear what became of a request to run a job now. The machine bounds them.
    asked: BTreeMap<TriggerId, (JobName, Answer<usize>)>,
    last_asked: TriggerId,
    pulse: Pulse,
    steps: StepWatch,
    drain_timeout: Duration,
    defines: VecDeque<Define>,
    arrived: VecDeque<Arrived>,
    effects: Vec<Effect>,
    unflushed_since: Option<Mono>,
    turns_without_endings: u32,
    /// Runs that were not started, to be told to the machine.
    refused: Vec<RunId>,
    running: BTreeSet<RunId>,
    trusted_until: Option<Mono>,
    /// The session's time-out as it was last told.
    timeout: Option<SessionTimeout>,
    /// When each commit was sent. Bounded by the registry's `max_in_flight`.
    commits: BTreeMap<Ticket, Mono>,
    status: Option<(Mono, Duration, Arc<Status>)>,
    leaving: Leaving,
    /// Since when a node on its way out has no run under way, and the registry takes nothing of it.
    idle_since: Option<Mono>,
    left: bool,
    /// The registry is gone: what the node ends with once nothing runs.
    replaced: Option<EngineError>,
}

impl<M: Machine> Loop<M> {
    pub(super) fn new(machine: M, link: Link, work: Work, outside: Outside, pulse: Pulse) -> Self {
        let now = outside.clock.now();
        Self {
            machine,
            clock: outside.clock,
            registry: link.registry,
            inbox: link.inbox,
            executor: work.executor,
            ended: work.ended,
            findings: work.findings,
            handle: outside.handle,
            commanded: outside.commanded,
            drained: outside.drained,
            audience: outside.audience,
            asked: BTreeMap::new(),
            last_asked: TriggerId(0),
            pulse,
            steps: StepWatch::new(now),
            drain_timeout: Duration::ZERO,
            defines: VecDeque::new(),
            arrived: VecDeque::new(),
            effects: Vec::new(),
            unflushed_since: None,
            turns_without_endings: 0,
            refused: Vec::new(),
            running: BTreeSet::new(),
            trusted_until: None,
            timeout: None,
            commits: BTreeMap::new(),
            status: None,
            leaving: Leaving::No,
            idle_since: None,
            left: false,
            replaced: None,
        }
    }

    /// What there is to do before anything has happened.
    pub(super) fn expect(
        &mut self,
        jobs: Vec<Define>,
        commands: Vec<Command>,
        drain_timeout: Duration,
    ) {
        self.defines = jobs.into();
        self.arrived = commands.into_iter().map(Arrived::Command).collect();
        self.drain_timeout = drain_timeout;
    }

    /// Turns until the node has left.
    pub(super) async fn run(mut self) -> Result<Stopped, EngineError> {
        loop {
            let worked = self.turn();
            if let Some(stopped) = self.stopped() {
                return stopped;
            }
            if worked {
                tokio::task::yield_now().await;
            } else {
                self.wait().await?;
            }
        }
    }

    /// How the node has stopped, if it has.
    fn stopped(&mut self) -> Option<Result<Stopped, EngineError>> {
        let now = self.clock.now().mono;
        let gives_up = matches!(self.leaving, Leaving::Over(give_up) if give_up <= now);
        if let Some(why) = self.replaced.take_if(|_| gives_up || self.running.is_empty()) {
            return Some(Err(why));
        }
        if self.left {
            return Some(Ok(Stopped::InOrder));
        }
        gives_up.then_some(Ok(Stopped::TimedOut { running: self.running.len() }))
    }

    /// Takes what waits; whether there was anything.
    fn turn(&mut self) -> bool {
        let mut worked = false;
        while let Some(arrived) = self.arrived.pop_front() {
            self.take(arrived);
            worked = true;
        }
        worked |= self.share(INBOX_SHARE, |turn| turn.inbox.try_recv().map(Arrived::Registry));
        if self.wake() {
            self.flush();
            worked = true;
        }
        worked |= self.take_endings();
        worked |= self.share(FINDINGS_SHARE, |turn| turn.findings.try_take().map(Arrived::Looked));
        worked |=
            self.share(COMMANDS_SHARE, |turn| turn.commanded.try_recv().ok().map(Arrived::Command));
        worked |= self.share(DEFINES_SHARE, |turn| {
            turn.defines.pop_front().map(|define| Arrived::Command(Command::Define(define)))
        });
        worked |= self.leave();
        for run in std::mem::take(&mut self.refused) {
            self.step(self.clock.now(), Event::NotStarted(run));
        }
        self.flush();
        self.handle.metrics.running(self.running.len());
        self.pulse.beat(self.clock.now().mono);
        worked
    }

    /// Runs that ended can wait while fires that are due do not, but not for ever.
    fn take_endings(&mut self) -> bool {
        let is_busy = is_due(self.clock.now(), self.machine.wake_at());
        if is_busy && self.turns_without_endings < ENDINGS_WAIT {
            self.turns_without_endings += 1;
            return false;
        }
        self.turns_without_endings = 0;
        self.share(ENDINGS_SHARE, |turn| {
            turn.ended.try_recv().ok().map(|(run, outcome)| Arrived::Ended(run, outcome))
        })
    }

    fn share(&mut self, most: usize, next: impl Fn(&mut Self) -> Option<Arrived>) -> bool {
        for taken in 0..most {
            let Some(arrived) = next(self) else { return taken > 0 };
            self.take(arrived);
        }
        true
    }

    fn take(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Registry(told) => self.told(told),
            Arrived::Ended(run, outcome) => self.run_ended(run, outcome),
            Arrived::Looked(looked) => self.step(self.clock.now(), Event::Looked(looked)),
            Arrived::Command(command) => self.commanded(command),
        }
    }

    fn told(&mut self, told: Told) {
        let now = self.clock.now();
        match &told {
            Told::Answer(ticket, answer) => {
                if matches!(answer, Answered::Committed(_)) {
                    self.idle_since = None;
                }
                if let Some(sent) = self.commits.remove(ticket) {
                    self.handle.metrics.commit_answered(now.mono.since(sent));
                }
            }
            Told::Session(state) => self.session(now, state),
            Told::Replaced(text) => self.is_replaced(text.clone()),
            Told::Changed(..) | Told::Resync | Told::SetBack(_) => {}
        }
        self.step(now, Event::Registry(told));
    }

    /// Until when the session is trusted is kept here too, for [`Loop::start`].
    fn session(&mut self, now: Now, state: &SessionState) {
        if matches!(state, SessionState::Live { .. }) {
            self.heed_timeout(now);
        }
        self.trusted_until = match state {
            SessionState::Live { trusted_until, .. } => Some(Mono::from_millis(*trusted_until)),
            SessionState::Suspended { .. } | SessionState::Ended(_) => None,
        };
    }

    /// There is no session any more, and nowhere to join again: the node leaves.
    fn is_replaced(&mut self, text: String) {
        self.trusted_until = None;
        let registry = self.registry.describe();
        self.replaced = Some(EngineError::RegistryReplaced { registry, text });
    }

    /// What servers give as a session's time-out is what counts, whatever they were asked for.
    fn heed_timeout(&mut self, now: Now) {
        let told = self.registry.session_timeout();
        if told == self.timeout {
            return;
        }
        self.timeout = told;
        let Some(SessionTimeout { asked, granted }) = told else { return };
        self.pulse.session_lasts(granted);
        if granted != asked {
            let (asked, granted) = (duration::format(asked), duration::format(granted));
            let text = format!(
                "the registry's servers gave the session a time-out of {granted}, {asked} were asked for: \
                 a node counts as gone after {granted}; change session_timeout, or the servers' bounds"
            );
            self.audience
                .tell(now.wall, Report::Trouble { job: None, code: "SESSION_TIMEOUT", text });
        }
    }

    fn run_ended(&mut self, run: RunId, outcome: Outcome) {
        if self.running.remove(&run) {
            self.executor.forget(run);
            self.step(self.clock.now(), Event::RunEnded(run, outcome));
        } else {
            tracing::error!(run = run.0, outcome = outcome.ending.code(), "a run ended twice");
        }
    }

    fn commanded(&mut self, command: Command) {
        match command {
            Command::Define(define) => self.step(self.clock.now(), Event::Define(define)),
            Command::Withdraw(job) => self.step(self.clock.now(), Event::Withdraw(job)),
            Command::Trigger(job, answer) => self.trigger(job, answer),
            Command::Status(answer) => self.answer_status(answer),
        }
    }

    fn trigger(&mut self, job: JobName, answer: Answer<usize>) {
        self.last_asked.0 += 1;
        self.asked.insert(self.last_asked, (job.clone(), answer));
        self.step(self.clock.now(), Event::Trigger(self.last_asked, job));
    }

    fn answer_status(&mut self, answer: Answer<Arc<Status>>) {
        let now = self.clock.now().mono;
        if let Some((made, cost, status)) = &self.status
            && now.since(*made) < cost.saturating_mul(STATUS_SHARE)
        {
            let _ = answer.send(Ok(Arc::clone(status)));
            return;
        }
        let status = Arc::new(self.machine.status());
        let cost = self.clock.now().mono.since(now);
        self.status = Some((now, cost, Arc::clone(&status)));
        let _ = answer.send(Ok(status));
    }

    /// Goes one step further on the way out, if it is time; whether it did.
    fn leave(&mut self) -> bool {
        let (now, leaving) = (self.clock.now(), self.leaving);
        match leaving {
            Leaving::No if *self.drained.borrow() || self.replaced.is_some() => {
                self.leaving = Leaving::Draining(now.mono.plus(self.drain_timeout));
                self.step(now, Event::Drain);
                true
            }
            Leaving::Draining(over) if over <= now.mono => {
                self.leaving = Leaving::Over(now.mono.plus(LEAVE_TIMEOUT));
                self.step(now, Event::DrainOver);
                true
            }
            Leaving::Draining(_) if self.is_idle_for_long(now.mono) => {
                self.leaving = Leaving::Over(now.mono);
                true
            }
            Leaving::No | Leaving::Draining(_) | Leaving::Over(_) => false,
        }
    }

    /// Whether a node on its way out has nothing under way, and the registry has taken nothing of it, for so
    /// long that a registry is not waited for any more (its disk is full, say). As long as the session may live,
    /// the end of a run may still be written, which nobody repeats then.
    fn is_idle_for_long(&mut self, now: Mono) -> bool {
        if !self.running.is_empty() {
            self.idle_since = None;
            return false;
        }
        let session = self.timeout.map_or(Duration::ZERO, |timeout| timeout.granted);
        now.since(*self.idle_since.get_or_insert(now)) >= LEAVE_TIMEOUT.max(session)
    }

    /// Wakes the machine if it asked for it, or if the wall clock was set; whether it asked.
    fn wake(&mut self) -> bool {
        let now = self.clock.now();
        if let Some(moved_ms) = self.steps.check(now) {
            self.handle.metrics.clock_stepped();
            let text = format!("the wall clock was set by {moved_ms} ms; fires follow it");
            self.audience.tell(now.wall, Report::Trouble { job: None, code: "CLOCK_STEP", text });
            self.step(now, Event::Wake);
            return true;
        }
        let due = is_due(now, self.machine.wake_at());
        if due {
            self.step(now, Event::Wake);
        }
        due
    }

    fn step(&mut self, now: Now, event: Event) {
        if self.unflushed_since.is_some_and(|since| since < now.mono) {
            self.flush();
        }
        self.unflushed_since.get_or_insert(now.mono);
        self.machine.step(now, event, &mut self.effects);
        self.carry_out();
    }

    fn flush(&mut self) {
        if self.unflushed_since.take().is_some() {
            self.machine.flush(self.clock.now(), &mut self.effects);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        let mut not_started = Vec::new();
        let now = self.clock.now().wall;
        for effect in effects.drain(..) {
            match effect {
                // Told right after its start was refused: it has not started.
                Effect::Report(Report::Started { run, .. }) if not_started.contains(&run.id) => {}
                Effect::Submit(ticket, request) => self.submit(ticket, request),
                Effect::Start(run) => not_started.extend(self.start(run)),
                Effect::Cancel(run, reason) => self.executor.cancel(run, reason),
                Effect::Look(job, definition) => self.executor.look_at(job, definition),
                Effect::Triggered(id, told) => {
                    if let Some((job, answer)) = self.asked.remove(&id) {
                        let _ = answer.send(triggered(&job, told));
                    }
                }
                Effect::Report(report) => self.audience.tell(now, report),
                Effect::Drained => self.left = true,
            }
        }
        self.effects = effects;
        self.refused.extend(not_started);
    }

    fn submit(&mut self, ticket: Ticket, request: Request) {
        if matches!(request, Request::Commit(_)) {
            self.commits.insert(ticket, self.clock.now().mono);
        }
        self.registry.submit(ticket, request);
    }

    /// Starts user code, unless this process was stopped for so long since its claim was proven that
    /// the session may have ended meanwhile; that run is given back.
    fn start(&mut self, run: Arc<Run>) -> Option<RunId> {
        if self.trusted_until.is_none_or(|until| until <= self.clock.now().mono) {
            return Some(run.id);
        }
        self.running.insert(run.id);
        self.executor.start(run);
        None
    }

    /// Sleeps until something happens.
    async fn wait(&mut self) -> Result<(), EngineError> {
        let (wall, mono) = self.machine.wake_at();
        let leaving = match self.leaving {
            Leaving::No => None,
            Leaving::Draining(at) | Leaving::Over(at) => Some(at),
        };
        let mono = mono.into_iter().chain(leaving).min();
        let pause = pause(self.clock.now(), (wall, mono));
        let asked = *self.drained.borrow_and_update();
        let arrived = tokio::select! {
            biased;
            told = self.inbox.recv() => match told {
                Some(told) => Arrived::Registry(told),
                None => return Err(EngineError::RegistryGone(self.registry.describe())),
            },
            Some((run, outcome)) = self.ended.recv() => Arrived::Ended(run, outcome),
            () = self.findings.told() => return Ok(()),
            Some(command) = self.commanded.recv() => Arrived::Command(command),
            _ = self.drained.changed(), if !asked => return Ok(()),
            () = sleep(pause) => return Ok(()),
        };
        self.arrived.push_back(arrived);
        Ok(())
    }
}
