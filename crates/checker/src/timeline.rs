//! A trace for people: what each line says, in one line.

use crate::trace::{Call, Fact, Fault, Line, Record};

/// What a line says; none if it is of another job than the `only` one, or says nothing to people.
#[must_use]
pub fn told(line: &Line, only: Option<&str>) -> Option<String> {
    let wanted = |job: &str| only.is_none_or(|only| only == job);
    Some(match &line.fact {
        Fact::Job(job) if wanted(&job.job) => {
            let who = job.node.map_or_else(|| "someone".to_owned(), |node| format!("n{node}"));
            format!("{who} is given {} {:?} x{}", job.job, job.schedule, job.shards)
        }
        Fact::Script { node, job, can } if wanted(job) => {
            let can = if *can { "can" } else { "cannot" };
            format!("n{node} {can} start the script of {job}")
        }
        Fact::Withdraw { node, job } if wanted(job) => format!("n{node} is to leave {job}"),
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
        Fact::Unseen(what) => format!("the trace does not show {}", what.words()),
        Fact::Healed => "HEALED".to_owned(),
        Fact::Over { wall } => format!("OVER at wall {wall}"),
        fact => return of_listener(fact, wanted),
    })
}

/// What a line says of a job's listener.
fn of_listener(fact: &Fact, wanted: impl Fn(&str) -> bool) -> Option<String> {
    Some(match fact {
        Fact::Stage(change) if wanted(&change.job) => format!(
            "@{} s{} {} through {} asked {} answered {} {:?}",
            change.index,
            change.session,
            change.job,
            change.through,
            change.asked,
            change.answered,
            change.stage
        ),
        Fact::CallBegins(call) if wanted(&call.job) => {
            format!(
                "n{} CALLS {} attempt {} epoch {}",
                call.node,
                called(call),
                call.attempt,
                call.epoch
            )
        }
        Fact::CallStopped(call) if wanted(&call.job) => {
            format!("n{} TELLS {} to stop", call.node, called(call))
        }
        Fact::CallEnds { call, code } if wanted(&call.job) => {
            format!("n{} RETURNS {} {code}", call.node, called(call))
        }
        _ => return None,
    })
}

fn called(call: &Call) -> String {
    format!("{:?} of {} {:?}", call.part, call.job, call.fire)
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
        record.watermark,
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
