//! What a run comes to: what was lost, what was doubled, what is stuck, and by how much.
//!
//! Counted here anew from the trace, shard by shard; and no count is 0 while an invariant that says
//! so is broken:
//! * lost: a fire that was due and is not accounted, or is counted as run and no code ran (P3, P10,
//!   P11, P12, P20);
//! * doubled: a fire accounted more than once, code that started twice under one claim, without one,
//!   or while an earlier run of its shard went on (P1, P4, P5, P7, P18);
//! * stuck: a shard that is due and does not run again, a claim nobody sees to (P6, P8, P9, P17).

use flockwork_checker::p03_every_fire_accounted::may_have_run;
use flockwork_checker::story::{Claimed, How, Stories, Story};
use flockwork_checker::trace::{Fault, Line};
use flockwork_checker::{Fact, Verdict};
use std::collections::BTreeSet;
use std::fmt;

/// Which invariants tell of what.
const LOST: [&str; 5] = ["P3 ", "P10 ", "P11 ", "P12 ", "P20 "];
const DOUBLED: [&str; 5] = ["P1 ", "P4 ", "P5 ", "P7 ", "P18 "];
const STUCK: [&str; 4] = ["P6 ", "P8 ", "P9 ", "P17 "];

/// How long after its due instant a fire must be accounted when all is well: milliseconds.
const ACCOUNTED_WITHIN: i64 = 10_000;

/// How long after the heal, beyond the session's time-out, every shard that is due must run again:
/// milliseconds.
const RUNS_WITHIN: u64 = 8_000;

/// The shortest calm, beyond the session's time-out, that shows whether a shard is stuck: milliseconds.
/// What must have been due in it comes at least each five seconds.
pub const LEAST_CALM: u64 = RUNS_WITHIN + ACCOUNTED_WITHIN.unsigned_abs() + 5_000;

/// How long beyond the session's time-out a take-over may take: milliseconds.
const TAKEN_WITHIN: u64 = 5_000;

/// Faults closer together than this are one: milliseconds.
const TOGETHER: u64 = 500;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of which registry.
    pub registry: String,
    /// Fires lost.
    pub lost: u64,
    /// Fires doubled.
    pub doubled: u64,
    /// Shards stuck.
    pub stuck: u64,
    /// Runs of code.
    pub runs: u64,
    /// Runs that were cut off before their code could write anything down.
    pub unwitnessed: u64,
    /// The fewest runs that prove anything.
    pub least_runs: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// The fewest of them.
    pub least_faults: u64,
    /// Due instants over all shards.
    pub due: u64,
    /// How long it took until runs of dead processes were seen to, 99th percentile: milliseconds.
    pub takeover: u64,
    /// How many that were.
    pub takeovers: u64,
    /// The most that it may take.
    pub takeover_bound: u64,
    /// Invariants that hold, do not, and are not known.
    pub verdicts: (usize, usize, usize),
}

impl Figures {
    /// On a host with other things to do, one run of a hundred may be cut off so early.
    fn unwitnessed_bound(&self) -> u64 {
        self.runs / 100
    }

    /// Whether all goals are met.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.lost + self.doubled + self.stuck == 0
            && self.verdicts.1 == 0
            && self.runs >= self.least_runs
            && self.unwitnessed <= self.unwitnessed_bound()
            && self.faults >= self.least_faults
            && self.takeover <= self.takeover_bound
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.registry;
        let (valid, invalid, unknown) = self.verdicts;
        writeln!(f, "figure soak_lost_{of} {} fires goal <= 0", self.lost)?;
        writeln!(f, "figure soak_doubled_{of} {} fires goal <= 0", self.doubled)?;
        writeln!(f, "figure soak_stuck_{of} {} shards goal <= 0", self.stuck)?;
        writeln!(f, "figure soak_runs_{of} {} runs goal >= {}", self.runs, self.least_runs)?;
        writeln!(
            f,
            "figure soak_faults_{of} {} faults goal >= {}",
            self.faults, self.least_faults
        )?;
        let bound = self.unwitnessed_bound();
        writeln!(f, "figure soak_unwitnessed_{of} {} runs goal <= {bound}", self.unwitnessed)?;
        writeln!(
            f,
            "figure soak_takeover_p99_{of} {} ms goal <= {} ({} of them)",
            self.takeover, self.takeover_bound, self.takeovers
        )?;
        writeln!(f, "figure soak_invalid_{of} {invalid} invariants goal <= 0")?;
        writeln!(
            f,
            "soak: {} runs for {} due fires under {} faults: lost {} / doubled {} / stuck {}; \
             invariants: {valid} valid, {invalid} invalid, {unknown} unknown",
            self.runs, self.due, self.faults, self.lost, self.doubled, self.stuck
        )
    }
}

/// Counts.
#[must_use]
pub fn count(trace: &[Line], verdicts: &[(&str, Verdict)]) -> Figures {
    let stories = Stories::read(trace);
    let broken = |names: &[&str]| {
        let is_one = |name: &str| names.iter().any(|start| name.starts_with(start));
        let invalid = verdicts.iter().filter(|(name, v)| v.is_invalid() && is_one(name)).count();
        u64::from(invalid > 0)
    };
    let mut figures =
        Figures { takeover_bound: stories.weather.timeout + TAKEN_WITHIN, ..Figures::default() };
    for (shard, story) in &stories.shards {
        let (due, accounted) = balance(&stories, *shard, story);
        figures.due += due;
        let may_have_run = |claimed: &&Claimed<'_>| may_have_run(&stories, story, claimed);
        let unwitnessed = story.claims.iter().filter(may_have_run).count() as u64;
        figures.unwitnessed += unwitnessed;
        figures.lost += due.saturating_sub(accounted) + without_code(story) - unwitnessed;
        figures.doubled += accounted.saturating_sub(due) + twice(trace, story);
        figures.stuck += u64::from(is_stuck(trace, &stories, *shard, story));
    }
    figures.lost += never_served(&stories);
    figures.lost = figures.lost.max(broken(&LOST));
    figures.doubled = figures.doubled.max(broken(&DOUBLED));
    figures.stuck = figures.stuck.max(broken(&STUCK));
    let of =
        |wanted: fn(&Fact) -> bool| trace.iter().filter(|line| wanted(&line.fact)).count() as u64;
    figures.runs = of(|fact| matches!(fact, Fact::Start(_)));
    figures.faults = of(|fact| matches!(fact, Fact::Fault(_) | Fact::Exit { .. }));
    let latencies = takeovers(trace, &stories);
    figures.takeovers = latencies.len() as u64;
    figures.takeover = percentile(latencies, 99);
    let valid = verdicts.iter().filter(|(_, verdict)| verdict.is_valid()).count();
    let invalid = verdicts.iter().filter(|(_, verdict)| verdict.is_invalid()).count();
    figures.verdicts = (valid, invalid, verdicts.len() - valid - invalid);
    figures
}

/// How many fires were due, and how many the record accounts.
fn balance(stories: &Stories<'_>, (job, shard): (&str, u32), story: &Story<'_>) -> (u64, u64) {
    let plan = stories.plans.get(job).and_then(|plans| plans.last());
    let record = story.changes.last().and_then(|change| change.change.new.as_ref());
    let (Some(plan), Some(record)) = (plan, record) else { return (0, 0) };
    let Some(schedule) = stories.schedules.named(job, &plan.schedule) else { return (0, 0) };
    let accounted = u64::try_from(record.counts.accounted()).unwrap_or(0);
    let due = schedule.count(plan.from(shard), record.watermark);
    (due + schedule.count(record.watermark, stories.over.1 - ACCOUNTED_WITHIN), accounted)
}

/// Fires of shards that have no record at all.
fn never_served(stories: &Stories<'_>) -> u64 {
    let mut lost = 0;
    for (job, plans) in &stories.plans {
        let Some(plan) = plans.last() else { continue };
        let Some(schedule) = stories.schedules.named(job, &plan.schedule) else { continue };
        let absent = (0..plan.shards).filter(|shard| {
            stories.shards.get(&(*job, *shard)).is_none_or(|story| story.changes.is_empty())
        });
        let until = stories.over.1 - ACCOUNTED_WITHIN;
        lost += absent.map(|shard| schedule.count(plan.from(shard), until)).sum::<u64>();
    }
    lost
}

/// Claims that are counted as run to their end, and under which no code ran.
fn without_code(story: &Story<'_>) -> u64 {
    let is_one = |claimed: &&Claimed<'_>| {
        let Some(closing) = claimed.closed.filter(|closing| closing.how == How::Ended) else {
            return false;
        };
        let change = &story.changes[closing.change];
        let counts = change.change.new.as_ref().map_or(change.base.counts, |new| new.counts);
        claimed.starts.is_empty() && counts.crashed == change.base.counts.crashed
    };
    story.claims.iter().filter(is_one).count() as u64
}

/// Starts that should not have been: a second one under a claim, one without a claim, one while an
/// earlier run of the shard went on.
fn twice(trace: &[Line], story: &Story<'_>) -> u64 {
    let again: usize =
        story.claims.iter().map(|claimed| claimed.starts.len().saturating_sub(1)).sum();
    let mut runs: Vec<(u64, u64)> = story
        .claims
        .iter()
        .filter_map(|claimed| {
            let start = trace[*claimed.starts.first()?].at;
            Some((start, claimed.ended.map_or(start, |(line, _)| trace[line].at)))
        })
        .collect();
    runs.sort_unstable();
    let overlapping = runs.windows(2).filter(|pair| pair[1].0 < pair[0].1).count();
    (again + story.stray_starts.len() + overlapping) as u64
}

/// Whether a shard that was due after the heal never ran again, or holds an old claim.
fn is_stuck(
    trace: &[Line],
    stories: &Stories<'_>,
    (job, shard): (&str, u32),
    story: &Story<'_>,
) -> bool {
    let Some(healed) = stories.weather.healed else { return false };
    if !stories.is_looked_after(job, shard) {
        return false;
    }
    let since = healed + stories.weather.timeout + RUNS_WITHIN;
    let ran = story.claims.iter().flat_map(|claimed| &claimed.starts);
    let has_run = ran.into_iter().any(|line| trace[*line].at >= since);
    let (over, wall) = stories.over;
    let from = wall - i64::try_from(over.saturating_sub(since)).unwrap_or(0);
    let schedule = stories
        .plans
        .get(job)
        .and_then(|plans| stories.schedules.named(job, &plans.last()?.schedule));
    let is_due = schedule.is_some_and(|s| s.count(from, wall - ACCOUNTED_WITHIN) > 0);
    let last = story.changes.last();
    let is_old = last.is_some_and(|last| {
        let is_open = last.change.new.as_ref().is_some_and(|new| new.claim.is_some());
        is_open && trace[last.line].at < healed && over > since
    });
    (is_due && !has_run) || is_old
}

/// How long it took, from the death of a process, until its runs were seen to: of those that no
/// other fault came between, and that someone was left to see to.
fn takeovers(trace: &[Line], stories: &Stories<'_>) -> Vec<u64> {
    let troubles: Vec<(u64, u64)> =
        trace.iter().filter_map(|line| Some((line.at, until(line)?))).collect();
    let crashes = trace.iter().filter_map(|line| match &line.fact {
        Fact::Fault(Fault::Crash { node, .. }) => Some((line.at, *node)),
        _ => None,
    });
    let crashes: Vec<(u64, u32)> = crashes.collect();
    let nodes: BTreeSet<u32> = trace
        .iter()
        .filter_map(|line| match &line.fact {
            Fact::Node { node, .. } => Some(*node),
            _ => None,
        })
        .collect();
    let is_undisturbed = |from: u64, to: u64| {
        let with = |at: u64| at.abs_diff(from) <= TOGETHER;
        let died = crashes.iter().filter(|(at, _)| with(*at)).map(|(_, node)| node);
        died.collect::<BTreeSet<_>>().len() < nodes.len()
            && crashes.iter().all(|(at, _)| *at < from || *at > to || with(*at))
            && troubles.iter().all(|(begin, end)| *end < from || *begin > to)
    };
    let claims = stories.shards.values().flat_map(|story| &story.claims);
    let latency = |claimed: &Claimed<'_>| {
        let death = *stories.dead.get(claimed.claim.instance.as_str())?;
        let closing = claimed.closed.filter(|closing| closing.line > death)?;
        let is_its = claimed.made < death && !claimed.starts.is_empty();
        let (from, to) = (trace[death].at, trace[closing.line].at);
        (is_its && is_undisturbed(from, to)).then_some(to - from)
    };
    claims.filter_map(latency).collect()
}

fn until(line: &Line) -> Option<u64> {
    let Fact::Fault(fault) = &line.fact else { return None };
    Some(match fault {
        Fault::Pause { until, .. }
        | Fault::Cut { until, .. }
        | Fault::OneWay { until, .. }
        | Fault::RegistryAway { until, .. } => *until,
        _ => return None,
    })
}

fn percentile(mut values: Vec<u64>, percent: usize) -> u64 {
    values.sort_unstable();
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        assert_eq!(percentile(vec![], 99), 0);
        assert_eq!(percentile(vec![3, 1, 2], 99), 3);
        assert_eq!(percentile((1..=200).collect(), 99), 198);
    }
}
