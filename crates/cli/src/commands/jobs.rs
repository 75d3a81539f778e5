//! `ps`, `describe`, `trigger`, `enable`, `disable`, `remove`: the jobs of a registry, asked and told
//! without a node.

use crate::args::{DescribeArgs, Format, JobArgs, Place, PsArgs, RemoveArgs, SwitchArgs};
use crate::clock;
use crate::fault::{Exit, Fault};
use crate::output::{self, escaped, table};
use crate::place::Found;
use crate::{reply, show};
use flockwork_admin::{AdminError, Operator, Removal, Removed, Switch};
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};

/// Connects, does one thing, and takes its leave.
fn with_operator<T>(
    place: &Place,
    act: impl AsyncFnOnce(&mut Operator) -> Result<T, AdminError>,
) -> Result<T, Fault> {
    let found = Found::of(place)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Fault::new(Exit::Failed, "RUNTIME", why.to_string()))?;
    runtime.block_on(async {
        let mut operator = found.operator().await?;
        let done = act(&mut operator).await;
        operator.close().await;
        done.map_err(|why| fault(&why))
    })
}

fn fault(why: &AdminError) -> Fault {
    let exit = match why {
        AdminError::BadName(_) | AdminError::NotReadable { .. } => Exit::Invalid,
        AdminError::JobNotFound { .. }
        | AdminError::ServerNotFound { .. }
        | AdminError::ShardNotFound { .. } => Exit::NotFound,
        AdminError::NotServed(_) | AdminError::JobDisabled(_) | AdminError::Contended(_) => {
            Exit::Conflict
        }
        AdminError::Unavailable(_) | AdminError::OutcomeUnknown { .. } => Exit::Registry,
    };
    let fault = Fault::new(exit, why.code(), why.to_string());
    match why.hint() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

pub(crate) fn ps(args: &PsArgs) -> Result<(), Fault> {
    let now = clock::now();
    let rows = with_operator(&args.place, async |operator| operator.jobs(now).await)?;
    let text = match args.output.output {
        Format::Json => show::json_list(&rows),
        Format::Text if rows.is_empty() => "no jobs\n".to_owned(),
        Format::Text => {
            let head = ["JOB", "STATUS", "SCHEDULE", "SHARDS", "INSTANCES", "NEXT"];
            let cells: Vec<_> = rows.iter().map(|row| show::cells(row, now)).collect();
            table(&head, &cells)
        }
    };
    reply::whole(&text)
}

pub(crate) fn describe(args: &DescribeArgs) -> Result<(), Fault> {
    let now = clock::now();
    let job = with_operator(&args.place, async |operator| operator.job(&args.job, now).await)?;
    let text = match args.output.output {
        Format::Json => show::json_detail(&job, now),
        Format::Text => show::detail(&job, now, args.raw),
    };
    reply::whole(&text)
}

pub(crate) fn trigger(args: &JobArgs) -> Result<(), Fault> {
    let done = with_operator(&args.place, async |operator| operator.trigger(&args.job).await)?;
    let mut text = String::new();
    for instance in &done.asked {
        let _ = writeln!(text, "asked {instance}");
    }
    for instance in &done.coalesced {
        let _ = writeln!(text, "asked before and not yet seen, both are one: {instance}");
    }
    for instance in &done.gone {
        let _ = writeln!(text, "gone meanwhile: {instance}");
    }
    for (instance, _) in &done.unknown {
        let _ = writeln!(text, "asked or not, the answer was lost: {instance}");
    }
    for (instance, _) in &done.not_asked {
        let _ = writeln!(text, "not asked: {instance}");
    }
    let printed = reply::done(&text);
    let (unknown, not_asked) = (done.unknown.len(), done.not_asked.len());
    let Some((_, why)) = done.unknown.first().or(done.not_asked.first()) else { return printed };
    if unknown == 0 {
        let what = format!("{not_asked} instances were not asked: {why}");
        return Err(Fault::new(Exit::Registry, "REGISTRY_UNAVAILABLE", what).hint(
            "trigger again: those that were asked and have not seen it yet are not asked twice",
        ));
    }
    let what = format!("{unknown} instances may have been asked or not: {why}");
    Err(Fault::new(Exit::Registry, "OUTCOME_UNKNOWN", what).hint("look before you repeat it"))
}

pub(crate) fn switch(args: &SwitchArgs, is_enabled: bool) -> Result<(), Fault> {
    let what = match (&args.job, &args.server, args.shard) {
        (Some(job), _, Some(shard)) => Switch::Shard(job.clone(), shard),
        (Some(job), Some(server), None) => Switch::JobOnServer(job.clone(), server.clone()),
        (Some(job), None, None) => Switch::Job(job.clone()),
        (None, Some(server), _) => Switch::Server(server.clone()),
        (None, None, _) => {
            return Err(Fault::new(Exit::Usage, "USAGE", "name a job, a server, or both"));
        }
    };
    let now = clock::now();
    let done =
        with_operator(&args.place, async |operator| operator.switch(&what, is_enabled, now).await)?;
    let word = if is_enabled { "enabled" } else { "disabled" };
    let mut text = String::new();
    for switched in done {
        let _ = writeln!(text, "{word} {} on {}", switched.job, escaped(&switched.place));
    }
    reply::done(&text)
}

pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Fault> {
    if !args.yes {
        confirm(args)?;
    }
    let removal = Removal { with_records: args.with_records, ..Removal::default() };
    let remove =
        async |operator: &mut Operator| operator.remove(&args.job, removal, clock::now()).await;
    let removed = with_operator(&args.place, remove).map_err(|fault| match fault.exit {
        Exit::Registry => {
            fault.hint("what is gone stays gone; the same command again completes it")
        }
        _ => fault,
    })?;
    reply::done(&told(&removed))
}

/// What was removed, what was running, what is kept.
fn told(removed: &Removed) -> String {
    let (job, entries) = (&removed.job, removed.entries);
    let mut text = match (removed.was_defined, entries) {
        (true, _) => {
            format!("removed {job}: its definition and all of its tree, {entries} entries\n")
        }
        (false, 0) => format!("{job} was removed before\n"),
        (false, _) => format!("completed the removal of {job}: the {entries} entries left\n"),
    };
    for run in &removed.runs {
        let end = run.ended.as_deref().unwrap_or(
            "it was told to stop and has not said how it ended; what it comes to counts for nothing",
        );
        let (shard, due, instance) = (run.shard, run.due, &run.instance);
        let _ = writeln!(text, "shard {shard}: run of fire {due} on {instance}: {}", escaped(end));
    }
    let _ = match (removed.records, removed.with_records) {
        (0, _) => Ok(()),
        (n, true) => writeln!(text, "removed what became of its fires: {n} shards' records"),
        (n, false) => writeln!(
            text,
            "kept what became of its fires: {n} shards' records; `flockwork describe {job}` shows \
             them, `flockwork remove {job} --with-records` removes them"
        ),
    };
    text
}

/// Asks for the name once more; where nobody can answer it says how to do without.
fn confirm(args: &RemoveArgs) -> Result<(), Fault> {
    let job = args.job.as_str();
    let refuse = |what: &str| Fault::new(Exit::Usage, "CONFIRM", what).hint("or say --yes");
    if !std::io::stdin().is_terminal() {
        return Err(refuse("nobody is here to confirm the removal"));
    }
    let shown = escaped(job);
    let records = if args.with_records {
        "and all records of what became of its fires"
    } else {
        "and keeps the records of what became of its fires (--with-records removes them, too)"
    };
    output::complain(&format!("removes {shown} {records}; type its name to confirm: "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read.is_ok() && answer.trim_end_matches(['\r', '\n']) == job {
        true => Ok(()),
        false => Err(refuse("that is not its name; nothing was removed")),
    }
}
