//! When a job is due.

use super::{Report, present};
use crate::config::field::{DST_WORDS, Field, Words};
use crate::config::problem::{Code, Problem};
use crate::schedule::{Cron, CronError, DstPolicy, Every, Once, Schedule, Zone};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The shortest fixed rate: below it a fire costs more than the wait for it.
pub const MIN_EVERY: Duration = Duration::from_millis(10);
/// The longest fixed rate: a leap year.
pub const MAX_EVERY: Duration = Duration::from_secs(366 * 86_400);

pub(super) struct Timing {
    pub(super) schedule: Schedule,
    pub(super) no_time_zone: bool,
}

pub(super) fn schedule(report: &mut Report<'_>, now: Timestamp) -> Option<Timing> {
    let draft = report.draft;
    let cron = cron_text(report);
    let written: Vec<&'static str> = [
        (Field::Cron, present(draft.cron.as_ref()).is_some()),
        (Field::Every, draft.every.is_some()),
        (Field::At, draft.at.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, written)| written.then_some(report.key(field)))
    .collect();
    if written.len() > 1 {
        let message = format!("{} contradict: a job has one schedule", written.join(" and "));
        let problem = report.problem(Field::Cron, Code::Conflict, message);
        report.refuse(problem.with_hint("keep one of them"));
        return None;
    }
    let timing = |schedule| Timing { schedule, no_time_zone: false };
    if let Some(text) = &draft.every {
        return every(report, text).map(Schedule::Every).map(timing);
    }
    if let Some(text) = &draft.at {
        return once(report, text, now).map(Schedule::Once).map(timing);
    }
    match cron? {
        "" => Some(timing(Schedule::OnTrigger)),
        text => cron_schedule(report, text, now),
    }
}

/// The expression as written, `""` for a job that runs when triggered; none if that is refused.
fn cron_text<'a>(report: &mut Report<'a>) -> Option<&'a str> {
    let draft = report.draft;
    let Some(text) = &draft.cron else { return Some("") };
    if !text.trim().is_empty() {
        return Some(text);
    }
    let problem = report
        .problem(Field::Cron, Code::CronEmpty, "the cron expression is empty")
        .with_value(text)
        .with_hint("remove the key for a job that runs when triggered");
    report.object(problem).then_some("")
}

fn every(report: &mut Report<'_>, text: &str) -> Option<Every> {
    let period = report.duration(Field::Every, text, MIN_EVERY, MAX_EVERY);
    let anchor = match &report.draft.anchor {
        None => Some(Timestamp::default()),
        Some(text) => instant(report, Field::Anchor, text),
    };
    let period_ms = u64::try_from(period?.as_millis()).ok()?;
    Some(Every { period_ms, anchor: anchor? })
}

fn once(report: &mut Report<'_>, text: &str, now: Timestamp) -> Option<Once> {
    if text == "now" {
        return Some(Once::Now);
    }
    let at = instant(report, Field::At, text)?;
    if at <= now {
        let problem = report
            .problem(Field::At, Code::RangeOrder, format!("lies in the past: it is {now} now"))
            .with_value(text);
        report.warn(problem);
    }
    Some(Once::At(at))
}

fn instant(report: &mut Report<'_>, field: Field, text: &str) -> Option<Timestamp> {
    match text.parse() {
        Ok(instant) => Some(instant),
        Err(_) => {
            let problem = report.problem(field, Code::Timestamp, "not an instant").with_value(text);
            report.refuse(
                problem.with_hint("write RFC 3339 with an offset, e.g. 2026-11-22T02:00:00Z"),
            );
            None
        }
    }
}

fn cron_schedule(report: &mut Report<'_>, text: &str, now: Timestamp) -> Option<Timing> {
    let zone = zone(report);
    let words = [(DST_WORDS[0], DstPolicy::Quartz), (DST_WORDS[1], DstPolicy::Sane)];
    let dst = report.word(Field::Dst, report.draft.dst.as_ref(), &words, DstPolicy::Quartz);
    let (zone, no_time_zone) = zone?;
    let cron = match Cron::parse(text, &zone, dst?) {
        Ok(cron) => cron,
        Err(why) => {
            let problem = cron_problem(report, text, &why);
            report.refuse(problem);
            return None;
        }
    };
    let mut tolerated = true;
    for why in cron.strict_objections(now) {
        let problem = cron_problem(report, text, &why);
        tolerated &= report.object(problem);
    }
    tolerated.then(|| Timing { schedule: Schedule::Cron(Arc::new(cron)), no_time_zone })
}

fn cron_problem(report: &Report<'_>, text: &str, why: &CronError) -> Problem {
    let code = Code::ALL.iter().find(|code| code.as_str() == why.code());
    let code = code.copied().unwrap_or(Code::CronSyntax);
    let problem = report.problem(Field::Cron, code, why.to_string());
    let problem = problem.with_value(text).with_hint(why.hint());
    match why {
        CronError::TooLong { .. } => problem.with_limit(format!("{} bytes", Cron::MAX_BYTES)),
        CronError::Range { low, high, .. } => problem.with_limit(format!("{low} to {high}")),
        CronError::Step { high, .. } => problem.with_limit(format!("1 to {high}")),
        _ => problem,
    }
}

/// The zone of the expression, and whether none was written.
fn zone(report: &mut Report<'_>) -> Option<(Zone, bool)> {
    let draft = report.draft;
    if draft.words == Words::ElasticJob {
        return elastic_zone(report);
    }
    let text = draft.time_zone.as_deref().unwrap_or("UTC");
    Some((known_zone(report, Field::TimeZone, text)?, false))
}

/// What stands in the properties holds where ElasticJob's field cannot say it: it is absent, or it
/// says GMT for UTC so that ElasticJob nodes take no local zone.
fn elastic_zone(report: &mut Report<'_>) -> Option<(Zone, bool)> {
    let draft = report.draft;
    let text = present(draft.time_zone.as_ref());
    let exact = present(draft.zone.as_ref());
    let Some(text) = text else {
        let field = if exact.is_some() { Field::Zone } else { Field::TimeZone };
        let name = exact.or(draft.default_zone.as_ref()).map_or("UTC", String::as_str);
        return Some((known_zone(report, field, name)?, exact.is_none()));
    };
    match exact.map(String::as_str) {
        Some("UTC") if text == "GMT" => return Some((Zone::utc(), false)),
        Some(other) => {
            let message = format!("timeZone: {text} is taken, and contradicts this");
            let problem = report.problem(Field::Zone, Code::Conflict, message).with_value(other);
            report.warn(problem.with_hint("remove one of the two"));
        }
        None => {}
    }
    Some((gmt_zone(report, text)?, false))
}

fn gmt_zone(report: &mut Report<'_>, text: &str) -> Option<Zone> {
    let Ok(lenient) = Zone::parse_elasticjob(text) else {
        let problem = report
            .problem(Field::TimeZone, Code::TzUnknown, "ElasticJob takes GMT offsets only")
            .with_value(text)
            .with_hint("write GMT+08:00, or props flockwork.zone: Asia/Shanghai");
        report.refuse(problem);
        return None;
    };
    if let Ok(zone) = Zone::parse(text) {
        return Some(zone);
    }
    let message = "not a GMT offset; ElasticJob takes GMT for it";
    let problem = report.problem(Field::TimeZone, Code::TzUnknown, message).with_value(text);
    report.object(problem.with_hint("write GMT+08:00")).then_some(lenient)
}

fn known_zone(report: &mut Report<'_>, field: Field, text: &str) -> Option<Zone> {
    match Zone::parse(text) {
        Ok(zone) => Some(zone),
        Err(why) => {
            let problem = report.problem(field, Code::TzUnknown, why.to_string());
            report.refuse(problem.with_value(text).with_hint(why.hint()));
            None
        }
    }
}
