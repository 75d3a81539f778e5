//! Makes a failing seed smaller: fewer kinds of faults, then fewer faults, while it fails by the same
//! invariant.

use crate::outcome::{Outcome, run_scenario};
use crate::scenario::{Rates, Scenario};

/// A seed made smaller.
#[derive(Debug)]
pub struct Shrunk {
    /// What became of it; with what nodes reported.
    pub outcome: Outcome,
    /// The invariant that fails.
    pub invariant: &'static str,
    /// Kinds of faults that it does not need.
    pub without: Vec<&'static str>,
    /// How many faults are struck.
    pub strikes: usize,
}

type Kind = (&'static str, fn(&mut Rates));

const KINDS: [Kind; 14] = [
    ("lost answers", |rates| rates.lost_answer = 0),
    ("crashes", |rates| rates.crash = 0),
    ("restarts", |rates| rates.restart = 0),
    ("pauses", |rates| rates.pause = 0),
    ("cuts", |rates| rates.cut = 0),
    ("slow phases", |rates| rates.slow = 0),
    ("operators", |rates| rates.operator = 0),
    ("changes of jobs", |rates| rates.jobs = 0),
    ("clocks", |rates| rates.clock = 0),
    ("the registry's restarts", |rates| rates.registry = 0),
    ("full disks", |rates| rates.full = 0),
    ("rolling restarts", |rates| rates.rolling = 0),
    ("jumbled changes", |rates| rates.jumble = 0),
    ("scripts that cannot be started", |rates| rates.scripts = 0),
];

fn first_failure(outcome: &Outcome) -> Option<&'static str> {
    outcome.verdicts.iter().find(|(_, verdict)| !verdict.is_valid()).map(|(name, _)| *name)
}

/// Shrinks a seed; none if it does not fail.
#[must_use]
pub fn shrink(seed: u64, mut scenario: Scenario) -> Option<Shrunk> {
    let invariant = first_failure(&run_scenario(seed, scenario.clone(), false))?;
    let fails = |scenario: &Scenario| {
        first_failure(&run_scenario(seed, scenario.clone(), false)) == Some(invariant)
    };
    let mut without = Vec::new();
    for (name, take_away) in KINDS {
        let mut smaller = scenario.clone();
        take_away(&mut smaller.rates);
        if fails(&smaller) {
            scenario = smaller;
            without.push(name);
        }
    }
    // The first faults that suffice, found by halving; more of them may hide it, so that what is
    // found is small, not the smallest.
    let (mut low, mut high) = (0, 1_000);
    while low < high {
        let middle = usize::midpoint(low, high);
        match fails(&Scenario { most_strikes: middle, ..scenario.clone() }) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let smallest = Scenario { most_strikes: high, ..scenario };
    let outcome = run_scenario(seed, smallest, true);
    Some(Shrunk { outcome, invariant, without, strikes: high })
}
