//! What becomes of calls of listeners.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use flockwork_core::execution::{
    CancelReason, Ending, Fire, Outcome, Part, Run, RunId, Script, Source, Work,
};
use flockwork_core::id::{Epoch, InstanceId, JobName};
use flockwork_core::time::Timestamp;
use flockwork_worker::{
    BoxError, Context, Function, Handle, JobFuture, Listener, Settings, Worker,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

const LONG: Duration = Duration::from_secs(30);

fn job() -> JobName {
    JobName::new("job").unwrap()
}

fn call(part: Part, work: Work) -> Arc<Run> {
    Arc::new(Run {
        id: RunId(1),
        job: job(),
        part,
        shard: 0,
        shards: 4,
        fire: Fire { due: Timestamp::from_millis(1_767_225_600_000), source: Source::Schedule },
        attempt: 2,
        epoch: Epoch(77),
        instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
        shard_parameter: None,
        job_parameter: "p".to_owned(),
        timeout: None,
        work: Arc::new(work),
    })
}

fn worker() -> Worker {
    let settings = Settings { grace: Duration::from_millis(50), ..Settings::default() };
    Worker::new(settings, tokio::runtime::Handle::current())
}

fn listened(listener: impl Listener) -> Worker {
    let worker = worker();
    assert!(worker.listen(job(), Arc::new(listener)).is_none());
    worker
}

fn start(worker: &Worker, run: Arc<Run>) -> (Handle, oneshot::Receiver<Outcome>) {
    let (tell, told) = oneshot::channel();
    let handle = worker.start(run, move |outcome| tell.send(outcome).unwrap());
    (handle, told)
}

async fn outcome(told: oneshot::Receiver<Outcome>) -> Outcome {
    tokio::time::timeout(LONG, told).await.expect("in time").expect("told exactly once")
}

async fn ending_of(worker: &Worker, part: Part) -> Ending {
    outcome(start(worker, call(part, Work::Function)).1).await.ending
}

type Seen = Arc<Mutex<Vec<(&'static str, u32, u32, Epoch)>>>;

/// Notes its calls.
struct Noting(Seen);

impl Noting {
    fn note(&self, method: &'static str, context: Context) -> JobFuture<'_> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let seen = (method, context.shards(), context.attempt(), context.epoch());
            self.0.lock().unwrap().push(seen);
            context.processed(3, 0);
            Ok(())
        })
    }
}

impl Listener for Noting {
    fn before(&self, context: Context) -> JobFuture<'_> {
        self.note("before", context)
    }

    fn after(&self, context: Context) -> JobFuture<'_> {
        self.note("after", context)
    }
}

#[tokio::test]
async fn the_part_says_what_is_called_whatever_the_job_runs() {
    let script = Script { argv: vec!["/nowhere/at/all".to_owned()] };
    for work in [Work::Function, Work::Script(script)] {
        let seen = Seen::default();
        let worker = listened(Noting(Arc::clone(&seen)));
        for (part, method) in [(Part::Before, "before"), (Part::After, "after")] {
            let (_handle, told) = start(&worker, call(part, work.clone()));
            let ended = outcome(told).await;
            assert_eq!((ended.ending, ended.rows), (Ending::Succeeded, 3), "{part:?} of {work:?}");
            assert_eq!(seen.lock().unwrap().pop(), Some((method, 4, 2, Epoch(77))));
        }
        assert_eq!(*seen.lock().unwrap(), []);
    }
}

#[tokio::test]
async fn a_shard_is_run_by_the_function_and_not_by_the_listener() {
    let seen = Seen::default();
    let worker = listened(Noting(Arc::clone(&seen)));
    let function = Function::from_async(async |_| Err::<(), BoxError>("the function".into()));
    worker.register(job(), function);
    let ending = ending_of(&worker, Part::Shard).await;
    assert_eq!(ending, Ending::Error("the function".to_owned()));
    assert_eq!(*seen.lock().unwrap(), []);
}

#[tokio::test]
async fn a_listener_does_nothing_unless_it_says_otherwise() {
    struct Silent;
    impl Listener for Silent {}
    let worker = listened(Silent);
    for part in [Part::Before, Part::After] {
        assert_eq!(ending_of(&worker, part).await, Ending::Succeeded);
    }
}

#[tokio::test]
async fn an_error_and_a_panic_are_outcomes() {
    struct Failing;
    impl Listener for Failing {
        fn before(&self, context: Context) -> JobFuture<'_> {
            assert!(context.shards() > 4, "no batch for {}", context.job());
            Box::pin(async { Ok(()) })
        }

        fn after(&self, _: Context) -> JobFuture<'_> {
            Box::pin(async { Err("the ledger is closed".into()) })
        }
    }
    let worker = listened(Failing);
    let panicked = Ending::Panicked("no batch for job".to_owned());
    assert_eq!(ending_of(&worker, Part::Before).await, panicked);
    let failed = Ending::Error("the ledger is closed".to_owned());
    assert_eq!(ending_of(&worker, Part::After).await, failed);
}

struct CountDrops(Arc<AtomicUsize>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_call_that_heeds_its_time_out_ends_by_itself_and_another_is_dropped_after_the_grace() {
    /// `before` heeds a cancel, `after` does not.
    struct Slow(Arc<AtomicUsize>);
    impl Listener for Slow {
        fn before(&self, context: Context) -> JobFuture<'_> {
            Box::pin(async move {
                assert_eq!(context.cancelled().await, CancelReason::TimedOut);
                context.processed(1, 0);
                Ok(())
            })
        }

        fn after(&self, _: Context) -> JobFuture<'_> {
            let held = CountDrops(Arc::clone(&self.0));
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            })
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let worker = listened(Slow(Arc::clone(&drops)));
    for (part, rows) in [(Part::Before, 1), (Part::After, 0)] {
        let (handle, told) = start(&worker, call(part, Work::Function));
        handle.cancel(CancelReason::TimedOut);
        let ended = outcome(told).await;
        let timed_out = Ending::Cancelled(CancelReason::TimedOut);
        assert_eq!((ended.ending, ended.rows), (timed_out, rows), "{part:?}");
    }
    assert_eq!(drops.load(Ordering::SeqCst), 1, "the future is gone when the outcome is told");
}

#[tokio::test]
async fn a_call_without_a_listener_is_not_started_and_named() {
    let worker = worker();
    worker.register(job(), Function::from_async(async |_| Ok::<_, BoxError>(())));
    for part in [Part::Before, Part::After] {
        let Ending::NotStarted(text) = ending_of(&worker, part).await else { panic!("started") };
        assert!(text.starts_with("LISTENER_NOT_REGISTERED") && text.contains("\"job\""), "{text}");
    }
}

#[tokio::test]
async fn a_job_is_forgotten_with_its_listener() {
    let worker = listened(Noting(Seen::default()));
    assert!(!worker.is_registered(&job()), "a listener is no function");
    worker.register(job(), Function::from_async(async |_| Ok::<_, BoxError>(())));
    assert!(worker.unregister(&job()).is_some());
    for part in [Part::Shard, Part::Before, Part::After] {
        let ending = ending_of(&worker, part).await;
        assert!(matches!(ending, Ending::NotStarted(_)), "{part:?}: {ending:?}");
    }
}
