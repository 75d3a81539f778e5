//! A node's life, step by step: what one run of each rule looks like from outside.

mod ahead;
mod asking;
mod attempts;
mod clocks;
mod definitions;
mod eligibility;
mod foreign_data;
mod handover;
mod huge;
mod joining;
mod leaving;
mod listener;
mod lost;
mod replaced;
mod set_back;
mod world;

use flockwork_core::config::{CatchUp, Draft, JobConfig, Level, Overlap, check};
use flockwork_core::execution::{Ending, Run, Source};
use flockwork_core::id::JobName;
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan;
use flockwork_node::Event;
use flockwork_registry::Op;
use std::time::Duration;
use world::{World, namespace};

/// A job due each second.
fn job(name: &str, shards: u32) -> JobConfig {
    let draft = Draft {
        name: Some(name.to_owned()),
        cron: Some("* * * * * ?".to_owned()),
        shards: Some(i64::from(shards)),
        script: Some(vec!["/bin/true".to_owned()]),
        ..Draft::default()
    };
    let checked = check(&draft, Level::Strict, Timestamp::from_millis(world::START));
    let mut config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems));
    config.schedule =
        Schedule::Every(Every { period_ms: 1_000, anchor: Timestamp::from_millis(0) });
    config
}

fn quick(_: &Run) -> (u64, Ending) {
    (100, Ending::Succeeded)
}

#[test]
fn one_node_runs_each_shard_once_for_each_fire() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 3));
    world.run_for(10_300);
    for shard in 0..3 {
        let fires: Vec<i64> = world
            .starts_of("j", shard)
            .iter()
            .map(|run| (run.fire.due.as_millis() - world::START) / 1_000)
            .collect();
        assert_eq!(fires, (1..=10).collect::<Vec<_>>(), "shard {shard}");
        let counts = world.record("j", shard).unwrap().record.counts;
        assert_eq!((counts.ran, counts.succeeded, counts.misfired), (10, 10, 0));
    }
    let epochs: Vec<u64> = world.starts_of("j", 0).iter().map(|run| run.epoch.0).collect();
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

#[test]
fn a_second_node_takes_its_share_and_gives_it_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 4));
    world.run_for(3_500);
    world.add(100);
    world.define(1, &job("j", 4));
    world.run_for(3_000);
    let on_second = world.starts.iter().filter(|(_, n, _)| *n == 1).count();
    assert_eq!(on_second, 2 * 3);
    world.step(1, Event::Drain);
    world.run_for(200);
    assert!(world.hosts[1].is_drained);
    world.run_for(3_000);
    for shard in 0..4 {
        assert_eq!(world.starts_of("j", shard).len(), 9, "shard {shard}");
    }
}

fn long(run: &Run) -> (u64, Ending) {
    (if run.attempt == 1 { 2_500 } else { 100 }, Ending::Succeeded)
}

#[test]
fn fires_due_during_a_run_meet_the_jobs_policy() {
    fn slow(_: &Run) -> (u64, Ending) {
        (2_400, Ending::Succeeded)
    }
    for (overlap, misfired, skipped) in
        [(Overlap::RunOnceAfter, 1, 0), (Overlap::Skip, 0, 2), (Overlap::Queue, 0, 0)]
    {
        let mut world = World::new(slow);
        world.add(100);
        world.define(0, &JobConfig { overlap, ..job("j", 1) });
        world.run_for(4_100);
        let counts = world.record("j", 0).unwrap().record.counts;
        assert_eq!((counts.misfired, counts.skipped), (misfired, skipped), "{overlap:?}");
        let sources: Vec<Source> =
            world.starts_of("j", 0).iter().map(|run| run.fire.source).collect();
        let second =
            if overlap == Overlap::RunOnceAfter { Source::Misfire } else { Source::Schedule };
        assert_eq!(sources, [Source::Schedule, second], "{overlap:?}");
    }
}

#[test]
fn a_full_pool_lets_fires_wait_unclaimed() {
    let mut world = World::new(quick);
    world.add(2);
    world.define(0, &job("j", 5));
    world.run_for(1_150);
    assert_eq!(world.starts.len(), 4, "two, and two more after 100 ms");
    world.run_for(800);
    assert_eq!(world.starts.len(), 5);
}

#[test]
fn what_came_due_while_nobody_lived_is_missed_or_caught_up() {
    for (catch_up, missed, runs) in
        [(CatchUp::None, 10, 0), (CatchUp::Latest, 9, 1), (CatchUp::All, 0, 10)]
    {
        let mut world = World::new(quick);
        let config = JobConfig { catch_up, ..job("j", 1) };
        world.add(100);
        world.define(0, &config);
        world.run_for(3_300);
        world.kill(0);
        world.run_for(9_900);
        let before = world.starts.len();
        world.add(100);
        world.define(1, &config);
        world.run_for(2_500);
        let caught_up = world.starts[before..]
            .iter()
            .filter(|(_, _, run)| run.fire.source == Source::CatchUp)
            .count();
        assert_eq!(caught_up, runs, "{catch_up:?}");
        let counts = world.record("j", 0).unwrap().record.counts;
        assert_eq!(counts.missed, missed, "{catch_up:?}");
    }
}

#[test]
fn a_trigger_runs_each_shard_once_and_goes() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &JobConfig { schedule: Schedule::OnTrigger, ..job("j", 2) });
    world.run_for(500);
    assert_eq!(world.starts.len(), 0);
    let name = JobName::new("j").unwrap();
    let me = world.hosts[0].node.as_ref().unwrap().status().instance;
    let key = namespace().key(&name, &Facet::Trigger(me));
    world.commit(vec![Op::create(key.clone(), "")]);
    world.run_for(500);
    assert_eq!(world.starts.len(), 2);
    assert!(world.starts.iter().all(|(_, _, run)| run.fire.source == Source::Trigger));
    assert_eq!(world.store.get(&key), None);
}

#[test]
fn a_shard_switched_off_is_skipped_and_comes_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(2_500);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Disabled(0));
    world.commit(vec![Op::create(key.clone(), "")]);
    world.run_for(3_000);
    assert_eq!((world.starts_of("j", 0).len(), world.starts_of("j", 1).len()), (2, 5));
    world.commit(vec![Op::Delete(key, None)]);
    world.run_for(2_000);
    assert_eq!(world.starts_of("j", 0).len(), 4);
    assert_eq!(world.record("j", 0).unwrap().record.counts.skipped, 3);
}

#[test]
fn somebody_lives_whatever_a_clock_that_was_ahead_has_written() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Plan);
    let mut plan = plan::decode(&world.store.get(&key).unwrap().value).unwrap();
    plan.alive = world.now().wall.plus(Duration::from_hours(1));
    world.commit(vec![Op::Set(key, plan::encode(&plan), None)]);
    world.run_for(5_000);
    let counts = world.record("j", 0).unwrap().record.counts;
    assert!(counts.ran >= 5 && counts.missed <= 1, "{counts:?}");
}

#[test]
fn a_clock_set_back_does_not_hold_fires_up() {
    let mut world = World::new(long);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    world.hosts[0].ahead = Duration::from_hours(1);
    world.step(0, Event::Wake);
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(12_500);
    assert!(world.starts_of("j", 0).len() >= 3, "{}", world.starts_of("j", 0).len());
}

/// A shard that came to this node while its clock was ahead is not held up until that instant.
#[test]
fn a_clock_put_right_ends_what_held_fires_up() {
    let schedule = Schedule::Every(Every { period_ms: 5_000, anchor: Timestamp::from_millis(0) });
    let skips = JobConfig { misfire: false, schedule, ..job("j", 2) };
    let mut world = World::new(long);
    world.add(100);
    world.define(0, &skips);
    world.run_for(6_000);
    world.add(100);
    world.hosts[1].ahead = Duration::from_hours(1);
    // Its shard still runs on the first.
    world.define(1, &skips);
    world.run_for(5);
    world.hosts[1].ahead = Duration::ZERO;
    world.run_for(6_000);
    assert_eq!(world.starts.iter().filter(|(_, n, _)| *n == 1).count(), 1, "at 10 s");
}
