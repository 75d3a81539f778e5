//! A job in ElasticJob's words, in a file.

use super::{ELASTICJOB_FORMAT, ReadJob, Reading};
use crate::document::draft_of;
use crate::yaml::{Content, Document, Node};
use flockwork_core::config::{Code, Draft, Level, Problem, check};

/// What names the implementation beside ElasticJob's keys, since their documents do not.
const IMPLEMENTATION: &str = "implementation";

/// Reads `value`; under a key of a file it has that name, else `jobName` names it.
pub(super) fn job(
    document: &Document,
    value: &Node,
    name: Option<&str>,
    reading: Reading<'_>,
    place: &str,
) -> ReadJob {
    let inner =
        |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    if let Some(problem) = bad_format(value, &inner("format")) {
        return (None, vec![problem]);
    }
    let (own, theirs) = parted(value);
    let (draft, mut problems) = match draft_of(document, &theirs, place) {
        Ok(read) => read,
        Err(problem) => return (None, vec![problem]),
    };
    if let (Some(name), Some(written)) =
        (name, draft.name.as_deref().filter(|written| Some(*written) != name))
    {
        let message = format!("jobName contradicts the key {name}");
        let problem = Problem::error(Code::Conflict, inner("jobName"), message).with_value(written);
        let position = draft.positions.get("jobName").copied();
        problems.push(problem.at(position).with_hint("remove jobName"));
    }
    let draft = named(draft, name, own.as_deref(), reading);
    let mut checked = check(&draft, Level::ElasticJob, reading.now);
    let refused = problems.iter().any(Problem::is_error);
    problems.append(&mut checked.problems);
    (checked.config.filter(|_| !refused), problems)
}

/// A document by itself does not say what its job is: one with a command line is a script.
fn named(
    draft: Draft,
    name: Option<&str>,
    implementation: Option<&str>,
    reading: Reading<'_>,
) -> Draft {
    let script = draft.command_line.is_some() || draft.script.is_some();
    let implementation = implementation.or(script.then_some("SCRIPT")).map(str::to_owned);
    let name = name.map(str::to_owned).or_else(|| draft.name.clone());
    let default_zone = reading.default_zone.map(str::to_owned);
    Draft { name, implementation, default_zone, ..draft }
}

fn bad_format(value: &Node, place: &str) -> Option<Problem> {
    let format = value.get("format")?;
    let text = format.scalar().map_or("", |scalar| scalar.text.as_str());
    (text != ELASTICJOB_FORMAT).then(|| {
        let problem = Problem::error(Code::ValueUnknown, place, "not a known format");
        let hint = format!("write {ELASTICJOB_FORMAT}, or remove the key");
        problem.with_value(text).with_hint(hint).at(Some(format.position))
    })
}

/// The implementation, and the entries that are ElasticJob's.
fn parted(value: &Node) -> (Option<String>, Node) {
    let mut theirs = value.clone();
    let own = value.get(IMPLEMENTATION).and_then(Node::scalar).map(|scalar| scalar.text.clone());
    if let Content::Map(entries) = &mut theirs.content {
        let is_own = |key: &Node| {
            key.scalar()
                .is_some_and(|scalar| matches!(scalar.text.as_str(), "format" | IMPLEMENTATION))
        };
        entries.retain(|(key, _)| !is_own(key));
    }
    (own, theirs)
}
