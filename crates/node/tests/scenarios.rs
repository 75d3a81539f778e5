//! A node's life, step by step: what one run of each rule looks like from outside.

mod world;

use flockwork_core::config::{CatchUp, Draft, JobConfig, Level, Overlap, Retry, RetryOn, check};
use flockwork_core::execution::{Ending, Run, Source};
use flockwork_core::id::JobName;
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan;
use flockwork_layout::record::encode;
use flockwork_node::{Event, Report};
use flockwork_registry::{Answer, Op};
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
fn a_crashed_run_is_taken_over_under_a_higher_epoch() {
    let mut world = World::new(long);
    let config = JobConfig { failover: true, ..job("j", 2) };
    for n in 0..2 {
        world.add(100);
        world.define(n, &config);
    }
    world.run_for(1_500);
    let victim = world.starts.iter().find(|(_, n, _)| *n == 1).unwrap().2.clone();
    world.kill(1);
    world.run_for(6_000);
    let again = world
        .starts_of("j", victim.shard)
        .into_iter()
        .find(|run| run.fire == victim.fire && run.attempt == 2)
        .expect("it is run again");
    assert!(again.epoch > victim.epoch);
    assert_ne!(again.instance, victim.instance);
    let record = world.record("j", victim.shard).unwrap().record;
    assert_eq!(record.counts.crashed, 1);
}

#[test]
fn without_failover_a_crashed_run_is_written_down_and_the_next_fire_runs() {
    let mut world = World::new(long);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 2));
    }
    world.run_for(1_500);
    let victim = world.starts.iter().find(|(_, n, _)| *n == 1).unwrap().2.clone();
    world.kill(1);
    world.run_for(12_000);
    let runs = world.starts_of("j", victim.shard);
    assert!(runs.iter().all(|run| run.attempt == 1));
    assert!(runs.len() > 2, "it goes on");
    assert_eq!(world.record("j", victim.shard).unwrap().record.counts.crashed, 1);
}

fn fails_twice(run: &Run) -> (u64, Ending) {
    (50, if run.attempt < 3 { Ending::Exited(3) } else { Ending::Succeeded })
}

#[test]
fn a_failed_run_is_tried_again_elsewhere() {
    let mut world = World::new(fails_twice);
    let retry = Retry { times: 2, backoff: Duration::from_millis(200), on: RetryOn::Other };
    let every = Schedule::Every(Every { period_ms: 10_000, anchor: Timestamp::from_millis(0) });
    let config = JobConfig { retry, schedule: every, ..job("j", 1) };
    for n in 0..2 {
        world.add(100);
        world.define(n, &config);
    }
    world.run_for(15_000);
    let runs = world.starts_of("j", 0);
    let attempts: Vec<u32> = runs.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_ne!(runs[0].instance, runs[1].instance);
    assert_ne!(runs[1].instance, runs[2].instance);
    assert!(runs.is_sorted_by(|a, b| a.epoch < b.epoch && a.fire == b.fire));
    let counts = world.record("j", 0).unwrap().record.counts;
    assert_eq!((counts.ran, counts.failed, counts.succeeded), (1, 2, 1));
}

#[test]
fn a_fire_after_one_that_was_tried_again_elsewhere_is_on_time() {
    fn fails_first(run: &Run) -> (u64, Ending) {
        (50, if run.attempt == 1 { Ending::Exited(3) } else { Ending::Succeeded })
    }
    let mut world = World::new(fails_first);
    let retry = Retry { times: 1, backoff: Duration::from_millis(200), on: RetryOn::Other };
    for n in 0..2 {
        world.add(100);
        world.define(n, &JobConfig { retry, ..job("j", 1) });
    }
    world.run_for(8_500);
    let first = world.starts.iter().filter(|(_, _, run)| run.attempt == 1);
    let starts: Vec<u64> = first.map(|(at, ..)| *at).collect();
    assert_eq!(starts, (1..=8).map(|second| second * 1_000).collect::<Vec<_>>());
}

#[test]
fn an_attempt_released_by_a_clock_that_is_ahead_waits_for_its_back_off_only() {
    let mut world = World::new(fails_twice);
    let retry = Retry { times: 2, backoff: Duration::from_millis(200), on: RetryOn::Other };
    let every = Schedule::Every(Every { period_ms: 10_000, anchor: Timestamp::from_millis(0) });
    let config = JobConfig { retry, schedule: every, ..job("j", 1) };
    for n in 0..2 {
        world.add(100);
        world.define(n, &config);
    }
    world.hosts[0].ahead = Duration::from_hours(1);
    world.run_for(2_000);
    let runs: Vec<(u32, &str)> =
        world.starts_of("j", 0).iter().map(|run| (run.attempt, run.instance.server())).collect();
    assert_eq!(runs, [(1, "10.0.0.0"), (2, "10.0.0.1"), (3, "10.0.0.0")]);
}

#[test]
fn with_nobody_else_a_run_that_must_go_elsewhere_ends_failed() {
    let mut world = World::new(fails_twice);
    let retry = Retry { times: 2, backoff: Duration::from_millis(200), on: RetryOn::Other };
    world.add(100);
    world.define(0, &JobConfig { retry, ..job("j", 1) });
    world.run_for(2_500);
    assert!(world.starts_of("j", 0).iter().all(|run| run.attempt == 1));
    let last = world.record("j", 0).unwrap().record.last.unwrap();
    assert_eq!(last.code, "NO_OTHER_INSTANCE");
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
fn a_run_past_its_time_is_cancelled_and_counts_when_it_has_ended() {
    fn endless(_: &Run) -> (u64, Ending) {
        (u64::MAX / 2, Ending::Succeeded)
    }
    let mut world = World::new(endless);
    world.add(100);
    let timeout = Some(Duration::from_millis(300));
    world.define(0, &JobConfig { timeout, ..job("j", 1) });
    world.run_for(1_500);
    let last = world.record("j", 0).unwrap().record.last.unwrap();
    assert_eq!(last.code, "TIMED_OUT");
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
fn a_run_that_was_not_started_is_given_back_and_settled_again() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(900);
    world.refuses_start = true;
    world.run_for(2_000);
    assert_eq!(world.starts_of("j", 0).len(), 2, "the fire that was not started, and the next");
    let counts = world.record("j", 0).unwrap().record.counts;
    assert_eq!((counts.ran, counts.failed, counts.misfired), (2, 0, 0));
    let said = |code| {
        let is_it =
            |report: &Report| matches!(report, Report::Trouble { code: c, .. } if *c == code);
        world.reports.iter().filter(|(.., report)| is_it(report)).count()
    };
    assert_eq!(said("GIVEN_BACK"), 1);
}

#[test]
fn a_trigger_is_not_run_again_when_its_lost_claim_was_taken_over_and_done() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &JobConfig { schedule: Schedule::OnTrigger, ..job("j", 1) });
    world.run_for(500);
    let name = JobName::new("j").unwrap();
    let me = world.hosts[0].node.as_ref().unwrap().status().instance;
    let key = namespace().key(&name, &Facet::Trigger(me));
    world.after_lost_claim = Some(|world| {
        let name = JobName::new("j").unwrap();
        let mut stored = world.record("j", 0).unwrap();
        assert!(stored.record.claim.take().is_some(), "the claim was made");
        let record = namespace().key(&name, &Facet::Record(0));
        let mark = namespace().key(&name, &Facet::Running(0));
        let done = vec![Op::Set(record, encode(&stored), None), Op::Delete(mark, None)];
        assert!(matches!(world.commit(done), Answer::Committed(_)));
    });
    world.commit(vec![Op::create(key.clone(), "")]);
    world.run_for(2_000);
    assert_eq!(world.starts.len(), 0, "someone else has run it");
    assert_eq!(world.store.get(&key), None, "and it is answered");
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
fn a_plan_that_is_out_of_date_accounts_nothing() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = |facet| namespace().key(&JobName::new("j").unwrap(), &facet);
    world.commit(vec![Op::create(key(Facet::Disabled(0)), "")]);
    world.run_for(2_495);
    let before = world.record("j", 0).unwrap().record;
    assert_eq!(before.counts.skipped, 2);
    let plan = world.store.get(&key(Facet::Plan)).unwrap().value.clone();
    let plan = plan::decode(&plan).unwrap().changed("another".to_owned(), 1, world.now().wall);
    world.commit(vec![Op::Set(key(Facet::Plan), plan::encode(&plan), None)]);
    // The next fire is due before the node has heard of it.
    world.now_ms += 5;
    world.step(0, Event::Wake);
    assert_eq!(world.record("j", 0).unwrap().record, before);
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
fn a_removed_job_is_left_and_nothing_brings_it_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_050);
    let name = JobName::new("j").unwrap();
    let root = namespace().key(&name, &Facet::Job);
    let mut keys: Vec<_> = world
        .store
        .entries()
        .map(|(key, _)| key.clone())
        .filter(|key| key.as_str().starts_with(root.as_str()))
        .collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.as_str().len()));
    world.commit(keys.into_iter().map(|key| Op::Delete(key, None)).collect());
    world.run_for(3_000);
    assert_eq!(world.starts.len(), 1);
    assert!(!world.store.entries().any(|(key, _)| key.as_str().starts_with(root.as_str())));
    assert!(world.reports.iter().any(|(_, _, report)| matches!(report, Report::Left { .. })));
}

#[test]
fn a_definition_changed_in_the_registry_counts_from_then_on() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(2_500);
    let every = Schedule::Every(Every { period_ms: 2_000, anchor: Timestamp::from_millis(0) });
    let changed = JobConfig { schedule: every, ..job("j", 5) };
    let document = flockwork_layout::document::encode(&changed);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    world.commit(vec![Op::Set(key, document.into(), None)]);
    world.run_for(4_000);
    assert_eq!(world.starts_of("j", 0).len(), 4, "at 1, 2, 4 and 6 s");
    assert_eq!(world.starts_of("j", 4).len(), 2, "at 4 and 6 s");
    let counts = world.record("j", 4).unwrap().record.counts;
    assert_eq!((counts.missed, counts.misfired, counts.skipped), (0, 0, 0));
}

/// ElasticJob's lifecycle API deletes the job's own tree; what is ours beside it stays.
#[test]
fn a_name_that_is_used_again_starts_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(2_500);
    let root = namespace().key(&JobName::new("j").unwrap(), &Facet::Job);
    let mut keys: Vec<_> = world
        .store
        .entries()
        .map(|(key, _)| key.clone())
        .filter(|key| key.as_str().starts_with(root.as_str()))
        .collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.as_str().len()));
    world.commit(keys.into_iter().map(|key| Op::Delete(key, None)).collect());
    world.run_for(5_000);
    world.kill(0);
    world.add(100);
    world.define(1, &job("j", 1));
    world.run_for(3_000);
    let dues: Vec<i64> = world
        .starts_of("j", 0)
        .iter()
        .map(|run| (run.fire.due.as_millis() - world::START) / 1_000)
        .collect();
    assert_eq!(dues, [1, 2, 8, 9, 10]);
    let counts = world.record("j", 0).unwrap().record.counts;
    assert_eq!((counts.missed, counts.misfired), (0, 0));
}

#[test]
fn a_claim_under_way_when_its_node_is_told_to_stop_is_taken_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_995);
    world.now_ms += 5;
    let claim = world.step_held(0, Event::Wake);
    world.step(0, Event::Drain);
    world.release(0, claim);
    world.run_for(1_000);
    assert!(world.hosts[0].is_drained);
    assert_eq!(world.starts_of("j", 0).len(), 1);
    let record = world.record("j", 0).unwrap().record;
    assert_eq!((record.claim, record.counts.ran), (None, 1));
}

#[test]
fn a_node_that_stops_takes_nothing_up_any_more() {
    let mut world = World::new(long);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    world.step(0, Event::Drain);
    world.define(0, &job("other", 1));
    world.define(0, &job("j", 1));
    world.run_for(60_000);
    assert!(world.hosts[0].is_drained);
    assert!(world.starts_of("other", 0).is_empty());
}

#[test]
fn a_definition_that_is_applied_is_told_once() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(500);
    world.add(100);
    let changed = JobConfig { overwrite: true, ..job("j", 3) };
    world.define(1, &changed);
    world.run_for(500);
    let told: Vec<bool> = world
        .reports
        .iter()
        .filter(|(_, n, _)| *n == 1)
        .filter_map(|(_, _, report)| match report {
            Report::Serving { applied, .. } => Some(*applied),
            _ => None,
        })
        .collect();
    assert_eq!(told, [true]);
    world.run_for(1_000);
    assert_eq!(world.starts_of("j", 2).len(), 2, "at 1 and 2 s");
}

#[test]
fn a_shard_taken_away_while_it_runs_holds_up_no_other() {
    fn last_is_slow(run: &Run) -> (u64, Ending) {
        (if run.shard == 3 { 10_000 } else { 100 }, Ending::Succeeded)
    }
    let mut world = World::new(last_is_slow);
    world.add(100);
    world.define(0, &JobConfig { static_sharding: true, ..job("j", 4) });
    world.run_for(1_500);
    let changed = JobConfig { static_sharding: true, ..job("j", 3) };
    let document = flockwork_layout::document::encode(&changed);
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Config);
    world.commit(vec![Op::Set(key, document.into(), None)]);
    world.run_for(6_000);
    assert_eq!(world.starts_of("j", 0).len(), 7);
    assert_eq!(world.record("j", 0).unwrap().record.counts.misfired, 0);
    world.run_for(8_000);
    assert_eq!(world.store.get(&namespace().key(&name, &Facet::Shard(3))), None);
}

#[test]
fn a_definition_too_large_for_the_registry_is_refused_and_others_go_on() {
    let mut world = World::new(quick);
    world.add(100);
    let huge = "x".repeat(world.store.limits().max_value + 1);
    world.define(0, &JobConfig { job_parameter: huge, ..job("huge", 1) });
    world.define(0, &job("j", 1));
    world.run_for(2_500);
    assert_eq!(world.starts_of("j", 0).len(), 2);
    let refused = world
        .reports
        .iter()
        .filter(|(_, _, report)| matches!(report, Report::Refused { code: "TOO_LARGE", .. }));
    assert_eq!(refused.count(), 1);
}

#[test]
fn a_definition_that_cannot_be_served_any_more_is_left_to_others() {
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 2));
    }
    world.run_for(1_500);
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Config);
    let good = world.store.get(&key).unwrap().value.clone();
    world.commit(vec![Op::Set(key.clone(), "shardingTotalCount: nonsense".into(), None)]);
    world.run_for(3_000);
    let instances = world.store.children(&namespace().key(&name, &Facet::Instances));
    assert_eq!(instances, Some(vec![]), "nobody is counted on");
    let before = world.starts.len();
    world.commit(vec![Op::Set(key, good, None)]);
    world.run_for(3_500);
    assert!(world.starts.len() > before, "it is served again");
}

#[test]
fn a_refused_definition_stays_refused_when_deregistering_is_lost() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Config);
    world.commit(vec![Op::Set(key, "shardingTotalCount: nonsense".into(), None)]);
    world.hosts[0].lost_commits = 1;
    world.run_for(3_000);
    assert_eq!(world.hosts[0].lost_commits, 0);
    let instances = world.store.children(&namespace().key(&name, &Facet::Instances));
    assert_eq!(instances, Some(vec![]), "nobody is counted on");
    assert_eq!(world.starts_of("j", 0).len(), 1);
}

#[test]
fn a_run_whose_claim_was_taken_leaves_no_mark_behind() {
    let mut world = World::new(long);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 1));
    }
    world.run_for(1_500);
    let runner = world.starts_of("j", 0)[0].instance.clone();
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Instance(runner.clone()));
    world.commit(vec![Op::Delete(key, None)]);
    world.run_for(8_000);
    let runs = world.starts_of("j", 0);
    let others = runs.iter().filter(|run| run.instance != runner).count();
    assert!(others >= 2, "{others}");
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
