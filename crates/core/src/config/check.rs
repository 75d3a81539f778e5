//! One validator, two levels. It reports all that is wrong at once, and builds a [`JobConfig`] only
//! if nothing is refused.

mod listening;
mod naming;
mod running;
mod sharding;
mod timing;

pub use listening::MAX_BEFORE_TIMEOUT;
pub use naming::name_problem;
pub use running::{DEFAULT_TIMEOUT, MAX_BACKOFF, MAX_CLAIM_AHEAD, MAX_RETRIES, MAX_TIMEOUT};
pub use sharding::PARAMETER_BYTES;
pub use timing::{MAX_EVERY, MIN_EVERY};

use super::field::{Field, Words};
use super::problem::{Code, Problem, nearest};
use super::{Draft, JobConfig, Kept};
use crate::time::Timestamp;
use std::time::Duration;

/// How strict the validator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Native files, command line and API: what is doubtful is refused.
    Strict,
    /// ElasticJob's documents: they mean what ElasticJob 3.0.5 makes of them. What the strict level
    /// refuses and ElasticJob takes becomes a warning with the same code.
    ElasticJob,
}

/// What the validator found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The job, if nothing was refused.
    pub config: Option<JobConfig>,
    /// All that is wrong or worth knowing, in the order of the fields.
    pub problems: Vec<Problem>,
}

/// Checks `draft` at `level`; `now` decides what will never be due again.
#[must_use]
pub fn check(draft: &Draft, level: Level, now: Timestamp) -> Checked {
    let mut report = Report { draft, level, problems: Vec::new() };
    let config = build(&mut report, now);
    let refused = report.problems.iter().any(Problem::is_error);
    Checked { config: config.filter(|_| !refused), problems: report.problems }
}

/// Every part is checked before the first missing one ends it, so that all problems are reported.
fn build(report: &mut Report<'_>, now: Timestamp) -> Option<JobConfig> {
    let draft = report.draft;
    let native = draft.words == Words::Native;
    let name = naming::name(report);
    let work = naming::work(report);
    let schedule = timing::schedule(report, now);
    let sharding = sharding::sharding(report);
    let handling = running::handling(report);
    let ahead = handling.as_ref().map(|handling| handling.claim_ahead);
    let listener = listening::listener(report, ahead);
    let clock = running::clock(report);
    let (name, work, schedule, listener) = (name?, work?, schedule?, listener?);
    let (sharding, handling, clock) = (sharding?, handling?, clock?);
    Some(JobConfig {
        implementation: work.implementation.unwrap_or_else(|| name.to_string()),
        name,
        work: work.work.into(),
        schedule: schedule.schedule,
        shards: sharding.shards,
        shard_parameters: sharding.parameters,
        job_parameter: sharding.job_parameter,
        misfire: handling.misfire,
        overlap: handling.overlap,
        catch_up: handling.catch_up,
        failover: handling.failover,
        retry: handling.retry,
        timeout: handling.timeout,
        claim_ahead: handling.claim_ahead,
        listener,
        on_session_loss: handling.on_session_loss,
        strategy: sharding.strategy,
        static_sharding: draft.static_sharding.unwrap_or(false),
        monitor_execution: draft.monitor_execution.unwrap_or(native),
        max_time_difference: clock.max_time_difference,
        reconcile_interval: clock.reconcile_interval,
        disabled: draft.disabled.unwrap_or(false),
        overwrite: draft.overwrite.unwrap_or(false),
        description: draft.description.clone().unwrap_or_default(),
        label: present(draft.label.as_ref()).cloned(),
        kept: Kept {
            error_handler: present(draft.error_handler.as_ref()).cloned(),
            listeners: draft.listeners.clone(),
            pool: draft.pool.clone(),
            extra_configurations: draft.extra_configurations.clone(),
            props: draft.props.clone(),
            strategy: sharding.kept_strategy,
            unknown: draft.unknown.clone(),
            no_time_zone: schedule.no_time_zone,
            failover_without_monitor: handling.failover_without_monitor,
            parameters: sharding.kept_parameters,
            command_line: work.kept_command_line,
        },
    })
}

/// Collects problems in the words of a draft.
struct Report<'a> {
    draft: &'a Draft,
    level: Level,
    problems: Vec<Problem>,
}

impl Report<'_> {
    /// A problem with `field`, not yet reported.
    fn problem(&self, field: Field, code: Code, message: impl Into<String>) -> Problem {
        Problem::error(code, self.draft.place_of(field), message).at(self.draft.position_of(field))
    }

    /// Reports what no level takes.
    fn refuse(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports what only the strict level refuses; whether this level goes on with it.
    fn object(&mut self, problem: Problem) -> bool {
        let tolerated = self.level == Level::ElasticJob;
        self.problems.push(if tolerated { problem.into_warning() } else { problem });
        tolerated
    }

    /// Reports what is worth knowing at every level.
    fn warn(&mut self, problem: Problem) {
        self.problems.push(problem.into_warning());
    }

    /// The place of another field, to name it in a message.
    fn key(&self, field: Field) -> &'static str {
        field.key(self.draft.words)
    }

    /// The word of `known` that `text` is; `default` if there is no text.
    fn word<T: Copy>(
        &mut self,
        field: Field,
        text: Option<&String>,
        known: &[(&'static str, T)],
        default: T,
    ) -> Option<T> {
        let Some(text) = text else { return Some(default) };
        if let Some((_, value)) = known.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let problem = self.problem(field, Code::ValueUnknown, "not a known word").with_value(text);
        self.refuse(problem.with_hint(suggestion(text, &words)));
        None
    }

    /// The duration that `text` is, between two bounds.
    fn duration(
        &mut self,
        field: Field,
        text: &str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        use crate::duration::{format, parse};
        let bounds = format!("{} to {}", format(least), format(most));
        let why = match parse(text) {
            Ok(duration) if (least..=most).contains(&duration) => return Some(duration),
            Ok(duration) if duration < least => "too short a duration".to_owned(),
            Ok(_) => "too long a duration".to_owned(),
            Err(why) => why.to_string(),
        };
        let problem = self.problem(field, Code::Duration, why).with_value(text).with_limit(bounds);
        self.refuse(problem.with_hint("write whole numbers with units d, h, m, s, ms, e.g. 1h30m"));
        None
    }
}

/// `did you mean X?` and all that is known.
fn suggestion(text: &str, words: &[&str]) -> String {
    let all = words.join(", ");
    match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean {word}? known are {all}"),
        None => format!("known are {all}"),
    }
}

/// An empty text is an absent one: ElasticJob's XML configuration writes them.
fn present(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
