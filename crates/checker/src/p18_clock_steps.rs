//! P18: clocks that are set run nothing twice, and start no burst.
//!
//! * The watermark never goes back, but where a claim is taken back (and that leaves what was before
//!   it): a fire that was accounted is never due again.
//! * A first attempt is for a fire that its own change accounts: after the watermark before it, and
//!   not after the one it leaves.
//! * Where fires that are held up are made up for by one run, they are not run one by one: of
//!   successive fires of a shard, not [`BURST`] in a row are run sooner after each other than half
//!   of what lies between their due instants, less [`SLACK`].

use crate::story::{Claimed, Stories, Story};
use crate::trace::{Fact, Line};
use crate::verdict::Verdict;
use std::collections::BTreeSet;

/// The invariant's name.
pub const NAME: &str = "P18 clock steps";

/// How many too soon in a row are a burst: a clock set forward, and another, may account for two.
pub const BURST: usize = 5;
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
        if let Some((line, what)) = went_back(story).or_else(|| outside(story)).or(burst) {
            return Verdict::breach(trace, line, what);
        }
    }
    Verdict::Valid
}

fn went_back(story: &Story<'_>) -> Option<(usize, String)> {
    story.changes.iter().find_map(|change| {
        let new = change.change.new.as_ref()?;
        let from = change.base.watermark;
        let what = || format!("the watermark went back from {from} to {}", new.watermark);
        (new.watermark < from).then(|| (change.line, what()))
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
        in_a_row = if real < due / 2 - SLACK { in_a_row + 1 } else { 0 };
        if in_a_row >= BURST {
            return Some((pair[1].made, format!("{in_a_row} fires in a row were run in a burst")));
        }
    }
    None
}
