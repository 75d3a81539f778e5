//! Job files: what a node serves, and the node's own settings, in YAML.
//!
//! ```yaml
//! node:
//!   listen: 127.0.0.1:8087
//!   scripts:
//!     allow: [./hello.sh]
//! jobs:
//!   hello:
//!     cron: "0/5 * * * * ?"
//!     shards: 4
//!     script: [./hello.sh]
//!   legacy:
//!     format: elasticjob        # ElasticJob's own keys and meanings from here on
//!     cron: "0 0 2 * * ?"
//!     shardingTotalCount: 3
//! ```
//!
//! An ElasticJob document is a job file too: one with `jobName` at its top. Everything in a file is
//! refused if anything in it is, and all that is wrong is told at once.
//!
//! `${NAME}` in a value is replaced by the environment variable of that name, once; `$${` stands for
//! `${`. ElasticJob's documents are left as they are.

mod elastic;
mod job;
mod node;
mod positions;
mod reader;
mod substitute;

pub use job::normal_name;
pub use positions::Positions;

use crate::settings::Written;
use crate::yaml::{self, Document, Node};
use flockwork_core::config::{Code, JobConfig, Position, Problem, name_problem, shown};
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use reader::Reader;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The value of `format` for a job in ElasticJob's words.
pub const ELASTICJOB_FORMAT: &str = "elasticjob";

/// What a file is read with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// What the file is called in problems.
    pub source: &'a str,
    /// What time it is, for what will never be due again.
    pub now: Timestamp,
    /// The zone of ElasticJob's cron expressions that name none; UTC if absent.
    pub default_zone: Option<&'a str>,
    /// An environment variable by its name; none if it is not set or no text.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A job file.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is called.
    pub source: String,
    /// What it says about the node.
    pub node: Written,
    /// Its jobs, in their order; none if anything in the file is refused.
    pub jobs: Vec<JobConfig>,
    /// Where each job and its keys stand, those within `props` by their own names.
    pub positions: BTreeMap<JobName, Positions>,
    /// All that is wrong or worth knowing, in the order of the file.
    pub problems: Vec<Problem>,
}

impl File {
    /// Whether anything in it is refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// One line for each problem, each with the file's name in front.
    #[must_use]
    pub fn report(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let _ = writeln!(out, "{}: {problem}", shown(&self.source));
        }
        out
    }
}

/// Reads a file. Never panics, whatever the bytes are.
#[must_use]
pub fn read(bytes: &[u8], reading: Reading<'_>) -> File {
    let mut file = File {
        source: reading.source.to_owned(),
        node: Written::default(),
        jobs: Vec::new(),
        positions: BTreeMap::new(),
        problems: Vec::new(),
    };
    let document = match yaml::text_of(bytes).and_then(yaml::parse) {
        Ok(document) => document,
        Err(problem) => {
            file.problems.push(problem);
            return file;
        }
    };
    match document.root.clone() {
        Some(root) if !root.is_null() => contents(&document, root, reading, &mut file),
        _ => {
            let problem = Problem::error(Code::Required, "", "the file is empty: it has no jobs");
            file.problems.push(problem.into_warning());
        }
    }
    file.problems.sort_by_key(|problem| problem.position);
    if file.is_refused() {
        file.jobs.clear();
    }
    file
}

fn contents(document: &Document, mut root: Node, reading: Reading<'_>, file: &mut File) {
    if root.get("jobName").is_some() && root.get("jobs").is_none() {
        let read = elastic::job(document, &root, None, reading, "");
        take(file, read, &root);
        return;
    }
    let replaced = substitute::substitute(&mut root, reading.environment, &mut file.problems);
    native(document, &root, reading, file);
    for problem in &mut file.problems {
        if let Some(replaced) = problem.position.and_then(|position| replaced.get(&position)) {
            replaced.hide(problem);
        }
    }
}

fn native(document: &Document, root: &Node, reading: Reading<'_>, file: &mut File) {
    let mut reader = Reader::new("");
    let Some(entries) = reader.map("", root) else {
        file.problems.append(&mut reader.problems);
        return;
    };
    let mut jobs = None;
    for (key, name, value) in entries {
        match name.as_str() {
            "node" => file.node = node::node(value, &mut file.problems),
            "jobs" => jobs = Some(value),
            _ => reader.unknown(&name, key, &["node", "jobs"]),
        }
    }
    file.problems.append(&mut reader.problems);
    match jobs.filter(|jobs| !jobs.is_null()) {
        Some(jobs) => all_jobs(document, jobs, reading, file),
        None => {
            let problem = Problem::error(Code::Required, "jobs", "the file has no jobs");
            file.problems.push(problem.into_warning());
        }
    }
}

fn all_jobs(document: &Document, jobs: &Node, reading: Reading<'_>, file: &mut File) {
    let mut reader = Reader::new("");
    let entries = reader.map("jobs", jobs).unwrap_or_default();
    file.problems.append(&mut reader.problems);
    let mut names: BTreeMap<String, (String, Position)> = BTreeMap::new();
    for (key, name, value) in entries {
        let normal = normal_name(&name);
        let earlier = names.insert(normal.clone(), (name.clone(), key.position));
        if let Some((_, position)) = earlier.filter(|(other, _)| *other != name) {
            let message = format!("reads like the name at {position}");
            let problem = Problem::error(Code::NameConfusable, "jobs", message).with_value(&name);
            file.problems.push(problem.at(Some(key.position)));
        }
        if let Err(why) = JobName::new(&normal) {
            file.problems.push(name_problem(&name, &why, "jobs").at(Some(key.position)));
            continue;
        }
        let is_elastic = value.get("format").is_some();
        let place = format!("jobs.{normal}");
        let read = match is_elastic {
            true => elastic::job(document, value, Some(&normal), reading, &place),
            false => job::job(&normal, value, reading.now),
        };
        take(file, read, value);
    }
}

/// A job as far as it could be read, and what is wrong with it.
type ReadJob = (Option<JobConfig>, Vec<Problem>);

fn take(file: &mut File, (config, mut problems): ReadJob, value: &Node) {
    if let Some(config) = &config {
        file.positions.insert(config.name.clone(), Positions::of(value));
    }
    file.jobs.extend(config);
    file.problems.append(&mut problems);
}

#[cfg(test)]
mod tests;
