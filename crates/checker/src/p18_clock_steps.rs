//! P18: clocks that are set run nothing twice, and start no burst.
//!
//! * The watermark never goes back, but where a claim is taken back (and that leaves what was before
//!   it), and where it lies more than [`AHEAD`] beyond the clock of who sets it back: a clock was ahead. The
//!   record then keeps each instant beyond that which has run.
//! * No instant has two first attempts, as long as its job exists.
//! * A first attempt is for a fire that its own change accounts: after the watermark before it, and
//!   not after the one it leaves.
//! * Where fires that are held up are made up for by one run, they are not run one by one: of
//!   successive fires of a shard, not [`BURST`] in a row are run sooner after each other than half
//!   of what lies between their due instants, less [`SLACK`]; a run that makes up for others ends the row.

use crate::story::{Claimed, Stories, Story};
use crate::trace::{Fact, Line, Record};
use crate::verdict::Verdict;
use std::collections::BTreeSet;

/// The invariant's name.
pub const NAME: &str = "P18 clock steps";

/// How many too soon in a row are a burst: a clock set forward, and another, may account for two.
pub const BURST: usize = 5;
/// How far beyond a clock a watermark may lie and stays: milliseconds.
pub const AHEAD: i64 = 5_000;
/// What is too little to tell: milliseconds.
pub const SLACK: i64 = 1_000;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let queues: BTreeSet<&str> = trace
        .iter()
        .filter_map(|line| match &line.fact {
            Fact::Job(job) if job.overlap == "queue" || job.catches_up => Some(&*job.job),
            _ => None,
        })
        .collect();
    for ((job, _), story) in &stories.shards {
        let burst = burst(trace, story).filter(|_| !queues.contains(job));
        let back = went_back(stories, story).or_else(|| ran_twice(story));
        if let Some((line, what)) = back.or_else(|| outside(story)).or(burst) {
            return Verdict::breach(trace, line, what);
        }
    }
    Verdict::Valid
}

fn went_back(stories: &Stories<'_>, story: &Story<'_>) -> Option<(usize, String)> {
    story.changes.iter().filter(|change| change.goes_back()).find_map(|change| {
        let new = change.change.new.as_ref()?;
        let (before, clock) = (&change.base, new.begins.map_or(new.watermark, |begins| begins.1));
        let plans = &stories.plans.get(&*change.change.job)?[..change.plans];
        let planned = plans.last().map_or(i64::MIN, |plan| plan.from(change.change.shard));
        let reached = before.watermark.max(before.begins(planned));
        let is_ahead = reached > clock + AHEAD;
        if !is_ahead || !change.is_set_back() {
            let to = new.watermark;
            return Some((change.line, format!("the watermark went back from {reached} to {to}")));
        }
        let removed =
            story.changes.iter().filter(|it| it.change.new.is_none() && it.line < change.line);
        let born = removed.map(|it| it.line).max().unwrap_or(0);
        let schedule = stories.schedules.named(&change.change.job, &plans.last()?.schedule)?;
        let ran = story.claims.iter().filter(is_first);
        let mut forgotten =
            ran.filter(|ran| (born..change.line).contains(&ran.made)).filter(|ran| {
                let due = ran.claim.fire.due;
                due > new.watermark.max(clock) && schedule.is_due(due) && !new.ran_ahead(due)
            });
        let due = forgotten.next()?.claim.fire.due;
        let what = format!("set back to {}, and {due}, which ran, is due again", new.watermark);
        Some((change.line, what))
    })
}

/// A fire that was run as a first attempt, and was so before.
fn ran_twice(story: &Story<'_>) -> Option<(usize, String)> {
    let removed: Vec<usize> =
        story.changes.iter().filter(|c| c.change.new.is_none()).map(|c| c.line).collect();
    let mut seen = BTreeSet::new();
    story.claims.iter().filter(is_first).find_map(|claimed| {
        let life = removed.partition_point(|line| *line < claimed.made);
        let due = claimed.claim.fire.due;
        let is_again = !seen.insert((life, due));
        is_again.then(|| (claimed.made, format!("the fire at {due} was run before")))
    })
}

fn is_first(claimed: &&Claimed<'_>) -> bool {
    let claim = claimed.claim;
    claim.attempt == 1 && !claim.fire.is_triggered() && !claimed.is_taken_back()
}

fn outside(story: &Story<'_>) -> Option<(usize, String)> {
    story.claims.iter().filter(is_first).find_map(|claimed| {
        let due = claimed.claim.fire.due;
        let change = &story.changes[claimed.change];
        let before = story.before(claimed.change).watermark;
        let after = change.change.new.as_ref().map_or(i64::MIN, |new| new.watermark);
        let what = || format!("claimed a fire at {due}, the change accounts ({before}, {after}]");
        (due <= before || due > after).then(|| (claimed.made, what()))
    })
}

fn burst(trace: &[Line], story: &Story<'_>) -> Option<(usize, String)> {
    let mut in_a_row = 0;
    let firsts: Vec<&Claimed<'_>> = story.claims.iter().filter(is_first).collect();
    for pair in firsts.windows(2) {
        let due = pair[1].claim.fire.due - pair[0].claim.fire.due;
        let real = i64::try_from(trace[pair[1].made].at - trace[pair[0].made].at).unwrap_or(0);
        // One run that makes up for others is what is wanted.
        let change = &story.changes[pair[1].change];
        let counts = |record: &Record| record.counts.accounted();
        let accounted = change.change.new.as_ref().map_or(0, counts) - counts(&change.base);
        let is_sooner = real < due / 2 - SLACK && accounted <= 1;
        in_a_row = if is_sooner { in_a_row + 1 } else { 0 };
        if in_a_row >= BURST {
            return Some((pair[1].made, format!("{in_a_row} fires in a row were run in a burst")));
        }
    }
    None
}
