//! The world: hosts, links, the registry, and what happens to them, one event after another.

use crate::asking::{Asked, TIMES, TOLD_WITHIN};
use crate::dice::Dice;
use crate::host::{Host, Pause, Running};
use crate::link::{Link, State, Up};
use crate::mutants::Mutant;
use crate::outcome::{Counts, Said};
use crate::queue::{Happens, HostAt, Kind, Queue, Within};
use crate::recorder::Recorder;
use crate::scenario::{Scenario, Workload};
use crate::zookeeper::Wire;
use flockwork_checker::committed::defined;
use flockwork_checker::trace::{Fact, Fault, Job, Line};
use flockwork_core::config::JobConfig;
use flockwork_core::id::InstanceId;
use flockwork_layout::document;
use flockwork_layout::keys::Namespace;
use flockwork_node::{Define, Effect, Event, Node, Report, Settings};
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Limits, Request, SessionId, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// More events than any seed should have: beyond it a node is spinning.
const MOST_EVENTS: u64 = 20_000_000;
/// How many runs a seed has before it is healed, unless trouble leaves no room for them for hours.
const ENOUGH_RUNS: u64 = 2_000;
/// How much longer a seed lasts at a time, and at most: milliseconds.
const DELAY: u64 = 300_000;
const LONGEST_DELAY: u64 = 6 * 3_600_000;

/// One world under one seed.
#[derive(Debug)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) scenario: Scenario,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) recorder: Recorder,
    pub(crate) namespace: Namespace,
    pub(crate) hosts: Vec<Host>,
    /// Who has which session.
    pub(crate) holders: BTreeMap<SessionId, HostAt>,
    /// ZooKeeper's servers, in seeds where nodes talk to those; the store is not used then.
    pub(crate) wire: Option<Wire>,
    /// An outside client, whose session never ends.
    pub(crate) client: SessionId,
    /// The definitions as they stand now.
    pub(crate) jobs: Vec<Workload>,
    pub(crate) root: Dice,
    pub(crate) faults: Dice,
    pub(crate) is_healed: bool,
    /// Until when the registry answers nobody and lets no session end.
    pub(crate) away_until: u64,
    /// When the registry next looks for sessions that are over.
    pub(crate) expiry_at: Option<u64>,
    /// Until when the registry takes no commit.
    pub(crate) full_until: u64,
    pub(crate) counts: Counts,
    /// What nodes reported, for people; kept only on request.
    pub(crate) said: Option<Vec<Said>>,
    starts: u64,
    /// What a node's parts contradicted each other in first.
    broken: Option<String>,
    /// How many requests programs made through their nodes.
    pub(crate) asked: u64,
    /// How many faults were struck.
    pub(crate) strikes: usize,
    /// How many runs have ended by themselves or as they were told to.
    pub(crate) ended: u64,
}

/// Why a world came to no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// There is none in sight: a node is spinning.
    Runaway {
        /// When it was given up.
        at: u64,
    },
    /// The parts of a node contradict each other.
    Broken {
        /// Since when.
        at: u64,
        /// In what.
        why: String,
    },
}

impl World {
    /// The world of a scenario.
    ///
    /// # Panics
    /// Never: the names it makes are valid.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario, keep_reports: bool) -> Self {
        let root = Dice::new(seed);
        let namespace = Namespace::new("sim").expect("letters");
        let versions_restart = scenario.versions_restart;
        let mut store = Store::new(Options { versions_restart, ..Options::default() });
        let client = store.open(0, Duration::MAX);
        let mut world = Self {
            now: 0,
            queue: Queue::new(root.split("ties", 0)),
            store,
            recorder: Recorder::new(namespace.clone()),
            namespace,
            hosts: Vec::new(),
            holders: BTreeMap::new(),
            wire: scenario.wire.clone().map(|wire| Wire::new(wire, scenario.wall)),
            client,
            jobs: scenario.jobs.clone(),
            faults: root.split("faults", 0),
            root,
            is_healed: false,
            away_until: 0,
            expiry_at: None,
            full_until: 0,
            counts: Counts::default(),
            said: keep_reports.then(Vec::new),
            broken: None,
            asked: 0,
            starts: 0,
            strikes: 0,
            ended: 0,
            scenario,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        for at in 0..self.scenario.nodes {
            let number = u32::try_from(at).expect("few hosts");
            let dice = self.root.split("host", u64::from(number));
            let latency = self.scenario.latency;
            self.hosts.push(Host {
                number,
                start: 0,
                instance: instance(number, 0),
                node: None,
                link: Link::new(latency, dice.split("link", 0)),
                client: None,
                runs: BTreeMap::new(),
                pause: None,
                deferred: Vec::new(),
                asked: Asked::default(),
                origin: 0,
                skew: self.scenario.skew[at],
                drift: self.scenario.drift[at],
                set_at: 0,
                is_newer: self.scenario.newer[at],
                wake_at: None,
                is_flush_due: false,
                secretly_ahead: 0,
                ever_seen: BTreeSet::new(),
                taken_off: BTreeSet::new(),
                cannot_start: BTreeSet::new(),
                looks_at: BTreeMap::new(),
                is_draining: false,
                dice,
            });
            let begin = self.faults.below(5_000);
            self.queue.push(begin, Happens::Start(at));
        }
        for kind in Kind::ALL {
            self.strike_later(kind);
        }
        self.queue.push(self.scenario.heal_at, Happens::Heal);
        self.plan_spells();
        self.begin_wire();
    }

    /// Lets everything happen, in order; the trace is what is left of it.
    ///
    /// # Errors
    /// [`Stopped`], if there is no end to it, or none that could be judged.
    pub fn run(mut self) -> Result<Ended, Stopped> {
        for _ in 0..MOST_EVENTS {
            let Some((at, happens)) = self.queue.pop() else { break };
            self.now = at;
            if matches!(happens, Happens::Over) {
                let wall = self.scenario.wall + i64::try_from(at).unwrap_or(i64::MAX);
                self.recorder.write(at, Fact::Over { wall });
                let trace = self.recorder.into_lines();
                return Ok(Ended {
                    trace,
                    counts: self.counts,
                    said: self.said.unwrap_or_default(),
                });
            }
            self.happen(happens);
            if let Some(why) = self.broken.take() {
                return Err(Stopped::Broken { at, why });
            }
        }
        Err(Stopped::Runaway { at: self.now })
    }

    fn happen(&mut self, happens: Happens) {
        match happens {
            Happens::Start(at) => self.start(at),
            Happens::Host(at, start, within) => self.within(at, start, within),
            Happens::Arrives(at) => self.arrives(at),
            Happens::Resume(at) => self.resume(at),
            Happens::Expire => self.expire(),
            Happens::RegistryBack(restarted) => self.registry_back(restarted),
            Happens::Spill(at) => self.spill(at),
            Happens::Drain(_) if self.is_healed => {}
            Happens::Drain(at) => self.drain(at),
            Happens::Sweep(job, left) => self.sweep(job, left),
            Happens::PutBack(job) => self.put_back(job),
            Happens::Script(..) if self.is_healed => {}
            Happens::Script(at, job, can) => self.script_changes(at, job, can),
            Happens::ClockRight(at) => self.set_clock(at, 0),
            Happens::Strike(kind) => self.strike(kind),
            Happens::Heal => self.heal_if_enough_ran(),
            Happens::Wire(happens) => self.wire_happens(happens),
            Happens::Over => {}
        }
    }

    fn within(&mut self, at: HostAt, start: u64, within: Within) {
        let host = &mut self.hosts[at];
        if host.start != start || !host.is_up() {
            return;
        }
        if let Some(pause) = host.pause {
            let goes_on = matches!(within, Within::RunEnds(..)) && !pause.runs_too;
            if !goes_on {
                return host.deferred.push(Happens::Host(at, start, within));
            }
        }
        match within {
            Within::Told(event) => self.told(at, event),
            Within::Heard => self.heard(at),
            Within::Wake(asked) => self.wake(at, asked),
            Within::Flush => self.flush(at),
            Within::Beat(connection) => self.beat(at, connection),
            Within::Connect(connection) => self.connect(at, connection),
            Within::Noticed(connection) => self.noticed(at, connection),
            Within::RunEnds(run, end) => self.run_ends(at, run, end),
            Within::DrainOver => self.step(at, Event::DrainOver),
            Within::Looks(job) => self.looks_at_script(at, job),
            Within::AskedBy(id, time) => {
                let checked = self.hosts[at].asked.must_be_told(id);
                match time {
                    // A process that stood still has had no time to tell.
                    1..TIMES if checked.is_err() => {
                        self.push_within(at, self.now + TOLD_WITHIN, Within::AskedBy(id, time + 1));
                    }
                    _ => self.note_broken(at, checked),
                }
            }
            Within::Wire(within) => self.wire_within(at, within),
        }
    }

    pub(crate) fn push_within(&mut self, at: HostAt, when: u64, within: Within) {
        let start = self.hosts[at].start;
        self.queue.push(when, Happens::Host(at, start, within));
    }

    /// A process starts under a new id, with no memory.
    fn start(&mut self, at: HostAt) {
        if self.hosts[at].is_up() {
            return;
        }
        self.starts += 1;
        let start = self.starts;
        let settings = Settings {
            instance: instance(self.hosts[at].number, start),
            namespace: self.namespace.clone(),
            limits: self.limits(),
            clock: flockwork_registry::Clock::Told,
            max_running: self.scenario.max_running,
            reconcile_interval: Duration::from_secs(10),
        };
        let is_early = self.is(Mutant::EarlyClock);
        let host = &mut self.hosts[at];
        host.start = start;
        host.secretly_ahead = if is_early { 3_000 } else { 0 };
        host.ever_seen.clear();
        host.taken_off.clear();
        host.looks_at.clear();
        host.instance = settings.instance.clone();
        host.node = Some(Node::new(settings));
        host.origin = host.dice.below(1 << 40);
        (host.wake_at, host.is_flush_due, host.is_draining) = (None, false, false);
        host.pause = None;
        host.deferred.clear();
        let (node, connection) = (host.number, host.link.connection);
        let clock = Fact::Clock { node, offset: host.offset(self.now), drift: host.drift };
        let fact = Fact::Node {
            node,
            instance: host.instance.to_string(),
            slots: self.scenario.max_running as u64,
            timeout: self.scenario.timeout,
        };
        self.recorder.write(self.now, fact);
        self.recorder.write(self.now, clock);
        let Some(wire) = &self.wire else {
            self.define_all(at);
            return self.push_within(at, self.now, Within::Connect(connection));
        };
        if wire.ready_at() <= self.now {
            self.define_all(at);
        }
        self.wire_start(at);
    }

    /// What one commit may hold.
    fn limits(&self) -> Limits {
        match self.wire {
            Some(_) => flockwork_registry_zookeeper::LIMITS,
            None => self.store.limits(),
        }
    }

    pub(crate) fn define_all(&mut self, at: HostAt) {
        for job in (0..self.jobs.len()).filter(|job| self.jobs[*job].is_offered).collect::<Vec<_>>()
        {
            let config = self.jobs[job].config.clone();
            self.push_within(
                at,
                self.now,
                Within::Told(Event::Define(Define { config, apply: false })),
            );
        }
    }

    /// A process is told something by its own side.
    fn told(&mut self, at: HostAt, mut event: Event) {
        let node = self.hosts[at].number;
        if matches!(event, Event::Drain) {
            self.recorder.write(self.now, Fact::Drain { node });
            if self.is(Mutant::DeafToStop) {
                return;
            }
            if self.is(Mutant::HastyExit) {
                return self.drained(at);
            }
        }
        if let Event::Withdraw(job) = &event {
            self.recorder.write(self.now, Fact::Withdraw { node, job: job.to_string() });
        }
        if let Event::Define(define) = &event {
            self.define_in_trace(Some(node), &define.config.clone(), define.apply);
        }
        if let Event::Define(define) = &mut event {
            define.apply |= self.is(Mutant::Overwriting);
        }
        self.step(at, event);
    }

    pub(crate) fn define_in_trace(
        &mut self,
        node: Option<u32>,
        config: &Arc<JobConfig>,
        apply: bool,
    ) {
        let offered = self.jobs.iter().find(|job| Arc::ptr_eq(&job.config, config));
        // What a node is told late may have been changed since.
        let document = offered
            .map_or_else(|| document::encode(config), |job| job.document.as_ref().to_owned());
        self.recorder.write(self.now, Fact::Job(Job { node, apply, document, ..defined(config) }));
    }

    /// Gives a node an event, and does what it asks for.
    pub(crate) fn step(&mut self, at: HostAt, event: Event) {
        let host = &mut self.hosts[at];
        let clocks = host.clocks(self.now, self.scenario.wall);
        let Some(node) = &mut host.node else { return };
        let mut effects = Vec::new();
        node.step(clocks, event, &mut effects);
        let checked = node.check();
        self.note_broken(at, checked);
        self.carry_out(at, effects);
        let host = &mut self.hosts[at];
        if !std::mem::replace(&mut host.is_flush_due, true) {
            let later = host.dice.below(2);
            self.push_within(at, self.now + later, Within::Flush);
        }
        self.arm(at);
    }

    /// The first node whose parts contradict each other ends the world.
    fn note_broken(&mut self, at: HostAt, checked: Result<(), String>) {
        if let Err(why) = checked {
            self.broken.get_or_insert(format!("node {at}: {why}"));
        }
    }

    fn flush(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        host.is_flush_due = false;
        let clocks = host.clocks(self.now, self.scenario.wall);
        let Some(node) = &mut host.node else { return };
        let mut effects = Vec::new();
        node.flush(clocks, &mut effects);
        let checked = node.check();
        self.note_broken(at, checked);
        self.carry_out(at, effects);
        self.arm(at);
    }

    /// Sets the timer. A timer is never early, and may be late.
    fn arm(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let wanted = host.wants_to_wake(self.now, self.scenario.wall);
        if wanted == host.wake_at || host.node.is_none() {
            return;
        }
        host.wake_at = wanted;
        let Some(wanted) = wanted else { return };
        let late = if host.dice.chance(100) { host.dice.below(20) } else { 0 };
        let late = if self.scenario.mutant == Some(Mutant::LateTimer) { 5_000 } else { late };
        self.push_within(at, wanted.max(self.now + 1) + late, Within::Wake(wanted));
    }

    fn wake(&mut self, at: HostAt, asked: u64) {
        if self.hosts[at].wake_at == Some(asked) {
            self.hosts[at].wake_at = None;
            self.step(at, Event::Wake);
        }
    }

    fn carry_out(&mut self, at: HostAt, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Submit(ticket, request) => self.submit(at, ticket, request),
                Effect::Start(run) => {
                    self.run_starts(at, &run);
                    if self.is(Mutant::twice(run.part)) {
                        self.run_starts(at, &run);
                    }
                }
                Effect::Cancel(run, reason) => self.cancel(at, run, reason),
                Effect::Look(job, definition) => self.look_at_script(at, job, definition),
                Effect::Report(report) => {
                    if let Report::Left { job, .. } = &report {
                        self.told_left(at, job);
                    }
                    self.counts.report(&report, &mut self.said, (self.now, at))
                }
                Effect::Drained => self.drained(at),
                Effect::Triggered(id, told) => match self.hosts[at].asked.told(id, &told) {
                    Ok(reached) => self.counts.reach(reached),
                    Err(why) => self.note_broken(at, Err(why)),
                },
            }
            if !self.hosts[at].is_up() {
                return;
            }
        }
    }

    fn submit(&mut self, at: HostAt, ticket: Ticket, request: Request) {
        let lost_answer = if self.is_healed { 0 } else { self.scenario.rates.lost_answer };
        let limit = self.store.limits().max_in_flight;
        let request = self.mistaken_request(at, request);
        if self.wire.is_some() {
            return self.wire_submit(at, ticket, request);
        }
        let host = &mut self.hosts[at];
        let loss = crate::registry_side::draw_loss(&mut host.dice, lost_answer);
        match &request {
            Request::Watch(key, scope) => {
                host.link.watches.insert((key.clone(), *scope));
            }
            Request::Unwatch(key, scope) => {
                host.link.watches.remove(&(key.clone(), *scope));
            }
            _ => {}
        }
        let session = host.link.session.filter(|_| host.link.state == State::Made);
        let Some(session) = session.filter(|_| host.link.in_flight.len() < limit) else {
            let not_sent = crate::registry_side::not_sent();
            if !host.link.refused.is_empty() {
                // Answers come in the order of what was asked.
                return host.link.refused.push((ticket, not_sent));
            }
            let answer = flockwork_registry::Answer::Failed(not_sent);
            let told = host.link.tell(self.now, flockwork_registry::Event::Answer(ticket, answer));
            return self.push_within(at, told, Within::Heard);
        };
        if let Some(said) = &mut self.said {
            said.push((self.now, at, format!("  asks {ticket:?} {request:?} {loss:?}")));
        }
        host.link.in_flight.push_back(ticket);
        let arrives = host.link.send(self.now, Up::Request { ticket, request, session, loss });
        if let Some(arrives) = arrives {
            self.queue.push(arrives, Happens::Arrives(at));
        }
    }

    /// The process dies, and all its runs with it.
    pub(crate) fn crash(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let runs: Vec<Running> = std::mem::take(&mut host.runs).into_values().collect();
        (host.node, host.pause) = (None, None);
        host.deferred.clear();
        host.asked.stop();
        match self.wire {
            Some(_) => self.wire_dies(at),
            None => host.link.die(),
        }
        let killed = runs.iter().filter(|run| run.who.is_shard()).count();
        let host = &self.hosts[at];
        let fault = Fault::Crash {
            node: host.number,
            instance: host.instance.to_string(),
            runs: u32::try_from(killed).unwrap_or(u32::MAX),
        };
        self.counts.faults += 1;
        self.counts.reach_if("a crash kills runs", killed > 0);
        self.recorder.write(self.now, Fact::Fault(fault));
    }

    fn resume(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let Some(Pause { since, runs_too }) = host.pause.take() else { return };
        let stood = self.now - since;
        let deferred = std::mem::take(&mut host.deferred);
        for happens in deferred {
            let is_run = matches!(happens, Happens::Host(_, _, Within::RunEnds(..)));
            let later = if is_run && runs_too { self.faults.below(stood.min(500) + 1) } else { 0 };
            self.queue.push(self.now + later, happens);
        }
    }

    /// The trouble goes on where it left little time for work: a seed in which not much ran shows
    /// little.
    fn heal_if_enough_ran(&mut self) {
        let is_late = self.now >= self.scenario.heal_at + LONGEST_DELAY;
        if self.ended < ENOUGH_RUNS && !is_late {
            return self.queue.push(self.now + DELAY, Happens::Heal);
        }
        self.heal();
        let quiet = self.scenario.over_at - self.scenario.heal_at;
        self.queue.push(self.now + quiet, Happens::Over);
    }

    /// Nothing goes wrong from here on: everyone goes on, and what was switched off is on.
    fn heal(&mut self) {
        self.is_healed = true;
        (self.full_until, self.away_until) = (self.now, self.now);
        for at in 0..self.hosts.len() {
            self.resume(at);
            let link = &mut self.hosts[at].link;
            (link.cut_until, link.slow_until, link.jumbled_until) = (self.now, self.now, self.now);
            (link.up_stalled_until, link.down_stalled_until) = (self.now, self.now);
            self.set_clock(at, 0);
            if !self.hosts[at].is_up() {
                let later = self.faults.below(3_000);
                self.queue.push(self.now + later, Happens::Start(at));
            }
            self.end_runs_soon(at);
        }
        self.heal_wire();
        self.switch_everything_on();
        self.put_scripts_right();
        self.offer_everything();
        self.recorder.write(self.now, Fact::Healed);
    }
}

/// What is left of a world.
#[derive(Debug)]
pub struct Ended {
    /// The trace.
    pub trace: Vec<Line>,
    /// What happened how often.
    pub counts: Counts,
    /// What nodes reported, if that was asked for.
    pub said: Vec<Said>,
}

fn instance(host: u32, start: u64) -> InstanceId {
    let text = format!("10.0.0.{host}@-@{}-{start:04x}", 1_000 + start);
    InstanceId::new(&text).expect("an address and a suffix")
}
