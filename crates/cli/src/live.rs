//! What a node does, live on standard output: one line for each start and end of a shard's run, and
//! for what else a person at the terminal would ask about.

use crate::output::{self, Colour, Tone, escaped};
use flockwork_core::account::Fate;
use flockwork_core::execution::{Outcome, Part, Run};
use flockwork_engine::{Reported, Subscription, Told};
use flockwork_node::{Account, Report};
use std::fmt::Write as _;
use std::time::Duration;

/// Prints until the node has stopped.
pub(crate) async fn follow(mut reports: Subscription, colour: Colour) {
    while let Some(told) = reports.recv().await {
        let line = match told {
            Told::Report(reported) => line(&reported, colour),
            Told::Lost(lines) => {
                Some(format!("... {lines} lines left out: this terminal is too slow for them\n"))
            }
        };
        if let Some(line) = line {
            let _ = output::write(&line);
        }
    }
}

/// The line for a report, if it is for people.
fn line(reported: &Reported, colour: Colour) -> Option<String> {
    match &reported.report {
        Report::Started { run, late } => {
            let detail = format!("{} late", duration(*late));
            Some(of_run(run, &colour.paint(Tone::Busy, &pad("started")), &detail, colour))
        }
        Report::Ended { run, outcome, took, retry } => {
            let mut detail = ended(outcome, *took);
            if let Some((instance, at)) = retry {
                let _ = write!(detail, "; again on {instance} at {at}");
            }
            Some(of_run(run, &word(outcome, colour), &detail, colour))
        }
        Report::Superseded { run, outcome } => {
            let detail = format!("{}; its shard was taken elsewhere", outcome.ending);
            Some(of_run(run, &colour.paint(Tone::Late, &pad("superseded")), &detail, colour))
        }
        Report::Overdue(run) => {
            let detail = "was told to stop and does not";
            Some(of_run(run, &colour.paint(Tone::Bad, &pad("overdue")), detail, colour))
        }
        other => of_job(other, colour).map(|line| format!("{} {line}\n", reported.at)),
    }
}

fn of_run(run: &Run, word: &str, detail: &str, colour: Colour) -> String {
    let attempt = match run.attempt {
        1 => String::new(),
        n => format!(" attempt {n}"),
    };
    let part = match run.part {
        Part::Shard => format!("{}/{}", run.shard, run.shards),
        part @ (Part::Before | Part::After) => part.as_str().to_owned(),
    };
    let instance = colour.paint(Tone::Quiet, run.instance.as_str());
    let detail = escaped(detail);
    format!("{} {} {part:<5} {word} {detail}{attempt} {instance}\n", run.fire.due, run.job)
}

fn pad(word: &str) -> String {
    format!("{word:<9}")
}

fn word(outcome: &Outcome, colour: Colour) -> String {
    let tone = if outcome.ending.is_success() { Tone::Good } else { Tone::Bad };
    colour.paint(tone, &pad(outcome.ending.code()))
}

fn ended(outcome: &Outcome, took: Duration) -> String {
    let mut detail = format!("took {}", duration(took));
    if outcome.rows > 0 || outcome.bytes > 0 {
        let _ = write!(detail, ", {} rows, {} bytes", outcome.rows, outcome.bytes);
    }
    if !outcome.ending.is_success() {
        let _ = write!(detail, ", {}", outcome.ending);
        if let Some(last) = outcome.output_tail.lines().rev().find(|line| !line.trim().is_empty()) {
            let _ = write!(detail, ": {last}");
        }
    }
    detail
}

/// The line for what is about a job or the node, in the colour of what it means.
fn of_job(report: &Report, colour: Colour) -> Option<String> {
    let (tone, line) = match report {
        Report::SessionLive(session) => (None, format!("session {session} lives")),
        Report::SessionSuspended(why) => {
            (Some(Tone::Late), format!("nothing new starts: session not proven: {why}"))
        }
        Report::SessionEnded(session) => {
            (Some(Tone::Bad), format!("session {session} ended; joining again"))
        }
        Report::Serving { job, differences, applied } => {
            (None, serving(job.as_str(), differences, *applied))
        }
        Report::Refused { job, code, text } => {
            (Some(Tone::Bad), format!("{job} not served: error[{code}]: {text}"))
        }
        Report::Left { job, why } => (None, format!("{job} left: {why}")),
        Report::Assigned { job, moved, instances } => (
            None,
            format!(
                "{job} assigned: {moved} {} moved, shared by {instances} {}",
                plural(*moved, "shard"),
                plural(*instances, "instance")
            ),
        ),
        Report::FoundCrashed { job, shard, instance, taken } => {
            let then = if *taken { "run again" } else { "not run again" };
            (Some(Tone::Bad), format!("{job} shard {shard} crashed with {instance}; {then}"))
        }
        Report::Accounted(account) if account.fate != Fate::Ran => {
            (Some(Tone::Late), accounted(account))
        }
        Report::ClockAgrees(job) => {
            (None, format!("{job} goes on: this node's clock agrees with the registry's again"))
        }
        Report::Trouble { job, code, text } => {
            let job = job.as_ref().map(|job| format!("{job} ")).unwrap_or_default();
            (Some(Tone::Bad), format!("{job}warning[{code}]: {text}"))
        }
        _ => return None,
    };
    let line = escaped(&line);
    Some(tone.map_or(line.clone(), |tone| colour.paint(tone, &line)))
}

fn accounted(account: &Account) -> String {
    let (job, shard, fate) = (&account.job, account.shard, account.fate.as_str());
    let span = match account.fires {
        1 => format!("fire {}", account.first),
        n => format!("{n} fires {} to {}", account.first, account.last),
    };
    format!("{job} shard {shard} {fate}: {span}: {}", account.reason.code())
}

fn serving(job: &str, differences: &[String], applied: bool) -> String {
    match (differences, applied) {
        ([], _) => format!("{job} is served here"),
        (differences, true) => {
            format!("{job} is served here; the registry took over: {}", differences.join("; "))
        }
        (differences, false) => format!(
            "{job} is served here as the registry says, not as this file (--apply lets the file \
             win): {}",
            differences.join("; ")
        ),
    }
}

/// A duration as people read it: three digits are enough.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis @ 1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        millis => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

fn plural(count: usize, one: &str) -> String {
    if count == 1 { one.to_owned() } else { format!("{one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::execution::{Ending, Fire, RunId, Source, Work};
    use flockwork_core::id::{Epoch, InstanceId, JobName};
    use flockwork_core::time::Timestamp;
    use std::sync::Arc;

    #[test]
    fn a_failure_says_how_it_ended_and_what_it_said_last() {
        let outcome = Outcome {
            ending: Ending::Exited(3),
            output_tail: "begin\nno table\n\n".into(),
            rows: 5,
            bytes: 0,
        };
        let text = ended(&outcome, Duration::from_millis(1_250));
        assert_eq!(text, "took 1.2 s, 5 rows, 0 bytes, exit code 3: no table");
    }

    #[test]
    fn a_call_of_the_listener_is_told_by_its_part() {
        let mut run = Run {
            id: RunId(1),
            job: JobName::new("settle").unwrap(),
            part: Part::Shard,
            shard: 0,
            shards: 4,
            fire: Fire { due: Timestamp::from_millis(0), source: Source::Schedule },
            attempt: 2,
            epoch: Epoch(1),
            instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
            shard_parameter: None,
            job_parameter: String::new(),
            timeout: None,
            work: Arc::new(Work::Function),
        };
        let told = |run: &Run| {
            let report = Report::Overdue(Arc::new(run.clone()));
            line(&Reported { at: Timestamp::default(), report }, Colour::Plain).unwrap()
        };
        let shard = told(&run);
        assert!(shard.contains(" settle 0/4   overdue "), "{shard}");
        run.part = Part::After;
        let after = told(&run);
        assert!(after.contains(" settle after overdue "), "{after}");
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let of = |millis| duration(Duration::from_millis(millis));
        assert_eq!([of(0), of(999), of(1_000), of(59_999)], ["0 ms", "999 ms", "1.0 s", "59.9 s"]);
        assert_eq!(of(3_661_000), "61 min 1 s");
    }

    #[test]
    fn a_difference_names_the_way_to_apply_it() {
        let differences = ["shards: 4, 8".to_owned()];
        assert!(serving("a", &differences, false).contains("--apply"));
        assert!(!serving("a", &differences, true).contains("--apply"));
    }
}
