//! ElasticJob's job definition: the YAML in `/{namespace}/{job}/config`.
//!
//! What ElasticJob has a key for stands under that key; what only this scheduler knows stands in
//! `props` under `flockwork.`, which ElasticJob keeps and passes over. Java nodes refuse unknown
//! keys, so none are ever added; those that are found are kept.

mod read;
mod scalar;
mod verbatim;
mod write;

pub use read::draft_of;
pub use write::encode;

use crate::yaml;
use flockwork_core::config::{Checked, Code, Draft, Level, Problem, check};
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;

/// The version of the properties that start with `flockwork.`.
pub const SCHEMA: u32 = 1;
/// What precedes the properties of this scheduler.
pub const PREFIX: &str = "flockwork.";

/// What a definition is read with.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The job's name: that of its node.
    pub name: &'a JobName,
    /// What stands in the job's node; empty if nothing does.
    pub implementation: &'a str,
    /// The zone of a cron expression that names none: ElasticJob takes that of the process.
    pub default_zone: Option<&'a str>,
    /// What time it is, for what will never be due again.
    pub now: Timestamp,
}

/// Reads a stored definition at the ElasticJob level. Never panics, whatever the bytes are; without
/// a job it says why.
#[must_use]
pub fn decode(bytes: &[u8], reading: Reading<'_>) -> Checked {
    let (draft, mut problems) = match read(bytes) {
        Ok(read) => read,
        Err(problem) => return Checked { config: None, problems: vec![problem] },
    };
    if let Some(problem) = misplaced(&draft, reading.name) {
        problems.push(problem);
    }
    let implementation = Some(reading.implementation.to_owned());
    let default_zone = reading.default_zone.map(str::to_owned);
    let draft = Draft { implementation, default_zone, ..draft };
    let mut checked = check(&draft, Level::ElasticJob, reading.now);
    if problems.iter().any(Problem::is_error) {
        checked.config = None;
    }
    problems.append(&mut checked.problems);
    Checked { config: checked.config, problems }
}

fn read(bytes: &[u8]) -> Result<(Draft, Vec<Problem>), Problem> {
    let document = yaml::parse(yaml::text_of(bytes)?)?;
    match &document.root {
        Some(root) if !root.is_null() => draft_of(&document, root, ""),
        _ => Err(Problem::error(Code::Required, "", "the definition is empty")),
    }
}

/// A definition under another job's node would run under one name and be shown under the other.
fn misplaced(draft: &Draft, node: &JobName) -> Option<Problem> {
    let written = draft.name.as_deref().filter(|name| *name != node.as_str())?;
    let message = format!("the definition of another job stands in the node of {node}");
    Some(Problem::error(Code::Conflict, "jobName", message).with_value(written))
}

#[cfg(test)]
mod tests;
