//! A seed's story for people.

use crate::outcome::Outcome;
use flockwork_checker::trace::{Fact, Fault, Line, Record};
use std::fmt::Write;

/// Writes a seed's story, a line for each thing that happened; of one job alone, if asked to.
///
/// # Errors
/// What the writer says.
pub fn write(outcome: &Outcome, job: Option<&str>, out: &mut impl Write) -> std::fmt::Result {
    let mut said = outcome.said.iter().peekable();
    for (number, line) in outcome.trace.iter().enumerate() {
        while let Some((at, host, text)) = said.next_if(|(at, ..)| *at <= line.at) {
            if job.is_none_or(|job| text.contains(job)) {
                writeln!(out, "        {:>9.3} n{host}   {text}", seconds(*at))?;
            }
        }
        if let Some(text) = told(line, job) {
            writeln!(out, "{number:>7} {:>9.3} {text}", seconds(line.at))?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people; a seed lasts minutes")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

fn told(line: &Line, only: Option<&str>) -> Option<String> {
    let wanted = |job: &str| only.is_none_or(|only| only == job);
    Some(match &line.fact {
        Fact::Job(job) if wanted(&job.job) => {
            format!("define {} {:?} x{}", job.job, job.schedule, job.shards)
        }
        Fact::Node { node, instance, .. } => format!("n{node} starts as {instance}"),
        Fact::Drain { node } => format!("n{node} is told to stop"),
        Fact::Exit { node, instance } => format!("n{node} has left everything as {instance}"),
        Fact::Clock { node, offset, drift } => {
            format!("n{node} CLOCK is {offset} ms ahead, runs {drift} millionths fast")
        }
        Fact::Config(config) if wanted(&config.job) => format!(
            "@{} s{} {} definition {}",
            config.index,
            config.session,
            config.job,
            config.document.as_ref().map_or("removed", |_| "written")
        ),
        Fact::Plan(plan) if wanted(&plan.job) => format!(
            "@{} plan {} {:?} x{} since {:?}",
            plan.index, plan.job, plan.schedule, plan.shards, plan.spans
        ),
        Fact::Mark(mark) if wanted(&mark.job) => format!(
            "@{} s{} {} {:?} = {:?}",
            mark.index, mark.session, mark.job, mark.about, mark.value
        ),
        Fact::Record(change) if wanted(&change.job) => format!(
            "@{} s{} {}/{} {} -> {}",
            change.index,
            change.session,
            change.job,
            change.shard,
            shown(change.old.as_ref()),
            shown(change.new.as_ref())
        ),
        Fact::Start(probe) if wanted(&probe.job) => format!(
            "n{} START {}/{} {:?} attempt {} epoch {}",
            probe.node, probe.job, probe.shard, probe.fire, probe.attempt, probe.epoch
        ),
        Fact::End { probe, code } if wanted(&probe.job) => format!(
            "n{} END {}/{} epoch {} {code}",
            probe.node, probe.job, probe.shard, probe.epoch
        ),
        Fact::Fault(Fault::Slow { .. }) | Fact::Trust { .. } => return None,
        Fact::Distrust { node } => format!("n{node} is told: not proven"),
        Fact::Fault(fault) => format!("FAULT {fault:?}"),
        Fact::Healed => "HEALED".to_owned(),
        Fact::Over { wall } => format!("OVER at wall {wall}"),
        _ => return None,
    })
}

fn shown(record: Option<&Record>) -> String {
    let Some(record) = record else { return "none".to_owned() };
    let claim = record.claim.as_ref().map_or_else(
        || "free".to_owned(),
        |claim| {
            let state = claim.released.as_ref().map_or("held".to_owned(), |to| format!("to {to}"));
            format!(
                "{state} by {}#{} due {} {} attempt {}",
                claim.instance, claim.nonce, claim.fire.due, claim.fire.source, claim.attempt
            )
        },
    );
    let c = &record.counts;
    format!(
        "[..{} {claim}; ran {} trig {} misf {} skip {} miss {}; ok {} fail {} crash {}]",
        record.through,
        c.ran,
        c.triggered,
        c.misfired,
        c.skipped,
        c.missed,
        c.ok,
        c.failed,
        c.crashed
    )
}
