//! A job whose listener is called once before and once after each fire, on whichever node.

use crate::job;
use crate::world::{START, World, namespace};
use flockwork_core::config::{JobConfig, ListenerRules, OnBeforeFailure, Overlap};
use flockwork_core::execution::{CancelReason, Ending, Part, Run, Source};
use flockwork_core::id::JobName;
use flockwork_layout::guarantee::{self, Guarantee, Stage};
use flockwork_layout::keys::Facet;
use flockwork_node::{Event, Report, TriggerId};
use flockwork_registry::Op;
use std::time::Duration;

const SHARDS: u32 = 4;

/// A job due each second, with a listener.
fn listened(change: impl FnOnce(&mut JobConfig)) -> JobConfig {
    let mut config = job("j", SHARDS);
    config.listener = Some(ListenerRules::default());
    change(&mut config);
    config
}

/// A call of the listener takes 50 ms, a shard as many hundreds as it has predecessors.
fn steady(run: &Run) -> (u64, Ending) {
    let ms = if run.part == Part::Shard { 100 + u64::from(run.shard) * 100 } else { 50 };
    (ms, Ending::Succeeded)
}

fn world_of(nodes: usize, code: fn(&Run) -> (u64, Ending), config: &JobConfig) -> World {
    let mut world = World::new(code);
    for n in 0..nodes {
        world.add(100);
        world.define(n, config);
    }
    world
}

fn name() -> JobName {
    JobName::new("j").expect("a name")
}

/// The second of a run's fire.
fn second(run: &Run) -> i64 {
    (run.fire.due.as_millis() - START) / 1_000
}

/// When what began: the part of the job, the second of its fire, its attempt.
fn begun(world: &World, part: Part) -> Vec<(u64, i64, u32)> {
    let starts = world.starts.iter().filter(|(_, _, run)| run.part == part);
    starts.map(|(at, _, run)| (*at, second(run), run.attempt)).collect()
}

fn seconds(begun: &[(u64, i64, u32)]) -> Vec<i64> {
    begun.iter().map(|(_, second, _)| *second).collect()
}

fn document(world: &World) -> Guarantee {
    let key = namespace().key(&name(), &Facet::Once);
    let entry = world.store.get(&key).expect("it is there");
    guarantee::decode(&entry.value).expect("it can be read")
}

fn troubles(world: &World) -> Vec<(&'static str, String)> {
    let trouble = |report: &Report| match report {
        Report::Trouble { code, text, .. } => Some((*code, text.clone())),
        _ => None,
    };
    world.reports.iter().filter_map(|(_, _, report)| trouble(report)).collect()
}

/// Each fire in turn: its `before` has ended when its first shard starts, its `after` begins when its last
/// shard has ended, and the next fire's `before` when that has ended. Returns how many fires there were.
fn in_turn(world: &World) -> usize {
    let mut last_end = 0;
    let befores = begun(world, Part::Before);
    for (at, fire, _) in &befores {
        let of_fire = |part| {
            let starts = world.starts.iter().filter(move |(_, _, run)| run.part == part);
            let ends = world.ends.iter().filter(move |(_, _, run, _)| run.part == part);
            let starts = starts.filter(|(_, _, run)| second(run) == *fire).map(|(at, ..)| *at);
            let ends = ends.filter(|(_, _, run, _)| second(run) == *fire).map(|(at, ..)| *at);
            (starts.collect::<Vec<u64>>(), ends.max())
        };
        assert!(last_end <= *at, "{fire}: the one before goes on");
        let (before, shards, after) =
            (of_fire(Part::Before), of_fire(Part::Shard), of_fire(Part::After));
        let Some(after_end) = after.1 else { continue };
        assert_eq!((before.0.len(), after.0.len()), (1, 1), "{fire}");
        assert_eq!(shards.0.len(), SHARDS as usize, "{fire}");
        assert!(shards.0.iter().all(|start| Some(*start) >= before.1), "{fire}: starts too early");
        assert!(shards.1 <= Some(after.0[0]), "{fire}: after comes too early");
        last_end = after_end;
    }
    befores.len()
}

#[test]
fn the_listener_is_called_once_before_and_once_after_each_fire() {
    for nodes in 1..=3 {
        let mut world = world_of(nodes, steady, &listened(|_| {}));
        world.run_for(10_900);
        assert_eq!(in_turn(&world), 10, "{nodes} nodes");
        assert_eq!(seconds(&begun(&world, Part::After)), (1..=10).collect::<Vec<_>>());
        assert_eq!(document(&world).stage, Stage::Closed);
        for shard in 0..SHARDS {
            let counts = world.record("j", shard).expect("it is there").record.counts;
            assert_eq!(
                (counts.ran, counts.succeeded, counts.misfired, counts.skipped),
                (10, 10, 0, 0)
            );
        }
        assert_eq!(troubles(&world), []);
    }
}

#[test]
fn a_job_with_a_listener_overlaps_with_itself_as_a_whole() {
    // Shard 3 runs for 1.4 s: the job's next fire is the one after.
    fn slow(run: &Run) -> (u64, Ending) {
        let (ms, ending) = steady(run);
        (if run.part == Part::Shard && run.shard == 3 { 1_400 } else { ms }, ending)
    }
    // Which fires are opened, of the first eight; how many were misfired and skipped.
    let table = [
        (Overlap::Skip, vec![1, 3, 5, 7], (0, 3)),
        (Overlap::RunOnceAfter, vec![1, 2, 4, 5, 7], (2, 0)),
    ];
    for (overlap, opened, not_run) in table {
        let mut world = world_of(2, slow, &listened(|config| config.overlap = overlap));
        world.run_for(7_950);
        in_turn(&world);
        assert_eq!(seconds(&begun(&world, Part::Before)), opened, "{overlap:?}");
        for shard in 0..SHARDS {
            let counts = world.record("j", shard).expect("it is there").record.counts;
            assert_eq!((counts.misfired, counts.skipped), not_run, "{overlap:?}, shard {shard}");
            assert_eq!(counts.ran, opened.len() as u64, "{overlap:?}, shard {shard}");
        }
    }
}

#[test]
fn a_fire_whose_before_fails_is_skipped_or_run_as_its_rules_say() {
    fn second_fails(run: &Run) -> (u64, Ending) {
        match run.part {
            Part::Before if second(run) == 2 => (50, Ending::Error("no space".to_owned())),
            _ => steady(run),
        }
    }
    for (on_failure, ran) in [(OnBeforeFailure::Skip, 4), (OnBeforeFailure::Run, 5)] {
        let rules = ListenerRules { on_failure, ..ListenerRules::default() };
        let config = listened(|config| config.listener = Some(rules));
        let mut world = world_of(2, second_fails, &config);
        world.run_for(5_900);
        assert_eq!(in_turn(&world), 5);
        for shard in 0..SHARDS {
            let record = world.record("j", shard).expect("it is there").record;
            assert_eq!(
                (record.counts.ran, record.counts.skipped),
                (ran, 5 - ran),
                "{on_failure:?}"
            );
            let why: Vec<_> = record.notes.iter().map(|note| note.reason.code()).collect();
            assert_eq!(why.contains(&"BEFORE_FAILED"), on_failure == OnBeforeFailure::Skip);
        }
        let told = troubles(&world);
        let text = "before of the fire due 2026-01-01T00:00:02Z: error: no space";
        assert_eq!(told, [("BEFORE_FAILED", text.to_owned())], "{on_failure:?}");
    }
}

#[test]
fn a_before_that_takes_too_long_has_failed_and_is_told_to_stop() {
    fn second_hangs(run: &Run) -> (u64, Ending) {
        match run.part {
            Part::Before if second(run) == 2 => (600_000, Ending::Succeeded),
            _ => steady(run),
        }
    }
    let before_timeout = Duration::from_millis(300);
    let rules = ListenerRules { before_timeout, ..ListenerRules::default() };
    let mut world = world_of(2, second_hangs, &listened(|it| it.listener = Some(rules)));
    world.run_for(4_900);
    assert_eq!(in_turn(&world), 4);
    let stopped = Ending::Cancelled(CancelReason::TimedOut);
    assert_eq!(world.ends.iter().filter(|(_, _, _, ending)| *ending == stopped).count(), 1);
    let fires: Vec<i64> = world.starts_of("j", 1).iter().map(|run| second(run)).collect();
    assert_eq!(fires, [1, 3, 4]);
}

#[test]
fn a_before_whose_node_dies_is_called_again_elsewhere_and_told_so() {
    fn third_is_long(run: &Run) -> (u64, Ending) {
        match run.part {
            Part::Before if second(run) == 3 && run.attempt == 1 => (5_000, Ending::Succeeded),
            _ => steady(run),
        }
    }
    let mut world = world_of(3, third_is_long, &listened(|_| {}));
    world.run_for(3_500);
    let (_, leader, _) =
        world.starts.iter().rfind(|(_, _, run)| run.part == Part::Before).expect("one");
    world.kill(*leader);
    world.run_for(9_000);
    let attempts: Vec<_> = begun(&world, Part::Before);
    let of_third: Vec<u32> = attempts.iter().filter(|it| it.1 == 3).map(|it| it.2).collect();
    assert_eq!(of_third[0], 1);
    let next = attempts.iter().find(|(at, ..)| *at > 3_500).expect("another node goes on");
    assert_eq!(next.2, 2, "{attempts:?}");
    assert!(attempts.iter().filter(|(at, ..)| *at > next.0).all(|(_, _, attempt)| *attempt == 1));
    assert!(seconds(&begun(&world, Part::After)).len() > 5);
}

/// A call that kills its node does not kill every node.
#[test]
fn a_before_that_kills_its_node_is_called_at_most_four_times() {
    fn never_ends(run: &Run) -> (u64, Ending) {
        match run.part {
            Part::Before if run.attempt > 1 || second(run) == 3 => (600_000, Ending::Succeeded),
            _ => steady(run),
        }
    }
    let config = listened(|config| config.misfire = true);
    let mut world = world_of(6, never_ends, &config);
    world.run_for(3_500);
    for _ in 0..4 {
        let running = |n: &usize| {
            let runs = world.hosts[*n].running.values();
            world.hosts[*n].node.is_some() && runs.into_iter().any(|it| it.2.part == Part::Before)
        };
        let leader = (0..6).find(running).expect("it is being called");
        world.kill(leader);
        world.run_for(6_000);
    }
    let attempts: Vec<u32> = begun(&world, Part::Before).iter().map(|it| it.2).collect();
    assert_eq!(attempts.iter().max(), Some(&4), "{attempts:?}");
    let text = "did not end in 4 calls";
    assert!(
        troubles(&world).iter().any(|(code, it)| *code == "BEFORE_FAILED" && it.contains(text))
    );
    let record = world.record("j", 0).expect("it is there").record;
    assert!(record.notes.iter().any(|note| note.reason.code() == "BEFORE_FAILED"), "{record:?}");
}

#[test]
fn a_request_to_run_now_opens_one_fire_for_all_shards() {
    let mut world = world_of(
        3,
        steady,
        &listened(|config| {
            config.schedule = flockwork_core::schedule::Schedule::OnTrigger;
        }),
    );
    world.run_for(2_000);
    for n in 0..3_usize {
        for id in 0..2 {
            world.step(n, Event::Trigger(TriggerId(id), name()));
        }
        world.run_for(2_000);
        let begun = begun(&world, Part::Before);
        assert!(begun.len() > n, "{begun:?}");
        for shard in 0..SHARDS {
            assert_eq!(world.starts_of("j", shard).len(), begun.len(), "shard {shard}");
        }
        assert_eq!(in_turn(&world), begun.len());
    }
    assert!(world.starts.iter().all(|(_, _, run)| run.fire.source == Source::Trigger));
    let document = document(&world);
    assert_eq!((document.stage, document.asked), (Stage::Closed, document.answered));
    let marks = namespace().key(&name(), &Facet::Triggers);
    assert_eq!(world.store.children(&marks).map(|it| it.len()), Some(0), "no request is left");
}

#[test]
fn a_shard_that_is_switched_off_holds_nothing_up() {
    let mut world = world_of(2, steady, &listened(|_| {}));
    world.run_for(1_900);
    let off = namespace().key(&name(), &Facet::Disabled(2));
    world.commit(vec![Op::create(off, "")]);
    world.run_for(3_000);
    world.step(0, Event::Trigger(TriggerId(1), name()));
    world.run_for(10_000);
    let befores = begun(&world, Part::Before);
    let asked = world
        .starts
        .iter()
        .filter(|(_, _, run)| run.part == Part::After && run.fire.source == Source::Trigger);
    assert_eq!(asked.count(), 1, "{befores:?}");
    assert!(befores.len() > 6, "{befores:?}");
    assert_eq!(world.starts_of("j", 2).len(), 1);
    let counts = world.record("j", 2).expect("it is there").record.counts;
    assert!(counts.skipped > 3, "{counts:?}");
}

#[test]
fn a_node_that_leaves_lets_its_call_end_first() {
    fn long(run: &Run) -> (u64, Ending) {
        match run.part {
            Part::Before if second(run) == 3 => (3_000, Ending::Succeeded),
            _ => steady(run),
        }
    }
    let mut world = world_of(2, long, &listened(|_| {}));
    world.run_for(3_500);
    let calls = |n: &usize| !world.hosts[*n].running.is_empty();
    let leader = (0..2).find(calls).expect("it is being called");
    world.step(leader, Event::Drain);
    world.run_for(9_000);
    assert!(world.hosts[leader].is_drained);
    let thirds = begun(&world, Part::Before).iter().filter(|(_, fire, _)| *fire == 3).count();
    assert_eq!(thirds, 1, "{:?}", begun(&world, Part::Before));
    assert!(seconds(&begun(&world, Part::After)).contains(&3));
    assert!(begun(&world, Part::After).len() > 4);
}

#[test]
fn a_leader_whose_write_is_lost_goes_on() {
    for lost in 1..6 {
        let mut world = world_of(2, steady, &listened(|_| {}));
        world.run_for(2_950);
        for n in 0..2 {
            world.hosts[n].lost_commits = lost;
        }
        world.run_for(7_950);
        in_turn(&world);
        assert!(begun(&world, Part::After).len() >= 7, "{lost}: {:?}", begun(&world, Part::After));
    }
}

#[test]
fn fewer_shards_than_the_open_fire_had_do_not_hold_after_up() {
    let mut world = world_of(2, steady, &listened(|_| {}));
    world.run_for(2_100);
    let fewer = listened(|config| config.shards = 1);
    let key = namespace().key(&name(), &Facet::Config);
    world.commit(vec![Op::Set(key, flockwork_layout::document::encode(&fewer).into(), None)]);
    world.run_for(8_850);
    let afters = seconds(&begun(&world, Part::After));
    assert!(afters.len() >= 8, "{afters:?}");
    assert_eq!(document(&world).stage, Stage::Closed);
}

/// The opening shares a commit with the leader's claims.
#[test]
fn a_fire_costs_one_commit_more_with_a_listener_and_none_without() {
    for nodes in 1..=3 {
        let commits = |config: &JobConfig| {
            let mut world = world_of(nodes, steady, config);
            world.run_for(4_950);
            let before = world.commits;
            world.run_for(10_000);
            world.commits - before
        };
        let (with, without) = (commits(&listened(|_| {})), commits(&job("j", SHARDS)));
        assert_eq!(with - without, 10, "{nodes} nodes, ten fires: {with} and {without}");
    }
}

/// What the leader's shards run is open, even if nobody could read that before the leader died.
#[test]
fn a_fire_that_its_leader_has_begun_is_not_opened_again() {
    let mut world = world_of(2, steady, &listened(|_| {}));
    world.run_for(2_950);
    let (_, leader, _) =
        world.starts.iter().rfind(|(_, _, run)| run.part == Part::Before).expect("one");
    let leader = *leader;
    // The document says that the third fire is not open, as if its commit had been split.
    let before = document(&world);
    world.run_for(200);
    let key = namespace().key(&name(), &Facet::Once);
    world.kill(leader);
    let mut ops = vec![Op::Set(key, guarantee::encode(&before), None)];
    for shard in 0..SHARDS {
        let key = namespace().key(&name(), &Facet::Record(shard));
        let record = world.store.get(&key).expect("it is there").value.clone();
        ops.push(Op::Set(key, record, None));
    }
    world.commit(ops);
    world.run_for(12_000);
    let thirds = |part| begun(&world, part).iter().filter(|(_, fire, _)| *fire == 3).count();
    assert_eq!((thirds(Part::Before), thirds(Part::After)), (1, 1));
}
