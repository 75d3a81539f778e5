//! What deciding costs, without any registry's server or runtime: events through a node's `step`.
//! Timed by the thread's processor time, which other work on the machine does not change much.
//!
//! An *event* is one thing that happens outside the node: a fire comes due, a claim is answered, a
//! run ends, the answer to its end. The node asks for many of them at once, so that one *message* of
//! the registry holds up to a hundred answers; both are told.

use crate::definitions::{START, draft, processor};
use flockwork_core::config::{Draft, Level, check};
use flockwork_core::execution::{Ending, Outcome, RunId};
use flockwork_core::id::InstanceId;
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::keys::Namespace;
use flockwork_node::{Define, Effect, Event, Looked, Node, Settings};
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Clock, SessionId, SessionState};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// A node with many one-shard jobs over the memory registry: only the time inside the node counts.
struct Drill {
    node: Node,
    store: Store,
    session: SessionId,
    ms: u64,
    effects: Vec<Effect>,
    inside: Duration,
    messages: u64,
}

impl Drill {
    fn new() -> Self {
        let mut store = Store::new(Options::default());
        let session = store.open(0, Duration::from_secs(1_000_000));
        let node = Node::new(Settings {
            instance: InstanceId::new("10.0.0.1@-@1-x").expect("an id"),
            namespace: Namespace::new("bench").expect("a name"),
            limits: store.limits(),
            clock: Clock::Untold,
            max_running: 1_000_000,
            reconcile_interval: Duration::from_secs(600),
        });
        let (effects, inside, messages) = (Vec::new(), Duration::ZERO, 0);
        let mut drill = Self { node, store, session, ms: 0, effects, inside, messages };
        let live = SessionState::Live { session, trusted_until: u64::MAX };
        drill.feed(vec![Event::Registry(flockwork_registry::Event::Session(live))]);
        drill
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_millis(START + i64::try_from(self.ms).expect("short"));
        Now { wall, mono: Mono::from_millis(self.ms) }
    }

    fn is_due(&self) -> bool {
        self.node.wake_at().0.is_some_and(|at| at <= self.now().wall)
    }

    /// Feeds events and all that follows from them; gives the runs that started.
    fn feed(&mut self, mut events: Vec<Event>) -> Vec<RunId> {
        let now = self.now();
        let mut started = Vec::new();
        while !events.is_empty() {
            self.messages += events.len() as u64;
            let clock = processor();
            for event in events.drain(..) {
                self.node.step(now, event, &mut self.effects);
            }
            self.node.flush(now, &mut self.effects);
            self.inside += processor().saturating_sub(clock);
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Submit(ticket, request) => {
                        let answer = self.store.apply(self.session, request);
                        let changes = self.store.take_events(self.session);
                        events.extend(changes.into_iter().map(Event::Registry));
                        let answer = flockwork_registry::Event::Answer(ticket, answer);
                        events.push(Event::Registry(answer));
                    }
                    Effect::Start(run) => started.push(run.id),
                    Effect::Look(job, Some(definition)) => {
                        events.push(Event::Looked(Looked { job, definition, found: Ok(()) }));
                    }
                    _ => {}
                }
            }
            self.effects = effects;
        }
        started
    }

    /// One second in which every job runs once; gives how many did.
    fn second(&mut self) -> usize {
        self.ms += 1_000;
        let mut started = Vec::new();
        while self.is_due() {
            started.extend(self.feed(vec![Event::Wake]));
        }
        let ended = Outcome::of(Ending::Succeeded);
        // As many as the engine steps before it flushes.
        for some in started.chunks(256) {
            self.feed(some.iter().map(|id| Event::RunEnded(*id, ended.clone())).collect());
        }
        started.len()
    }
}

/// Events of one run: its fire is due, its claim is answered, it ends, that is answered. A million
/// events a second are a run in 4,000 ns. While jobs are joined each message is one event.
const EVENTS_A_RUN: usize = 4;

/// Prints the figures of the core's events.
pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<()> {
    const JOBS: usize = 5_000;
    const ROUNDS: usize = 40;
    let mut drill = Drill::new();
    for i in 0..JOBS {
        let draft = Draft { cron: Some("* * * * * ?".to_owned()), ..draft(i) };
        let checked = check(&draft, Level::Strict, drill.now().wall);
        let config = Arc::new(checked.config.expect("a valid job"));
        drill.feed(vec![Event::Define(Define { config, apply: false })]);
    }
    let joining = drill.messages as f64 / drill.inside.as_secs_f64();
    (drill.messages, drill.inside) = (0, Duration::ZERO);
    let runs: usize = (0..ROUNDS).map(|_| drill.second()).sum();
    assert_eq!(runs, JOBS * ROUNDS, "each job runs each second");
    let a_run = drill.inside.as_nanos() as f64 / runs as f64;
    let events = (runs * EVENTS_A_RUN) as f64 / drill.inside.as_secs_f64();
    let messages = drill.messages as f64 / drill.inside.as_secs_f64();
    writeln!(out, "figure core_events {events:.0} events/s goal >= 1000000")?;
    writeln!(out, "figure core_messages {messages:.0} messages/s")?;
    writeln!(out, "figure core_events_joining {joining:.0} events/s goal >= 1000000")?;
    writeln!(out, "figure core_whole_run {a_run:.0} ns goal <= 10000")
}
