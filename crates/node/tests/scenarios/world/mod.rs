//! A small world without faults of its own: nodes over one memory store, in virtual time.

use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{Ending, Outcome, Part, Run, RunId, Work};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::record::{self, Stored};
use flockwork_layout::trigger::Triggered;
use flockwork_node::{Define, Effect, Event, Looked, Node, NotAsked, Report, Settings, TriggerId};
use flockwork_registry::SessionState;
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Answer, Clock, Failure, Key, Op, Request, Scope, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Where virtual time starts: 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000;
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

/// How a job's code behaves: how long it runs, in milliseconds, and how it ends.
pub(crate) type Code = fn(&Run) -> (u64, Ending);

pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) session: SessionId,
    pub(crate) running: BTreeMap<RunId, (u64, Ending, Arc<Run>)>,
    renewed: u64,
    pub(crate) is_drained: bool,
    /// How far its wall clock is ahead.
    pub(crate) ahead: Duration,
    /// What it watches, whichever its session.
    watches: BTreeSet<(Key, Scope)>,
    /// How many of its next commits do not happen, and are not answered for.
    pub(crate) lost_commits: u32,
    /// The scripts that it looks at, and those that it cannot start, by their programs.
    looks_at: BTreeMap<JobName, Arc<JobConfig>>,
    pub(crate) cannot_start: BTreeSet<&'static str>,
    /// Whether nothing is told of scripts, as if their file system did not answer.
    pub(crate) is_blind: bool,
}

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) store: Store,
    pub(crate) hosts: Vec<Host>,
    /// When which host started what: runs of shards, and calls of listeners.
    pub(crate) starts: Vec<(u64, usize, Arc<Run>)>,
    /// When which host's code ended, and how.
    pub(crate) ends: Vec<(u64, usize, Arc<Run>, Ending)>,
    pub(crate) reports: Vec<(u64, usize, Report)>,
    /// How many commits were sent.
    pub(crate) commits: u64,
    /// What was told of requests to run a job now.
    pub(crate) triggered: Vec<(TriggerId, Result<Triggered, NotAsked>)>,
    pub(crate) code: Code,
    /// What the registry says of its clock, which is right; to nodes that are added.
    pub(crate) clock: Clock,
    /// How far the registry's clock is ahead.
    pub(crate) registry_ahead: Duration,
    outside: SessionId,
    /// The registry is not there any more: nothing is answered, and no session renewed.
    pub(crate) is_replaced: bool,
    /// The next run is not started.
    pub(crate) refuses_start: bool,
    /// Makes the next claim's answer be lost, and says what others do before the node asks.
    pub(crate) after_lost_claim: Option<fn(&mut Self)>,
}

impl Host {
    /// What it finds out about a script.
    fn looks(&mut self, job: JobName, at: Option<Arc<JobConfig>>) -> Option<Event> {
        let Some(definition) = at else {
            self.looks_at.remove(&job);
            return None;
        };
        self.looks_at.insert(job.clone(), definition.clone());
        let Work::Script(script) = &*definition.work else { return None };
        let found = match self.cannot_start.contains(script.argv[0].as_str()) {
            false => Ok(()),
            true => Err(Hindrance::Script { code: "SCRIPT_NOT_ALLOWED", text: "no".to_owned() }),
        };
        (!self.is_blind).then(|| Event::Looked(Looked { job, definition, found }))
    }
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new("test").expect("a name")
}

impl World {
    pub(crate) fn new(code: Code) -> Self {
        let mut store = Store::new(Options::default());
        let outside = store.open(0, Duration::from_secs(1_000_000));
        let (hosts, starts, reports) = (vec![], vec![], vec![]);
        Self {
            now_ms: 0,
            store,
            hosts,
            starts,
            ends: vec![],
            commits: 0,
            reports,
            triggered: vec![],
            code,
            clock: Clock::OfThisHost,
            registry_ahead: Duration::ZERO,
            outside,
            after_lost_claim: None,
            refuses_start: false,
            is_replaced: false,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = Timestamp::from_millis(START + i64::try_from(self.now_ms).expect("short"));
        Now { wall, mono: Mono::from_millis(self.now_ms) }
    }

    fn now_of(&self, n: usize) -> Now {
        let now = self.now();
        Now { wall: now.wall.plus(self.hosts[n].ahead), ..now }
    }

    pub(crate) fn add(&mut self, max_running: usize) -> usize {
        let n = self.hosts.len();
        let instance = InstanceId::new(&format!("10.0.0.{n}@-@{n}-x")).expect("an id");
        let node = Node::new(Settings {
            instance,
            namespace: namespace(),
            limits: self.store.limits(),
            clock: self.clock,
            max_running,
            reconcile_interval: Duration::from_secs(5),
        });
        let session = self.store.open(self.now_ms, SESSION_TIMEOUT);
        self.hosts.push(Host {
            node: Some(node),
            session,
            running: BTreeMap::new(),
            renewed: self.now_ms,
            is_drained: false,
            ahead: Duration::ZERO,
            watches: BTreeSet::new(),
            lost_commits: 0,
            looks_at: BTreeMap::new(),
            cannot_start: BTreeSet::new(),
            is_blind: false,
        });
        self.tell_live(n);
        n
    }

    pub(crate) fn tell_live(&mut self, n: usize) {
        let trusted_until = self.now_ms + 3_500;
        let session = self.hosts[n].session;
        let live = SessionState::Live { session, trusted_until };
        self.step(n, Event::Registry(flockwork_registry::Event::Session(live)));
    }

    pub(crate) fn define(&mut self, n: usize, config: &JobConfig) {
        let define = Define { config: Arc::new(config.clone()), apply: false };
        self.step(n, Event::Define(define));
    }

    pub(crate) fn kill(&mut self, n: usize) {
        self.hosts[n].node = None;
        self.hosts[n].running.clear();
    }

    /// Tells a node something, and keeps what it asks for back.
    pub(crate) fn step_held(&mut self, n: usize, event: Event) -> Vec<Effect> {
        self.step_all_held(n, vec![event])
    }

    /// The same with much that it is told at once.
    pub(crate) fn step_all_held(&mut self, n: usize, mut events: Vec<Event>) -> Vec<Effect> {
        let now = self.now_of(n);
        let mut held = vec![];
        while !events.is_empty() {
            let Some(node) = self.hosts[n].node.as_mut() else { break };
            let mut effects = vec![];
            for event in events.drain(..) {
                node.step(now, event, &mut effects);
                assert_eq!(node.check(), Ok(()));
            }
            node.flush(now, &mut effects);
            assert_eq!(node.check(), Ok(()));
            for effect in effects {
                match effect {
                    // Its own files are no matter of the registry.
                    Effect::Look(job, at) => events.extend(self.hosts[n].looks(job, at)),
                    effect => held.push(effect),
                }
            }
        }
        held
    }

    /// Lets a node's host start a program from now on, or no more, and tells the node.
    pub(crate) fn may_start(&mut self, n: usize, program: &'static str, may: bool) {
        let host = &mut self.hosts[n];
        match may {
            true => host.cannot_start.remove(program),
            false => host.cannot_start.insert(program),
        };
        let looks_at = host.looks_at.clone();
        for (job, at) in looks_at {
            if let Some(event) = self.hosts[n].looks(job, Some(at)) {
                self.step(n, event);
            }
        }
    }

    /// Tells a node what has changed and what it reads of that, and keeps back what it does then.
    pub(crate) fn hear_held(&mut self, n: usize) -> Vec<Effect> {
        let session = self.hosts[n].session;
        let mut held = Vec::new();
        for change in self.store.take_events(session) {
            for effect in self.step_held(n, Event::Registry(change)) {
                let Effect::Submit(ticket, request) = effect else { continue };
                let answer = self.store.apply(session, request);
                let answer = flockwork_registry::Event::Answer(ticket, answer);
                held.extend(self.step_held(n, Event::Registry(answer)));
            }
        }
        held
    }

    /// What a node is told meanwhile, and what it asks for then; that is kept back.
    pub(crate) fn hear_told(&mut self, n: usize) -> Vec<Effect> {
        let told = self.store.take_events(self.hosts[n].session);
        told.into_iter().flat_map(|change| self.step_held(n, Event::Registry(change))).collect()
    }

    /// Answers what a node had asked for; it is not told yet.
    pub(crate) fn answers(&mut self, n: usize, asked: Vec<Effect>) -> Vec<Event> {
        let session = self.hosts[n].session;
        let answer = |effect| match effect {
            Effect::Submit(ticket, request) => {
                let answer = self.store.apply(session, request);
                Some(Event::Registry(flockwork_registry::Event::Answer(ticket, answer)))
            }
            _ => None,
        };
        asked.into_iter().filter_map(answer).collect()
    }

    /// Does what a node had asked for.
    pub(crate) fn release(&mut self, n: usize, effects: Vec<Effect>) {
        let mut events = vec![];
        for effect in effects {
            self.carry_out(n, effect, &mut events);
        }
        for event in events {
            self.step(n, event);
        }
    }

    /// A node's registry requests are answered at once, events first.
    pub(crate) fn step(&mut self, n: usize, event: Event) {
        let mut events = vec![event];
        let now = self.now_of(n);
        // What asks again and again without time passing would load a registry for nothing.
        for _ in 0..1_000 {
            let Some(node) = self.hosts[n].node.as_mut() else { return };
            let mut effects = vec![];
            for event in events.drain(..) {
                node.step(now, event, &mut effects);
                assert_eq!(node.check(), Ok(()));
            }
            node.flush(now, &mut effects);
            assert_eq!(node.check(), Ok(()));
            for effect in effects {
                self.carry_out(n, effect, &mut events);
            }
            if events.is_empty() {
                return;
            }
        }
        panic!("node {n} goes on and on at {} ms", self.now_ms);
    }

    fn carry_out(&mut self, n: usize, effect: Effect, events: &mut Vec<Event>) {
        let session = self.hosts[n].session;
        match effect {
            Effect::Submit(ticket, Request::Commit(_)) if self.hosts[n].lost_commits > 0 => {
                self.hosts[n].lost_commits -= 1;
                let lost = Answer::Failed(Failure::Unknown("lost".to_owned()));
                events.push(Event::Registry(flockwork_registry::Event::Answer(ticket, lost)));
            }
            Effect::Submit(ticket, _) if self.is_replaced => {
                let ended = Answer::Failed(Failure::SessionEnded(session));
                events.push(Event::Registry(flockwork_registry::Event::Answer(ticket, ended)));
            }
            Effect::Submit(ticket, request) => {
                self.note_watch(n, &request);
                self.commits += u64::from(matches!(request, Request::Commit(_)));
                let is_claim = is_claim(&request);
                let mut answer = self.store.apply(session, request);
                if let Some(others) = self.after_lost_claim.take_if(|_| is_claim) {
                    answer = Answer::Failed(Failure::Unknown("lost".to_owned()));
                    others(self);
                }
                if let Answer::Committed(receipt) = &mut answer {
                    let shown = self.now().wall.plus(self.registry_ahead).as_millis();
                    receipt.at = (self.clock == Clock::Told).then_some(shown);
                }
                let changes = self.store.take_events(session);
                events.extend(changes.into_iter().map(Event::Registry));
                events.push(Event::Registry(flockwork_registry::Event::Answer(ticket, answer)));
            }
            Effect::Start(run) if std::mem::take(&mut self.refuses_start) => {
                events.push(Event::NotStarted(run.id));
            }
            Effect::Start(run) => {
                let (ms, ending) = (self.code)(&run);
                self.starts.push((self.now_ms, n, run.clone()));
                self.hosts[n].running.insert(run.id, (self.now_ms + ms, ending, run));
            }
            Effect::Cancel(id, reason) => {
                if let Some(run) = self.hosts[n].running.get_mut(&id) {
                    (run.0, run.1) = (self.now_ms + 10, Ending::Cancelled(reason));
                }
            }
            Effect::Report(report) => self.reports.push((self.now_ms, n, report)),
            Effect::Look(job, at) => events.extend(self.hosts[n].looks(job, at)),
            Effect::Triggered(id, told) => self.triggered.push((id, told)),
            Effect::Drained => self.hosts[n].is_drained = true,
        }
    }

    fn note_watch(&mut self, n: usize, request: &Request) {
        let watches = &mut self.hosts[n].watches;
        match request {
            Request::Watch(key, scope) => watches.insert((key.clone(), *scope)),
            Request::Unwatch(key, scope) => watches.remove(&(key.clone(), *scope)),
            _ => false,
        };
    }

    /// Lets time pass in steps of 5 ms.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += 5;
            self.store.expire(self.now_ms);
            for n in 0..self.hosts.len() {
                self.turn(n);
            }
        }
    }

    fn turn(&mut self, n: usize) {
        if self.hosts[n].node.is_none() {
            return;
        }
        let session = self.hosts[n].session;
        if self.now_ms - self.hosts[n].renewed >= 1_000 && !self.is_replaced {
            self.hosts[n].renewed = self.now_ms;
            if self.store.renew(self.now_ms, session).is_ok() {
                self.tell_live(n);
            }
        }
        for change in self.store.take_events(session) {
            self.step(n, Event::Registry(change));
        }
        let now_ms = self.now_ms;
        let ended: Vec<_> =
            self.hosts[n].running.extract_if(.., |_, run| run.0 <= now_ms).collect();
        for (id, (_, ending, run)) in ended {
            self.ends.push((now_ms, n, run, ending.clone()));
            self.step(n, Event::RunEnded(id, Outcome::of(ending)));
        }
        let Some(node) = &self.hosts[n].node else { return };
        let (wall, mono) = node.wake_at();
        let now = self.now_of(n);
        if wall.is_some_and(|at| at <= now.wall) || mono.is_some_and(|at| at <= now.mono) {
            self.step(n, Event::Wake);
        }
    }

    /// Another store takes the place of this one, and knows nothing.
    pub(crate) fn set_up_anew(&mut self) {
        self.store = Store::new(Options::default());
        // Sessions of before are known by no number of now.
        for _ in 0..100 {
            self.outside = self.store.open(self.now_ms, Duration::from_secs(1_000_000));
        }
    }

    /// All that outlives sessions, parents first.
    pub(crate) fn copy(&self) -> Vec<(Key, bytes::Bytes)> {
        let lasting = self
            .store
            .entries()
            .filter(|(key, entry)| entry.session.is_none() && **key != Key::root());
        let mut copy: Vec<_> =
            lasting.map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
        copy.sort();
        copy
    }

    /// Puts a copy back.
    pub(crate) fn restore(&mut self, copy: Vec<(Key, bytes::Bytes)>) {
        for (key, value) in copy {
            let made = self.commit(vec![Op::create(key, value)]);
            assert!(matches!(made, Answer::Committed(_)), "{made:?}");
        }
    }

    /// A node's session ends, and another begins.
    pub(crate) fn begin_session(&mut self, n: usize) {
        let ended = self.hosts[n].session;
        self.store.end(ended);
        let session = self.store.open(self.now_ms, SESSION_TIMEOUT);
        self.hosts[n].session = session;
        for (key, scope) in self.hosts[n].watches.clone() {
            self.store.apply(session, Request::Watch(key, scope));
        }
        for event in [
            flockwork_registry::Event::Session(SessionState::Ended(ended)),
            flockwork_registry::Event::Resync,
        ] {
            self.step(n, Event::Registry(event));
        }
        self.tell_live(n);
    }

    /// Deletes an entry and all below it while a node is cut off.
    pub(crate) fn sweep_unseen(&mut self, n: usize, root: &Key) {
        self.sweep(root);
        self.store.take_events(self.hosts[n].session);
    }

    /// Deletes an entry and all below it, at once.
    pub(crate) fn sweep(&mut self, root: &Key) {
        let below = format!("{root}/");
        let is_of_it = |key: &&Key| *key == root || key.as_str().starts_with(&below);
        let all = self.store.entries().map(|(key, _)| key).filter(is_of_it);
        let mut keys: Vec<Key> = all.cloned().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.as_str().len()));
        self.commit(keys.into_iter().map(|key| Op::Delete(key, None)).collect());
    }

    pub(crate) fn commit(&mut self, ops: Vec<Op>) -> Answer {
        self.store.apply(self.outside, Request::Commit(ops))
    }

    pub(crate) fn record(&self, job: &str, shard: u32) -> Option<Stored> {
        let key = namespace().key(&JobName::new(job).expect("a name"), &Facet::Record(shard));
        self.store.get(&key).map(|entry| record::decode(&entry.value).expect("a record"))
    }

    pub(crate) fn starts_of(&self, job: &str, shard: u32) -> Vec<&Arc<Run>> {
        self.starts
            .iter()
            .map(|(_, _, run)| run)
            .filter(|run| run.part == Part::Shard && run.job.as_str() == job && run.shard == shard)
            .collect()
    }
}

fn is_claim(request: &Request) -> bool {
    let Request::Commit(ops) = request else { return false };
    ops.iter().any(|op| matches!(op, Op::Create { key, .. } if key.name() == "running"))
}
