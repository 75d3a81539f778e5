//! A job with very many shards beside a small one, on a registry that answers so much a millisecond.

use crate::job;
use crate::world::{START, namespace};
use flockwork_core::account::Fate;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Ending, Outcome, RunId};
use flockwork_core::id::InstanceId;
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_node::{Define, Effect, Event, Looked, Node, Report, Settings};
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Clock, Request, SessionId, SessionState, Ticket};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Requests that are answered within a millisecond.
const RATE: usize = 10;

/// So many that what is asked at once takes seconds to answer: four requests a shard.
const SHARDS: u32 = 20_000;

/// One node, and its requests in the order in which they are answered. A run takes no time.
struct Slow {
    node: Node,
    store: Store,
    session: SessionId,
    now_ms: u64,
    line: VecDeque<(Ticket, Request)>,
    ended: Vec<RunId>,
    /// What was found out about scripts and is yet to be told: each can be started.
    looked: Vec<Looked>,
    /// How late each fire of the small job began, in milliseconds.
    late: Vec<u64>,
    /// Fires of the small job that did not run.
    lost: u64,
}

impl Slow {
    fn new() -> Self {
        let mut store = Store::new(Options::default());
        let session = store.open(0, Duration::from_secs(1_000_000));
        let node = Node::new(Settings {
            instance: InstanceId::new("10.0.0.1@-@1-x").expect("an id"),
            namespace: namespace(),
            limits: store.limits(),
            clock: Clock::OfThisHost,
            max_running: 256,
            reconcile_interval: Duration::from_secs(60),
        });
        let (line, ended, late) = (VecDeque::new(), Vec::new(), Vec::new());
        let looked = Vec::new();
        let mut slow = Self { node, store, session, now_ms: 0, line, ended, looked, late, lost: 0 };
        let live = SessionState::Live { session, trusted_until: u64::MAX };
        slow.step(vec![Event::Registry(flockwork_registry::Event::Session(live))]);
        slow
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_millis(START + i64::try_from(self.now_ms).expect("short"));
        Now { wall, mono: Mono::from_millis(self.now_ms) }
    }

    fn define(&mut self, config: JobConfig) {
        let define = Define { config: Arc::new(config), apply: false };
        self.step(vec![Event::Define(define)]);
    }

    fn step(&mut self, events: Vec<Event>) {
        let now = self.now();
        let mut effects = Vec::new();
        for event in events {
            self.node.step(now, event, &mut effects);
        }
        self.node.flush(now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Submit(ticket, request) => self.line.push_back((ticket, request)),
                Effect::Start(run) => self.ended.push(run.id),
                Effect::Look(job, Some(definition)) => {
                    self.looked.push(Looked { job, definition, found: Ok(()) });
                }
                Effect::Report(Report::Started { run, late }) if run.job.as_str() == "small" => {
                    self.late.push(u64::try_from(late.as_millis()).expect("short"));
                }
                Effect::Report(Report::Accounted(it))
                    if it.job.as_str() == "small" && it.fate != Fate::Ran =>
                {
                    self.lost += it.fires;
                }
                _ => {}
            }
        }
    }

    /// A millisecond passes.
    fn pass(&mut self) {
        self.now_ms += 1;
        let mut events = Vec::new();
        for _ in 0..RATE {
            let Some((ticket, request)) = self.line.pop_front() else { break };
            let answer = self.store.apply(self.session, request);
            let told = self.store.take_events(self.session).into_iter();
            events.extend(told.map(Event::Registry));
            events.push(Event::Registry(flockwork_registry::Event::Answer(ticket, answer)));
        }
        events.extend(std::mem::take(&mut self.looked).into_iter().map(Event::Looked));
        let ended = std::mem::take(&mut self.ended).into_iter();
        events.extend(ended.map(|run| Event::RunEnded(run, Outcome::of(Ending::Succeeded))));
        let (wall, mono) = self.node.wake_at();
        let now = self.now();
        if wall.is_some_and(|at| at <= now.wall) || mono.is_some_and(|at| at <= now.mono) {
            events.push(Event::Wake);
        }
        if !events.is_empty() {
            self.step(events);
        }
    }

    /// Whether each shard of the huge job has its instance.
    fn is_dealt(&self) -> bool {
        let status = self.node.status();
        let huge = status.jobs.iter().find(|job| job.name.as_str() == "huge").expect("defined");
        huge.shards.len() == SHARDS as usize && huge.shards.iter().all(|s| s.owner.is_some())
    }
}

fn every(period_ms: u64, config: JobConfig) -> JobConfig {
    let schedule = Schedule::Every(Every { period_ms, anchor: Timestamp::from_millis(0) });
    JobConfig { schedule, ..config }
}

/// Also when it is joined after the huge one, so that all it asks stands behind that.
#[test]
fn joining_a_huge_job_holds_up_no_other() {
    let mut slow = Slow::new();
    slow.define(every(3_600_000, job("huge", SHARDS)));
    slow.define(every(500, job("small", 1)));
    for _ in 0..100 {
        (0..1_000).for_each(|_| slow.pass());
        if slow.is_dealt() {
            break;
        }
    }
    assert!(slow.is_dealt(), "{} s", slow.now_ms / 1_000);
    let due = slow.now_ms / 500;
    assert_eq!(slow.lost, 0);
    // Of the first it is not known before it is due, and the last may be under way.
    assert!(slow.late.len() as u64 >= due - 2, "{} of {due}", slow.late.len());
    let latest = slow.late.iter().max();
    assert!(latest.is_some_and(|late| *late < 250), "{latest:?} ms late, half a period at most");
}
