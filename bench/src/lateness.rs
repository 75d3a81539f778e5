//! How late runs start, claims included: 5,000 jobs of one shard, all due at the same instant. By
//! jobs that are claimed when they are due, as is usual, and by jobs that are claimed ahead ([`AHEAD`]).
//!
//! What counts is what the jobs themselves wrote down when their code began: which job, which due
//! instant, and what the clock showed. The fifth fire is looked at that is due after every node
//! serves every job; fires before and after it must not be doubled either.

use flockwork::{BoxError, Context, Job, MemoryRegistry, Node, Registry, Stopped};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

const JOBS: usize = 5_000;

/// The jobs' period. All are due at its multiples since the epoch.
const PERIOD: Duration = Duration::from_secs(3);

/// How long before they are due jobs are claimed, where they are claimed ahead: more than twice what
/// the claims of all of them take on the slower of the two registries.
const AHEAD: Duration = Duration::from_millis(750);

/// How long after the instant that is measured everything must have run.
const SETTLED: Duration = Duration::from_secs(2);

/// Fires before the measured one: the first finds nothing in memory, and is told apart.
const WARMING: i64 = 4;

/// How long nodes may take until they serve all jobs.
const READY_BOUND: Duration = Duration::from_secs(300);

/// Makes a process of this program a node of the measurement: the registry's directory.
const NODE: &str = "FLOCKWORK_BENCH_LATENESS_NODE";

/// How long before they are due such a node claims its jobs, in milliseconds.
const NODE_AHEAD: &str = "FLOCKWORK_BENCH_LATENESS_AHEAD";

/// One start of one job's code.
#[derive(Clone, Copy, Debug)]
struct Began {
    job: usize,
    due_ms: i64,
    late_us: i64,
}

type Log = Arc<Mutex<Vec<Began>>>;

/// Does the work of one node and never returns, in a process started for it. To be called first in
/// `main`.
pub(crate) fn serve_if_asked() {
    let Some(directory) = std::env::var_os(NODE) else { return };
    let served = serve(Path::new(&directory));
    if let Err(why) = &served {
        eprintln!("error: a node of the measurement: {why}");
    }
    std::process::exit(i32::from(served.is_err()));
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn period_ms() -> i64 {
    i64::try_from(PERIOD.as_millis()).unwrap_or(i64::MAX)
}

/// The due instant to be measured: after those that warm up, the first of which is so far ahead.
fn measured_due(ahead: Duration) -> i64 {
    let earliest = now_us() / 1000 + i64::try_from(ahead.as_millis()).unwrap_or(0);
    (earliest / period_ms() + 1 + WARMING) * period_ms()
}

fn wait_until(instant_ms: i64) {
    let ahead = u64::try_from(instant_ms - now_us() / 1000).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(ahead));
}

fn start(registry: Registry, log: &Log, ahead: Duration) -> Result<Node, flockwork::Error> {
    // What is claimed ahead takes half of the places at most.
    let builder = Node::builder().registry(registry).namespace("bench").max_running(3 * JOBS);
    let builder = (0..JOBS).fold(builder, |builder, number| {
        let log = Arc::clone(log);
        let job = Job::every(&format!("job-{number}"), PERIOD).claim_ahead(ahead);
        builder.job(job, move |context: Context| {
            let now = now_us();
            let due_ms = context.due().as_millis();
            let began = Began { job: number, due_ms, late_us: now - due_ms * 1000 };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(began);
            async { Ok::<_, BoxError>(()) }
        })
    });
    builder.start()
}

/// Waits until every job is served here and its shard has an owner.
async fn served(node: &Node) -> io::Result<()> {
    let until = tokio::time::Instant::now() + READY_BOUND;
    loop {
        if let Ok(status) = node.handle().status().await {
            let ready = |job: &&flockwork::JobStatus| job.shards.iter().any(|s| s.owner.is_some());
            if status.jobs.iter().filter(ready).count() == JOBS {
                return Ok(());
            }
        }
        if tokio::time::Instant::now() > until {
            return Err(failed(format!("not all jobs are served after {READY_BOUND:?}")));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Prints the figures of one node on the memory registry.
pub(crate) fn memory(out: &mut dyn Write) -> io::Result<()> {
    on_memory(out, "lateness_memory", Duration::ZERO)
}

/// The same, with jobs that are claimed ahead.
pub(crate) fn memory_ahead(out: &mut dyn Write) -> io::Result<()> {
    on_memory(out, "lateness_memory_claimed_ahead", AHEAD)
}

fn on_memory(out: &mut dyn Write, name: &str, ahead: Duration) -> io::Result<()> {
    let (runtime, log) = (runtime()?, Log::default());
    let due = runtime.block_on(async {
        let registry = Registry::shared(&MemoryRegistry::default());
        let node = start(registry, &log, ahead).map_err(failed)?;
        served(&node).await?;
        let due = measured_due(Duration::from_secs(3));
        let ahead = u64::try_from(due - now_us() / 1000).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(ahead) + SETTLED).await;
        match node.shutdown().await.map_err(failed)? {
            Stopped::InOrder => Ok(due),
            other => Err(failed(format!("{other:?}"))),
        }
    })?;
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    tell(out, name, &log, due, Some(20))
}

/// Prints the figures of two processes on the embedded registry.
pub(crate) fn embedded(out: &mut dyn Write) -> io::Result<()> {
    on_embedded(out, "lateness_embedded", Duration::ZERO)
}

/// The same, with jobs that are claimed ahead.
pub(crate) fn embedded_ahead(out: &mut dyn Write) -> io::Result<()> {
    on_embedded(out, "lateness_embedded_claimed_ahead", AHEAD)
}

fn on_embedded(out: &mut dyn Write, name: &str, ahead: Duration) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(NodeProcess::start(directory.path(), ahead)?);
    }
    for node in &mut nodes {
        node.expect_line("ready")?;
    }
    let due = measured_due(Duration::from_secs(3));
    wait_until(due);
    std::thread::sleep(SETTLED);
    // Both stop at once: what one gives back while it leaves, the other must not start again.
    for node in &mut nodes {
        node.stop();
    }
    let (mut log, mut shares) = (Vec::new(), Vec::new());
    for node in nodes {
        let began = node.log()?;
        shares.push(began.iter().filter(|began| began.due_ms == due).count());
        log.extend(began);
    }
    writeln!(out, "# {name}: the two processes ran {shares:?} of the {JOBS} jobs")?;
    tell(out, name, &log, due, Some(100))
}

/// A node of the measurement in a process of its own.
struct NodeProcess {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    fn start(directory: &Path, ahead: Duration) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(NODE, directory)
            .env(NODE_AHEAD, ahead.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no output of the node"))?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    fn expect_line(&mut self, expected: &str) -> io::Result<()> {
        match self.lines.next().transpose()? {
            Some(line) if line == expected => Ok(()),
            other => Err(failed(format!("a node said {other:?} in place of {expected:?}"))),
        }
    }

    /// Its input ends, and so does it.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
    }

    fn log(mut self) -> io::Result<Vec<Began>> {
        let mut log = Vec::new();
        for line in self.lines.by_ref() {
            log.push(parsed(&line?).ok_or_else(|| failed("a node wrote no log"))?);
        }
        match self.child.wait()?.success() {
            true => Ok(log),
            false => Err(failed("a node failed")),
        }
    }
}

impl Drop for NodeProcess {
    /// What failed must not leave a process behind; one that has ended is only waited for.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(line: &str) -> Option<Began> {
    let mut words = line.split(' ');
    let job = words.next()?.parse().ok()?;
    let due_ms = words.next()?.parse().ok()?;
    Some(Began { job, due_ms, late_us: words.next()?.parse().ok()? })
}

/// A node process: says that it is ready, works until its input ends, writes its log.
fn serve(directory: &Path) -> io::Result<()> {
    let ahead = std::env::var(NODE_AHEAD).ok().and_then(|millis| millis.parse().ok());
    let ahead = Duration::from_millis(ahead.ok_or_else(|| failed("not told when to claim"))?);
    let (runtime, log) = (runtime()?, Log::default());
    let mut stdout = io::stdout().lock();
    let node = runtime.block_on(async {
        let node = start(Registry::embedded(directory), &log, ahead).map_err(failed)?;
        served(&node).await?;
        Ok::<_, io::Error>(node)
    })?;
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    runtime.block_on(node.shutdown()).map_err(failed)?;
    for Began { job, due_ms, late_us } in &*log.lock().unwrap_or_else(PoisonError::into_inner) {
        writeln!(stdout, "{job} {due_ms} {late_us}")?;
    }
    stdout.flush()
}

/// The same jobs on a scheduler that claims nothing, for comparison.
pub(crate) fn other(out: &mut dyn Write) -> io::Result<()> {
    use tokio_cron_scheduler::{Job, JobScheduler};
    let (runtime, log) = (runtime()?, Log::default());
    let period = PERIOD.as_secs();
    let due = runtime.block_on(async {
        let mut scheduler = JobScheduler::new().await.map_err(failed)?;
        for number in 0..JOBS {
            let log = Arc::clone(&log);
            let job = Job::new_async(format!("0/{period} * * * * *"), move |_, _| {
                let now = now_us();
                // It does not say when a run was due: at the last whole multiple of the period.
                let due_ms = now / 1000 / period_ms() * period_ms();
                let began = Began { job: number, due_ms, late_us: now - due_ms * 1000 };
                log.lock().unwrap_or_else(PoisonError::into_inner).push(began);
                Box::pin(async {})
            });
            scheduler.add(job.map_err(failed)?).await.map_err(failed)?;
        }
        scheduler.start().await.map_err(failed)?;
        let due = measured_due(Duration::from_secs(3));
        let ahead = u64::try_from(due - now_us() / 1000).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(ahead) + SETTLED).await;
        scheduler.shutdown().await.map_err(failed)?;
        Ok::<_, io::Error>(due)
    })?;
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    tell(out, "lateness_tokio_cron_scheduler", &log, due, None)
}

/// Prints what one fire says: how late, and what was lost or doubled.
fn tell(
    out: &mut dyn Write,
    name: &str,
    log: &[Began],
    due: i64,
    goal_ms: Option<u32>,
) -> io::Result<()> {
    let mut starts = BTreeMap::<(usize, i64), u32>::new();
    for began in log {
        *starts.entry((began.job, began.due_ms)).or_default() += 1;
    }
    let doubled = starts.values().filter(|count| **count > 1).count();
    let ran = starts.keys().filter(|(_, at)| *at == due).count();
    let late = sorted_lateness(log, due);
    let first = sorted_lateness(log, due - WARMING * period_ms());
    let millis = |us: i64| us as f64 / 1000.0;
    writeln!(out, "figure {name}_p50 {:.1} ms", millis(quantile(&late, 500)))?;
    let goal = goal_ms.map(|goal| format!(" goal <= {goal}")).unwrap_or_default();
    writeln!(out, "figure {name}_p99 {:.1} ms{goal}", millis(quantile(&late, 990)))?;
    writeln!(out, "figure {name}_max {:.1} ms", millis(late.last().copied().unwrap_or(i64::MAX)))?;
    writeln!(out, "figure {name}_first_fire_p99 {:.1} ms", millis(quantile(&first, 990)))?;
    let must = if goal_ms.is_some() { " goal <= 0" } else { "" };
    writeln!(out, "figure {name}_lost {} runs{must}", JOBS - ran)?;
    writeln!(out, "figure {name}_doubled {doubled} runs{must}")
}

fn sorted_lateness(log: &[Began], due: i64) -> Vec<i64> {
    let of_fire = log.iter().filter(|began| began.due_ms == due);
    let mut late: Vec<i64> = of_fire.map(|began| began.late_us).collect();
    late.sort_unstable();
    late
}

fn quantile(sorted: &[i64], per_mille: usize) -> i64 {
    sorted.get(sorted.len() * per_mille / 1000).copied().unwrap_or(i64::MAX)
}
