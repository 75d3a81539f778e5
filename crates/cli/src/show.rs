//! Jobs as text for people and as JSON for programs.

use crate::clock;
use crate::live::duration;
use crate::output::{escaped, table};
use flockwork_admin::{ClockRow, IneligibleRow, JobDetail, JobRow, ShardRow};
use flockwork_core::account::{Claim, ClaimState, Last};
use flockwork_core::config::duration as period;
use flockwork_core::schedule::{Once, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::clock::difference;
use flockwork_layout::ineligible::Reason;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// A schedule as people write it.
pub(crate) fn schedule(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Cron(cron) => format!("{} ({})", cron.expression(), cron.zone()),
        Schedule::Every(every) => {
            format!("every {}", period::format(Duration::from_millis(every.period_ms)))
        }
        Schedule::Once(Once::Now) => "once, as soon as it exists".to_owned(),
        Schedule::Once(Once::At(instant)) => format!("once, at {instant}"),
        Schedule::OnTrigger => "when triggered".to_owned(),
    }
}

/// One job of a list.
pub(crate) fn cells(row: &JobRow, now: Timestamp) -> Vec<String> {
    let next = row.next.map(|due| format!("{due} ({})", clock::relative(due, now)));
    let count = |number: Option<u32>| number.map_or("?".to_owned(), |number| number.to_string());
    vec![
        row.name.to_string(),
        status(row),
        row.schedule.as_ref().map_or("?".to_owned(), |when| escaped(&schedule(when))),
        count(row.shards),
        row.instances.to_string(),
        next.unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A job's state, with what it waits for by name.
fn status(row: &JobRow) -> String {
    let why: Vec<_> = IneligibleRow::codes(&row.ineligible).into_iter().map(escaped).collect();
    match why.is_empty() {
        true => row.health.code().to_owned(),
        false => format!("{}: {}", row.health.code(), why.join(", ")),
    }
}

/// All jobs, an array.
pub(crate) fn json_list(rows: &[JobRow]) -> String {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name.as_str(),
                "status": row.health.code(),
                "reasons": IneligibleRow::codes(&row.ineligible),
                "schedule": row.schedule.as_ref().map(schedule),
                "description": row.description,
                "shards": row.shards,
                "instances": row.instances,
                "next": row.next.map(|due| due.to_string()),
            })
        })
        .collect();
    format!("{}\n", Value::from(rows))
}

/// One job in full.
pub(crate) fn json_detail(job: &JobDetail, now: Timestamp) -> String {
    let text =
        |instants: &[Timestamp]| instants.iter().map(ToString::to_string).collect::<Vec<_>>();
    let servers = job.servers.iter();
    let servers: Vec<Value> = servers
        .map(|server| json!({ "address": server.ip, "enabled": server.is_enabled }))
        .collect();
    let config = job.definition.config.as_ref();
    let value = json!({
        "name": job.name.as_str(),
        "status": job.health.code(),
        "schedule": config.map(|config| schedule(&config.schedule)),
        "description": config.map(|config| config.description.as_str()),
        "problems": job.definition.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "next": text(&job.next),
        "servers": servers,
        "instances": job.instances.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "leader": job.leader.as_ref().map(ToString::to_string),
        "clocks": job.clocks.iter().map(json_clock).collect::<Vec<_>>(),
        "ineligible": job.ineligible.iter().map(json_ineligible).collect::<Vec<_>>(),
        "shards": job.shards.iter().map(|shard| json_shard(job, shard, now)).collect::<Vec<_>>(),
    });
    format!("{value}\n")
}

fn json_shard(job: &JobDetail, shard: &ShardRow, now: Timestamp) -> Value {
    let parameter = parameter(job, shard);
    let last = shard.last.as_ref().map(|last| {
        json!({
            "fire": last.fire.due.to_string(),
            "source": last.fire.source.as_str(),
            "attempt": last.attempt,
            "instance": last.instance.as_str(),
            "started": last.started.to_string(),
            "ended": last.ended.to_string(),
            "outcome": last.code,
            "text": last.text,
            "output_tail": last.output_tail,
            "rows": last.rows,
            "bytes": last.bytes,
        })
    });
    let run = shard.claim.as_ref().map(|claim| {
        json!({
            "fire": claim.fire.due.to_string(),
            "attempt": claim.attempt,
            "instance": claim.instance.as_str(),
            "since": claim.begins().to_string(),
            "ahead": now < claim.begins(),
            "released": matches!(claim.state, ClaimState::Released { .. }),
            "overdue": job.is_overdue(shard, now),
        })
    });
    let counts = shard.counts;
    json!({
        "shard": shard.shard,
        "parameter": parameter,
        "status": shard.health.code(),
        "owner": shard.owner.as_ref().map(ToString::to_string),
        "failover": shard.is_failover,
        "run": run,
        "last": last,
        "fires": {
            "ran": counts.ran, "triggered": counts.triggered, "misfired": counts.misfired,
            "skipped": counts.skipped, "missed": counts.missed,
        },
        "runs": {
            "ok": counts.succeeded, "failed": counts.failed, "crashed": counts.crashed,
        },
        "trouble": shard.trouble,
    })
}

fn parameter<'a>(job: &'a JobDetail, shard: &ShardRow) -> Option<&'a str> {
    job.definition.config.as_ref()?.shard_parameters.get(&shard.shard).map(String::as_str)
}

/// One job in full, as a page of text. `is_raw` leaves the control characters in outputs.
pub(crate) fn detail(job: &JobDetail, now: Timestamp, is_raw: bool) -> String {
    let mut text = format!("{}: {}, {}\n", job.name, job.health.code(), job.health.about());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{}", escaped(value));
    };
    if let Some(config) = &job.definition.config {
        line("schedule", &schedule(&config.schedule));
        if !config.description.is_empty() {
            line("description", &config.description);
        }
    }
    for due in &job.next {
        line("next", &format!("{due} ({})", clock::relative(*due, now)));
    }
    for server in &job.servers {
        let state = if server.is_enabled { "enabled" } else { "disabled" };
        line("server", &format!("{} {state}", server.ip));
    }
    for instance in &job.instances {
        let leads =
            if job.leader.as_ref() == Some(instance) { " (assigns the shards)" } else { "" };
        line("instance", &format!("{instance}{leads}"));
    }
    for row in &job.clocks {
        if let Some(text) = clock_differs(row) {
            line("clock", &text);
        }
    }
    for text in job.ineligible.iter().flat_map(may_not_serve) {
        line("ineligible", &text);
    }
    for problem in &job.definition.problems {
        line("problem", &problem.to_string());
    }
    if !job.shards.is_empty() {
        let rows: Vec<_> = job.shards.iter().map(|shard| shard_cells(job, shard, now)).collect();
        text.push('\n');
        text.push_str(&table(
            &["SHARD", "PARAMETER", "STATUS", "OWNER", "LAST FIRE", "OUTCOME", "TOOK"],
            &rows,
        ));
    }
    for shard in &job.shards {
        notes(&mut text, shard, is_raw);
    }
    text
}

/// Why an instance takes up nothing of a job for its clock's sake, if so.
fn clock_differs(row: &ClockRow) -> Option<String> {
    let instance = &row.instance;
    match &row.note {
        Ok(note) if note.differs => Some(format!(
            "warning[CLOCK_DIFFERS]: {instance} takes up nothing of this job: its clock is {}, the \
             limit is {} ms",
            difference(note.ahead.unwrap_or_default()),
            note.limit
        )),
        Ok(_) => None,
        Err(why) => Some(format!("what {instance} says of its clock is not readable: {why}")),
    }
}

/// Why an instance may not serve a job: a line for each reason.
fn may_not_serve(row: &IneligibleRow) -> Vec<String> {
    let instance = &row.instance;
    match &row.reasons {
        Ok(reasons) => reasons
            .iter()
            .map(|why| {
                format!("warning[{}]: {instance} may not serve this job: {}", why.code, why.text)
            })
            .collect(),
        Err(why) => {
            vec![format!("what {instance} says of why it may not serve is not readable: {why}")]
        }
    }
}

fn json_ineligible(row: &IneligibleRow) -> Value {
    let reasons = row.reasons.as_ref().ok();
    let reason = |why: &Reason| json!({ "code": why.code, "text": why.text });
    json!({
        "instance": row.instance.as_str(),
        "reasons": reasons.map(|all| all.iter().map(reason).collect::<Vec<_>>()),
        "trouble": row.reasons.as_ref().err(),
    })
}

fn json_clock(row: &ClockRow) -> Value {
    let note = row.note.as_ref().ok();
    json!({
        "instance": row.instance.as_str(),
        "limit_ms": note.map(|note| note.limit),
        "ahead_ms": note.and_then(|note| note.ahead),
        "differs": note.map(|note| note.differs),
        "trouble": row.note.as_ref().err(),
    })
}

fn shard_cells(job: &JobDetail, shard: &ShardRow, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    let last = shard.last.as_ref();
    let status = match &shard.claim {
        Some(claim) if job.is_overdue(shard, now) => {
            format!("OVERDUE, running for {}", duration(now.since(claim.begins())))
        }
        Some(claim) => running(shard, claim, now),
        None => shard.health.code().to_owned(),
    };
    vec![
        shard.shard.to_string(),
        parameter(job, shard).map_or_else(dash, escaped),
        status,
        shard.owner.as_ref().map_or_else(dash, ToString::to_string),
        last.map_or_else(dash, |last| last.fire.due.to_string()),
        last.map_or_else(dash, outcome),
        last.map_or_else(dash, |last| duration(last.ended.since(last.started))),
    ]
}

fn running(shard: &ShardRow, claim: &Claim, now: Timestamp) -> String {
    match claim.state {
        ClaimState::Held if now < claim.begins() => format!("CLAIMED for {}", claim.begins()),
        ClaimState::Held => {
            format!("{} for {}", shard.health.code(), duration(now.since(claim.begins())))
        }
        ClaimState::Released { not_before, .. } => format!("AGAIN at {not_before}"),
    }
}

fn outcome(last: &Last) -> String {
    let attempt =
        if last.attempt > 1 { format!(", attempt {}", last.attempt) } else { String::new() };
    escaped(&format!("{}{attempt}", last.code))
}

/// What went wrong with a shard, and the end of its last output.
fn notes(text: &mut String, shard: &ShardRow, is_raw: bool) {
    if let Some(trouble) = &shard.trouble {
        let _ =
            writeln!(text, "\nshard {}: record not readable: {}", shard.shard, escaped(trouble));
    }
    for note in &shard.notes {
        let (fate, why, span) = (note.fate.as_str(), note.reason.code(), note.span);
        let _ = writeln!(
            text,
            "\nshard {}: {} fires {fate} ({why}), {} to {}",
            shard.shard, span.fires, span.first, span.last
        );
    }
    let Some(last) = shard.last.as_ref() else { return };
    if last.code != "OK" && !last.text.is_empty() {
        let _ = writeln!(text, "\nshard {}: {}", shard.shard, escaped(&last.text));
    }
    if !last.output_tail.is_empty() {
        let _ = writeln!(text, "\nshard {}, end of its last output:", shard.shard);
        for line in last.output_tail.lines() {
            let line = if is_raw { line.to_owned() } else { escaped(line) };
            let _ = writeln!(text, "  {line}");
        }
    }
}
