//! The jobs of a soak: of every shape, all of them running the probe.

use anyhow::{Result, ensure};
use flockwork_checker::committed::defined;
use flockwork_checker::trace::Job;
use flockwork_core::time::Timestamp;
use flockwork_layout::document;
use flockwork_layout::file::{self, Reading};
use std::path::{Path, PathBuf};

/// One job.
struct Shape {
    name: &'static str,
    /// When it is due, and all else that is not its work.
    says: &'static str,
    /// For how long it runs: seconds.
    seconds: &'static str,
    /// One run of so many fails; 0 for none.
    fails: u32,
}

const SHAPES: [Shape; 8] = [
    Shape {
        name: "steady",
        says: "every: 1s\n    shards: 2\n    failover: true",
        seconds: "0.1",
        fails: 0,
    },
    Shape {
        name: "plain",
        says: "cron: \"0/2 * * * * ?\"\n    shards: 3\n    failover: false",
        seconds: "0.3",
        fails: 0,
    },
    Shape {
        name: "failing",
        says: "every: 3s\n    shards: 2\n    failover: true\n    claim_ahead: 1s\n    retry: {times: 2, backoff: 500ms}",
        seconds: "0.2",
        fails: 3,
    },
    Shape {
        name: "long",
        says: "every: 5s\n    shards: 2\n    failover: true",
        seconds: "2.5",
        fails: 0,
    },
    Shape {
        name: "queueing",
        says: "every: 2s\n    overlap: queue\n    failover: true",
        seconds: "0.7",
        fails: 0,
    },
    Shape {
        name: "skipping",
        says: "every: 1s\n    overlap: skip\n    misfire: false\n    failover: true",
        seconds: "1.3",
        fails: 0,
    },
    Shape { name: "limited", says: "every: 4s\n    timeout: 2s", seconds: "20", fails: 0 },
    Shape {
        name: "wide",
        says: "cron: \"0/5 * * * * ?\"\n    shards: 8\n    failover: true\n    claim_ahead: 300ms",
        seconds: "0.05",
        fails: 0,
    },
];

/// A job file, and what it says in the trace's words.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The file.
    pub file: PathBuf,
    /// Its jobs.
    pub jobs: Vec<Job>,
}

/// Writes the file of a soak's jobs. The script writes to `probes`.
///
/// # Errors
/// If it cannot be written, or is refused.
pub fn write(directory: &Path, script: &Path, probes: &Path) -> Result<Jobs> {
    let (script, probes) = (script.display(), probes.display());
    let mut text = format!("node:\n  scripts:\n    allow: [{script}]\njobs:\n");
    for Shape { name, says, seconds, fails } in SHAPES {
        text += &format!(
            "  {name}:\n    {says}\n    script: [{script}, {probes}, \"{seconds}\", \"{fails}\"]\n"
        );
    }
    let file = directory.join("jobs.yaml");
    std::fs::write(&file, text)?;
    read(&file)
}

/// Reads a job file.
///
/// # Errors
/// If it cannot be read, or is refused.
pub fn read(path: &Path) -> Result<Jobs> {
    let reading = Reading {
        source: "jobs.yaml",
        now: Timestamp::from_millis(crate::clock::wall_millis()),
        default_zone: None,
        environment: &|_| None,
    };
    let read = file::read(&std::fs::read(path)?, reading);
    ensure!(!read.is_refused() && !read.jobs.is_empty(), "{}", read.report());
    let in_words = |config| Job { document: document::encode(config), ..defined(config) };
    Ok(Jobs { file: path.to_owned(), jobs: read.jobs.iter().map(in_words).collect() })
}
