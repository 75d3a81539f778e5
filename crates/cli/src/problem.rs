//! Problems with files and settings, as the lines people and scripts read.

use crate::fault::{Exit, Fault};
use crate::output;
use flockwork_core::config::Problem;

/// A problem and the file it is in, if it is in one.
pub(crate) type Placed = (Option<String>, Problem);

/// Tells of what is odd and not refused.
pub(crate) fn warn(problems: &[Placed]) {
    for (source, problem) in problems.iter().filter(|(_, problem)| !problem.is_error()) {
        output::complain(&fault(source.as_deref(), problem).warning());
    }
}

/// Tells of all that is refused but the last, and makes a fault of that.
pub(crate) fn refused(problems: &[Placed]) -> Fault {
    let mut faults: Vec<Fault> = problems
        .iter()
        .filter(|(_, problem)| problem.is_error())
        .map(|(source, problem)| fault(source.as_deref(), problem))
        .collect();
    let last = faults.pop();
    for fault in faults {
        output::complain(&fault.text());
    }
    last.unwrap_or_else(|| Fault::new(Exit::Invalid, "INVALID", "refused without a reason"))
}

/// `FILE:LINE:COLUMN: place: what is wrong: "value" (limit ...)`.
fn fault(source: Option<&str>, problem: &Problem) -> Fault {
    let mut message = String::new();
    if let Some(source) = source {
        message.push_str(source);
        if let Some(position) = problem.position {
            message.push_str(&format!(":{}:{}", position.line, position.column));
        }
        message.push_str(": ");
    }
    if !problem.place.is_empty() {
        message.push_str(&format!("{}: ", problem.place));
    }
    message.push_str(&problem.message);
    if let Some(value) = &problem.value {
        message.push_str(&format!(": \"{value}\""));
    }
    if let Some(limit) = &problem.limit {
        message.push_str(&format!(" (limit {limit})"));
    }
    let fault = Fault::new(Exit::Invalid, problem.code.as_str(), message);
    match &problem.hint {
        Some(hint) => fault.hint(&**hint),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::config::{Code, Position};

    #[test]
    fn a_problem_is_told_with_its_place() {
        let problem = Problem::error(Code::ShardsRange, "jobs.a.shards", "not a number of shards")
            .with_value("0")
            .with_limit("1 to 100000")
            .with_hint("write shards: 1")
            .at(Some(Position { line: 3, column: 11 }));
        assert_eq!(
            refused(&[(Some("a.yaml".into()), problem)]).text(),
            "error[SHARDS_RANGE]: a.yaml:3:11: jobs.a.shards: not a number of shards: \"0\" \
             (limit 1 to 100000)\nhint: write shards: 1\n"
        );
    }
}
