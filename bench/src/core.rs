//! What deciding costs, without any registry or runtime: a million definitions, and events through
//! a node's `step`. Timed by the thread's processor time, which other work on the machine does not
//! change much.

use flockwork_core::config::{Draft, JobConfig, Level, check};
use flockwork_core::execution::{Ending, Outcome, RunId};
use flockwork_core::id::InstanceId;
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_core::timetable::Timetable;
use flockwork_layout::keys::Namespace;
use flockwork_node::{Define, Effect, Event, Node, Settings};
use flockwork_registry::memory::{Options, Store};
use flockwork_registry::{Clock, SessionId, SessionState};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;

/// Prints the figures of the core.
pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<()> {
    million_definitions(out)?;
    events_through_step(out)
}

/// Processor time of this thread.
fn processor() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn draft(i: usize) -> Draft {
    let (second, minute, hour) = (i % 60, (i / 60) % 60, (i / 3_600) % 24);
    let cron = match i % 4 {
        0 => format!("{second} {minute} {hour} * * ?"),
        1 => format!("{second} 0/{} {hour} ? * MON-FRI", minute.max(1)),
        2 => format!("{second} {minute} {hour} L * ?"),
        _ => format!("{second} {minute} 0/4 1,15 * ?"),
    };
    Draft {
        name: Some(format!("job-{i}")),
        cron: Some(cron),
        shards: Some(1),
        script: Some(vec!["/bin/true".to_owned()]),
        timeout: Some("30s".to_owned()),
        ..Draft::default()
    }
}

/// Definitions in memory are checked and built, their schedules parsed, their next fires queued.
fn million_definitions(out: &mut dyn Write) -> std::io::Result<()> {
    const JOBS: u32 = 1_000_000;
    let now = Timestamp::from_millis(START);
    let drafts: Vec<Draft> = (0..JOBS as usize).map(draft).collect();
    let before = resident();
    let started = processor();
    let mut jobs: Vec<Arc<JobConfig>> = Vec::with_capacity(JOBS as usize);
    let mut table = Timetable::default();
    for (draft, ix) in drafts.iter().zip(0_u32..) {
        let checked = check(draft, Level::Strict, now);
        let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
        if let Some(next) = config.schedule.next_after(now, now) {
            table.enter(next, ix);
        }
        jobs.push(Arc::new(config));
    }
    let took = processor().saturating_sub(started);
    let bytes = resident().saturating_sub(before) as f64 / f64::from(JOBS);
    assert_eq!(table.len(), jobs.len(), "each job has its next fire in the queue");
    writeln!(out, "figure core_million_jobs {:.2} s goal <= 4", took.as_secs_f64())?;
    writeln!(out, "figure core_bytes_a_job {bytes:.0} bytes goal <= 1024")
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// A node with many one-shard jobs over the memory registry: only the time inside the node counts.
struct Drill {
    node: Node,
    store: Store,
    session: SessionId,
    ms: u64,
    effects: Vec<Effect>,
    inside: Duration,
    events: u64,
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
        let (effects, inside, events) = (Vec::new(), Duration::ZERO, 0);
        let mut drill = Self { node, store, session, ms: 0, effects, inside, events };
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
            self.events += events.len() as u64;
            let clock = processor();
            for event in events.drain(..) {
                self.node.step(now, event, &mut self.effects);
            }
            self.node.flush(now, &mut self.effects);
            self.inside += processor().saturating_sub(clock);
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Submit(ticket, request) => {
                        let answer = self.store.apply(self.session, request);
                        let changes = self.store.take_events(self.session);
                        events.extend(changes.into_iter().map(Event::Registry));
                        let answer = flockwork_registry::Event::Answer(ticket, answer);
                        events.push(Event::Registry(answer));
                    }
                    Effect::Start(run) => started.push(run.id),
                    _ => {}
                }
            }
        }
        started
    }
}

fn events_through_step(out: &mut dyn Write) -> std::io::Result<()> {
    const JOBS: usize = 5_000;
    let mut drill = Drill::new();
    for i in 0..JOBS {
        let draft = Draft { cron: Some("* * * * * ?".to_owned()), ..draft(i) };
        let checked = check(&draft, Level::Strict, drill.now().wall);
        let config = Arc::new(checked.config.expect("a valid job"));
        drill.feed(vec![Event::Define(Define { config, apply: false })]);
    }
    let joining = (drill.events, drill.inside);
    (drill.events, drill.inside) = (0, Duration::ZERO);
    let mut runs = 0;
    for _ in 0..20 {
        drill.ms += 1_000;
        let mut started = Vec::new();
        while drill.is_due() {
            started.extend(drill.feed(vec![Event::Wake]));
        }
        runs += started.len();
        let ended = Outcome::of(Ending::Succeeded);
        drill.feed(started.into_iter().map(|id| Event::RunEnded(id, ended.clone())).collect());
    }
    let rate = |(events, inside): (u64, Duration)| events as f64 / inside.as_secs_f64();
    let firing = (drill.events, drill.inside);
    let all = (joining.0 + firing.0, joining.1 + firing.1);
    let a_run = firing.1.as_nanos() as f64 / runs as f64;
    writeln!(out, "figure core_events_joining {:.0} events/s goal >= 1000000", rate(joining))?;
    writeln!(out, "figure core_events_firing {:.0} events/s goal >= 1000000", rate(firing))?;
    writeln!(out, "figure core_events {:.0} events/s goal >= 1000000", rate(all))?;
    writeln!(out, "figure core_whole_run {a_run:.0} ns goal <= 10000")
}
