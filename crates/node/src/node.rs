//! The machine itself: takes events in, routes each to the job that it concerns, and sends what is to be
//! sent. It decides nothing about any job.

use crate::alarms::{Alarm, Alarms};
use crate::clock::RegistryClock;
use crate::job::{Job, JobIx};
use crate::link::{Aim, Heard, Link, Member, Pause};
use crate::run_table::RunTable;
use crate::runs::Stage;
use crate::status::{JobStatus, Status};
use crate::trust::{Renewal, Trust};
use crate::turn::Turn;
use crate::{Define, Effect, Event, Report, Settings};
use bytes::Bytes;
use flockwork_core::config::OnSessionLoss;
use flockwork_core::execution::{CancelReason, RunId};
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_registry::{self as registry, Failure, Refusal, Request, SessionState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Jobs that one wake-up fires: as many as make a few full commits.
const MOST_DUE: usize = 256;
/// How soon a read that gave no answer is tried again.
pub(crate) const REREAD_AFTER: Duration = Duration::from_millis(500);

/// One node.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    /// This instance as marks and flags hold it.
    me: Bytes,
    trust: Trust,
    clock: RegistryClock,
    link: Link,
    jobs: Vec<Job>,
    names: BTreeMap<JobName, JobIx>,
    runs: RunTable,
    last_run: u64,
    /// Fires that wait for a free place, by due instant.
    waiting: BTreeSet<(Timestamp, JobIx, ShardIndex)>,
    alarms: Alarms,
    /// Jobs about which something was learned since they were last tended.
    untended: BTreeSet<JobIx>,
    /// Watches whose setting was not confirmed.
    unwatched: Vec<Request>,
    is_draining: bool,
    is_drained: bool,
    /// What the wall clock last showed.
    last_wall: Timestamp,
}

/// One step: what time it is, and what is to be done.
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
    /// A node that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let link = Link::new(settings.limits);
        Self {
            me: settings.instance.to_string().into(),
            settings,
            trust: Trust::default(),
            clock: RegistryClock::default(),
            link,
            jobs: Vec::new(),
            names: BTreeMap::new(),
            runs: RunTable::default(),
            last_run: 0,
            waiting: BTreeSet::new(),
            alarms: Alarms::default(),
            untended: BTreeSet::new(),
            unwatched: Vec::new(),
            is_draining: false,
            is_drained: false,
            last_wall: Timestamp::from_millis(i64::MIN),
        }
    }

    /// Takes one event in. Requests that may share a commit are kept back until
    /// [`Node::flush`].
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let mut step = Step { now, effects };
        self.note_clock(&mut step);
        match event {
            Event::Registry(event) => self.hear(&mut step, event),
            Event::Define(define) => self.define(&mut step, &define),
            Event::Withdraw(name) => {
                if let Some(ix) = self.names.get(&name).copied() {
                    self.at(&mut step, ix, Job::withdraw);
                }
            }
            Event::RunEnded(run, outcome) => {
                self.at_run(&mut step, run, |job, turn| job.run_ended(turn, run, outcome));
            }
            Event::NotStarted(run) => {
                self.at_run(&mut step, run, |job, turn| job.not_started(turn, run));
            }
            Event::Wake => self.fire_due(&mut step),
            Event::Drain => self.drain(&mut step),
            Event::DrainOver => self.cancel_all(&mut step),
        }
        self.look_at_alarms(&mut step);
    }

    /// Sends what was kept back, in as few commits as it can. To be called when no further event
    /// waits, and at the latest a millisecond after a step.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut step = Step { now, effects };
        while let Some(ix) = self.untended.pop_first() {
            self.at(&mut step, ix, Job::tend);
        }
        self.admit_waiting(&mut step);
        self.link.flush(now.mono, step.effects);
        if self.is_draining && !self.is_drained && self.has_left() {
            self.is_drained = true;
            step.effects.push(Effect::Drained);
        }
    }

    /// When [`Event::Wake`] is next due: on the wall clock (the next fire) and on the monotonic one
    /// (the next time-out, back-off or check), whichever comes first.
    #[must_use]
    pub fn wake_at(&self) -> (Option<Timestamp>, Option<Mono>) {
        self.alarms.next()
    }

    /// A copy of what the node knows, for pages and metrics. Costs time in proportion to its jobs.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            instance: self.settings.instance.clone(),
            is_suspended: !self.trust.is_hoped_for(),
            trusted_until: self.trust.until(),
            is_draining: self.is_draining,
            running: self.runs.count(|run| run.run.is_some()),
            waiting: self.waiting.len(),
            commits_in_flight: self.link.commits_in_flight(),
            jobs: self.jobs.iter().map(|job| JobStatus::of(job, &self.runs)).collect(),
        }
    }

    /// Gives a job its turn.
    fn at<T>(
        &mut self,
        step: &mut Step<'_>,
        ix: JobIx,
        act: impl FnOnce(&mut Job, &mut Turn<'_>) -> T,
    ) -> T {
        let mut turn = Turn {
            now: step.now,
            ix,
            settings: &self.settings,
            me: &self.me,
            is_draining: self.is_draining,
            trust: &self.trust,
            clock: &mut self.clock,
            link: &mut self.link,
            alarms: &mut self.alarms,
            runs: &mut self.runs,
            last_run: &mut self.last_run,
            waiting: &mut self.waiting,
            untended: &mut self.untended,
            effects: step.effects,
        };
        act(&mut self.jobs[ix.0 as usize], &mut turn)
    }

    /// Gives the job of a run its turn, if there still is such a run.
    fn at_run(
        &mut self,
        step: &mut Step<'_>,
        run: RunId,
        act: impl FnOnce(&mut Job, &mut Turn<'_>),
    ) {
        if let Some(ix) = self.runs.get(&run).map(|run| run.ix) {
            self.at(step, ix, act);
        }
    }

    fn all(&self) -> impl Iterator<Item = JobIx> + use<> {
        (0..self.jobs.len()).map(|at| JobIx(u32::try_from(at).expect("fewer jobs than memory")))
    }

    fn define(&mut self, step: &mut Step<'_>, define: &Define) {
        if self.is_draining {
            // Whoever leaves takes nothing up any more, or would never have left.
            return;
        }
        let applies = define.apply || define.config.overwrite;
        let fresh = Job::new(define.config.clone(), applies);
        let ix = match self.names.get(&define.config.name).copied() {
            None => {
                let ix = JobIx(u32::try_from(self.jobs.len()).expect("fewer jobs than memory"));
                self.jobs.push(fresh);
                self.names.insert(define.config.name.clone(), ix);
                ix
            }
            Some(ix) => {
                self.jobs[ix.0 as usize].offer(fresh, &self.settings);
                ix
            }
        };
        if self.trust.session().is_some() {
            self.at(step, ix, Job::begin);
        }
        self.untended.insert(ix);
    }

    fn hear(&mut self, step: &mut Step<'_>, event: registry::Event) {
        match event {
            registry::Event::Session(state) => self.session_changed(step, state),
            registry::Event::Resync => self.resync(step),
            registry::Event::Changed(key, _) => {
                let Some((name, facet)) = self.settings.namespace.parse(&key) else { return };
                let Some(ix) = self.names.get(&name).copied() else { return };
                self.at(step, ix, |job, turn| job.look(turn, facet));
            }
            registry::Event::Answer(ticket, answer) => {
                let heard = self.link.answered(ticket, answer);
                self.heard(step, heard);
            }
        }
    }

    fn heard(&mut self, step: &mut Step<'_>, heard: Heard) {
        match heard {
            Heard::Nothing => {}
            Heard::Unwatched(request) => {
                self.unwatched.push(request);
                self.alarms.add(step.now.mono.plus(REREAD_AFTER), Alarm::Watch);
            }
            Heard::Read(ix, facet, answer) => {
                self.at(step, ix, |job, turn| job.heard_read(turn, &facet, answer));
            }
            Heard::Committed(members, receipt, sent) => {
                if let Some(at) = receipt.at {
                    self.clock.told(at, sent, step.now.mono);
                }
                for member in members {
                    self.at_aim(step, member.aim, |job, turn| {
                        job.committed(turn, &member, receipt.index);
                    });
                }
            }
            Heard::Refused(refused) => {
                for (member, refusal) in refused {
                    self.refused(step, member, &refusal);
                }
            }
            Heard::Failed(members, failure) => self.failed(step, members, &failure),
        }
    }

    /// Gives the job that a change is for its turn; a run's is found by the run.
    fn at_aim(&mut self, step: &mut Step<'_>, aim: Aim, act: impl FnOnce(&mut Job, &mut Turn<'_>)) {
        match (aim.job(), aim.run()) {
            (Some(ix), _) => self.at(step, ix, act),
            (None, Some(run)) => self.at_run(step, run, act),
            (None, None) => {}
        }
    }

    /// One member's condition did not hold. What is missing is made, what is gone is left out;
    /// otherwise what the member was based on is read again.
    fn refused(&mut self, step: &mut Step<'_>, mut member: Member, refusal: &Refusal) {
        if !self.link.repair(&self.settings.namespace, &mut member, refusal) {
            self.at_aim(step, member.aim, |job, turn| job.refused(turn, &member, refusal));
        }
    }

    /// A commit as a whole has failed, or may have.
    fn failed(&mut self, step: &mut Step<'_>, members: Vec<Member>, failure: &Failure) {
        if matches!(failure, Failure::TooLarge { .. }) && members.len() > 1 {
            // What the registry will never take is sent once more by itself, and then given up.
            return self.link.gather_singly(members);
        }
        if let Some(Pause { until, is_new }) = self.link.pause_for(step.now.mono, failure) {
            self.alarms.add(until, Alarm::Send);
            if let Some(code) = is_new {
                let text = failure.to_string();
                step.report(Report::Trouble { job: None, code, text });
            }
        }
        for member in members {
            let aim = member.aim;
            self.at_aim(step, aim, |job, turn| job.failed(turn, member, failure));
        }
    }

    fn session_changed(&mut self, step: &mut Step<'_>, state: SessionState) {
        match state {
            SessionState::Live { session, trusted_until } => {
                let until = Mono::from_millis(trusted_until);
                let renewal = self.trust.renew(step.now, session, until);
                if renewal == Renewal::Kept {
                    return;
                }
                step.report(Report::SessionLive(session));
                self.link.resume();
                if renewal == Renewal::Fresh {
                    for ix in self.all() {
                        self.at(step, ix, Job::rejoin);
                    }
                }
                self.go_on(step);
            }
            SessionState::Suspended { why } => {
                self.trust.suspend();
                step.report(Report::SessionSuspended(why));
                self.alarms.watch_trust(step.now.mono, self.trust.until());
            }
            SessionState::Ended(session) => {
                self.trust.end();
                step.report(Report::SessionEnded(session));
                let unsent = self.link.drop_members();
                self.failed(step, unsent, &Failure::SessionEnded(session));
                self.cancel_for_session(step);
            }
        }
    }

    /// Everything must be read again: watches may have been silent for a while.
    ///
    /// Without a session that is done once there is one again: nothing is decided before.
    fn resync(&mut self, step: &mut Step<'_>) {
        if self.trust.session().is_none() {
            return;
        }
        for ix in self.all() {
            self.at(step, ix, Job::resync);
        }
    }

    /// The session is proven again: what waited goes on, and what came due meanwhile is known to
    /// have been held up by that.
    fn go_on(&mut self, step: &mut Step<'_>) {
        for ix in self.all() {
            self.at(step, ix, Job::go_on);
        }
        for id in self.runs.of(|run| matches!(run.stage, Stage::Ended | Stage::TakingBack)) {
            self.at_run(step, id, |job, turn| job.tell_again(turn, id));
        }
        self.alarms.watch_trust(step.now.mono, self.trust.until());
    }

    /// From here on another instance may take over what runs here.
    fn trust_ended(&mut self, step: &mut Step<'_>) {
        self.alarms.trust_alarm_came();
        if step.now.mono < self.trust.until() {
            // Renewed since. Only a session with runs that must stop is watched further.
            if self.runs.any(|run| run.on_session_loss == OnSessionLoss::Stop) {
                self.alarms.watch_trust(step.now.mono, self.trust.until());
            }
            return;
        }
        self.cancel_for_session(step);
    }

    fn cancel_for_session(&mut self, step: &mut Step<'_>) {
        for id in self.runs.of(|run| run.on_session_loss == OnSessionLoss::Stop) {
            self.at_run(step, id, |job, turn| job.cancel(turn, id, CancelReason::SessionLost));
        }
    }

    /// Tells every run to stop.
    fn cancel_all(&mut self, step: &mut Step<'_>) {
        for id in self.runs.of(|run| run.stage == Stage::Running) {
            self.at_run(step, id, |job, turn| job.cancel(turn, id, CancelReason::Shutdown));
        }
    }

    /// Starts nothing new at all, and leaves each job when its runs have ended.
    fn drain(&mut self, step: &mut Step<'_>) {
        self.is_draining = true;
        for ix in self.all() {
            self.at(step, ix, Job::drain);
        }
    }

    /// Whether nothing of this node is left in the registry but its session.
    fn has_left(&self) -> bool {
        self.jobs.iter().all(Job::has_left) && self.runs.is_empty() && self.link.is_idle()
    }

    /// A wall clock that was set back shows instants again that the timers have passed; what held fires
    /// up until an instant that it showed before is over.
    fn note_clock(&mut self, step: &mut Step<'_>) {
        if step.now.wall < self.last_wall {
            let waits = self.runs.of(|run| run.stage == Stage::Ahead);
            for id in waits {
                self.at_run(step, id, |job, turn| job.give_back_if_far_ahead(turn, id));
            }
            for ix in self.all() {
                self.at(step, ix, Job::clock_was_set_back);
            }
        }
        self.last_wall = step.now.wall;
    }

    /// Starts what was claimed ahead and is due by now, then fires what else is due.
    fn fire_due(&mut self, step: &mut Step<'_>) {
        for _ in 0..MOST_DUE {
            let Some(run) = self.alarms.pop_start(step.now.wall) else {
                return self.fire_unclaimed(step);
            };
            self.at_run(step, run, |job, turn| job.start_on_time(turn, run));
        }
    }

    /// Fires what is due by now, the earliest first. What is above the bound stays due: the first claims
    /// are on their way while the next ones are made.
    fn fire_unclaimed(&mut self, step: &mut Step<'_>) {
        for _ in 0..MOST_DUE {
            let Some((at, ix)) = self.alarms.pop_due(step.now.wall) else { return };
            self.at(step, ix, |job, turn| job.is_due(turn, at));
        }
    }

    /// Lets those in that wait for a free place, the longest due first.
    fn admit_waiting(&mut self, step: &mut Step<'_>) {
        let mut left = self.waiting.len();
        while left > 0 && self.runs.len() < self.settings.max_running {
            let Some((_, ix, shard)) = self.waiting.pop_first() else { return };
            left -= 1;
            self.at(step, ix, |job, turn| job.admit(turn, shard));
        }
    }

    /// Sets watches again that may not be set. What they watch may have changed unseen.
    fn watch_again(&mut self, step: &mut Step<'_>) {
        for request in std::mem::take(&mut self.unwatched) {
            if let Request::Watch(key, _) = &request
                && let Some((name, facet)) = self.settings.namespace.parse(key)
                && let Some(ix) = self.names.get(&name).copied()
            {
                self.link.watch(request);
                self.at(step, ix, |job, turn| job.look(turn, facet));
            }
        }
    }

    /// Turns to every deadline that has come.
    fn look_at_alarms(&mut self, step: &mut Step<'_>) {
        while let Some(run) = self.alarms.timeouts.pop(step.now.mono) {
            self.at_run(step, run, |job, turn| job.cancel(turn, run, CancelReason::TimedOut));
        }
        while let Some(alarm) = self.alarms.pop(step.now.mono) {
            self.look_at(step, alarm);
        }
    }

    fn look_at(&mut self, step: &mut Step<'_>, alarm: Alarm) {
        match alarm {
            Alarm::Begin(run) => self.at_run(step, run, |job, turn| job.start_on_time(turn, run)),
            Alarm::Overdue(run) => self.at_run(step, run, |job, turn| job.run_overdue(turn, run)),
            Alarm::TrustEnd => self.trust_ended(step),
            Alarm::Look(ix, shard) => self.at(step, ix, |job, turn| job.look_again(turn, shard)),
            Alarm::Tend(ix) => {
                self.untended.insert(ix);
            }
            // While nothing gets through, asking again is of no use.
            Alarm::Reread(_) if !self.trust.is_hoped_for() => {
                self.alarms.add(step.now.mono.plus(REREAD_AFTER), alarm);
            }
            Alarm::Reread(ix) => self.at(step, ix, Job::reread_unanswered),
            Alarm::Reconcile(ix) => self.at(step, ix, Job::reconcile),
            Alarm::Clock(ix) => self.at(step, ix, Job::probe_clock),
            Alarm::Watch => self.watch_again(step),
            Alarm::Send => {}
        }
    }
}
