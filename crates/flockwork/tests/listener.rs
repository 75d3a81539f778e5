//! A listener is called once for each fire, whatever nodes there are.

use flockwork::{
    BoxError, Context, Function, Job, JobFuture, JobName, Listener, MemoryRegistry, Node,
    OnBeforeFailure, Registry, Source, Stopped, Timestamp,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long anything may take that takes some seconds on an idle host.
const LONG: Duration = Duration::from_secs(60);

/// How often the job is due.
const PERIOD: Duration = Duration::from_millis(500);

const SHARDS: u32 = 4;

/// So many fires are looked at of each kind.
const FIRES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begins,
    Ends,
    Fails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Before(Step),
    Shard(u32, Step),
    After(Step),
}

/// What the code of all nodes said of which fire, in the order in which it was said.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Timestamp, Source, Said)>>>);

impl Log {
    fn say(&self, context: &Context, said: Said) {
        let line = (context.due(), context.source(), said);
        self.0.lock().expect("no test panics in it").push(line);
    }

    /// What was said of one fire.
    fn of(&self, fire: Timestamp) -> Vec<Said> {
        let log = self.0.lock().expect("no test panics in it");
        log.iter().filter(|(due, ..)| *due == fire).map(|(.., said)| *said).collect()
    }

    /// The fires of which something was said.
    fn fires(&self, holds: impl Fn(Said) -> bool) -> BTreeSet<Timestamp> {
        let log = self.0.lock().expect("no test panics in it");
        log.iter().filter(|(.., said)| holds(*said)).map(|(due, ..)| *due).collect()
    }

    /// The fires that are over and had all their shards run.
    fn whole(&self) -> Vec<Timestamp> {
        let over = self.fires(|said| said == Said::After(Step::Ends));
        let ran =
            |fire: &Timestamp| count(&self.of(*fire), is_shard(Step::Ends)) == SHARDS as usize;
        over.into_iter().filter(ran).collect()
    }
}

fn count(said: &[Said], which: impl Fn(&Said) -> bool) -> usize {
    said.iter().filter(|said| which(said)).count()
}

fn is_shard(step: Step) -> impl Fn(&Said) -> bool {
    move |said| matches!(said, Said::Shard(_, it) if *it == step)
}

/// Says what it is told. `before` fails for every second fire of the schedule, if it is to fail at all.
struct Batch {
    log: Log,
    fails: bool,
}

fn is_second(fire: Timestamp) -> bool {
    let period = i64::try_from(PERIOD.as_millis()).expect("it is short");
    (fire.as_millis() / period) % 2 == 1
}

impl Listener for Batch {
    fn before(&self, context: Context) -> JobFuture<'_> {
        Box::pin(async move {
            self.log.say(&context, Said::Before(Step::Begins));
            // Long enough for a shard that does not wait to be seen.
            sleep(Duration::from_millis(20)).await;
            if self.fails && is_second(context.due()) {
                self.log.say(&context, Said::Before(Step::Fails));
                return Err("no batch today".into());
            }
            self.log.say(&context, Said::Before(Step::Ends));
            Ok(())
        })
    }

    fn after(&self, context: Context) -> JobFuture<'_> {
        Box::pin(async move {
            self.log.say(&context, Said::After(Step::Begins));
            assert_eq!(context.shards(), SHARDS);
            self.log.say(&context, Said::After(Step::Ends));
            Ok(())
        })
    }
}

fn function(log: &Log) -> Function {
    let log = log.clone();
    Function::from_async(move |context: Context| {
        let log = log.clone();
        async move {
            log.say(&context, Said::Shard(context.shard(), Step::Begins));
            sleep(Duration::from_millis(20)).await;
            log.say(&context, Said::Shard(context.shard(), Step::Ends));
            Ok::<_, BoxError>(())
        }
    })
}

/// Three nodes that share a job.
fn nodes(log: &Log, fails: bool, job: impl Fn() -> Job) -> Vec<Node> {
    let registry = MemoryRegistry::default();
    let node = |_| {
        let job = job().shards(SHARDS).listener(Batch { log: log.clone(), fails });
        Node::builder()
            .registry(Registry::shared(&registry))
            .function(job, function(log))
            .start()
            .expect("a node")
    };
    (0..3).map(node).collect()
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        assert_eq!(node.shutdown().await.expect("it runs"), Stopped::InOrder);
    }
}

/// Waits until it holds.
async fn until(what: &str, log: &Log, holds: impl Fn() -> bool) {
    let bound = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < bound, "{what} does not hold after {LONG:?}: {log:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether it is: before, each of the shards once, after. `opens` is how before has to end.
fn assert_framed(fire: Timestamp, said: &[Said], opens: Step) {
    let end = said.len().saturating_sub(2);
    let (before, after) = (&said[..said.len().min(2)], &said[end..]);
    assert_eq!(before, [Said::Before(Step::Begins), Said::Before(opens)], "{fire}: {said:?}");
    assert_eq!(after, [Said::After(Step::Begins), Said::After(Step::Ends)], "{fire}: {said:?}");
    let shards = &said[2..end];
    for shard in 0..SHARDS {
        for step in [Step::Begins, Step::Ends] {
            let times = count(shards, |said| *said == Said::Shard(shard, step));
            assert_eq!(times, 1, "{fire}, {shard} {step:?}: {said:?}");
        }
    }
    assert_eq!(shards.len(), 2 * SHARDS as usize, "{fire}: {said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fire_is_framed_by_one_before_and_one_after_for_three_nodes() {
    let log = Log::default();
    let nodes = nodes(&log, false, || Job::every("settle", PERIOD));
    until("fires are over", &log, || log.whole().len() >= FIRES).await;
    let fires = log.whole();
    stop(nodes).await;
    for fire in fires {
        // As it is now: nothing may have been said of it later.
        assert_framed(fire, &log.of(fire), Step::Ends);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fire_whose_before_fails_is_skipped_and_the_next_one_is_not() {
    let log = Log::default();
    let nodes = nodes(&log, true, || Job::every("settle", PERIOD));
    let failed = || log.fires(|said| said == Said::Before(Step::Fails));
    let is_enough = || log.whole().len() >= FIRES && failed().len() >= FIRES;
    until("fires are over, and others have failed", &log, is_enough).await;
    let (whole, failed) = (log.whole(), failed());
    stop(nodes).await;
    for fire in whole {
        assert_framed(fire, &log.of(fire), Step::Ends);
    }
    for fire in failed {
        let said = log.of(fire);
        assert_eq!(count(&said, |said| *said == Said::Before(Step::Fails)), 1, "{fire}: {said:?}");
        assert_eq!(count(&said, is_shard(Step::Begins)), 0, "{fire}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fire_whose_before_fails_runs_where_the_job_says_so() {
    let log = Log::default();
    let job = || Job::every("settle", PERIOD).on_before_failure(OnBeforeFailure::Run);
    let nodes = nodes(&log, true, job);
    let is_failed = |fire: &Timestamp| is_second(*fire);
    let failed = || log.whole().into_iter().filter(is_failed).collect::<Vec<_>>();
    until("fires are over though they failed", &log, || failed().len() >= FIRES).await;
    let failed = failed();
    stop(nodes).await;
    for fire in failed {
        assert_framed(fire, &log.of(fire), Step::Fails);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fire_that_is_asked_for_has_its_calls_too() {
    let log = Log::default();
    let nodes = nodes(&log, false, || Job::on_trigger("asked"));
    let bound = Instant::now() + LONG;
    while !is_shared(&nodes[0], nodes.len()).await {
        assert!(Instant::now() < bound, "the nodes do not share the job after {LONG:?}");
        sleep(Duration::from_millis(20)).await;
    }
    let name = JobName::new("asked").expect("a name");
    nodes[1].handle().trigger(name).await.expect("three nodes serve the job");
    until("the fire is over", &log, || !log.whole().is_empty()).await;
    stop(nodes).await;
    let fires = log.fires(|_| true);
    assert_eq!(fires.len(), 1, "one request is one fire: {log:?}");
    for fire in fires {
        assert_framed(fire, &log.of(fire), Step::Ends);
    }
    let log = log.0.lock().expect("no test panics in it");
    assert!(log.iter().all(|(_, source, _)| *source == Source::Trigger), "{log:?}");
}

/// Whether so many nodes serve the only job, and all its shards are dealt.
async fn is_shared(node: &Node, nodes: usize) -> bool {
    let Ok(status) = node.handle().status().await else { return false };
    status.jobs.iter().any(|job| {
        let dealt = job.shards.iter().filter(|shard| shard.owner.is_some()).count();
        job.instances.len() == nodes && dealt == SHARDS as usize
    })
}
