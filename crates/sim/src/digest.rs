//! Many seeds in a few numbers, to compare two states of the source: one digest over the traces, which
//! differs if a single line of one does, and sums that say how much differs.

use crate::Outcome;
use flockwork_checker::trace::{Fact, Line};
use std::collections::BTreeSet;
use std::fmt;

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// FNV-1a over the hashes of the traces, in the order in which seeds were added.
    pub hash: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Seeds that break an invariant.
    pub failing: u64,
    /// User code started.
    pub runs: u64,
    /// Of these, second and later attempts of a fire.
    pub attempts: u64,
    /// Commits that changed what is judged.
    pub commits: u64,
    /// For each seed, in milliseconds of virtual time, by how much the latest but one in a hundred of its
    /// scheduled fires started late; summed up.
    pub lateness: u64,
}

/// One seed's part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    hash: u64,
    is_valid: bool,
    runs: u64,
    attempts: u64,
    commits: u64,
    lateness: u64,
}

impl Part {
    /// Reads it out of what became of a seed.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let starts = || outcome.trace.iter().filter_map(start);
        let attempts = starts().filter(|(_, _, attempt)| *attempt > 1).count();
        Self {
            hash: outcome.hash(),
            is_valid: outcome.is_valid(),
            runs: starts().count() as u64,
            attempts: attempts as u64,
            commits: commits(&outcome.trace),
            lateness: lateness(&outcome.trace),
        }
    }
}

impl Digest {
    /// Adds the next seed.
    pub fn add(&mut self, part: &Part) {
        let start = if self.seeds == 0 { 0xCBF2_9CE4_8422_2325 } else { self.hash };
        self.hash = part
            .hash
            .to_le_bytes()
            .iter()
            .fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        self.seeds += 1;
        self.failing += u64::from(!part.is_valid);
        self.runs += part.runs;
        self.attempts += part.attempts;
        self.commits += part.commits;
        self.lateness += part.lateness;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digest {:016x} of {} seeds", self.hash, self.seeds)?;
        writeln!(f, "figure digest_violations {} seeds goal <= 0", self.failing)?;
        writeln!(f, "figure digest_runs {} runs goal >= 1", self.runs)?;
        writeln!(f, "figure digest_attempts {} runs goal >= 1", self.attempts)?;
        writeln!(f, "figure digest_commits {} commits goal >= 1", self.commits)?;
        writeln!(f, "figure digest_lateness_p99_sum {} ms goal >= 0", self.lateness)
    }
}

/// A start of user code: when, when it was due, which attempt.
fn start(line: &Line) -> Option<(u64, i64, u32)> {
    match &line.fact {
        Fact::Start(probe) => Some((line.at, probe.fire.due, probe.attempt)),
        _ => None,
    }
}

fn commits(trace: &[Line]) -> u64 {
    let index = |line: &Line| match &line.fact {
        Fact::Config(change) => Some(change.index),
        Fact::Record(change) => Some(change.index),
        Fact::Plan(plan) => Some(plan.index),
        Fact::Stage(change) => Some(change.index),
        Fact::Mark(mark) => Some(mark.index),
        _ => None,
    };
    trace.iter().filter_map(index).collect::<BTreeSet<u64>>().len() as u64
}

/// What 99 of a hundred first starts of scheduled fires do not exceed.
fn lateness(trace: &[Line]) -> u64 {
    let over = trace.iter().find_map(|line| match line.fact {
        Fact::Over { wall } => Some(wall.saturating_sub_unsigned(line.at)),
        _ => None,
    });
    let Some(origin) = over else { return 0 };
    let late = |(at, due, attempt): (u64, i64, u32)| {
        let late = origin.saturating_add_unsigned(at).saturating_sub(due);
        (attempt == 1).then(|| u64::try_from(late).unwrap_or(0))
    };
    let mut all: Vec<u64> = trace.iter().filter_map(start).filter_map(late).collect();
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_line_or_another_order_is_another_digest() {
        let digest = |hashes: &[u64]| {
            let mut digest = Digest::default();
            for hash in hashes {
                digest.add(&Part { hash: *hash, ..Part::default() });
            }
            digest.hash
        };
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        assert_ne!(digest(&[1, 2]), digest(&[1, 3]));
    }

    #[test]
    fn what_a_seed_did_is_counted() {
        let outcome = crate::run(3);
        let part = Part::of(&outcome);
        assert_eq!(part.runs, outcome.counts.runs);
        assert!(part.commits > 0 && part.attempts > 0 && part.attempts < part.runs, "{part:?}");
    }
}
