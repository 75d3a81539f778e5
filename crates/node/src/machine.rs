//! The machine itself: takes events in, turns to what they concern, and sends what is to be sent.

use crate::alarms::{Alarm, Alarms};
use crate::clock::RegistryClock;
use crate::job::{Job, JobIx};
use crate::link::{Heard, Link};
use crate::reads::Unreadable;
use crate::run_table::RunTable;
use crate::trust::Trust;
use crate::{Define, Effect, Event, Phase, Report, Settings};
use bytes::Bytes;
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_registry as registry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Jobs that one wake-up fires: as many as make a few full commits.
const MOST_DUE: usize = 256;
/// How soon a read that gave no answer is tried again.
const REREAD_AFTER: Duration = Duration::from_millis(500);

/// One node.
#[derive(Debug)]
pub struct Node {
    pub(crate) settings: Settings,
    /// This instance as marks and flags hold it.
    pub(crate) me: Bytes,
    pub(crate) trust: Trust,
    pub(crate) clock: RegistryClock,
    pub(crate) link: Link,
    pub(crate) jobs: Vec<Job>,
    pub(crate) names: BTreeMap<JobName, JobIx>,
    pub(crate) runs: RunTable,
    pub(crate) last_run: u64,
    /// Fires that wait for a free place, by due instant.
    pub(crate) waiting: BTreeSet<(Timestamp, JobIx, ShardIndex)>,
    pub(crate) alarms: Alarms,
    /// Jobs about which something was learned since they were last tended.
    pub(crate) untended: BTreeSet<JobIx>,
    /// When the end of the session's trust is looked at.
    pub(crate) trust_alarm: Option<Mono>,
    /// Watches whose setting was not confirmed.
    pub(crate) unwatched: Vec<registry::Request>,
    /// Why commits fail at present, as it was told: each reason once, until one succeeds.
    pub(crate) told_failure: Option<&'static str>,
    pub(crate) is_draining: bool,
    pub(crate) is_drained: bool,
    /// What the wall clock last showed.
    last_wall: Timestamp,
}

/// One turn of the machine: what time it is, and what is to be done.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    pub(crate) fn trouble(&mut self, job: Option<&JobName>, code: &'static str, text: String) {
        self.report(Report::Trouble { job: job.cloned(), code, text });
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
            trust_alarm: None,
            unwatched: Vec::new(),
            told_failure: None,
            is_draining: false,
            is_drained: false,
            last_wall: Timestamp::from_millis(i64::MIN),
        }
    }

    /// Takes one event in. Requests that may share a commit are kept back until
    /// [`Node::flush`].
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let mut turn = Turn { now, effects };
        self.note_clock(now);
        match event {
            Event::Registry(event) => self.hear(&mut turn, event),
            Event::Define(define) => self.define(&define),
            Event::Withdraw(name) => {
                if let Some(ix) = self.names.get(&name) {
                    self.withdraw(*ix);
                }
            }
            Event::RunEnded(run, outcome) => self.run_ended(&mut turn, run, outcome),
            Event::NotStarted(run) => self.not_started(&mut turn, run),
            Event::Wake => self.fire_due(&mut turn),
            Event::Drain => self.drain(),
            Event::DrainOver => self.cancel_all(&mut turn),
        }
        self.look_at_alarms(&mut turn);
    }

    /// Sends what was kept back, in as few commits as it can. To be called when no further event
    /// waits, and at the latest a millisecond after a step.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut turn = Turn { now, effects };
        while let Some(ix) = self.untended.pop_first() {
            self.tend(&mut turn, ix);
        }
        self.admit_waiting(&mut turn);
        self.link.flush(now.mono, turn.effects);
        if self.is_draining && !self.is_drained && self.has_left() {
            self.is_drained = true;
            turn.effects.push(Effect::Drained);
        }
    }

    /// When [`Event::Wake`] is next due: on the wall clock (the next fire) and on the monotonic one
    /// (the next time-out, back-off or check), whichever comes first.
    #[must_use]
    pub fn wake_at(&self) -> (Option<Timestamp>, Option<Mono>) {
        self.alarms.next()
    }

    /// The job at a place in the list.
    pub(crate) fn job(&mut self, ix: JobIx) -> &mut Job {
        &mut self.jobs[ix.0 as usize]
    }

    fn define(&mut self, define: &Define) {
        if self.is_draining {
            // Whoever leaves takes nothing up any more, or would never have left.
            return;
        }
        let applies = define.apply || define.config.overwrite;
        let fresh = Job::new(define.config.clone(), applies);
        let ix = match self.names.get(&define.config.name) {
            None => {
                let ix = JobIx(u32::try_from(self.jobs.len()).expect("fewer jobs than memory"));
                self.jobs.push(fresh);
                self.names.insert(define.config.name.clone(), ix);
                ix
            }
            Some(ix) => {
                let job = &mut self.jobs[ix.0 as usize];
                (job.offered, job.document, job.applies) = (fresh.offered, None, applies);
                // Compared with the registry's once more.
                (job.config_read, job.was_found) = (Bytes::new(), false);
                let ix = *ix;
                if matches!(job.phase, Phase::Refused | Phase::Left | Phase::Removed) {
                    (job.phase, job.leaving) = (Phase::Joining, None);
                } else if job.leaving.is_some() {
                    self.stay(ix);
                }
                ix
            }
        };
        if self.trust.session().is_some() {
            self.begin(ix);
        }
        self.untended.insert(ix);
    }

    fn hear(&mut self, turn: &mut Turn<'_>, event: registry::Event) {
        match event {
            registry::Event::Session(state) => self.session_changed(turn, state),
            registry::Event::Resync => self.resync(),
            registry::Event::Changed(key, _) => {
                let Some((name, facet)) = self.settings.namespace.parse(&key) else { return };
                let Some(ix) = self.names.get(&name).copied() else { return };
                self.look(ix, facet);
            }
            registry::Event::Answer(ticket, answer) => match self.link.answered(ticket, answer) {
                Heard::Nothing => {}
                Heard::Unwatched(request) => {
                    self.unwatched.push(request);
                    self.alarms.add(turn.now.mono.plus(REREAD_AFTER), Alarm::Watch);
                }
                Heard::Read(ix, facet, answer) => self.heard_read(turn, ix, &facet, answer),
                Heard::Committed(members, receipt, sent) => {
                    if let Some(at) = receipt.at {
                        self.clock.told(at, sent, turn.now.mono);
                    }
                    for member in members {
                        self.committed(turn, &member, receipt.index);
                    }
                }
                Heard::Refused(refused) => {
                    for (member, refusal) in refused {
                        self.refused(turn, member, &refusal);
                    }
                }
                Heard::Failed(members, failure) => self.failed(turn, members, &failure),
            },
        }
    }

    fn heard_read(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        facet: &Facet,
        answer: registry::Answer,
    ) {
        match facet {
            Facet::Running(shard) => return self.mark_read(turn, ix, *shard, &answer),
            Facet::Instance(_) => return self.own_node_read(turn, ix, &answer),
            _ => {}
        }
        match self.read_answered(ix, facet, answer) {
            Ok(()) => self.learned(turn, ix, facet),
            Err(Unreadable::NotAnswered) => {
                if !std::mem::replace(&mut self.job(ix).is_reread_due, true) {
                    self.alarms.add(turn.now.mono.plus(REREAD_AFTER), Alarm::Reread(ix));
                }
            }
            Err(Unreadable::NotUnderstood { text, is_new }) => {
                let name = self.job(ix).name.clone();
                if is_new {
                    turn.trouble(Some(&name), "NOT_READABLE", format!("{facet:?}: {text}"));
                }
                if let Facet::Record(shard) = facet {
                    self.record_not_understood(turn, ix, *shard);
                }
            }
        }
    }

    /// Something was learned about a job.
    fn learned(&mut self, turn: &mut Turn<'_>, ix: JobIx, facet: &Facet) {
        match facet {
            // Nothing about the job as a whole follows from it.
            Facet::Record(shard) => return self.record_read(turn, ix, *shard),
            Facet::Config => self.definition_read(turn, ix),
            Facet::Owner(shard) => self.owner_read(turn, ix, *shard),
            Facet::Instances => self.instances_read(ix),
            Facet::Retries => self.retries_read(ix),
            _ => {}
        }
        self.untended.insert(ix);
    }

    /// A wall clock that was set back shows instants again that the timers have passed; what held fires
    /// up until an instant that it showed before is over.
    fn note_clock(&mut self, now: Now) {
        if now.wall < self.last_wall {
            self.give_back_far_ahead(now.wall);
            for ix in self.job_ixs() {
                let job = self.job(ix);
                job.next = None;
                for hold in job.shards.iter_mut().filter_map(|shard| shard.hold.as_mut()) {
                    hold.until = hold.until.min(now.wall);
                }
                self.untended.insert(ix);
            }
        }
        self.last_wall = now.wall;
    }

    /// Starts what was claimed ahead and is due by now, then fires what else is due.
    fn fire_due(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..MOST_DUE {
            let Some(run) = self.alarms.pop_start(turn.now.wall) else {
                return self.fire_unclaimed(turn);
            };
            self.start_on_time(turn, run);
        }
    }

    /// Fires what is due by now, the earliest first. What is above the bound stays due: the first claims
    /// are on their way while the next ones are made.
    fn fire_unclaimed(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..MOST_DUE {
            let Some((at, ix)) = self.alarms.pop_due(turn.now.wall) else { return };
            match self.job(ix).next {
                Some(next) if next == at => self.fire(turn, ix),
                Some(next) if next > turn.now.wall => self.claim_ahead(turn, ix, (at, next)),
                _ => {}
            }
        }
    }

    /// Turns to every deadline that has come.
    fn look_at_alarms(&mut self, turn: &mut Turn<'_>) {
        while let Some(run) = self.alarms.timeouts.pop(turn.now.mono) {
            self.run_timed_out(turn, run);
        }
        while let Some(alarm) = self.alarms.pop(turn.now.mono) {
            match alarm {
                Alarm::Begin(run) => self.start_on_time(turn, run),
                Alarm::Overdue(run) => self.run_overdue(turn, run),
                Alarm::TrustEnd => self.trust_ended(turn),
                Alarm::Look(ix, shard) => self.look_again(turn, ix, shard),
                Alarm::Tend(ix) => {
                    self.untended.insert(ix);
                }
                // While nothing gets through, asking again is of no use.
                Alarm::Reread(_) if !self.trust.is_hoped_for() => {
                    self.alarms.add(turn.now.mono.plus(REREAD_AFTER), alarm);
                }
                Alarm::Reread(ix) => {
                    self.job(ix).is_reread_due = false;
                    self.reread(ix);
                }
                Alarm::Reconcile(ix) => self.reconcile(turn, ix),
                Alarm::Clock(ix) => self.probe_clock(turn, ix),
                Alarm::Watch => self.watch_again(),
                Alarm::Send => {}
            }
        }
    }
}
