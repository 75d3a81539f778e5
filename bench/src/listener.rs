//! What a listener costs: commits of a whole job over three nodes of one program, per fire, with a listener
//! and without one, one after the other.

use flockwork::{Context, Job, Listener, MemoryRegistry, Node, Registry};
use std::io::Write;
use std::time::Duration;

const NODES: usize = 3;
const SHARDS: u32 = 6;
const PERIOD: Duration = Duration::from_millis(500);
/// How long the nodes have to share the shards before anything is counted.
const SETTLED: Duration = Duration::from_secs(3);
const COUNTED: Duration = Duration::from_secs(20);

/// Does nothing, as what it does costs no commits.
struct Nothing;

impl Listener for Nothing {}

/// Commits, and runs of shards, of all nodes.
fn sums(nodes: &[Node]) -> (u64, u64) {
    let numbers = nodes.iter().map(|node| node.handle().metrics().numbers());
    numbers.fold((0, 0), |(commits, runs), numbers| {
        (commits + numbers.commits.count, runs + numbers.runs.values().sum::<u64>())
    })
}

/// Commits for one fire of the whole job.
async fn commits_a_fire(listens: bool) -> std::io::Result<f64> {
    let registry = MemoryRegistry::default();
    let job = || {
        let job = Job::every("j", PERIOD).shards(SHARDS);
        if listens { job.listener(Nothing) } else { job }
    };
    let started: Result<Vec<Node>, _> = (0..NODES)
        .map(|_| {
            let node = Node::builder().registry(Registry::shared(&registry));
            node.job(job(), async |_: Context| Ok::<_, std::io::Error>(())).start()
        })
        .collect();
    let nodes = started.map_err(std::io::Error::other)?;
    tokio::time::sleep(SETTLED).await;
    let before = sums(&nodes);
    tokio::time::sleep(COUNTED).await;
    let after = sums(&nodes);
    for node in nodes {
        node.shutdown().await.map_err(std::io::Error::other)?;
    }
    let fires = (after.1 - before.1) as f64 / f64::from(SHARDS);
    Ok((after.0 - before.0) as f64 / fires)
}

pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let without = runtime.block_on(commits_a_fire(false))?;
    let with = runtime.block_on(commits_a_fire(true))?;
    writeln!(out, "figure listener_commits_without {without:.2} commits/fire")?;
    writeln!(out, "figure listener_commits_with {with:.2} commits/fire")?;
    // Fires that begin or end at the edges of the time that is counted are counted in part.
    let more = with - without;
    writeln!(out, "figure listener_commits_more {more:.2} commits/fire goal <= 1.1")?;
    Ok(())
}
