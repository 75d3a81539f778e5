//! `flockwork next`: when a cron expression is due.
//!
//! What Quartz accepts and a job file would not (a step of 0, say) is answered as Quartz reads it,
//! beside the objection and with the exit code of an invalid expression.

use crate::args::NextArgs;
use crate::fault::{Exit, Fault};
use crate::output::{self, Reader};
use crate::{clock, reply};
use flockwork_core::schedule::{Cron, CronError, DstPolicy, Zone};
use flockwork_core::time::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use std::fmt::Write as _;
use std::io::{BufRead, Read};

/// The longest line read from standard input; an expression is far shorter, and what is longer is
/// told so by the parser.
const LINE_BYTES: u64 = 64 * 1024;

/// What all expressions of one call share.
struct Question {
    zone: Zone,
    shown_in: TimeZone,
    dst: DstPolicy,
    after: Timestamp,
    n: usize,
}

/// The answer to one expression: due instants, and what is wrong.
struct Answer {
    instants: String,
    faults: Vec<CronError>,
}

pub(crate) fn run(args: &NextArgs) -> Result<(), Fault> {
    let question = question(args)?;
    if args.expression == "-" {
        return from_stdin(&question);
    }
    let answer = ask(&question, &args.expression);
    reply::whole(&answer.instants)?;
    refuse(answer.faults)
}

fn question(args: &NextArgs) -> Result<Question, Fault> {
    let zone = Zone::parse(&args.tz).map_err(|why| fault(&why))?;
    let after = match &args.after {
        None => clock::now(),
        Some(text) => text
            .parse()
            .map_err(|why| Fault::new(Exit::Invalid, "TIMESTAMP", format!("--after: {why}")))?,
    };
    let dst = if args.dst == "sane" { DstPolicy::Sane } else { DstPolicy::Quartz };
    Ok(Question { shown_in: shown_in(&zone), zone, dst, after, n: args.n as usize })
}

/// The zone by the rules that are compiled in, as the schedule itself uses them.
fn shown_in(zone: &Zone) -> TimeZone {
    let offset = || {
        let (hours, minutes) = zone.name().strip_prefix("GMT")?.split_once(':')?;
        let (sign, hours) = (if hours.starts_with('-') { -1 } else { 1 }, &hours[1..]);
        let seconds: i32 = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        Some(TimeZone::fixed(Offset::from_seconds(sign * seconds).ok()?))
    };
    offset().or_else(|| TimeZoneDatabase::bundled().get(zone.name()).ok()).unwrap_or(TimeZone::UTC)
}

fn ask(question: &Question, expression: &str) -> Answer {
    let cron = match Cron::parse(expression, &question.zone, question.dst) {
        Ok(cron) => cron,
        Err(why) => return Answer { instants: String::new(), faults: vec![why] },
    };
    let first = cron.next_after(question.after);
    let mut instants = String::new();
    for due in std::iter::successors(first, |due| cron.next_after(*due)).take(question.n) {
        let _ = writeln!(instants, "{}", shown(due, &question.shown_in));
    }
    Answer { instants, faults: cron.strict_objections(question.after) }
}

/// RFC 3339 with the zone's offset at that instant; `Z` for UTC.
fn shown(instant: Timestamp, zone: &TimeZone) -> String {
    let Ok(moment) = jiff::Timestamp::from_millisecond(instant.as_millis()) else {
        return instant.to_string();
    };
    let is_utc = zone.iana_name() == Some("UTC") || *zone == TimeZone::UTC;
    match is_utc {
        true => moment.to_string(),
        false => moment.display_with_offset(zone.to_offset(moment)).to_string(),
    }
}

fn from_stdin(question: &Question) -> Result<(), Fault> {
    let mut input = std::io::stdin().lock();
    let lines = std::iter::from_fn(move || {
        let mut line = Vec::new();
        match input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                Some(Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
            }
            Err(why) => Some(Err(why.to_string())),
        }
    });
    blocks(question, lines)
}

/// An answer block for each expression, ended by an empty line. The block of what cannot be read is
/// its error, so that blocks and expressions stay side by side.
fn blocks(
    question: &Question,
    expressions: impl Iterator<Item = Result<String, String>>,
) -> Result<(), Fault> {
    let mut invalid = 0;
    for (at, expression) in expressions.enumerate() {
        let expression = expression.map_err(|why| {
            Fault::new(Exit::Failed, "INPUT", format!("cannot read standard input: {why}"))
        })?;
        let answer = ask(question, &expression);
        let mut block = answer.instants;
        for why in &answer.faults {
            match block.is_empty() {
                true => block.push_str(&fault(why).text()),
                false => output::complain(&format!("expression {}: {}", at + 1, fault(why).text())),
            }
        }
        invalid += usize::from(!answer.faults.is_empty());
        block.push('\n');
        if reply::part(&block)? == Reader::Gone {
            return Ok(());
        }
    }
    match invalid {
        0 => Ok(()),
        n => Err(Fault::new(Exit::Invalid, "CRON_INVALID", format!("{n} expressions are invalid"))),
    }
}

fn refuse(mut faults: Vec<CronError>) -> Result<(), Fault> {
    let Some(last) = faults.pop() else { return Ok(()) };
    for why in &faults {
        output::complain(&fault(why).text());
    }
    Err(fault(&last))
}

fn fault(why: &CronError) -> Fault {
    Fault::new(Exit::Invalid, why.code(), why.to_string()).hint(why.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(zone: &str) -> Question {
        let zone = Zone::parse(zone).unwrap();
        let after = "2026-03-07T00:00:00Z".parse().unwrap();
        Question { shown_in: shown_in(&zone), zone, dst: DstPolicy::Quartz, after, n: 2 }
    }

    #[test]
    fn instants_carry_the_offset_of_their_zone() {
        let answer = ask(&question("America/New_York"), "0 0 12 * * ?");
        assert_eq!(answer.instants, "2026-03-07T12:00:00-05:00\n2026-03-08T12:00:00-04:00\n");
        let answer = ask(&question("GMT+08:00"), "0 0 12 * * ?");
        assert_eq!(answer.instants, "2026-03-07T12:00:00+08:00\n2026-03-08T12:00:00+08:00\n");
        let answer = ask(&question("UTC"), "0 0 12 * * ?");
        assert_eq!(answer.instants, "2026-03-07T12:00:00Z\n2026-03-08T12:00:00Z\n");
    }

    #[test]
    fn what_quartz_alone_accepts_is_answered_and_refused() {
        let answer = ask(&question("UTC"), "0 0/0 * * * ?");
        assert!(!answer.instants.is_empty());
        assert_eq!(answer.faults.iter().map(CronError::code).collect::<Vec<_>>(), ["CRON_STEP"]);
    }
}
