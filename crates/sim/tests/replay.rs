//! A seed is replayed exactly, in another process too.

use flockwork_checker::p23_who_may;
use flockwork_sim::mutants::Mutant;
use flockwork_sim::scenario::Scenario;
use flockwork_sim::shrink::shrink;
use flockwork_sim::{run, run_scenario};
use std::process::Command;

/// The seeds that are run again elsewhere.
const SEEDS: [u64; 5] = [1, 2, 3, 5, 8];

fn hash_elsewhere(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_flockwork-sim"))
        .args(["--hash", &seed.to_string()])
        .output()
        .expect("the simulation starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("digits").trim().to_owned()
}

#[test]
fn the_same_seed_gives_the_same_trace_in_another_process() {
    let mut hashes = Vec::new();
    for seed in SEEDS {
        let here = format!("{:016x}", run(seed).hash());
        assert_eq!(here, hash_elsewhere(seed), "seed {seed}");
        hashes.push(here);
    }
    let on_the_wire = SEEDS.iter().filter(|seed| Scenario::draw(**seed).wire.is_some()).count();
    assert_eq!(on_the_wire, 2, "seeds of both kinds are compared");
    let has_scripts = |seed: &u64| Scenario::draw(*seed).rates.scripts > 0;
    assert!(SEEDS.iter().any(has_scripts) && !SEEDS.iter().all(has_scripts));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), SEEDS.len(), "seeds differ");
}

#[test]
fn a_seed_keeps_every_invariant_and_runs_something() {
    for seed in 100..108 {
        let outcome = run(seed);
        for (name, verdict) in &outcome.verdicts {
            assert!(verdict.is_valid(), "seed {seed}, {name}: {verdict}");
        }
        assert!(outcome.counts.claims >= outcome.counts.runs, "seed {seed}: a run has its claim");
        assert!(!outcome.trace.is_empty());
    }
}

/// Of those in which hosts cannot start scripts, the first few are enough.
#[test]
fn a_node_that_is_not_told_that_it_cannot_start_a_script_is_found() {
    let seeds = (0..).filter(|seed| Scenario::draw(*seed).rates.scripts > 0).take(10);
    let mut found = seeds.map(|seed| {
        let scenario = Scenario { mutant: Some(Mutant::DeafToScripts), ..Scenario::draw(seed) };
        let verdicts = run_scenario(seed, scenario, false).verdicts;
        let of = |name| verdicts.iter().any(|(of, verdict)| *of == name && verdict.is_invalid());
        of(p23_who_may::NAME)
    });
    assert!(found.any(|is_found| is_found));
}

#[test]
fn what_is_told_for_people_does_not_change_what_happens() {
    let quiet = run(4);
    let told = flockwork_sim::replay(4);
    assert_eq!(quiet.hash(), told.hash());
    assert!(!told.said.is_empty());
    let mut text = String::new();
    flockwork_sim::timeline::write(&told, None, &mut text).expect("a String takes all");
    assert!(text.contains("START") && text.contains("HEALED"));
}

#[test]
fn what_is_not_understood_is_refused() {
    for args in [&["--seed"][..], &["--seeds", "x"], &["--nonsense", "1"], &["7"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_flockwork-sim")).args(args).output();
        let output = output.expect("the simulation starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage"));
    }
}

#[test]
fn a_failing_seed_is_made_smaller_and_still_fails() {
    let scenario = Scenario {
        mutant: Some(Mutant::DoubleStart),
        heal_at: 200_000,
        over_at: 600_000,
        ..Scenario::draw(6)
    };
    let shrunk = shrink(6, scenario).expect("code that is started twice is found");
    assert_eq!(shrunk.invariant, flockwork_checker::p04_nothing_invented::NAME);
    assert_eq!(
        (shrunk.strikes, shrunk.without.len()),
        (0, 14),
        "it takes no fault at all: {:?}",
        shrunk.without
    );
    assert!(!shrunk.outcome.is_valid() && !shrunk.outcome.said.is_empty());
    assert!(
        shrink(6, Scenario { over_at: 600_000, heal_at: 200_000, ..Scenario::draw(6) }).is_none()
    );
}
