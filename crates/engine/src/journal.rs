//! What happened, as log lines by `tracing`: each with the job, shard, fire, attempt and epoch it is
//! about, as fields of those names.

use crate::report::{Reported, Reporter};
use flockwork_core::account::Fate;
use flockwork_core::execution::{Outcome, Part, Run};
use flockwork_core::id::InstanceId;
use flockwork_core::time::Timestamp;
use flockwork_node::{Account, Report};
use std::time::Duration;
use tracing::{debug, info, warn};

/// Writes each report to the program's log, under the target `flockwork`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Journal;

/// One log line about a run.
macro_rules! about {
    ($level:ident, $run:expr, $($rest:tt)*) => {
        $level!(
            target: "flockwork",
            job = %$run.job,
            shard = $run.shard,
            fire = %$run.fire.due,
            source = $run.fire.source.as_str(),
            attempt = $run.attempt,
            epoch = $run.epoch.0,
            $($rest)*
        )
    };
}

impl Reporter for Journal {
    fn report(&mut self, reported: &Reported) {
        match &reported.report {
            Report::Started { run, late } => {
                about!(info, run, late_ms = millis(*late), "started");
            }
            Report::Ended { run, outcome, took, retry } => {
                ended(run, outcome, *took, retry.as_ref())
            }
            Report::Superseded { run, outcome } => about!(
                warn,
                run,
                outcome = outcome.ending.code(),
                "ended after its shard was taken elsewhere; this outcome counts for nothing"
            ),
            Report::Overdue(run) => overdue(run),
            Report::Accounted(account) => accounted(account),
            other => about_jobs(other),
        }
    }
}

fn ended(run: &Run, outcome: &Outcome, took: Duration, retry: Option<&(InstanceId, Timestamp)>) {
    let (code, took_ms) = (outcome.ending.code(), millis(took));
    let (rows, bytes) = (outcome.rows, outcome.bytes);
    if outcome.ending.is_success() {
        return about!(info, run, outcome = code, took_ms, rows, bytes, "ended");
    }
    let (ending, tail) = (&outcome.ending, outcome.output_tail.as_str());
    match retry {
        Some((instance, at)) => about!(
            warn,
            run,
            outcome = code,
            took_ms,
            rows,
            bytes,
            output = tail,
            "failed ({ending}); again on {instance} at {at}"
        ),
        None => about!(
            warn,
            run,
            outcome = code,
            took_ms,
            rows,
            bytes,
            output = tail,
            "failed ({ending})"
        ),
    }
}

fn overdue(run: &Run) {
    match run.part {
        Part::Shard => about!(warn, run, "does not stop though it was told to; its claim stays"),
        part @ (Part::Before | Part::After) => warn!(
            target: "flockwork",
            job = %run.job,
            part = part.as_str(),
            fire = %run.fire.due,
            attempt = run.attempt,
            epoch = run.epoch.0,
            "the listener does not stop though it was told to; the job's fires wait for it"
        ),
    }
}

fn accounted(account: &Account) {
    let Account { job, shard, fate, reason, fires, first, last } = account;
    let reason = reason.code();
    macro_rules! line {
        ($level:ident) => {
            $level!(
                target: "flockwork",
                %job, shard, fire = %first, last = %last, fires, reason, "fires {}", fate.as_str()
            )
        };
    }
    match fate {
        // The run itself was told already.
        Fate::Ran => line!(debug),
        Fate::Misfired | Fate::Skipped | Fate::Missed | Fate::Withdrawn => line!(warn),
    }
}

fn about_jobs(report: &Report) {
    match report {
        Report::Serving { job, differences, applied: false } if !differences.is_empty() => warn!(
            target: "flockwork",
            %job, differences = differences.join("; "),
            "serving as the registry says, which differs from this node's definition"
        ),
        Report::Serving { job, differences, applied: true } if !differences.is_empty() => info!(
            target: "flockwork",
            %job, differences = differences.join("; "), "serving; the registry's definition was replaced"
        ),
        Report::Serving { job, .. } => info!(target: "flockwork", %job, "serving"),
        Report::Refused { job, code, text } => {
            warn!(target: "flockwork", %job, code, "not served: {text}");
        }
        Report::Left { job, why } => info!(target: "flockwork", %job, "left: {why}"),
        Report::Leading(job) => info!(target: "flockwork", %job, "leading: assigns its shards"),
        Report::Assigned { job, moved, instances } => {
            info!(target: "flockwork", %job, moved, instances, "shards assigned");
        }
        Report::FoundCrashed { job, shard, instance, taken } => warn!(
            target: "flockwork",
            %job, shard, %instance, taken, "its instance is gone while it ran"
        ),
        Report::Triggered { job, shards, refused } => info!(
            target: "flockwork", %job, shards, refused = refused.unwrap_or("none"), "asked to run now"
        ),
        Report::ClockAgrees(job) => {
            info!(target: "flockwork", %job, "this node's clock agrees with the registry's again");
        }
        Report::Trouble { job: Some(job), code, text } => {
            warn!(target: "flockwork", %job, code, "{text}");
        }
        other => about_session(other),
    }
}

fn about_session(report: &Report) {
    match report {
        Report::SessionLive(session) => {
            info!(target: "flockwork", %session, "session lives");
        }
        Report::SessionSuspended(why) => {
            warn!(target: "flockwork", "nothing new starts: session not proven: {why}");
        }
        Report::SessionEnded(session) => {
            warn!(target: "flockwork", %session, "session ended; joining again");
        }
        Report::Trouble { code, text, .. } => warn!(target: "flockwork", code, "{text}"),
        _ => {}
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
