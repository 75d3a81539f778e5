//! What becomes of runs of registered functions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use flockwork_core::execution::{
    CancelReason, Ending, Fire, Outcome, Part, Run, RunId, Source, Work,
};
use flockwork_core::id::{Epoch, InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_worker::{BoxError, Context, Function, Handle, Settings, Worker};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

const LONG: Duration = Duration::from_secs(30);

fn run_of(job: &str) -> Arc<Run> {
    Arc::new(Run {
        id: RunId(1),
        job: JobName::new(job).unwrap(),
        part: Part::Shard,
        shard: 2,
        shards: 4,
        fire: Fire { due: Timestamp::from_millis(1_767_225_600_000), source: Source::Schedule },
        attempt: 1,
        epoch: Epoch(77),
        instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
        shard_parameter: Some("Beijing".to_owned()),
        job_parameter: "p".to_owned(),
        timeout: None,
        work: Arc::new(Work::Function),
    })
}

fn worker(function: Function) -> Worker {
    let settings = Settings { grace: Duration::from_millis(50), ..Settings::default() };
    let worker = Worker::new(settings, tokio::runtime::Handle::current());
    worker.register(JobName::new("job").unwrap(), function);
    worker
}

fn start(worker: &Worker) -> (Handle, oneshot::Receiver<Outcome>) {
    let (tell, told) = oneshot::channel();
    let handle = worker.start(run_of("job"), move |outcome| tell.send(outcome).unwrap());
    (handle, told)
}

async fn outcome(told: oneshot::Receiver<Outcome>) -> Outcome {
    tokio::time::timeout(LONG, told).await.expect("in time").expect("told exactly once")
}

async fn outcome_of(function: Function) -> Outcome {
    let worker = worker(function);
    let (_handle, told) = start(&worker);
    outcome(told).await
}

fn both_kinds(
    end: impl Fn() -> Result<(), BoxError> + Clone + Send + Sync + 'static,
) -> [Function; 2] {
    let again = end.clone();
    [
        Function::from_blocking(move |_: &Context| end()),
        Function::from_async(move |_| {
            let result = again.clone();
            async move { result() }
        }),
    ]
}

#[tokio::test]
async fn a_result_an_error_and_a_panic_are_three_outcomes() {
    for function in both_kinds(|| Ok(())) {
        assert_eq!(outcome_of(function).await, Outcome::of(Ending::Succeeded));
    }
    for function in both_kinds(|| Err("the ledger is closed".into())) {
        let expected = Ending::Error("the ledger is closed".to_owned());
        assert_eq!(outcome_of(function).await.ending, expected);
    }
    for function in both_kinds(|| panic!("no shard {}", 7)) {
        assert_eq!(outcome_of(function).await.ending, Ending::Panicked("no shard 7".to_owned()));
    }
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_an_outcome_too() {
    fn no_future(_: Context) -> std::future::Ready<Result<(), BoxError>> {
        panic!("early");
    }
    let ending = outcome_of(Function::from_async(no_future)).await.ending;
    assert_eq!(ending, Ending::Panicked("early".to_owned()));
}

#[tokio::test]
async fn an_error_names_its_causes() {
    let ending = outcome_of(Function::from_blocking(|_: &Context| -> Result<(), BoxError> {
        #[derive(Debug, thiserror::Error)]
        #[error("rows are lost")]
        struct Outer(#[source] std::io::Error);
        Err(Outer(std::io::Error::other("disk full")).into())
    }));
    assert_eq!(ending.await.ending, Ending::Error("rows are lost: disk full".to_owned()));
}

#[tokio::test]
async fn a_job_without_a_function_is_not_started_and_named() {
    let worker = Worker::new(Settings::default(), tokio::runtime::Handle::current());
    let (_handle, told) = start(&worker);
    let Ending::NotStarted(text) = outcome(told).await.ending else { panic!("started") };
    assert!(text.starts_with("JOB_NOT_REGISTERED") && text.contains("\"job\""), "{text}");
}

#[tokio::test]
async fn progress_is_live_and_kept() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (reached, at) = oneshot::channel();
    let reached = std::sync::Mutex::new(Some(reached));
    let worker =
        worker(Function::from_blocking(move |context: &Context| -> Result<(), BoxError> {
            assert_eq!((context.shard(), context.shards(), context.epoch()), (2, 4, Epoch(77)));
            context.processed(10, 2048);
            reached.lock().unwrap().take().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv_timeout(LONG)?;
            context.processed(5, 0);
            Ok(())
        }));
    let (handle, told) = start(&worker);
    at.await.unwrap();
    assert_eq!((handle.progress().rows, handle.progress().bytes), (10, 2048));
    go_on.send(()).unwrap();
    let ended = outcome(told).await;
    assert_eq!((ended.ending, ended.rows, ended.bytes), (Ending::Succeeded, 15, 2048));
}

#[tokio::test]
async fn an_async_job_that_heeds_a_cancel_ends_by_itself() {
    let worker = worker(Function::from_async(|context| async move {
        assert_eq!(context.cancelled().await, CancelReason::TimedOut);
        context.processed(1, 0);
        Ok::<_, BoxError>(())
    }));
    let (handle, told) = start(&worker);
    handle.cancel(CancelReason::TimedOut);
    handle.cancel(CancelReason::Shutdown);
    let ended = outcome(told).await;
    assert_eq!((ended.ending, ended.rows), (Ending::Cancelled(CancelReason::TimedOut), 1));
}

struct CountDrops(Arc<AtomicUsize>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_async_job_that_ignores_a_cancel_is_dropped_after_the_grace() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&drops);
    let worker = worker(Function::from_async(move |_| {
        let held = CountDrops(Arc::clone(&counted));
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, BoxError>(())
        }
    }));
    let (handle, told) = start(&worker);
    handle.cancel(CancelReason::SessionLost);
    assert_eq!(outcome(told).await.ending, Ending::Cancelled(CancelReason::SessionLost));
    assert_eq!(drops.load(Ordering::SeqCst), 1, "the future is gone when the outcome is told");
}

#[tokio::test]
async fn a_blocking_job_is_told_of_as_ended_only_when_it_has_ended() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (reached, at) = oneshot::channel();
    let reached = std::sync::Mutex::new(Some(reached));
    let worker =
        worker(Function::from_blocking(move |context: &Context| -> Result<(), BoxError> {
            reached.lock().unwrap().take().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv_timeout(LONG)?;
            assert!(context.is_cancelled());
            Ok(())
        }));
    let (handle, mut told) = start(&worker);
    at.await.unwrap();
    handle.cancel(CancelReason::TimedOut);
    // Well beyond the grace of 50 ms.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut told).await;
    assert!(early.is_err(), "told while it still runs: {early:?}");
    go_on.send(()).unwrap();
    assert_eq!(outcome(told).await.ending, Ending::Cancelled(CancelReason::TimedOut));
}

#[test]
fn a_runtime_that_shuts_down_loses_no_outcome() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let worker = {
        let _inside = runtime.enter();
        worker(Function::from_async(|_| async {
            std::future::pending::<()>().await;
            Ok::<_, BoxError>(())
        }))
    };
    let (tell, told) = mpsc::channel();
    for _ in 0..3 {
        let tell = tell.clone();
        worker.start(run_of("job"), move |outcome| tell.send(outcome).unwrap());
    }
    runtime.shutdown_timeout(LONG);
    let tell_late = tell.clone();
    worker.start(run_of("job"), move |outcome| tell_late.send(outcome).unwrap());
    drop(tell);
    let endings: Vec<_> = std::iter::from_fn(|| told.recv_timeout(LONG).ok()).collect();
    assert_eq!(endings.len(), 4);
    for outcome in endings {
        let lost = matches!(outcome.ending, Ending::Crashed(_) | Ending::NotStarted(_));
        assert!(lost, "{outcome:?}");
    }
}
