//! Jobs that are removed, withdrawn or left, and nodes that stop.

use crate::world::{World, namespace};
use crate::{job, long, quick};
use flockwork_core::config::{JobConfig, OnSessionLoss};
use flockwork_core::execution::{Ending, Run};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_node::{Event, Report};
use flockwork_registry::{Answer, Event as Registry, Op, Scope, SessionState};
use std::time::Duration;

#[test]
fn a_removed_job_is_left_and_nothing_brings_it_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_050);
    let name = JobName::new("j").unwrap();
    let root = namespace().key(&name, &Facet::Job);
    world.sweep(&root);
    world.run_for(3_000);
    assert_eq!(world.starts.len(), 1);
    assert!(!world.store.entries().any(|(key, _)| key.as_str().starts_with(root.as_str())));
    assert!(world.reports.iter().any(|(_, _, report)| matches!(report, Report::Left { .. })));
}

/// ElasticJob's lifecycle API deletes the job's own tree; what is ours beside it stays.
#[test]
fn a_name_that_is_used_again_starts_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(2_500);
    let root = namespace().key(&JobName::new("j").unwrap(), &Facet::Job);
    world.sweep(&root);
    world.run_for(5_000);
    world.kill(0);
    world.add(100);
    world.define(1, &job("j", 1));
    world.run_for(3_000);
    let dues: Vec<i64> = world
        .starts_of("j", 0)
        .iter()
        .map(|run| (run.fire.due.as_millis() - crate::world::START) / 1_000)
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

/// Runs for a minute.
fn a_minute(_: &Run) -> (u64, Ending) {
    (60_000, Ending::Succeeded)
}

#[test]
fn a_run_of_a_job_that_is_removed_is_told_to_stop() {
    let mut world = World::new(a_minute);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    assert_eq!(world.hosts[0].running.len(), 1);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    assert!(matches!(world.commit(vec![Op::Delete(key, None)]), Answer::Committed(_)));
    world.run_for(100);
    assert_eq!(world.hosts[0].running.len(), 0);
}

#[test]
fn a_job_given_again_before_it_was_left_is_served_on() {
    let mut world = World::new(a_minute);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(1_500);
    world.step(0, Event::Withdraw(JobName::new("j").unwrap()));
    world.run_for(2_000);
    world.define(0, &job("j", 2));
    world.code = quick;
    world.run_for(60_000);
    let last = world.starts_of("j", 1).last().map(|run| run.fire.due.as_millis());
    assert!(last >= Some(crate::world::START + 61_000), "{last:?}");
    assert!(!world.reports.iter().any(|(_, _, report)| matches!(report, Report::Left { .. })));
}

/// The commit that leaves is on its way when the job is given again.
#[test]
fn a_job_given_again_while_it_is_left_is_joined_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(1_500);
    let leaves = world.step_held(0, Event::Withdraw(JobName::new("j").unwrap()));
    assert!(leaves.iter().any(|effect| matches!(effect, flockwork_node::Effect::Submit(..))));
    world.define(0, &job("j", 2));
    world.release(0, leaves);
    let before = world.starts_of("j", 1).len();
    world.run_for(3_000);
    assert!(world.starts_of("j", 1).len() >= before + 2);
    world.step(0, Event::Withdraw(JobName::new("j").unwrap()));
    let before = world.starts_of("j", 1).len();
    world.run_for(3_000);
    assert_eq!(world.starts_of("j", 1).len(), before, "what is withdrawn does not come back");
}

/// Not knowing whether others see this instance is not knowing that they do.
#[test]
fn a_job_given_again_after_an_operator_took_the_instance_off_is_joined_anew() {
    let mut world = World::new(a_minute);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let me = InstanceId::new("10.0.0.0@-@0-x").unwrap();
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Instance(me));
    let off = world.commit(vec![Op::Delete(key.clone(), None)]);
    assert!(matches!(off, Answer::Committed(_)), "{off:?}");
    world.run_for(500);
    // It waits for its run; who serves the job is being read when the job is given again.
    let list = key.parent().unwrap();
    let changed = Registry::Changed(list, Scope::Children);
    let reads = world.step_held(0, Event::Registry(changed));
    world.define(0, &job("j", 1));
    world.release(0, reads);
    world.code = quick;
    world.run_for(62_000);
    let last = world.starts_of("j", 0).last().map(|run| run.fire.due.as_millis());
    assert!(last >= Some(crate::world::START + 63_000), "{last:?}");
}

/// Its own entries are gone with the session, which is no operator's word.
#[test]
fn a_node_whose_session_ended_joins_again() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(2_500);
    let (old, now) = (world.hosts[0].session, world.now_ms);
    assert!(world.store.end(old));
    world.hosts[0].session = world.store.open(now, Duration::from_secs(4));
    for event in [Registry::Session(SessionState::Ended(old)), Registry::Resync] {
        world.step(0, Event::Registry(event));
    }
    world.tell_live(0);
    let before = world.starts_of("j", 1).len();
    world.run_for(3_000);
    assert_eq!(world.starts_of("j", 1).len(), before + 3);
    assert!(!world.reports.iter().any(|(_, _, report)| matches!(report, Report::Left { .. })));
}

/// An operator's `shutdown` deletes the instance's node; others take over at once what ran there.
#[test]
fn a_run_that_must_not_run_twice_ends_when_an_operator_takes_its_instance_off() {
    let mut world = World::new(a_minute);
    let config = JobConfig { failover: true, on_session_loss: OnSessionLoss::Stop, ..job("j", 1) };
    for n in 0..2 {
        world.add(100);
        world.define(n, &config);
    }
    world.run_for(1_500);
    let runner = world.starts[0].1;
    let me = InstanceId::new(&format!("10.0.0.{runner}@-@{runner}-x")).unwrap();
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Instance(me));
    assert!(matches!(world.commit(vec![Op::Delete(key, None)]), Answer::Committed(_)));
    world.run_for(100);
    assert_eq!(world.hosts[runner].running.len(), 0);
    let (_, other, again) = world.starts.last().unwrap();
    assert_ne!((*other, again.attempt), (runner, 1));
    assert_eq!(world.hosts[*other].running.len(), 1);
}

/// The claim comes to stand after its instance was taken off.
#[test]
fn a_claim_made_after_an_operator_took_its_instance_off_is_given_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_995);
    world.now_ms += 5;
    let claim = world.step_held(0, Event::Wake);
    let me = InstanceId::new("10.0.0.0@-@0-x").unwrap();
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Instance(me));
    world.commit(vec![Op::Delete(key.clone(), None)]);
    world.step(0, Event::Registry(Registry::Changed(key.parent().unwrap(), Scope::Children)));
    world.release(0, claim);
    world.run_for(1_000);
    assert_eq!(world.starts_of("j", 0).len(), 1);
    assert_eq!(world.record("j", 0).unwrap().record.claim, None);
}

/// Its runs may last for hours: others deal the shards meanwhile.
#[test]
fn who_waits_for_its_runs_before_it_leaves_does_not_lead() {
    let mut world = World::new(a_minute);
    for n in 0..3 {
        world.add(100);
        world.define(n, &job("j", 3));
    }
    world.run_for(1_500);
    world.step(0, Event::Withdraw(JobName::new("j").unwrap()));
    world.run_for(500);
    world.kill(1);
    world.run_for(6_000);
    assert_eq!(world.hosts[0].running.len(), 1, "it still waits");
    for shard in 0..3 {
        let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Owner(shard));
        let owner = world.store.get(&key).unwrap().value.clone();
        assert_ne!(owner, "10.0.0.1@-@1-x", "shard {shard} belongs to who is gone");
    }
}

/// A removal takes the definition first, and may be interrupted then.
#[test]
fn a_job_of_which_only_the_folders_are_left_is_made_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = |facet| namespace().key(&JobName::new("j").unwrap(), &facet);
    assert!(matches!(
        world.commit(vec![Op::Delete(key(Facet::Config), None)]),
        Answer::Committed(_)
    ));
    world.run_for(500);
    world.commit(vec![Op::Delete(key(Facet::Records).parent().unwrap(), None)]);
    world.define(0, &job("j", 1));
    let before = world.starts.len();
    world.run_for(3_000);
    assert!(world.starts.len() >= before + 2);
}
