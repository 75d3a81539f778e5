//! P9: after all is healed, everything goes on, and nobody had to help.
//!
//! From [`Weather::recovery`](crate::weather::Weather::recovery) after the heal on:
//! * each shard that is due and switched on has runs again. A clock that was ahead may have had its
//!   fires run already: those instants are waited for. Where the job has a listener, it may have opened a later
//!   fire for all shards, or had a schedule begin later: that is waited for, too;
//! * no run, no attempt to be made and no request to run now has been there for that long.

use crate::p18_clock_steps::AHEAD;
use crate::story::{Claimed, Stories, Story};
use crate::trace::{About, Fact, Line};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P9 nothing waits";

/// How long after its due instant a fire may take to start: milliseconds.
pub const TOLERANCE: i64 = 10_000;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let Some(healed) = stories.weather.healed else {
        return Verdict::Unknown("it was never said that all was healed".to_owned());
    };
    let since = healed + stories.weather.recovery();
    let (off, asked) = left_at_the_end(trace);
    for ((job, shard), story) in &stories.shards {
        let is_off = off.contains(&(*job, *shard));
        if !stories.is_looked_after(job, *shard) {
            continue;
        }
        let stuck = no_run(trace, stories, (job, *shard), story, since).filter(|_| !is_off);
        if let Some((line, what)) = stuck.or_else(|| open_for_ever(trace, stories, story)) {
            return Verdict::breach(trace, line, what);
        }
    }
    let recovery = stories.weather.recovery();
    if stories.over.0 < since {
        let calm = stories.over.0.saturating_sub(healed);
        return Verdict::Unknown(format!("{calm} ms after the heal prove nothing, {recovery} do"));
    }
    let forgotten = asked.values().find(|line| trace[**line].at + recovery < stories.over.0);
    match forgotten {
        Some(line) => Verdict::breach(trace, *line, "the request was never answered"),
        None => Verdict::Valid,
    }
}

type Shards<'a> = BTreeSet<(&'a str, u32)>;

/// Which shards are switched off at the end, and which requests to living instances are left.
fn left_at_the_end(trace: &[Line]) -> (Shards<'_>, BTreeMap<(&str, &str), usize>) {
    let (mut off, mut asked, mut live) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for (at, line) in trace.iter().enumerate() {
        let Fact::Mark(mark) = &line.fact else { continue };
        let (job, is_set) = (&*mark.job, mark.value.is_some());
        match &mark.about {
            About::Disabled(shard) if is_set => drop(off.insert((job, *shard))),
            About::Disabled(shard) => drop(off.remove(&(job, *shard))),
            About::Trigger(instance) if is_set => drop(asked.insert((job, &**instance), at)),
            About::Trigger(instance) => drop(asked.remove(&(job, &**instance))),
            About::Instance(instance) if is_set => drop(live.insert((job, &**instance))),
            About::Instance(instance) => drop(live.remove(&(job, &**instance))),
            _ => {}
        }
    }
    asked.retain(|of, _| live.contains(of));
    (off, asked)
}

fn no_run(
    trace: &[Line],
    stories: &Stories<'_>,
    (job, shard): (&str, u32),
    story: &Story<'_>,
    since: u64,
) -> Option<(usize, String)> {
    let (over, wall) = stories.over;
    let plan = stories.plans.get(job)?.last()?;
    let schedule = stories.schedules.named(job, &plan.schedule)?;
    let by_then = story.changes.iter().take_while(|change| trace[change.line].at <= since).last();
    let record = by_then.and_then(|change| change.change.new.as_ref());
    let through = record.map(|record| record.watermark);
    let begin = wall - i64::try_from(over.saturating_sub(since)).unwrap_or(0);
    let by_then = trace.partition_point(|line| line.at <= since).saturating_sub(1);
    let listened = stories.listened.get(job);
    let ahead = listened.and_then(|of| of.ahead_at(by_then, begin));
    let planned = plan.from(shard);
    let from = record.map_or(planned, |record| record.begins(planned));
    let reached = through.max(ahead).unwrap_or(i64::MIN).max(from);
    // What lies further ahead than clocks may differ is set back.
    let reached = if listened.is_some() { reached } else { reached.min(begin + AHEAD) };
    let ran = story.changes.last().and_then(|change| change.change.new.as_ref());
    let ran = ran.map_or(&[][..], |record| &record.ran);
    let due = schedule.next_without(begin.max(reached), ran);
    let due = due.filter(|due| *due + TOLERANCE <= wall)?;
    let runs = story.claims.iter().flat_map(|claimed| &claimed.starts);
    let has_run = runs.into_iter().any(|line| trace[*line].at >= since);
    let line = story.changes.last().map_or(trace.len() - 1, |change| change.line);
    (!has_run).then(|| (line, format!("due {due} after all was healed, and nothing ran")))
}

/// A claim that is held, or waits for its next attempt, for ever.
fn open_for_ever(
    trace: &[Line],
    stories: &Stories<'_>,
    story: &Story<'_>,
) -> Option<(usize, String)> {
    let last = story.changes.last()?;
    // What never started is judged by P10, whose holder died by P6.
    let held = story.claims.last().filter(|claimed| claimed.closed.is_none());
    let is_others = |claimed: &Claimed<'_>| {
        claimed.starts.is_empty() || stories.dead.contains_key(&*claimed.claim.instance)
    };
    if held.is_some_and(is_others) {
        return None;
    }
    let is_open = last.change.new.as_ref().is_some_and(|new| new.claim.is_some());
    let is_old = trace[last.line].at + stories.weather.recovery() < stories.over.0;
    (is_open && is_old).then(|| (last.line, "the claim is never closed".to_owned()))
}
