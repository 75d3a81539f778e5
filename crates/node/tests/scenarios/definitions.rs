//! Definitions as the registry has them: changed, applied, refused.

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Ending, Run};
use flockwork_core::id::JobName;
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan;
use flockwork_node::{Effect, Event, Report};
use flockwork_registry::{Op, Request};

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
    let plan = plan::decode(&plan).unwrap().changed("another".into(), 1, world.now().wall);
    world.commit(vec![Op::Set(key(Facet::Plan), plan::encode(&plan), None)]);
    // The next fire is due before the node has heard of it.
    world.now_ms += 5;
    world.step(0, Event::Wake);
    assert_eq!(world.record("j", 0).unwrap().record, before);
}

/// The registry itself refuses it: whoever claims may never hear of the answer, and of the change.
#[test]
fn a_plan_that_is_out_of_date_claims_nothing() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_995);
    assert_eq!(world.record("j", 0).unwrap().record.counts.ran, 1);
    let key = |facet| namespace().key(&JobName::new("j").unwrap(), &facet);
    let before = world.store.get(&key(Facet::Record(0))).unwrap().stamp;
    let plan = world.store.get(&key(Facet::Plan)).unwrap().value.clone();
    let plan = plan::decode(&plan).unwrap().changed("another".into(), 1, world.now().wall);
    world.commit(vec![Op::Set(key(Facet::Plan), plan::encode(&plan), None)]);
    // The next fire is due before the node has heard of it.
    world.now_ms += 5;
    world.step(0, Event::Wake);
    // Neither claimed nor given back.
    assert_eq!(world.store.get(&key(Facet::Record(0))).unwrap().stamp, before);
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

/// A definition that cannot be served, put right before others have seen this node go.
#[test]
fn a_node_taken_off_a_job_that_it_can_serve_by_then_comes_back() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    let good = world.store.get(&key).unwrap().value.clone();
    world.commit(vec![Op::Set(key.clone(), "shardingTotalCount: none\n".into(), None)]);
    let leave = world.hear_held(0);
    assert!(leave.iter().any(|effect| matches!(effect, Effect::Submit(..))), "{leave:?}");
    world.commit(vec![Op::Set(key, good, None)]);
    world.run_for(100);
    world.release(0, leave);
    world.run_for(3_400);
    assert_eq!(world.starts_of("j", 0).len(), 5, "at 1 to 5 s");
}

/// Others must not take for gone who still runs something: they would run it again beside it.
#[test]
fn a_run_ends_before_its_node_is_taken_off_a_job_that_it_cannot_serve_any_more() {
    fn five_seconds(_: &Run) -> (u64, Ending) {
        (5_000, Ending::Succeeded)
    }
    let mut world = World::new(five_seconds);
    for n in 0..2 {
        world.add(100);
        world.define(n, &JobConfig { failover: true, ..job("j", 2) });
    }
    world.run_for(1_500);
    assert_eq!(world.starts.len(), 2);
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Config);
    world.commit(vec![Op::Set(key, "shardingTotalCount: nonsense".into(), None)]);
    world.run_for(3_000);
    let instances = namespace().key(&name, &Facet::Instances);
    assert_eq!(world.store.children(&instances).unwrap().len(), 2, "both still run");
    world.run_for(3_000);
    assert_eq!(world.store.children(&instances), Some(vec![]), "nobody is counted on");
    assert_eq!(world.starts.len(), 2);
    for shard in 0..2 {
        let counts = world.record("j", shard).unwrap().record.counts;
        assert_eq!((counts.succeeded, counts.crashed), (1, 0), "shard {shard}");
    }
}

/// A claim that comes to stand when its definition cannot be served any more.
#[test]
fn a_claim_is_given_back_when_its_definition_cannot_be_served_by_then() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_995);
    world.now_ms += 5;
    let claim = world.step_held(0, Event::Wake);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    world.commit(vec![Op::Set(key, "shardingTotalCount: nonsense".into(), None)]);
    let leave = world.hear_held(0);
    let leaves = |op: &Op| matches!(op, Op::Delete(key, _) if key.as_str().contains("/instances/"));
    let is_early = leave.iter().any(|effect| {
        let Effect::Submit(_, Request::Commit(ops)) = effect else { return false };
        ops.iter().any(leaves)
    });
    assert!(!is_early, "not before the claim has ended: {leave:?}");
    world.release(0, claim);
    world.run_for(1_000);
    assert_eq!(world.starts_of("j", 0).len(), 1);
    let record = world.record("j", 0).unwrap().record;
    assert_eq!((record.claim, record.counts.ran), (None, 1));
}

#[test]
fn a_job_put_right_and_removed_at_once_stays_removed() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    let good = world.store.get(&key).unwrap().value.clone();
    world.commit(vec![Op::Set(key.clone(), "shardingTotalCount: none\n".into(), None)]);
    let leave = world.hear_held(0);
    assert!(leave.iter().any(|effect| matches!(effect, Effect::Submit(..))), "{leave:?}");
    world.commit(vec![Op::Set(key.clone(), good, None)]);
    world.run_for(5);
    world.commit(vec![Op::Delete(key.clone(), None)]);
    world.run_for(5);
    world.release(0, leave);
    world.run_for(3_000);
    assert_eq!(world.store.get(&key), None, "nothing brings it back");
    assert!(world.reports.iter().any(|(_, _, report)| matches!(report, Report::Left { .. })));
}

/// What a newer release wrote says at least that nothing of ours is held any more.
#[test]
fn a_claim_in_doubt_ends_when_its_record_makes_no_sense_to_this_release() {
    let mut world = World::new(quick);
    world.add(1);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Record(0));
    let good = world.store.get(&key).unwrap().value.clone();
    world.after_lost_claim = Some(|world| {
        let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Record(0));
        world.commit(vec![Op::Set(key, "{\"v\":99}".into(), None)]);
    });
    world.run_for(1_000);
    // The only place is free again: others run.
    world.define(0, &job("other", 1));
    world.run_for(2_000);
    assert!(!world.starts_of("other", 0).is_empty());
    world.commit(vec![Op::Set(key, good, None)]);
    world.run_for(11_000);
    assert!(world.starts_of("j", 0).len() > 1, "readable again, it is served on");
}

#[test]
fn what_the_registry_cannot_take_is_not_under_way_for_ever() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 1));
    world.run_for(1_500);
    let name = JobName::new("j").unwrap();
    let key = namespace().key(&name, &Facet::Record(0));
    let good = world.store.get(&key).unwrap().value.clone();
    let most = world.store.limits().max_value;
    let mut large = good[..good.len() - 1].to_vec();
    large.extend_from_slice(b",\"of_a_newer_release\":\"");
    large.resize(most - 20, b'x');
    large.extend_from_slice(b"\"}");
    assert!(matches!(
        world.commit(vec![Op::Set(key, large.into(), None)]),
        flockwork_registry::Answer::Committed(_)
    ));
    // Not followed, but read again from time to time; or when somebody joins.
    world.add(100);
    world.define(1, &job("j", 1));
    world.run_for(30_000);
    let instances = namespace().key(&name, &Facet::Instances);
    let refused = |report: &Report| matches!(report, Report::Refused { code: "TOO_LARGE", .. });
    assert!(world.reports.iter().any(|(_, _, report)| refused(report)));
    assert_eq!(world.store.children(&instances), Some(vec![]), "nobody is counted on");
    for n in 0..2 {
        assert_eq!(world.hosts[n].node.as_ref().unwrap().status().running, 0);
    }
}

/// Fires that a slow run left in the queue are neither run by the schedule that replaced theirs nor forgotten.
#[test]
fn fires_that_wait_when_their_schedule_is_replaced_are_skipped_by_name() {
    fn slow(_: &Run) -> (u64, Ending) {
        (3_400, Ending::Succeeded)
    }
    for nodes in [1, 2] {
        let mut world = World::new(slow);
        let mut config = job("j", 1);
        config.overlap = flockwork_core::config::Overlap::Queue;
        for n in 0..nodes {
            world.add(100);
            world.define(n, &config);
        }
        // The fire of the first second runs, three wait.
        world.run_for(4_200);
        let every_minute = Every { period_ms: 60_000, anchor: Timestamp::from_millis(0) };
        config.schedule = Schedule::Every(every_minute);
        let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
        let document = flockwork_layout::document::encode(&config);
        world.commit(vec![Op::Set(key, document.into(), None)]);
        world.run_for(2_000);
        let record = world.record("j", 0).unwrap().record;
        assert_eq!((record.counts.ran, record.counts.skipped), (1, 3), "{record:?}");
        let note = record.notes.last().unwrap();
        assert_eq!((note.reason.code(), note.span.fires), ("SCHEDULE_CHANGED", 3));
        world.run_for(60_000);
        let counts = world.record("j", 0).unwrap().record.counts;
        assert_eq!((counts.ran, counts.skipped), (2, 3), "{counts:?}");
    }
}
