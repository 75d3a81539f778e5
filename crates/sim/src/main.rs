//! `flockwork-sim`: simulates clusters and judges them; see `USAGE`.

use flockwork_checker::Verdict;
use flockwork_sim::digest::{Digest, Part};
use flockwork_sim::mutants::{self, Mutant};
use flockwork_sim::reached::states;
use flockwork_sim::scenario::Scenario;
use flockwork_sim::shrink::{Shrunk, shrink};
use flockwork_sim::{Counts, Outcome, replay, run, run_scenario, timeline};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A cluster in memory is made of small pieces that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many seeds must reach every named state.
const ENOUGH: u64 = 300;
/// How many failing seeds are told in full.
const TOLD: usize = 5;

/// The fewest runs and faults a seed must have.
const LEAST: (u64, u64) = (2_000, 20);
/// How many seeds a mistake may hide in.
const MUTANT_SEEDS: u64 = 100;

const USAGE: &str = "usage: flockwork-sim [--seeds N] [--from S] | --seed S [--job NAME] | \
                     --shrink S [--job NAME] | --mutants | --hunt P01 [--seeds N] | --hash S | \
                     --digest FROM [--seeds N]";

enum Wish {
    Many { from: u64, seeds: u64 },
    One { seed: u64, job: Option<String> },
    Shrink { seed: u64, job: Option<String> },
    Mutants,
    Hunt { invariant: String, seeds: u64 },
    Hash(u64),
    Digest { from: u64, seeds: u64 },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(wish) = wish(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (text, is_well) = match wish {
        Wish::Many { from, seeds } => many(from, seeds),
        Wish::One { seed, job } => one(seed, job.as_deref()),
        Wish::Shrink { seed, job } => smaller(seed, job.as_deref()),
        Wish::Mutants => mutants(),
        Wish::Hunt { invariant, seeds } => hunted(&invariant, seeds),
        Wish::Digest { from, seeds } => digest(from, seeds),
        Wish::Hash(seed) => (format!("{:016x}\n", run(seed).hash()), true),
    };
    // A closed pipe ends the telling, and changes nothing of what was found.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wish(args: &[String]) -> Option<Wish> {
    if args == ["--mutants"] {
        return Some(Wish::Mutants);
    }
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)
    };
    let known =
        ["--seeds", "--from", "--seed", "--shrink", "--job", "--hash", "--hunt", "--digest"];
    let names = args.iter().step_by(2);
    if args.len() % 2 == 1 || names.into_iter().any(|name| !known.contains(&name.as_str())) {
        return None;
    }
    if let Some(seed) = value("--hash") {
        return Some(Wish::Hash(seed.parse().ok()?));
    }
    let number = |name, otherwise| value(name).map_or(Some(otherwise), |text| text.parse().ok());
    if let Some(from) = value("--digest") {
        return Some(Wish::Digest { from: from.parse().ok()?, seeds: number("--seeds", 1_000)? });
    }
    if let Some(seed) = value("--shrink") {
        return Some(Wish::Shrink { seed: seed.parse().ok()?, job: value("--job").cloned() });
    }
    if let Some(seed) = value("--seed") {
        return Some(Wish::One { seed: seed.parse().ok()?, job: value("--job").cloned() });
    }
    if let Some(invariant) = value("--hunt") {
        let seeds = number("--seeds", MUTANT_SEEDS)?;
        return Some(Wish::Hunt { invariant: invariant.clone(), seeds });
    }
    Some(Wish::Many { from: number("--from", 0)?, seeds: number("--seeds", ENOUGH)? })
}

fn one(seed: u64, job: Option<&str>) -> (String, bool) {
    let outcome = replay(seed);
    let mut text = String::new();
    let _ = timeline::write(&outcome, job, &mut text);
    text.push_str(&verdicts(&outcome));
    (text, outcome.is_valid())
}

fn smaller(seed: u64, job: Option<&str>) -> (String, bool) {
    let Some(shrunk) = shrink(seed, Scenario::draw(seed)) else {
        return (format!("seed {seed} keeps every invariant\n"), true);
    };
    let mut text = String::new();
    let _ = timeline::write(&shrunk.outcome, job, &mut text);
    text.push_str(&verdicts(&shrunk.outcome));
    let Shrunk { invariant, without, strikes, .. } = shrunk;
    text.push_str(&format!(
        "seed {seed} breaks {invariant} with its first {strikes} faults; not needed: {}\n",
        without.join(", ")
    ));
    (text, false)
}

/// Makes each known mistake, and says how many seeds it took to be found, and by what.
fn mutants() -> (String, bool) {
    let next = AtomicUsize::new(0);
    let all = mutants::all();
    let rows = Mutex::new(vec![None; all.len()]);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((mutant, expected)) = all.get(at) else { return };
                    let found = hunt(*mutant, expected);
                    rows.lock().unwrap_or_else(PoisonError::into_inner)[at] = found;
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for ((mutant, expected), found) in all.iter().zip(&rows) {
        let name = format!("{mutant:?}");
        let seeds = found.map_or("not found".to_owned(), |seeds| format!("{seeds} seeds"));
        text.push_str(&format!("mutant {name:<20} {expected:<26} {seeds}\n"));
    }
    let caught = rows.iter().flatten().count();
    text.push_str(&format!("figure sim_mutants_caught {caught} mutants goal >= {}\n", rows.len()));
    (text, caught == rows.len())
}

/// How many seeds it takes until an invariant finds a mistake.
fn hunt(mutant: Mutant, expected: &str) -> Option<u64> {
    (0..MUTANT_SEEDS).find_map(|seed| {
        let scenario = Scenario { mutant: Some(mutant), ..Scenario::draw(seed) };
        let outcome = run_scenario(seed, scenario, false);
        let broken = |(name, verdict): &(&str, Verdict)| {
            *name == expected && matches!(verdict, Verdict::Invalid(_))
        };
        outcome.verdicts.iter().any(broken).then_some(seed + 1)
    })
}

/// Looks for a mistake in the source: says after how many seeds an invariant, by its number, finds it,
/// or which others did.
fn hunted(invariant: &str, seeds: u64) -> (String, bool) {
    let mut others = BTreeMap::new();
    for seed in 0..seeds {
        let outcome = run(seed);
        for (name, verdict) in &outcome.verdicts {
            if !matches!(verdict, Verdict::Invalid(_)) {
                continue;
            }
            if name.split(' ').next() == Some(invariant) {
                return (format!("after {} seeds\n", seed + 1), true);
            }
            *others.entry(*name).or_insert(0_u64) += 1;
        }
    }
    (format!("not found in {seeds} seeds; others found: {others:?}\n"), false)
}

fn verdicts(outcome: &Outcome) -> String {
    let lines = outcome.verdicts.iter().map(|(name, verdict)| format!("{name}: {verdict}\n"));
    lines.collect()
}

/// Simulates seeds on all cores, and keeps what is wanted of each, in their order.
fn on_all_cores<T: Send>(from: u64, seeds: u64, keep: impl Fn(&Outcome) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(from);
    let kept = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let part = keep(&run(seed));
                    kept.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, part);
                }
            });
        }
    });
    kept.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Two states of the source do the same if their digests are the same.
fn digest(from: u64, seeds: u64) -> (String, bool) {
    let mut digest = Digest::default();
    for part in on_all_cores(from, seeds, Part::of) {
        digest.add(&part);
    }
    (digest.to_string(), digest.failing == 0)
}

/// Simulates seeds; what is told does not depend on how many cores there are.
fn many(from: u64, seeds: u64) -> (String, bool) {
    let told_of = |outcome: &Outcome| {
        let failing = (!outcome.is_valid()).then(|| (outcome.seed, verdicts(outcome)));
        (outcome.counts.clone(), failing)
    };
    let mut counts = Counts::default();
    let mut failing = Vec::new();
    let mut least = (u64::MAX, u64::MAX);
    for (of_one, broken) in on_all_cores(from, seeds, told_of) {
        counts.add(&of_one);
        least = (least.0.min(of_one.completed), least.1.min(of_one.faults));
        failing.extend(broken);
    }
    told(seeds, &counts, &failing, least)
}

fn told(
    seeds: u64,
    counts: &Counts,
    failing: &[(u64, String)],
    least: (u64, u64),
) -> (String, bool) {
    let mut lines = Vec::new();
    for (seed, verdicts) in failing.iter().take(TOLD) {
        lines.push(format!(
            "seed {seed} fails; replay it: cargo xtask sim --seed {seed}\n{verdicts}"
        ));
    }
    for (seed, _) in failing.iter().skip(TOLD) {
        lines.push(format!("seed {seed} fails; replay it: cargo xtask sim --seed {seed}"));
    }
    let mut unreached = 0;
    let states = states();
    for state in &states {
        let times = counts.reached.get(state).copied().unwrap_or(0);
        unreached += u64::from(times == 0);
        lines.push(format!("reached {times:>8}  {state}"));
    }
    let others = counts.reached.iter().filter(|(state, _)| !states.contains(state));
    lines.extend(others.map(|(state, times)| format!("also    {times:>8}  {state}")));
    let figures = [
        format!("figure sim_seeds {seeds} seeds goal >= {ENOUGH}"),
        format!("figure sim_on_the_wire {} seeds goal >= {}", counts.on_the_wire, seeds / 5),
        format!("figure sim_violations {} seeds goal <= 0", failing.len()),
        format!("figure sim_least_runs {} runs goal >= {}", least.0, LEAST.0),
        format!("figure sim_least_faults {} faults goal >= {}", least.1, LEAST.1),
        format!("figure sim_runs {} runs goal >= 1", counts.runs),
        format!("figure sim_claims {} claims goal >= 1", counts.claims),
        format!("figure sim_faults {} faults goal >= 1", counts.faults),
        format!("figure sim_takeovers {} claims goal >= 1", counts.takeovers),
        format!("figure sim_lost_and_claimed {} answers goal >= 1", counts.lost_and_claimed),
        format!(
            "figure sim_lost_and_not_claimed {} answers goal >= 1",
            counts.lost_and_not_claimed
        ),
        format!("figure sim_states_never_reached {unreached} states goal <= 0"),
    ];
    lines.extend(figures);
    let all_reached = unreached == 0 || seeds < ENOUGH;
    let has_enough = least.0 >= LEAST.0 && least.1 >= LEAST.1;
    (lines.join("\n") + "\n", failing.is_empty() && all_reached && has_enough)
}
