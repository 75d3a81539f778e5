//! Nodes that wait for their runs before they leave a job: others run the rest meanwhile.

use crate::job;
use crate::world::{START, World, namespace};
use flockwork_core::config::{JobConfig, OnSessionLoss, Retry, RetryOn};
use flockwork_core::execution::{Ending, Run};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_node::Event;
use flockwork_registry::{Answer, Op};

const LONG: [u32; 6] = [0, 1, 4, 5, 8, 9];
const SHORT: [u32; 6] = [2, 3, 6, 7, 10, 11];

/// Runs of some shards last for a minute.
fn some_are_long(run: &Run) -> (u64, Ending) {
    (if LONG.contains(&run.shard) { 60_000 } else { 100 }, Ending::Succeeded)
}

fn owners(world: &World, shards: u32) -> Vec<String> {
    let key =
        |shard| namespace().key(&JobName::new("j").expect("it is there"), &Facet::Owner(shard));
    let owner = |shard| world.store.get(&key(shard)).expect("it is there").value.clone();
    (0..shards)
        .map(|shard| String::from_utf8(owner(shard).to_vec()).expect("it is there"))
        .collect()
}

fn fires_of(world: &World, shard: u32) -> Vec<i64> {
    let starts = world.starts_of("j", shard);
    starts.iter().map(|run| (run.fire.due.as_millis() - START) / 1_000).collect()
}

/// Three nodes and twelve shards; each node has one that runs for long, and one that does not.
fn three_with_long_runs() -> World {
    let mut world = World::new(some_are_long);
    for n in 0..3 {
        world.add(100);
        world.define(n, &job("j", 12));
    }
    world.run_for(3_500);
    for n in 0..3 {
        let id = format!("10.0.0.{n}@-@{n}-x");
        let own: Vec<u32> = (0..)
            .zip(owners(&world, 12))
            .filter(|(_, owner)| *owner == id)
            .map(|(i, _)| i)
            .collect();
        for kind in [LONG, SHORT] {
            assert!(own.iter().any(|shard| kind.contains(shard)), "{id} has {own:?}");
        }
    }
    world
}

/// Whoever leads: what the leaving node does not run any more is run by others from the next fire on.
#[test]
fn shards_of_a_node_that_waits_for_its_runs_are_run_by_others() {
    for leaving in 0..3 {
        let mut world = three_with_long_runs();
        world.step(leaving, Event::Withdraw(JobName::new("j").expect("it is there")));
        world.run_for(10_000);
        assert!(!world.hosts[leaving].running.is_empty(), "it still waits");
        let id = format!("10.0.0.{leaving}@-@{leaving}-x");
        assert!(!owners(&world, 12).contains(&id), "it is dealt nothing");
        for shard in SHORT {
            assert_eq!(fires_of(&world, shard), (1..=13).collect::<Vec<_>>(), "shard {shard}");
        }
        // What it runs is run by nobody else.
        for shard in LONG {
            assert_eq!(world.starts_of("j", shard).len(), 1, "shard {shard}");
        }
        world.run_for(60_000);
        assert!(world.hosts[leaving].running.is_empty());
        let marks = |facet: Facet| {
            world.store.get(&namespace().key(&JobName::new("j").expect("it is there"), &facet))
        };
        assert!(
            marks(Facet::Leaver(InstanceId::new(&id).expect("it is there"))).is_none(),
            "its mark is gone"
        );
        assert!(marks(Facet::Necessary).is_none(), "what was asked for was done");
    }
}

/// It is dealt shards again, whatever it said before.
#[test]
fn a_node_that_stays_after_all_is_dealt_shards_again() {
    let mut world = three_with_long_runs();
    world.step(1, Event::Withdraw(JobName::new("j").expect("it is there")));
    world.run_for(2_000);
    let id = "10.0.0.1@-@1-x".to_owned();
    assert!(!owners(&world, 12).contains(&id));
    world.define(1, &job("j", 12));
    world.run_for(2_000);
    assert_eq!(owners(&world, 12).iter().filter(|owner| **owner == id).count(), 4);
}

/// Its mark is made after all once it is to be gone, as its folder was missing at first.
#[test]
fn a_mark_that_comes_late_is_taken_away_again() {
    let mut world = three_with_long_runs();
    let marks = world.step_held(1, Event::Withdraw(JobName::new("j").expect("it is there")));
    world.define(1, &job("j", 12));
    world.release(1, marks);
    world.run_for(2_000);
    assert_eq!(owners(&world, 12).iter().filter(|owner| *owner == "10.0.0.1@-@1-x").count(), 4);
}

fn share(world: &World, node: usize) -> usize {
    let id = format!("10.0.0.{node}@-@{node}-x");
    owners(world, 12).iter().filter(|owner| **owner == id).count()
}

/// Under the same id, as far as others can tell.
#[test]
fn a_node_that_left_and_comes_back_is_dealt_shards_again() {
    let mut world = three_with_long_runs();
    world.code = all_are_short;
    world.step(1, Event::Withdraw(JobName::new("j").expect("a name")));
    world.run_for(2_000);
    assert!(!world.hosts[1].running.is_empty(), "it waits for what it runs");
    world.run_for(62_000);
    assert!(world.hosts[1].running.is_empty());
    world.define(1, &job("j", 12));
    world.run_for(2_000);
    assert_eq!(share(&world, 1), 4);
}

fn all_are_short(_: &Run) -> (u64, Ending) {
    (100, Ending::Succeeded)
}

/// An operator's `shutdown`, or a console's: others take over what it runs.
#[test]
fn a_node_that_waits_to_leave_and_is_taken_off_cancels_what_must_not_run_twice() {
    let stop = JobConfig { failover: true, on_session_loss: OnSessionLoss::Stop, ..job("j", 2) };
    let mut world = World::new(|_| (60_000, Ending::Succeeded));
    for n in 0..2 {
        world.add(100);
        world.define(n, &stop);
    }
    world.run_for(1_500);
    world.step(0, Event::Withdraw(JobName::new("j").expect("a name")));
    world.run_for(500);
    assert_eq!(world.hosts[0].running.len(), 1);
    let me = Facet::Instance(InstanceId::new("10.0.0.0@-@0-x").expect("an id"));
    let key = namespace().key(&JobName::new("j").expect("a name"), &me);
    assert!(matches!(world.commit(vec![Op::Delete(key, None)]), Answer::Committed(_)));
    world.run_for(100);
    assert_eq!(world.hosts[0].running.len(), 0);
}

/// The first run of one shard fails late, those of others go on, the rest is short.
fn one_fails_late(run: &Run) -> (u64, Ending) {
    match (run.shard, run.attempt) {
        (2, 1) => (3_000, Ending::Error("no luck".to_owned())),
        (0..2, 1) => (60_000, Ending::Succeeded),
        _ => (100, Ending::Succeeded),
    }
}

fn all_but_one_are_long(run: &Run) -> (u64, Ending) {
    (if run.shard == 2 { 100 } else { 60_000 }, Ending::Succeeded)
}

/// Whatever the job says of where: who leaves tries nothing again, and of the others one may leave, too.
#[test]
fn a_run_that_fails_on_a_node_that_waits_to_leave_is_tried_again_by_the_shards_new_owner() {
    for on in [RetryOn::Same, RetryOn::PreferOther, RetryOn::Other] {
        let retry = Retry { times: 1, on, ..Retry::default() };
        let config = JobConfig { retry, ..job("j", 9) };
        let mut world = World::new(one_fails_late);
        for n in 0..3 {
            world.add(100);
            world.define(n, &config);
            world.run_for(if n == 0 { 1_500 } else { 100 });
        }
        world.code = all_but_one_are_long;
        world.run_for(700);
        for n in 0..2 {
            world.step(n, Event::Withdraw(JobName::new("j").expect("a name")));
        }
        world.run_for(6_000);
        assert!(!world.hosts[0].running.is_empty() && !world.hosts[1].running.is_empty());
        let again = world.starts.iter().filter(|(_, _, run)| run.shard == 2 && run.attempt == 2);
        let again: Vec<usize> = again.map(|(_, node, _)| *node).collect();
        assert_eq!(again, [2], "{on:?}");
    }
}

/// One that does not lead learns of nothing else that would make it look again.
#[test]
fn a_node_that_cannot_serve_a_new_definition_is_dealt_nothing_while_its_runs_last() {
    for refusing in 0..3 {
        let mut world = three_with_long_runs();
        let implementation = "another".to_owned();
        world.define(refusing, &JobConfig { implementation, ..job("j", 12) });
        world.run_for(2_000);
        assert!(!world.hosts[refusing].running.is_empty(), "its runs last");
        assert_eq!(share(&world, refusing), 0);
        world.define(refusing, &job("j", 12));
        world.run_for(2_000);
        assert_eq!(share(&world, refusing), 4, "it can serve it again");
    }
}

#[test]
fn a_run_of_a_job_that_is_removed_while_its_node_waits_to_leave_is_told_so() {
    let mut world = World::new(|_| (60_000, Ending::Succeeded));
    world.add(100);
    let stop = JobConfig { failover: true, on_session_loss: OnSessionLoss::Stop, ..job("j", 1) };
    world.define(0, &stop);
    world.run_for(1_500);
    world.step(0, Event::Withdraw(JobName::new("j").expect("a name")));
    world.run_for(500);
    let key = namespace().key(&JobName::new("j").expect("a name"), &Facet::Config);
    assert!(matches!(world.commit(vec![Op::Delete(key, None)]), Answer::Committed(_)));
    world.run_for(500);
    assert_eq!(world.hosts[0].running.len(), 0);
    let record = world.record("j", 0).expect("it is kept").record;
    assert_eq!(record.claim, None, "nobody is to try it again");
    assert_eq!(record.last.expect("it ended").code, "REMOVED");
}
