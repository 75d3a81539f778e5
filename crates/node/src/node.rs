//! The state machine itself: it takes events in, routes each event to the job that it concerns, and sends
//! what is to be sent. It decides nothing about any job.

use crate::alarms::{Alarm, Alarms};
use crate::asking::{Asking, Means};
use crate::capacity::{Capacity, Whose};
use crate::check::Parts;
use crate::dirty::Dirty;
use crate::history::History;
use crate::job::Job;
use crate::names::JobIx;
use crate::outbox::{Change, Outbox, Pause, Purpose, Reply, Verdict};
use crate::registry_clock::RegistryClock;
use crate::status::Status;
use crate::trust::{Renewal, Trust};
use crate::turn::Turn;
use crate::{Define, Effect, Event, Looked, Report, Settings, TriggerId};
use bytes::Bytes;
use flockwork_core::execution::{CancelReason, RunId};
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::trigger::Trigger;
use flockwork_registry::{self as registry, Answer, Failure, Receipt, Refusal, Request};
use flockwork_registry::{SessionId, SessionState};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most jobs that one wake-up fires: as many as make a few full commits.
const MOST_DUE: usize = 256;
/// How soon a watch that was not confirmed is set again, and how long reads without an answer wait while no
/// request gets through.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A node as a state machine.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    /// The id of this instance, as marks and flags hold it.
    me: Bytes,
    trust: Trust,
    history: History,
    clock: RegistryClock,
    outbox: Outbox,
    jobs: Vec<Job>,
    /// The names of the jobs, at the same positions as the jobs.
    names: Vec<JobName>,
    index: BTreeMap<JobName, JobIx>,
    asking: Asking,
    capacity: Capacity,
    alarms: Alarms,
    dirty: Dirty,
    /// The watches whose setting was not confirmed.
    unwatched: Vec<Request>,
    is_draining: bool,
    is_drained: bool,
    /// The time that the wall clock last showed.
    last_wall: Timestamp,
}

/// One step of the node: the time, and what is to be done.
struct Step<'a> {
    now: Now,
    effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }
}

impl Node {
    /// Creates a node that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            me: settings.instance.to_string().into(),
            trust: Trust::default(),
            history: History::default(),
            clock: RegistryClock::default(),
            outbox: Outbox::new(settings.limits),
            jobs: Vec::new(),
            names: Vec::new(),
            index: BTreeMap::new(),
            asking: Asking::default(),
            capacity: Capacity::new(settings.max_running),
            alarms: Alarms::default(),
            dirty: Dirty::default(),
            unwatched: Vec::new(),
            is_draining: false,
            is_drained: false,
            last_wall: Timestamp::from_millis(i64::MIN),
            settings,
        }
    }

    /// Takes one event in. Requests that may share a commit are kept back until [`Node::flush`].
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let mut step = Step { now, effects };
        self.note_clock(&mut step);
        match event {
            Event::Registry(event) => self.on_registry(&mut step, event),
            Event::Define(define) => self.define(&mut step, &define),
            Event::Withdraw(name) => {
                if let Some(ix) = self.index.get(&name).copied() {
                    self.at(&mut step, ix, Job::withdraw);
                }
            }
            Event::Trigger(id, name) => self.trigger(&mut step, id, name),
            Event::RunEnded(run, outcome) => {
                self.at_run(&mut step, run, |job, turn, shard| {
                    job.run_ended(turn, shard, (run, outcome));
                });
            }
            Event::Looked(looked) => {
                if let Some(ix) = self.index.get(&looked.job).copied() {
                    let Looked { definition, found, .. } = looked;
                    self.at(&mut step, ix, |job, turn| job.looked(turn, &definition, found));
                }
            }
            Event::NotStarted(run) => {
                self.at_run(&mut step, run, |job, turn, shard| job.not_started(turn, shard, run));
            }
            Event::Wake => self.on_wake(&mut step),
            Event::Drain => self.drain(&mut step),
            Event::DrainOver => self.cancel_all(&mut step),
        }
        self.on_alarms(&mut step);
    }

    /// Sends the requests that were kept back, in as few commits as possible. Call it when no further event
    /// waits, and at the latest a millisecond after a step.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut step = Step { now, effects };
        while let Some(ix) = self.dirty.next_job() {
            self.at(&mut step, ix, Job::reconcile);
        }
        self.admit_waiting(&mut step);
        self.history.flush(&mut self.outbox, &self.settings);
        self.outbox.flush(now.mono, step.effects);
        if self.is_draining && !self.is_drained && self.has_left() {
            self.is_drained = true;
            self.at_asking(&mut step, Asking::node_stops);
            step.effects.push(Effect::Drained);
        }
    }

    /// Returns when [`Event::Wake`] is next due: on the wall clock for the next fire, and on the monotonic
    /// clock for the next time-out, back-off or check. The node is to be woken at whichever comes first.
    #[must_use]
    pub fn wake_at(&self) -> (Option<Timestamp>, Option<Mono>) {
        self.alarms.next()
    }

    /// Returns a copy of what the node knows, for pages and metrics. The copy costs time in proportion to the
    /// number of jobs.
    #[must_use]
    pub fn status(&self) -> Status {
        let has_started = |(_, (ix, shard)): &(RunId, Whose)| self.job(*ix).has_started(*shard);
        Status {
            instance: self.settings.instance.clone(),
            is_suspended: !self.trust.is_hoped_for(),
            trusted_until: self.trust.until(),
            is_draining: self.is_draining,
            running: self.capacity.runs().iter().filter(|run| has_started(run)).count(),
            waiting: self.capacity.waiting(),
            commits_in_flight: self.outbox.commits_in_flight(),
            jobs: self.jobs.iter().zip(&self.names).map(|(job, name)| job.status(name)).collect(),
        }
    }

    /// Checks what must hold between the parts of this node. The check costs time in proportion to the number
    /// of jobs: it is for tests and simulations, after each step and flush.
    ///
    /// # Errors
    /// The text says, for people, what does not hold.
    pub fn check(&self) -> Result<(), String> {
        let parts = Parts {
            jobs: &self.jobs,
            asking: &self.asking,
            capacity: &self.capacity,
            outbox: &self.outbox,
            alarms: &self.alarms,
            dirty: &self.dirty,
        };
        parts.check()
    }

    fn job(&self, ix: JobIx) -> &Job {
        &self.jobs[ix.position()]
    }

    /// Gives a job its turn, and looks at the shards that were marked in that turn.
    fn at(&mut self, step: &mut Step<'_>, ix: JobIx, act: impl FnOnce(&mut Job, &mut Turn<'_>)) {
        let mut turn = Turn {
            now: step.now,
            job: ix,
            name: &self.names[ix.position()],
            settings: &self.settings,
            me: &self.me,
            is_draining: self.is_draining,
            trust: &self.trust,
            history: &mut self.history,
            clock: &mut self.clock,
            outbox: &mut self.outbox,
            alarms: &mut self.alarms,
            capacity: &mut self.capacity,
            dirty: &mut self.dirty,
            effects: step.effects,
        };
        let job = &mut self.jobs[ix.position()];
        act(job, &mut turn);
        job.settle(&mut turn);
    }

    /// Gives the job of a run its turn, if the run still exists.
    fn at_run(
        &mut self,
        step: &mut Step<'_>,
        run: RunId,
        act: impl FnOnce(&mut Job, &mut Turn<'_>, Option<ShardIndex>),
    ) {
        if let Some((ix, shard)) = self.capacity.whose(run) {
            self.at(step, ix, |job, turn| act(job, turn, shard));
        }
    }

    /// Gives the job of every run its turn, in the order of the runs' numbers.
    fn at_each_run(
        &mut self,
        step: &mut Step<'_>,
        act: impl Fn(&mut Job, &mut Turn<'_>, Option<ShardIndex>),
    ) {
        for (_, (ix, shard)) in self.capacity.runs() {
            self.at(step, ix, |job, turn| act(job, turn, shard));
        }
    }

    /// Gives each job its turn.
    fn at_all(&mut self, step: &mut Step<'_>, act: impl Fn(&mut Job, &mut Turn<'_>)) {
        for position in 0..self.jobs.len() {
            self.at(step, JobIx::at(position), &act);
        }
    }

    /// Gives the requests of this process to run a job now their turn.
    fn at_asking(&mut self, step: &mut Step<'_>, act: impl FnOnce(&mut Asking, &mut Means<'_>)) {
        let mut means = Means {
            now: step.now.mono,
            outbox: &mut self.outbox,
            alarms: &mut self.alarms,
            effects: step.effects,
        };
        act(&mut self.asking, &mut means);
    }

    fn trigger(&mut self, step: &mut Step<'_>, id: TriggerId, name: JobName) {
        let served = self.index.get(&name).and_then(|ix| self.job(*ix).served());
        let limits = self.outbox.limits();
        let trigger = Trigger::new(self.settings.namespace.clone(), name, limits);
        self.at_asking(step, |asking, means| asking.begin(means, id, trigger, served));
    }

    fn define(&mut self, step: &mut Step<'_>, define: &Define) {
        if self.is_draining {
            // A node that drains takes no job up, or it would never leave.
            return;
        }
        let applies = define.apply || define.config.overwrite;
        let name = &define.config.name;
        let known = self.index.get(name).copied();
        let ix = known.unwrap_or_else(|| JobIx::at(self.jobs.len()));
        if known.is_none() {
            self.jobs.push(Job::new(define.config.clone(), applies));
            self.names.push(name.clone());
            self.index.insert(name.clone(), ix);
        } else {
            let offered = define.config.clone();
            self.at(step, ix, |job, turn| job.offer(turn, offered, applies));
        }
        if self.trust.session().is_some() {
            self.at(step, ix, Job::begin);
        }
        self.dirty.mark_job(ix);
    }

    fn on_registry(&mut self, step: &mut Step<'_>, event: registry::Event) {
        match event {
            registry::Event::Session(state) => self.on_session(step, state),
            registry::Event::SetBack(why) => step.report(self.history.set_back(&why)),
            registry::Event::Replaced(why) => self.on_replaced(step, why),
            // Without a session nothing is decided; the jobs are read again once there is a session.
            registry::Event::Resync if self.trust.session().is_none() => {}
            registry::Event::Resync => self.at_all(step, Job::resync),
            registry::Event::Changed(key, _) => {
                let Some((name, facet)) = self.settings.namespace.parse(&key) else { return };
                let Some(ix) = self.index.get(&name).copied() else { return };
                self.at(step, ix, |job, turn| job.changed(turn, facet));
            }
            registry::Event::Answer(ticket, answer) => {
                let reply = self.outbox.answered(ticket, answer);
                self.on_answer(step, reply);
            }
        }
    }

    fn on_answer(&mut self, step: &mut Step<'_>, reply: Reply) {
        match reply {
            Reply::Nothing => {}
            Reply::Unwatched(request) => {
                self.unwatched.push(request);
                self.alarms.add(step.now.mono.plus(AGAIN_AFTER), Alarm::Watch);
            }
            Reply::Root(answer) => self.root_read(step, &answer),
            Reply::Read(ix, facet, answer) => {
                self.at(step, ix, |job, turn| job.read(turn, &facet, answer));
            }
            Reply::Asked(id, answer) => self.asked(step, id, answer),
            Reply::Committed(changes, receipt, sent) => {
                self.history.committed();
                if let Some(at) = receipt.at {
                    self.clock.told(at, sent, step.now.mono);
                }
                let verdict = Verdict::Done(receipt.index);
                for change in changes {
                    self.tell(step, change, &verdict);
                }
            }
            Reply::Refused(refused) => {
                for (change, refusal) in refused {
                    self.refused(step, change, &refusal);
                }
            }
            Reply::Failed(changes, failure) => self.failed(step, changes, &failure),
        }
    }

    /// Handles what was read of the namespace's root. Jobs whose definition is gone have waited for it.
    fn root_read(&mut self, step: &mut Step<'_>, answer: &Answer) {
        let (is_known, loss) = self.history.root_read(answer, &self.settings);
        loss.into_iter().for_each(|loss| step.report(loss));
        match is_known {
            true => self.at_all(step, |_, turn| turn.mark_job()),
            false => self.alarms.add(step.now.mono.plus(AGAIN_AFTER), Alarm::Root),
        }
    }

    /// Tells a request to run a job now what the registry answered it.
    fn asked(&mut self, step: &mut Step<'_>, id: TriggerId, answer: Answer) {
        self.at_asking(step, |asking, means| asking.answered(means, id, answer));
    }

    /// Tells the duty that sent a change what has become of the change.
    fn tell(&mut self, step: &mut Step<'_>, change: Change, verdict: &Verdict) {
        match change.purpose {
            Purpose::Parent => {}
            Purpose::Job(ix, what) => {
                self.at(step, ix, |job, turn| job.answered(turn, what, change, verdict));
            }
            Purpose::Shard(ix, shard, what) => {
                self.at(step, ix, |job, turn| {
                    job.shard_answered(turn, shard, (what, change, verdict));
                });
            }
            // What was refused or has failed is told as it was answered.
            Purpose::Trigger(id) => self.asked(step, id, Answer::Committed(Receipt::default())),
        }
    }

    /// Handles a change whose condition did not hold. The change is repaired if that helps: what is missing
    /// is made, what is gone is left out. Otherwise the duty that sent the change is told.
    fn refused(&mut self, step: &mut Step<'_>, mut change: Change, refusal: &Refusal) {
        if let Purpose::Trigger(id) = change.purpose {
            return self.asked(step, id, Answer::Refused(refusal.clone()));
        }
        if !self.outbox.repair(&self.settings.namespace, &mut change, refusal) {
            let facet = self.settings.namespace.parse(&refusal.key).map(|(_, facet)| facet);
            self.tell(step, change, &Verdict::refused(refusal, facet));
        }
    }

    /// Handles a commit that has failed as a whole, or may have.
    fn failed(&mut self, step: &mut Step<'_>, changes: Vec<Change>, failure: &Failure) {
        let verdict = Verdict::from(failure);
        if let Some(Pause { until, is_new }) = self.outbox.pause_for(step.now.mono, failure) {
            self.alarms.add(until, Alarm::Send);
            if let Some(code) = is_new {
                let text = failure.to_string();
                step.report(Report::Trouble { job: None, code, text });
            }
        }
        for change in changes {
            let purpose = change.purpose;
            if let Purpose::Trigger(id) = purpose {
                self.asked(step, id, Answer::Failed(failure.clone()));
                continue;
            }
            self.tell(step, change, &verdict);
            if matches!(verdict, Verdict::TooLarge)
                && let Some(ix) = purpose.job()
            {
                let why = failure.to_string();
                self.at(step, ix, |job, turn| job.is_too_large(turn, purpose, &why));
            }
        }
    }

    fn on_session(&mut self, step: &mut Step<'_>, state: SessionState) {
        match state {
            SessionState::Live { session, trusted_until } => {
                let until = Mono::from_millis(trusted_until);
                let renewal = self.trust.renew(step.now, session, until);
                if renewal == Renewal::Kept {
                    return;
                }
                step.report(Report::SessionLive(session));
                self.outbox.resume();
                if renewal == Renewal::Fresh {
                    self.history.session_is_new(&mut self.outbox, &self.settings);
                    self.at_all(step, Job::session_is_new);
                }
                // Work that waited for the session goes on.
                self.at_all(step, Job::session_is_back);
                self.at_each_run(step, Job::tell_again);
                self.alarms.watch_trust(step.now.mono, self.trust.until());
            }
            SessionState::Suspended { why } => {
                self.trust.suspend();
                step.report(Report::SessionSuspended(why));
                self.alarms.watch_trust(step.now.mono, self.trust.until());
            }
            SessionState::Ended(session) => {
                step.report(Report::SessionEnded(session));
                self.end_session(step, session);
            }
        }
    }

    fn end_session(&mut self, step: &mut Step<'_>, session: SessionId) {
        self.trust.end();
        let unsent = self.outbox.drop_changes();
        self.failed(step, unsent, &Failure::SessionEnded(session));
        self.cancel_for_session(step);
    }

    /// Handles the end of the registry as the end of a session that none follows.
    fn on_replaced(&mut self, step: &mut Step<'_>, why: String) {
        step.report(Report::Trouble { job: None, code: "REGISTRY_REPLACED", text: why });
        if let Some(session) = self.trust.session() {
            self.end_session(step, session);
        }
    }

    /// Handles the end of the session's trust: from here on another instance may take over the runs of this
    /// node.
    fn on_trust_end(&mut self, step: &mut Step<'_>) {
        self.alarms.trust_alarm_came();
        if step.now.mono < self.trust.until() {
            // The session was renewed since. Its trust is watched further only if a run must stop without it.
            let runs = self.capacity.runs();
            let mut shards = runs.iter().map(|(_, (ix, shard))| (self.job(*ix), *shard));
            if shards.any(|(job, shard)| job.must_stop_without_session(shard)) {
                self.alarms.watch_trust(step.now.mono, self.trust.until());
            }
            return;
        }
        self.cancel_for_session(step);
    }

    fn cancel_for_session(&mut self, step: &mut Step<'_>) {
        self.at_each_run(step, |job, turn, shard| {
            if job.must_stop_without_session(shard) {
                job.cancel(turn, shard, CancelReason::SessionLost);
            }
        });
    }

    /// Tells every run to stop.
    fn cancel_all(&mut self, step: &mut Step<'_>) {
        self.at_each_run(step, |job, turn, shard| job.cancel(turn, shard, CancelReason::Shutdown));
    }

    /// Starts nothing new, and leaves each job when its runs have ended.
    fn drain(&mut self, step: &mut Step<'_>) {
        self.is_draining = true;
        self.at_all(step, Job::drain);
    }

    /// Returns whether nothing of this node is left in the registry but its session.
    fn has_left(&self) -> bool {
        let has_runs = self.capacity.running() > 0;
        self.jobs.iter().all(Job::has_left) && !has_runs && self.outbox.is_idle()
    }

    /// Notices that the wall clock was set back: the clock again shows instants that the timers have passed.
    fn note_clock(&mut self, step: &mut Step<'_>) {
        if step.now.wall < self.last_wall {
            self.at_each_run(step, Job::give_back_if_far_ahead);
            self.at_all(step, Job::clock_was_set_back);
        }
        self.last_wall = step.now.wall;
    }

    /// Starts the runs that were claimed ahead and are due by now, then fires the jobs that are due.
    fn on_wake(&mut self, step: &mut Step<'_>) {
        for _ in 0..MOST_DUE {
            let Some(run) = self.alarms.pop_start(step.now.wall) else {
                return self.fire_due(step);
            };
            self.at_run(step, run, Job::start_on_time);
        }
    }

    /// Fires the jobs that are due by now, the earliest first. Jobs above the bound stay due: the first
    /// claims are on their way while the next claims are made.
    fn fire_due(&mut self, step: &mut Step<'_>) {
        for _ in 0..MOST_DUE {
            let Some((at, ix)) = self.alarms.pop_due(step.now.wall) else { return };
            self.at(step, ix, |job, turn| job.instant_has_come(turn, at));
        }
    }

    /// Gives free places to the fires that wait, the longest due first.
    fn admit_waiting(&mut self, step: &mut Step<'_>) {
        for _ in 0..self.capacity.waiting() {
            let Some((ix, shard)) = self.capacity.admit() else { return };
            self.at(step, ix, |job, turn| job.admitted(turn, shard));
        }
    }

    /// Sets again the watches that may not be set. The keys that they watch may have changed unseen.
    fn watch_again(&mut self, step: &mut Step<'_>) {
        for request in std::mem::take(&mut self.unwatched) {
            if let Request::Watch(key, _) = &request
                && let Some((name, facet)) = self.settings.namespace.parse(key)
                && let Some(ix) = self.index.get(&name).copied()
            {
                self.outbox.watch(ix, request);
                self.at(step, ix, |job, turn| job.changed(turn, facet));
            }
        }
    }

    /// Handles every deadline that has come.
    fn on_alarms(&mut self, step: &mut Step<'_>) {
        while let Some(run) = self.alarms.pop_timeout(step.now.mono) {
            self.at_run(step, run, |job, turn, shard| {
                job.cancel(turn, shard, CancelReason::TimedOut);
            });
        }
        while let Some(alarm) = self.alarms.pop(step.now.mono) {
            self.on_alarm(step, alarm);
        }
    }

    fn on_alarm(&mut self, step: &mut Step<'_>, alarm: Alarm) {
        match alarm {
            Alarm::Begin(run) => self.at_run(step, run, Job::start_on_time),
            Alarm::Overdue(run) => self.at_run(step, run, Job::overdue),
            Alarm::TrustEnd => self.on_trust_end(step),
            Alarm::Reconsider(ix, shard) => {
                self.at(step, ix, |job, turn| job.reconsider(turn, shard));
            }
            Alarm::Reconcile(ix) => self.dirty.mark_job(ix),
            // While no request gets through, asking again is of no use.
            Alarm::Reread(_) if !self.trust.is_hoped_for() => {
                self.alarms.add(step.now.mono.plus(AGAIN_AFTER), alarm);
            }
            Alarm::Reread(ix) => self.at(step, ix, Job::reread_unanswered),
            Alarm::Resync(ix) => self.at(step, ix, Job::resync_by_time),
            Alarm::Clock(ix) => self.at(step, ix, Job::probe_clock),
            Alarm::Root => {
                self.history.want();
            }
            Alarm::MadeAnew => {
                self.history.tell_made_anew().into_iter().for_each(|told| step.report(told));
            }
            Alarm::Looking(ix) => self.at(step, ix, Job::look_has_waited),
            Alarm::Watch => self.watch_again(step),
            Alarm::Asking => self.at_asking(step, Asking::time_has_passed),
            Alarm::Send => {}
        }
    }
}
