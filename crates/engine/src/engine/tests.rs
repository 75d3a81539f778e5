//! The loop around scripted machines, on the memory registry, in virtual time.

use super::turn::Machine;
use super::*;
use crate::connect::{Connecting, Link, NoLink};
use crate::handle::Unavailable;
use crate::report::Told;
use flockwork_core::config::{Draft, JobConfig, Level, check};
use flockwork_core::execution::{CancelReason, Ending, Fire, Part, Run, Source, Work as Code};
use flockwork_core::id::{Epoch, JobName};
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::trigger::Triggered;
use flockwork_node::{Effect, Event, Looked, NotAsked, Report, Status};
use flockwork_registry::memory::{Faults, MemoryRegistry};
use flockwork_registry::{Event as FromRegistry, Key, Op, Request, SessionState, Ticket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::{Instant, sleep};

const SHORT: Duration = Duration::from_millis(50);

/// The clock of tokio's virtual time; the wall can be set.
#[derive(Clone, Debug)]
struct Virtual {
    start: Instant,
    set: Arc<AtomicI64>,
}

impl Virtual {
    fn new() -> Self {
        Self { start: Instant::now(), set: Arc::default() }
    }
}

impl Clock for Virtual {
    fn now(&self) -> Now {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        let wall = 1_000_000 + i64::try_from(elapsed).unwrap() + self.set.load(Ordering::SeqCst);
        Now { wall: Timestamp::from_millis(wall), mono: Mono::from_millis(elapsed) }
    }
}

type Act = Box<dyn FnMut(Now, &Event, &mut Vec<Effect>) + Send>;

/// A machine that does as it is told, and writes down what it hears.
struct Scripted {
    act: Act,
    heard: Arc<Mutex<Vec<(u64, Event)>>>,
    flushes: Arc<Mutex<Vec<usize>>>,
    unflushed: usize,
    due: Option<Timestamp>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Machine for Scripted {
    fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        (self.act)(now, &event, effects);
        if matches!(event, Event::Wake) && self.due.is_some_and(|due| due <= now.wall) {
            self.due = None;
        }
        self.unflushed += 1;
        self.heard.lock().unwrap().push((now.mono.as_millis(), event));
    }

    fn flush(&mut self, _: Now, _: &mut Vec<Effect>) {
        self.flushes.lock().unwrap().push(std::mem::take(&mut self.unflushed));
    }

    fn wake_at(&self) -> (Option<Timestamp>, Option<Mono>) {
        (self.due, None)
    }

    fn status(&self) -> Status {
        Status {
            instance: me(),
            is_suspended: false,
            trusted_until: Mono::default(),
            is_draining: false,
            running: 0,
            waiting: 0,
            commits_in_flight: 0,
            jobs: Vec::new(),
        }
    }
}

/// What is to be looked at, for a job.
type Look = (JobName, Option<Arc<JobConfig>>);

/// Runs nothing; writes down what it is asked.
#[derive(Clone, Debug, Default)]
struct Idle {
    started: Arc<Mutex<Vec<RunId>>>,
    looks: Arc<Mutex<Vec<Look>>>,
}

impl Executor for Idle {
    fn start(&mut self, run: Arc<Run>) {
        self.started.lock().unwrap().push(run.id);
    }

    fn forget(&mut self, _: RunId) {}

    fn cancel(&mut self, _: RunId, _: CancelReason) {}

    fn look_at(&mut self, job: JobName, definition: Option<Arc<JobConfig>>) {
        self.looks.lock().unwrap().push((job, definition));
    }
}

fn me() -> InstanceId {
    InstanceId::new("10.0.0.1@-@1-a").unwrap()
}

fn run(id: u64) -> Arc<Run> {
    Arc::new(Run {
        id: RunId(id),
        job: JobName::new("j").unwrap(),
        part: Part::Shard,
        shard: 0,
        shards: 1,
        fire: Fire { due: Timestamp::default(), source: Source::Schedule },
        attempt: 1,
        epoch: Epoch(1),
        instance: me(),
        shard_parameter: None,
        job_parameter: String::new(),
        timeout: None,
        work: Arc::new(Code::Function),
    })
}

/// A started loop and all that can be seen of it.
struct Bench {
    running: Running,
    registry: MemoryRegistry,
    faults: Option<Faults>,
    idle: Idle,
    endings: Endings,
    heard: Arc<Mutex<Vec<(u64, Event)>>>,
    flushes: Arc<Mutex<Vec<usize>>>,
    clock: Virtual,
}

impl Bench {
    fn of(act: impl FnMut(Now, &Event, &mut Vec<Effect>) + Send + 'static) -> Self {
        Self::due(None, act)
    }

    fn due(
        due: Option<Timestamp>,
        act: impl FnMut(Now, &Event, &mut Vec<Effect>) + Send + 'static,
    ) -> Self {
        let registry = MemoryRegistry::default();
        let connected = registry.connect_faulty();
        let mut link = Some(Link { registry: connected.registry, inbox: connected.inbox });
        let connect =
            Connecting::new("memory:", move || link.take().ok_or(NoLink::Away("?".to_owned())));
        Self { faults: Some(connected.faults), ..Self::with(connect, registry, due, act) }
    }

    fn with(
        connect: impl Connect,
        registry: MemoryRegistry,
        due: Option<Timestamp>,
        act: impl FnMut(Now, &Event, &mut Vec<Effect>) + Send + 'static,
    ) -> Self {
        let (idle, clock) = (Idle::default(), Virtual::new());
        let (endings, ended, findings) = Endings::channel();
        let heard = Arc::<Mutex<Vec<(u64, Event)>>>::default();
        let flushes = Arc::<Mutex<Vec<usize>>>::default();
        let work = Work { executor: Box::new(idle.clone()), ended, findings };
        let scripted = Scripted {
            act: Box::new(act),
            heard: Arc::clone(&heard),
            flushes: Arc::clone(&flushes),
            unflushed: 0,
            due,
        };
        let start = Start {
            instance: me(),
            namespace: Namespace::new("ns").unwrap(),
            max_running: 10,
            reconcile_interval: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(25),
            jobs: Vec::new(),
            pulse: Pulse::default(),
            reporters: Vec::new(),
        };
        let running =
            start.spawn_with(Box::new(connect), work, Box::new(clock.clone()), |_| scripted);
        Self { running, registry, faults: None, idle, endings, heard, flushes, clock }
    }

    fn faults(&self) -> &Faults {
        self.faults.as_ref().unwrap()
    }

    /// When the machine first heard such an event, in milliseconds from the start.
    fn first(&self, is: impl Fn(&Event) -> bool) -> Option<u64> {
        let heard = self.heard.lock().unwrap();
        heard.iter().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }
}

fn nothing(_: Now, _: &Event, _: &mut Vec<Effect>) {}

fn is_live(event: &Event) -> bool {
    matches!(event, Event::Registry(FromRegistry::Session(SessionState::Live { .. })))
}

#[tokio::test(start_paused = true)]
async fn a_due_instant_ends_the_sleep_on_time() {
    let bench = Bench::due(Some(Timestamp::from_millis(1_002_345)), nothing);
    sleep(Duration::from_secs(5)).await;
    let woken = bench.first(|event| matches!(event, Event::Wake)).unwrap();
    assert!((2_345..=2_347).contains(&woken), "woken at {woken}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_is_noticed_within_a_second() {
    let bench = Bench::due(Some(Timestamp::from_millis(1_000_000 + 3_600_000)), nothing);
    sleep(Duration::from_millis(1500)).await;
    bench.clock.set.store(3_599_000, Ordering::SeqCst);
    sleep(Duration::from_millis(1100)).await;
    let woken = bench.first(|event| matches!(event, Event::Wake)).unwrap();
    assert!((1_500..=2_501).contains(&woken), "woken at {woken}");
    assert_eq!(bench.running.handle().metrics().numbers().clock_steps, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_machine_is_not_stepped() {
    let bench = Bench::of(nothing);
    sleep(Duration::from_secs(60)).await;
    let before = bench.heard.lock().unwrap().len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.heard.lock().unwrap().len(), before, "an idle machine was stepped");
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_closes_its_session() {
    let bench = Bench::of(|_, event, effects| match event {
        event if is_live(event) => {
            let mark = Op::create_for_session(Key::new("/here").unwrap(), "");
            effects.push(Effect::Submit(Ticket(1), Request::Commit(vec![mark])));
        }
        Event::Drain => effects.push(Effect::Drained),
        _ => {}
    });
    sleep(SHORT).await;
    let is_here =
        || bench.registry.inspect(|store| store.get(&Key::new("/here").unwrap()).is_some());
    assert!(is_here());
    bench.running.handle().drain();
    let handle = bench.running.handle().clone();
    assert_eq!(bench.running.join().await, Ok(Stopped::InOrder));
    assert!(!bench.registry.inspect(|store| store.get(&Key::new("/here").unwrap()).is_some()));
    assert_eq!(handle.status().await.err(), Some(Unavailable::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_never_ends_is_ended() {
    let bench = Bench::of(|_, event, effects| {
        if is_live(event) {
            effects.push(Effect::Start(run(7)));
        }
    });
    sleep(SHORT).await;
    assert_eq!(*bench.idle.started.lock().unwrap(), [RunId(7)]);
    bench.running.handle().drain();
    sleep(Duration::from_secs(26)).await;
    let drain = bench.first(|event| matches!(event, Event::Drain)).unwrap();
    let over = bench.first(|event| matches!(event, Event::DrainOver)).unwrap();
    assert!((25_000..=25_002).contains(&(over - drain)), "{drain} and {over}");
    assert_eq!(bench.running.join().await, Ok(Stopped::TimedOut { running: 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_was_replaced_ends_the_node_once_nothing_runs() {
    let mut link = None;
    let (sender, inbox) = flockwork_registry::inbox::channel();
    let registry = MemoryRegistry::default();
    link.replace(Link { registry: registry.connect().0, inbox });
    let connect = Connecting::new("here:", move || link.take().ok_or(NoLink::Away("?".to_owned())));
    let bench = Bench::with(connect, registry, None, |_, event, effects| match event {
        event if is_live(event) => effects.push(Effect::Start(run(7))),
        Event::Drain => effects.push(Effect::Start(run(8))),
        _ => {}
    });
    let (session, trusted_until) = (flockwork_registry::SessionId(1), 60_000);
    sender.push(FromRegistry::Session(SessionState::Live { session, trusted_until }));
    sleep(SHORT).await;
    sender.push(FromRegistry::Replaced("it was moved away".to_owned()));
    sleep(Duration::from_secs(5)).await;
    assert!(bench.first(|event| matches!(event, Event::Drain)).is_some(), "it leaves");
    assert_eq!(*bench.idle.started.lock().unwrap(), [RunId(7)], "nothing new is started");
    let waits = bench.running.handle().status().await;
    assert!(waits.is_ok(), "a run goes on");
    bench.endings.ended(RunId(7), Outcome::of(Ending::Succeeded));
    let error = bench.running.join().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::RegistryReplaced { text, .. } if text == "it was moved away")
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_nothing_runs_though_the_registry_takes_nothing() {
    let bench = Bench::of(|_, event, effects| {
        if is_live(event) {
            effects.push(Effect::Start(run(7)));
        }
    });
    sleep(SHORT).await;
    bench.running.handle().drain();
    // The run takes ten seconds of the drain; the machine never says that it has left.
    sleep(Duration::from_secs(10)).await;
    bench.endings.clone().ended(RunId(7), Outcome::of(Ending::Succeeded));
    let ended = Instant::now();
    assert_eq!(bench.running.join().await, Ok(Stopped::TimedOut { running: 0 }));
    let took = ended.elapsed();
    assert!((LEAVE_TIMEOUT..LEAVE_TIMEOUT * 3 / 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_loop_ends_the_node_with_an_error() {
    let bench = Bench::of(|_, event, _| assert!(!is_live(event), "as the script says"));
    let handle = bench.running.handle().clone();
    let ended = bench.running.join().await;
    assert!(matches!(&ended, Err(EngineError::Panicked(text)) if text == "as the script says"));
    assert_eq!(handle.status().await.err(), Some(Unavailable::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_looked_at_is_handed_on_and_what_is_found_is_heard_at_once() {
    let draft = Draft { cron: Some("* * * * * ?".to_owned()), ..Draft::native("j") };
    let config = check(&draft, Level::Strict, Timestamp::default()).config.unwrap();
    let (job, definition) = (config.name.clone(), Arc::new(config));
    let look = (job.clone(), Some(definition.clone()));
    let asks = look.clone();
    let bench = Bench::of(move |_, event, effects| {
        if is_live(event) {
            effects.push(Effect::Look(asks.0.clone(), asks.1.clone()));
        }
    });
    sleep(SHORT).await;
    assert_eq!(*bench.idle.looks.lock().unwrap(), [look]);
    bench.endings.looked(Looked { job, definition, found: Ok(()) });
    sleep(SHORT).await;
    let heard = bench.first(|event| matches!(event, Event::Looked(looked) if looked.found.is_ok()));
    assert!(heard.is_some());
}

/// A loop that starts a run whenever a job is withdrawn.
fn starts_on_withdraw() -> Bench {
    let mut id = 0;
    Bench::of(move |_, event, effects| {
        if matches!(event, Event::Withdraw(_)) {
            id += 1;
            effects.push(Effect::Start(run(id)));
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_claim_outlived_the_sessions_trust_is_not_started() {
    let bench = starts_on_withdraw();
    let handle = bench.running.handle();
    bench.faults().trust_until(10_000);
    sleep(SHORT).await;
    handle.withdraw(JobName::new("j").unwrap()).await.unwrap();
    handle.status().await.unwrap();
    assert_eq!(*bench.idle.started.lock().unwrap(), [RunId(1)]);
    sleep(Duration::from_secs(10)).await;
    handle.withdraw(JobName::new("j").unwrap()).await.unwrap();
    sleep(SHORT).await;
    assert_eq!(*bench.idle.started.lock().unwrap(), [RunId(1)], "the second one is not started");
    assert!(bench.first(|event| matches!(event, Event::NotStarted(RunId(2)))).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flooded_inbox_starves_nobody() {
    // Every answer is followed by a new question, and the memory registry answers at once: the
    // inbox is never empty.
    let bench = Bench::of(|_, event, effects| match event {
        Event::Registry(_) => {
            effects.push(Effect::Submit(Ticket(1), Request::Get(Key::new("/x").unwrap())));
        }
        Event::Withdraw(_) => effects.push(Effect::Start(run(7))),
        Event::Drain => effects.push(Effect::Drained),
        _ => {}
    });
    let handle = bench.running.handle().clone();
    handle.withdraw(JobName::new("j").unwrap()).await.unwrap();
    handle.status().await.unwrap();
    bench.endings.ended(RunId(7), Outcome::of(Ending::Succeeded));
    handle.status().await.unwrap();
    handle.status().await.unwrap();
    assert!(bench.first(|event| matches!(event, Event::RunEnded(..))).is_some());
    handle.drain();
    assert_eq!(bench.running.join().await, Ok(Stopped::InOrder));
    assert!(bench.flushes.lock().unwrap().iter().all(|steps| *steps < 600), "a turn is bounded");
}

#[tokio::test(start_paused = true)]
async fn what_waits_together_is_flushed_together() {
    let bench = Bench::of(|_, event, effects| {
        if is_live(event) {
            effects.extend((1..=40).map(|id| Effect::Start(run(id))));
        }
    });
    sleep(SHORT).await;
    bench.flushes.lock().unwrap().clear();
    for id in 1..=40 {
        bench.endings.ended(RunId(id), Outcome::of(Ending::Succeeded));
    }
    bench.endings.ended(RunId(40), Outcome::of(Ending::Succeeded));
    sleep(SHORT).await;
    assert_eq!(*bench.flushes.lock().unwrap(), [40], "one flush, and an ending told twice is none");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_waited_for_and_reported() {
    let registry = MemoryRegistry::default();
    let (back, mut tries) = (registry.clone(), 0);
    let connect = Connecting::new("memory:", move || {
        tries += 1;
        if tries < 4 {
            return Err(NoLink::Away("held by pid 7 (stopped)".to_owned()));
        }
        let (registry, inbox) = back.connect();
        Ok(Link { registry, inbox })
    });
    let bench = Bench::with(connect, registry, None, nothing);
    let mut reports = bench.running.handle().subscribe();
    let Some(Told::Report(told)) = reports.recv().await else { panic!("a report") };
    let Report::Trouble { code: "REGISTRY_AWAY", text, .. } = &told.report else {
        panic!("{told:?}")
    };
    assert!(text.contains("held by pid 7 (stopped)"), "{text}");
    let asked = bench.running.handle().status().await;
    assert!(matches!(asked, Err(Unavailable::NoRegistry(_))));
    sleep(Duration::from_secs(3)).await;
    assert!(bench.first(is_live).is_some(), "connected at the fourth try");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_waits_for_its_registry_can_be_stopped() {
    let connect = Connecting::new("memory:", || Err(NoLink::Away("no such host".to_owned())));
    let bench = Bench::with(connect, MemoryRegistry::default(), None, nothing);
    sleep(Duration::from_secs(60)).await;
    bench.running.handle().drain();
    assert_eq!(bench.running.join().await, Ok(Stopped::NeverConnected));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_ends_the_node() {
    let connect = Connecting::new("memory:", || Err(NoLink::Refused("on NFS".to_owned())));
    let bench = Bench::with(connect, MemoryRegistry::default(), None, nothing);
    let error = bench.running.join().await.unwrap_err();
    assert_eq!(error.to_string(), "the registry memory: cannot be used: on NFS");
}

#[tokio::test(start_paused = true)]
async fn each_trigger_is_answered_by_what_the_machine_says_of_it() {
    // The first is answered after the second; the third is not, and the node stops.
    let mut asked = Vec::new();
    let bench = Bench::of(move |_, event, effects| match event {
        Event::Trigger(id, _) => {
            asked.push(*id);
            if asked.len() == 2 {
                let told = Triggered { asked: vec![me()], ..Triggered::default() };
                effects.push(Effect::Triggered(asked[1], Err(NotAsked::TooMany(16))));
                effects.push(Effect::Triggered(asked[0], Ok(told)));
            }
        }
        Event::Drain => effects.push(Effect::Drained),
        _ => {}
    });
    let handle = bench.running.handle().clone();
    let job = || JobName::new("j").unwrap();
    let (first, second) = tokio::join!(handle.trigger(job()), handle.trigger(job()));
    assert_eq!((first, second), (Ok(1), Err(Unavailable::Busy(16))));
    let (third, ()) = tokio::join!(handle.trigger(job()), async {
        sleep(SHORT).await;
        handle.drain();
    });
    assert_eq!(third, Err(Unavailable::NoAnswer), "it may have been done");
    assert_eq!(handle.trigger(job()).await, Err(Unavailable::Stopped));
}
