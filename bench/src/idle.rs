//! What a node costs while nothing is due: its processor time over a minute, with very many jobs.
//!
//! A whole node, engine and registry included, holds the jobs; the time counts once it serves them
//! all. What wakes it then is its own clock watch, once a second, whatever the number of jobs.

use flockwork::{BoxError, Context, Job, MemoryRegistry, Node, Registry};
use std::io::{self, Write};
use std::time::Duration;

/// As many as a process can join in a minute or so. The queue's cost while idle does not depend on
/// its length.
const JOBS: usize = 200_000;

/// What joining left to do is done by then.
const SETTLED: Duration = Duration::from_secs(10);

/// How long nothing is due.
const IDLE: Duration = Duration::from_mins(1);

/// How long the node may take until it serves all jobs.
const READY_BOUND: Duration = Duration::from_secs(300);

/// Prints the figures of idleness.
pub(crate) fn run(out: &mut dyn Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = start().map_err(failed)?;
        served(&node).await?;
        tokio::time::sleep(SETTLED).await;
        let before = processor();
        tokio::time::sleep(IDLE).await;
        let share = (processor() - before).as_secs_f64() / IDLE.as_secs_f64();
        node.shutdown().await.map_err(failed)?;
        writeln!(out, "figure idle_processor_{JOBS}_jobs {:.3} % goal <= 1", share * 100.0)
    })
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// None of the jobs is due before the year 2090.
fn start() -> Result<Node, flockwork::Error> {
    let registry = Registry::shared(&MemoryRegistry::default());
    let builder = Node::builder().registry(registry).namespace("bench");
    let builder = (0..JOBS).fold(builder, |builder, number| {
        let (second, minute, hour) = (number % 60, number / 60 % 60, number / 3_600 % 24);
        let cron = format!("{second} {minute} {hour} 1 1 ? 2090");
        builder.job(Job::cron(&format!("job-{number}"), &cron), |_: Context| async {
            Ok::<_, BoxError>(())
        })
    });
    builder.start()
}

async fn served(node: &Node) -> io::Result<()> {
    let until = tokio::time::Instant::now() + READY_BOUND;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let Ok(status) = node.handle().status().await else { continue };
        if status.jobs.iter().filter(|job| job.shards.iter().any(|s| s.owner.is_some())).count()
            == JOBS
        {
            return Ok(());
        }
    }
    Err(failed(format!("not all of {JOBS} jobs are served after {READY_BOUND:?}")))
}

/// Processor time of the whole process.
fn processor() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
