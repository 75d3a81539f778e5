//! What joining a job with very many shards costs the job beside it, on an embedded registry: fires of the
//! small one that did not run, and how late those began that did.

use flockwork::{Context, Job, Node, Registry, Report, Told};
use std::io::{self, Write};
use std::time::{Duration, Instant};

const SHARDS: u32 = 100_000;
const PERIOD: Duration = Duration::from_millis(500);
/// How long it may take until each shard has its instance.
const BOUND: Duration = Duration::from_mins(5);

/// What was seen of the small job while the huge one was joined.
#[derive(Debug, Default)]
struct Seen {
    lost: u64,
    latest: Duration,
    /// How many shards of the huge one have their instance.
    dealt: usize,
}

impl Seen {
    fn note(&mut self, report: &Report) {
        match report {
            Report::Started { run, late } if run.job.as_str() == "small" => {
                self.latest = self.latest.max(*late);
            }
            Report::Accounted(it) if it.job.as_str() == "small" && it.fate.as_str() != "ran" => {
                self.lost += it.fires;
            }
            Report::Assigned { job, moved, .. } if job.as_str() == "huge" => self.dealt += moved,
            _ => {}
        }
    }
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

async fn join(directory: &std::path::Path) -> io::Result<(Seen, Duration)> {
    let nothing = async |_: Context| Ok::<_, io::Error>(());
    let node = Node::builder()
        .registry(Registry::embedded(directory))
        .job(Job::every("huge", Duration::from_hours(1)).shards(SHARDS), nothing)
        .job(Job::every("small", PERIOD), nothing)
        .start()
        .map_err(failed)?;
    let mut reports = node.handle().subscribe();
    let (began, mut seen) = (Instant::now(), Seen::default());
    while seen.dealt < SHARDS as usize {
        let left = BOUND.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, reports.recv()).await {
            Ok(Some(Told::Report(reported))) => seen.note(&reported.report),
            Ok(Some(Told::Lost(_))) => return Err(failed("reports were lost")),
            Ok(None) => return Err(failed("the node has stopped")),
            Err(_) => {
                return Err(failed(format!("{} of {SHARDS} shards after {BOUND:?}", seen.dealt)));
            }
        }
    }
    let took = began.elapsed();
    node.shutdown().await.map_err(failed)?;
    Ok((seen, took))
}

/// Prints the figures of both jobs.
pub(crate) fn run(out: &mut dyn Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let (seen, took) = runtime.block_on(join(directory.path()))?;
    writeln!(out, "figure joining_huge {:.1} s", took.as_secs_f64())?;
    writeln!(out, "figure joining_fires_lost_beside {} fires goal <= 0", seen.lost)?;
    writeln!(out, "figure joining_latest_beside {} ms goal <= 250", seen.latest.as_millis())
}
