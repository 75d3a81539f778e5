//! Whole nodes over the memory registry, in real time: what a user sees, through engine, machine,
//! worker and registry.

use flockwork_core::config::{Draft, Level, check};
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use flockwork_engine::identity::instance_id;
use flockwork_engine::{Clock, Connecting, Link, Pulse, Running, Start, Stopped, SystemClock};
use flockwork_engine::{Reported, Reporter, Subscription, Told, WorkerExecutor};
use flockwork_layout::keys::Namespace;
use flockwork_node::{Define, Report};
use flockwork_registry::memory::MemoryRegistry;
use flockwork_worker::{BoxError, Context, Function, Settings, Worker};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::time::timeout;

/// How long anything may take that takes milliseconds on an idle host.
const LONG: Duration = Duration::from_secs(20);

/// What ran: job, shard and due instant.
type Log = Arc<Mutex<Vec<(JobName, u32, Timestamp)>>>;

fn job(name: &str, change: impl FnOnce(&mut Draft)) -> Define {
    let mut draft = Draft::native(name);
    change(&mut draft);
    let checked = check(&draft, Level::Strict, SystemClock.now().wall);
    let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
    Define { config: Arc::new(config), apply: false }
}

fn writes(log: &Log) -> Function {
    let log = Arc::clone(log);
    Function::from_async(move |context: Context| {
        let log = Arc::clone(&log);
        async move {
            log.lock().expect("no test panics in it").push((
                context.job().clone(),
                context.shard(),
                context.due(),
            ));
            Ok::<_, BoxError>(())
        }
    })
}

/// A node of its own instance that serves these jobs, all by one function.
fn node(registry: &MemoryRegistry, jobs: Vec<Define>, function: &Function) -> Running {
    node_with(registry, function, Start { jobs, ..nothing() })
}

/// What starts a node that serves nothing yet.
fn nothing() -> Start {
    Start {
        instance: instance_id("127.0.0.1").expect("an address"),
        namespace: Namespace::new("test").expect("a namespace"),
        max_running: 1000,
        reconcile_interval: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(5),
        jobs: Vec::new(),
        pulse: Pulse::default(),
        reporters: Vec::new(),
    }
}

fn node_with(registry: &MemoryRegistry, function: &Function, start: Start) -> Running {
    let worker = Worker::new(Settings::default(), tokio::runtime::Handle::current());
    for job in &start.jobs {
        worker.register(job.config.name.clone(), function.clone());
    }
    let registry = registry.clone();
    let connect = Connecting::new("memory:", move || {
        let (registry, inbox) = registry.connect();
        Ok(Link { registry, inbox })
    });
    start.spawn(connect, |endings| WorkerExecutor::new(worker, endings))
}

/// The first report that `pick` picks.
async fn hear<T>(reports: &mut Subscription, mut pick: impl FnMut(&Report) -> Option<T>) -> T {
    let heard = async {
        loop {
            let told = reports.recv().await.expect("the node lives");
            if let Told::Report(reported) = told
                && let Some(picked) = pick(&reported.report)
            {
                return picked;
            }
        }
    };
    timeout(LONG, heard).await.expect("a report within the bound")
}

fn every(period: &str) -> impl FnOnce(&mut Draft) {
    let period = period.to_owned();
    move |draft| draft.every = Some(period)
}

#[tokio::test]
async fn a_job_runs_all_its_shards_at_each_due_instant() {
    let (registry, log) = (MemoryRegistry::default(), Log::default());
    let job = job("tick", |draft| {
        draft.every = Some("500ms".to_owned());
        draft.shards = Some(4);
    });
    let node = node(&registry, vec![job], &writes(&log));
    let mut reports = node.handle().subscribe();
    let mut ended = 0;
    hear(&mut reports, |report| {
        ended += usize::from(
            matches!(report, Report::Ended { outcome, .. } if outcome.ending.is_success()),
        );
        (ended == 12).then_some(())
    })
    .await;
    node.handle().drain();
    assert_eq!(timeout(LONG, node.join()).await.unwrap(), Ok(Stopped::InOrder));
    let ran = log.lock().unwrap().clone();
    let mut once = ran.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ran.len(), "no shard of a fire ran twice: {ran:?}");
    let first = ran[0].2;
    let of_first: Vec<_> = ran.iter().filter(|(_, _, due)| *due == first).collect();
    assert_eq!(of_first.len(), 4, "{ran:?}");
}

#[tokio::test]
async fn a_second_node_shares_the_shards_and_gives_them_back() {
    let (registry, log) = (MemoryRegistry::default(), Log::default());
    let define = || {
        job("tick", |draft| {
            draft.every = Some("200ms".to_owned());
            draft.shards = Some(4);
        })
    };
    let one = node(&registry, vec![define()], &writes(&log));
    let mut first = one.handle().subscribe();
    hear(&mut first, |report| matches!(report, Report::Started { .. }).then_some(())).await;
    let two = node(&registry, vec![define()], &writes(&log));
    let mut second = two.handle().subscribe();
    hear(&mut second, |report| matches!(report, Report::Started { .. }).then_some(())).await;
    two.handle().drain();
    assert_eq!(timeout(LONG, two.join()).await.unwrap(), Ok(Stopped::InOrder));
    let alone = SystemClock.now().wall;
    let mut shards = Vec::new();
    let mut reports = one.handle().subscribe();
    hear(&mut reports, |report| {
        let Report::Started { run, .. } = report else { return None };
        if run.fire.due > alone.plus(Duration::from_millis(400)) && !shards.contains(&run.shard) {
            shards.push(run.shard);
        }
        (shards.len() == 4).then_some(())
    })
    .await;
    one.handle().drain();
    assert_eq!(timeout(LONG, one.join()).await.unwrap(), Ok(Stopped::InOrder));
    let mut ran = log.lock().unwrap().clone();
    let all = ran.len();
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), all, "no shard of a fire ran twice");
}

#[tokio::test]
async fn a_triggered_job_runs_at_once() {
    let (registry, log) = (MemoryRegistry::default(), Log::default());
    let node = node(&registry, vec![job("asked", |_| {})], &writes(&log));
    let mut reports = node.handle().subscribe();
    hear(&mut reports, |report| matches!(report, Report::Assigned { .. }).then_some(())).await;
    let asked = JobName::new("asked").unwrap();
    assert_eq!(node.handle().trigger(asked.clone()).await, Ok(1));
    hear(&mut reports, |report| matches!(report, Report::Ended { .. }).then_some(())).await;
    assert_eq!(log.lock().unwrap().len(), 1);
    let status = node.handle().status().await.unwrap();
    assert_eq!(status.jobs[0].shards[0].last, Some("OK"));
}

#[tokio::test]
async fn a_job_defined_later_runs_and_a_withdrawn_one_does_not() {
    let (registry, log) = (MemoryRegistry::default(), Log::default());
    let node = node(&registry, vec![job("early", every("100ms"))], &writes(&log));
    let mut reports = node.handle().subscribe();
    hear(&mut reports, |report| matches!(report, Report::Ended { .. }).then_some(())).await;
    node.handle().withdraw(JobName::new("early").unwrap()).await.unwrap();
    hear(&mut reports, |report| matches!(report, Report::Left { .. }).then_some(())).await;
    let before = log.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(log.lock().unwrap().len(), before, "a withdrawn job ran");
    node.handle().define(job("early", every("100ms"))).await.unwrap();
    hear(&mut reports, |report| matches!(report, Report::Ended { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_panic_is_an_outcome_and_the_node_goes_on() {
    let registry = MemoryRegistry::default();
    let function = Function::from_async(|context: Context| async move {
        assert!(context.due().as_millis() % 400 != 0, "every second one");
        Ok::<_, BoxError>(())
    });
    let node = node(&registry, vec![job("shaky", every("200ms"))], &function);
    let mut reports = node.handle().subscribe();
    let mut codes = Vec::new();
    hear(&mut reports, |report| {
        if let Report::Ended { outcome, .. } = report {
            codes.push(outcome.ending.code());
        }
        (codes.contains(&"PANIC") && codes.last() == Some(&"OK") && codes.len() > 2).then_some(())
    })
    .await;
    let numbers = node.handle().metrics().numbers();
    assert!(numbers.runs["PANIC"] > 0 && numbers.runs["OK"] > 0, "{numbers:?}");
}

#[tokio::test]
async fn a_run_that_ignores_the_drain_is_told_to_stop_and_its_node_leaves() {
    let registry = MemoryRegistry::default();
    let function = Function::from_async(|context: Context| async move {
        context.cancelled().await;
        Ok::<_, BoxError>(())
    });
    let node = node(&registry, vec![job("slow", every("100ms"))], &function);
    let mut reports = node.handle().subscribe();
    hear(&mut reports, |report| matches!(report, Report::Started { .. }).then_some(())).await;
    node.handle().drain();
    let code = hear(&mut reports, |report| match report {
        Report::Ended { outcome, .. } => Some(outcome.ending.code()),
        _ => None,
    })
    .await;
    assert_eq!(code, "SHUTDOWN");
    assert_eq!(timeout(LONG, node.join()).await.unwrap(), Ok(Stopped::InOrder));
}

/// Does not return from its first run's report until it is let go.
#[derive(Debug)]
struct Hangs(mpsc::Receiver<()>);

impl Reporter for Hangs {
    fn report(&mut self, reported: &Reported) {
        if matches!(reported.report, Report::Ended { .. }) {
            // It ends when the test does.
            let _ = self.0.recv();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_hangs_is_noticed_by_its_watch() {
    let (let_go, hangs) = mpsc::channel();
    let pulse = Pulse::default();
    let start = Start {
        jobs: vec![job("tick", every("500ms"))],
        pulse: pulse.clone(),
        reporters: vec![Box::new(Hangs(hangs))],
        ..nothing()
    };
    let (silent, told) = mpsc::channel();
    let watch =
        pulse.watch(Duration::from_secs(2), move || silent.send(()).expect("the test waits"));
    let node = node_with(&MemoryRegistry::default(), &writes(&Log::default()), start);
    let told = tokio::task::spawn_blocking(move || told.recv_timeout(LONG)).await.unwrap();
    assert_eq!(told, Ok(()), "the loop hangs and nobody is told");
    drop(let_go);
    node.handle().drain();
    assert_eq!(timeout(LONG, node.join()).await.unwrap(), Ok(Stopped::InOrder));
    drop(watch);
}
