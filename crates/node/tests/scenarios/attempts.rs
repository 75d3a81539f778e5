//! Runs that fail, crash or lose their claim, and what becomes of their fire.

use crate::world::{World, namespace};
use crate::{job, long, quick};
use flockwork_core::config::{JobConfig, Overlap, Retry, RetryOn};
use flockwork_core::execution::{Ending, Run, Source};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::encode;
use flockwork_node::{Effect, Report};
use flockwork_registry::{Answer, Op};
use std::time::Duration;

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

/// A mark without a claim, as a node of another kind leaves it: it is waited for, not run into.
#[test]
fn a_mark_in_the_way_is_waited_for() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let name = JobName::new("j").unwrap();
    let key = |facet: &Facet| namespace().key(&name, facet);
    let other = InstanceId::new("10.0.0.9@-@9-x").unwrap();
    let marked = world.commit(vec![
        Op::create_for_session(key(&Facet::Instance(other.clone())), ""),
        Op::create(key(&Facet::Running(0)), other.to_string()),
    ]);
    assert!(matches!(marked, Answer::Committed(_)), "{marked:?}");
    let before = world.store.index();
    world.run_for(60_000);
    assert_eq!(world.starts_of("j", 0).len(), 1);
    assert_eq!(world.store.index(), before, "nothing was claimed, and so nothing refused");
    world.commit(vec![Op::Delete(key(&Facet::Running(0)), None)]);
    world.run_for(3_000);
    assert!(world.starts_of("j", 0).len() >= 3);
    // Its instance gone, what it left is taken away.
    let left = vec![
        Op::create(key(&Facet::Running(0)), other.to_string()),
        Op::Delete(key(&Facet::Instance(other)), None),
    ];
    world.run_for(150);
    assert!(matches!(world.commit(left), Answer::Committed(_)));
    let before = world.starts_of("j", 0).len();
    world.run_for(5_000);
    assert!(world.starts_of("j", 0).len() >= before + 4);
}

/// A claim on its way is no run that a request could be skipped for; it is asked about for its own
/// shard alone, as on a busy job there is nearly always one.
#[test]
fn a_request_to_run_now_waits_for_the_claim_of_its_own_shard_alone() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &JobConfig { overlap: Overlap::Skip, ..job("j", 2) });
    world.run_for(1_500);
    let name = JobName::new("j").unwrap();
    let key = |facet: &Facet| namespace().key(&name, facet);
    world.commit(vec![Op::create(key(&Facet::Disabled(1)), "")]);
    world.run_for(100);
    // Shard 0 alone claims, and its claim is held back on its way.
    let trigger = key(&Facet::Trigger(InstanceId::new("10.0.0.0@-@0-x").unwrap()));
    world.commit(vec![Op::create(trigger.clone(), "")]);
    let claim = world.hear_held(0);
    assert!(claim.iter().any(|effect| matches!(effect, Effect::Submit(..))), "{claim:?}");
    // Another request, when shard 1 is there again.
    world.commit(vec![Op::Delete(key(&Facet::Disabled(1)), None)]);
    world.commit(vec![Op::Delete(trigger.clone(), None), Op::create(trigger.clone(), "")]);
    world.run_for(200);
    let triggered = |world: &World, shard| {
        let runs = world.starts_of("j", shard);
        runs.iter().filter(|run| run.fire.source == Source::Trigger).count()
    };
    assert_eq!((triggered(&world, 0), triggered(&world, 1)), (0, 1));
    assert!(world.store.get(&trigger).is_some(), "it stands for shard 0");
    world.release(0, claim);
    world.run_for(100);
    assert_eq!((triggered(&world, 0), triggered(&world, 1)), (1, 1), "it ran for both requests");
    assert_eq!(world.store.get(&trigger), None);
}
