//! What a soak counts, lost, doubled and stuck, shows each lie about a history that was right.
#![allow(clippy::unwrap_used, reason = "a history without a run is a failed test")]

use flockwork_checker::judge;
use flockwork_checker::story::{How, Stories};
use flockwork_checker::trace::{Fact, Line};
use flockwork_sim::scenario::Scenario;
use flockwork_soak::figures;
use std::collections::BTreeMap;

/// How many fires are lost, doubled and stuck, and which invariants do not hold.
fn told(trace: &[Line]) -> (u64, u64, u64, Vec<&'static str>) {
    let verdicts = judge(trace);
    let figures = figures::count(trace, &verdicts);
    let broken = verdicts.into_iter().filter(|(_, verdict)| verdict.is_invalid());
    (figures.lost, figures.doubled, figures.stuck, broken.map(|(name, _)| name).collect())
}

#[test]
fn each_lie_about_a_right_history_is_counted() {
    for seed in 0..3 {
        // A cluster whose clocks were never wrong: the counts go by the wall clock.
        let mut scenario = Scenario::draw(seed);
        (scenario.rates.clock, scenario.rates.jobs) = (0, 0);
        let right = flockwork_sim::run_scenario(seed, scenario, false).trace;
        let (lost, doubled, stuck, broken) = told(&right);
        assert_eq!(broken, [""; 0], "seed {seed}");
        for (what, lie, is_found) in LIES {
            let mut trace = right.clone();
            assert!(lie(&mut trace), "seed {seed}, {what}: there is nothing to lie about");
            let now = told(&trace);
            let more =
                (now.0 - lost.min(now.0), now.1 - doubled.min(now.1), now.2 - stuck.min(now.2));
            let shown = format!("seed {seed}, {what}: {more:?} more; {:?}", now.3);
            assert!(is_found(more) && !now.3.is_empty(), "{shown}");
        }
    }
}

/// What is planted, how, and whether the counts of lost, doubled and stuck show it.
type Lie = (&'static str, fn(&mut Vec<Line>) -> bool, fn((u64, u64, u64)) -> bool);

const LIES: [Lie; 4] = [
    ("a job wrote nothing down", drop_a_run, |(lost, ..)| lost > 0),
    ("another instance ran the same", double_a_start, |(_, doubled, _)| doubled > 0),
    ("a shard's last fires are not accounted", stop_accounting, |(lost, ..)| lost > 0),
    ("a shard does not go on after the heal", stop_running, |(.., stuck)| stuck > 0),
];

/// The lines of a run that ended well, in the middle of the trace.
fn a_run(trace: &[Line]) -> Option<(usize, u64)> {
    let stories = Stories::read(trace);
    let mut claims = stories.shards.values().flat_map(|story| &story.claims);
    let claimed = claims.find(|claimed| {
        let is_ok = claimed.ended.is_some_and(|(_, code)| code == "OK");
        is_ok && claimed.closed.is_some_and(|closing| closing.how == How::Ended)
    })?;
    Some((*claimed.starts.first()?, claimed.epoch))
}

fn drop_a_run(trace: &mut Vec<Line>) -> bool {
    let Some((_, run)) = a_run(trace) else { return false };
    trace.retain(|line| match &line.fact {
        Fact::Start(probe) | Fact::End { probe, .. } => probe.epoch != run,
        _ => true,
    });
    true
}

fn double_a_start(trace: &mut Vec<Line>) -> bool {
    let Some((at, _)) = a_run(trace) else { return false };
    let mut line = trace[at].clone();
    let Fact::Start(probe) = &mut line.fact else { return false };
    probe.instance = "10.9.9.9@-@1-x".to_owned();
    trace.insert(at + 1, line);
    true
}

/// The shard that runs most often.
fn busiest(trace: &[Line]) -> Option<(String, u32)> {
    let mut starts = BTreeMap::new();
    for line in trace {
        if let Fact::Start(probe) = &line.fact {
            *starts.entry((probe.job.clone(), probe.shard)).or_insert(0) += 1;
        }
    }
    starts.into_iter().max_by_key(|(_, times)| *times).map(|(shard, _)| shard)
}

/// Takes a shard's changes from an instant on away, and what ran under them.
fn forget_from(trace: &mut Vec<Line>, from: u64) -> bool {
    let Some(shard) = busiest(trace) else { return false };
    let is_it = |job: &str, of: u32| job == shard.0 && of == shard.1;
    let before = trace.len();
    trace.retain(|line| match &line.fact {
        _ if line.at < from => true,
        Fact::Record(change) => !is_it(&change.job, change.shard),
        Fact::Start(probe) | Fact::End { probe, .. } => !is_it(&probe.job, probe.shard),
        _ => true,
    });
    trace.len() < before
}

fn stop_accounting(trace: &mut Vec<Line>) -> bool {
    let over = trace.last().map_or(0, |line| line.at);
    forget_from(trace, over - 120_000)
}

fn stop_running(trace: &mut Vec<Line>) -> bool {
    let healed = trace.iter().find(|line| line.fact == Fact::Healed).map(|line| line.at);
    healed.is_some_and(|healed| forget_from(trace, healed))
}
