//! Two nodes of one program, as a user writes them.

use flockwork::{Context, Job, JobName, MemoryRegistry, Node, Registry, Stopped};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long anything may take that takes milliseconds on an idle host.
const LONG: Duration = Duration::from_secs(20);

/// Waits until it holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let bound = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < bound, "{what} does not hold after {LONG:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_a_job_and_run_no_shard_twice() {
    let registry = MemoryRegistry::default();
    let log = Arc::new(Mutex::new(Vec::new()));
    let node = |name: &'static str| {
        let log = Arc::clone(&log);
        let job = Job::every("settle", Duration::from_millis(300)).shards(4);
        Node::builder()
            .registry(Registry::shared(&registry))
            .blocking_job(job, move |context: &Context| {
                let ran = (name, context.due(), context.shard());
                log.lock().expect("no test panics in it").push(ran);
                Ok::<_, io::Error>(())
            })
            .start()
            .expect("a node")
    };
    let (one, two) = (node("one"), node("two"));
    until("both nodes run shards", || {
        let log = log.lock().expect("no test panics in it");
        log.iter().map(|(name, ..)| *name).collect::<BTreeSet<_>>().len() == 2 && log.len() > 16
    })
    .await;
    assert_eq!(one.shutdown().await.unwrap(), Stopped::InOrder);
    assert_eq!(two.shutdown().await.unwrap(), Stopped::InOrder);
    let ran = log.lock().unwrap();
    let once: BTreeSet<_> = ran.iter().map(|(_, due, shard)| (*due, *shard)).collect();
    assert_eq!(once.len(), ran.len(), "a shard of a fire ran twice: {ran:?}");
}

#[tokio::test]
async fn a_job_is_served_later_triggered_and_withdrawn() {
    let node = Node::builder().start().unwrap();
    let ran = Arc::new(Mutex::new(0));
    let count = Arc::clone(&ran);
    let function = flockwork::Function::from_async(move |_: Context| {
        *count.lock().expect("no test panics in it") += 1;
        async { Ok::<_, io::Error>(()) }
    });
    node.serve(Job::on_trigger("asked"), function).await.unwrap();
    let name = JobName::new("asked").unwrap();
    let bound = Instant::now() + LONG;
    while node.handle().trigger(name.clone()).await.is_err() {
        assert!(Instant::now() < bound, "nobody serves the job");
        sleep(Duration::from_millis(10)).await;
    }
    until("the job ran", || *ran.lock().expect("no test panics in it") == 1).await;
    node.withdraw(name.clone()).await.unwrap();
    while node.handle().trigger(name.clone()).await.is_ok() {
        assert!(Instant::now() < bound, "the job is still served");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(node.shutdown().await.unwrap(), Stopped::InOrder);
}

#[tokio::test]
async fn bad_jobs_served_later_are_refused_with_their_place() {
    let node = Node::builder().start().unwrap();
    let function = flockwork::Function::from_async(|_| async { Ok::<_, io::Error>(()) });
    let error = node.serve(Job::cron("never", "0 0 0 31 2 ?"), function).await.unwrap_err();
    assert!(error.to_string().contains("jobs.never.cron"), "{error}");
}
