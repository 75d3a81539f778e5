//! Joining jobs that others make, remove and make anew at the same time.

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_layout::plan;
use flockwork_node::{Define, Effect, Event, Phase, Report};
use flockwork_registry::{Key, Op, Request};
use std::sync::Arc;

fn key(facet: &Facet) -> Key {
    namespace().key(&JobName::new("j").expect("a name"), facet)
}

fn instance(n: usize) -> Key {
    let id = InstanceId::new(&format!("10.0.0.{n}@-@{n}-x")).expect("an id");
    key(&Facet::Instance(id))
}

fn commits(effects: &[Effect]) -> usize {
    let is_commit = |effect: &&Effect| matches!(effect, Effect::Submit(_, Request::Commit(_)));
    effects.iter().filter(is_commit).count()
}

/// Nobody tells of the nodes that came with the definition: what was read of them before is too old.
#[test]
fn a_job_made_while_it_was_being_read_is_joined() {
    let mut world = World::new(quick);
    world.add(100);
    world.add(100);
    let config = Arc::new(job("j", 2));
    let mut asks =
        world.step_held(0, Event::Define(Define { config: config.clone(), apply: false }));
    let own = asks.pop().unwrap();
    assert!(matches!(&own, Effect::Submit(_, Request::Get(at)) if *at == key(&Facet::OwnJob)));
    // Nothing is there but at the last read. The making is told before the job's own node is taken in.
    let mut answers = world.answers(0, asks);
    world.define(1, &config);
    let last = [answers.pop().unwrap(), world.answers(0, vec![own]).remove(0)];
    assert_eq!(commits(&world.step_all_held(0, answers)), 0);
    let asks = world.hear_told(0);
    let answers = world.answers(0, asks);
    for answer in last.into_iter().chain(answers) {
        world.step(0, answer);
    }
    world.run_for(50);
    assert!(world.store.get(&instance(0)).is_some(), "it serves it as well");
}

#[test]
fn a_job_removed_and_made_anew_unseen_is_joined_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.add(100);
    world.define(0, &job("j", 2));
    world.define(1, &job("j", 2));
    world.run_for(1_500);
    assert!(world.store.get(&instance(1)).is_some());
    // The second hears nothing of all that happens to the first.
    world.commit(vec![Op::Delete(key(&Facet::Config), None)]);
    world.sweep(&key(&Facet::Job));
    world.sweep(&key(&Facet::OwnJob));
    let (node, session) = (world.hosts[1].node.take(), world.hosts[1].session);
    world.run_for(100);
    world.define(0, &job("j", 2));
    world.run_for(100);
    world.hosts[1].node = node;
    assert!(world.store.get(&instance(1)).is_none());
    let told = world.store.take_events(session);
    assert!(!told.is_empty());
    // Whatever it hears of first.
    for change in told.into_iter().rev() {
        world.step(1, Event::Registry(change));
    }
    world.run_for(1_500);
    assert!(world.store.get(&instance(1)).is_some(), "it serves it again");
    let off =
        |report: &Report| matches!(report, Report::Left { why, .. } if why.contains("operator"));
    assert!(!world.reports.iter().any(|(_, _, report)| off(report)), "nobody took it off");
}

/// ElasticJob's console deletes what is below a job in no order: the instances may go first.
#[test]
fn a_job_whose_instances_went_before_its_definition_is_joined_when_it_is_made_anew() {
    let mut world = World::new(quick);
    world.add(100);
    world.add(100);
    world.define(0, &job("j", 2));
    world.define(1, &job("j", 2));
    world.run_for(1_500);
    world.commit(vec![Op::Delete(instance(0), None)]);
    world.commit(vec![Op::Delete(instance(1), None)]);
    world.run_for(500);
    let left = |report: &Report| matches!(report, Report::Left { .. });
    assert_eq!(world.reports.iter().filter(|(_, _, report)| left(report)).count(), 2);
    world.sweep(&key(&Facet::Job));
    world.sweep(&key(&Facet::OwnJob));
    world.run_for(500);
    world.define(0, &job("j", 2));
    world.run_for(1_500);
    assert!(world.store.get(&instance(1)).is_some(), "it is another job, and was given to it, too");
}

/// What it claims is refused; that it is off decides, before it claims again.
#[test]
fn who_is_taken_off_as_a_fire_comes_due_claims_once_and_leaves() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(1_995);
    world.commit(vec![Op::Delete(instance(0), None)]);
    // Due before it has heard of that. What it asks is answered in heaps, in the order of asking.
    world.now_ms += 5;
    let mut effects = world.step_held(0, Event::Wake);
    assert_eq!(commits(&effects), 1, "it claims");
    let mut sent = 0;
    for _ in 0..20 {
        let session = world.hosts[0].session;
        let mut heard: Vec<Event> = Vec::new();
        for effect in std::mem::take(&mut effects) {
            sent += commits(std::slice::from_ref(&effect));
            let answers = world.answers(0, vec![effect]);
            heard.extend(world.store.take_events(session).into_iter().map(Event::Registry));
            heard.extend(answers);
        }
        effects = world.step_all_held(0, heard);
    }
    assert!(sent <= 6, "{sent} commits without time passing");
    let status = world.hosts[0].node.as_ref().unwrap().status();
    assert_eq!(status.jobs[0].phase, Phase::Left);
}

/// Two folders are missing above a job's nodes: each costs one refusal.
#[test]
fn the_first_job_of_a_namespace_is_made_at_the_third_attempt() {
    let mut world = World::new(quick);
    world.add(100);
    let config = Arc::new(job("j", 1));
    let mut effects = world.step_held(0, Event::Define(Define { config, apply: false }));
    let mut sent = 0;
    while world.store.get(&key(&Facet::Config)).is_none() {
        assert!(!effects.is_empty() && sent < 20, "{sent} commits");
        sent += commits(&effects);
        let answers = world.answers(0, effects);
        effects = world.step_all_held(0, answers);
    }
    assert_eq!(sent, 3);
}

#[test]
fn shards_whose_schedule_begins_by_a_clock_that_was_ahead_run_with_the_others() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &job("j", 2));
    world.run_for(1_500);
    let key = key(&Facet::Plan);
    let mut plan = plan::decode(&world.store.get(&key).unwrap().value).unwrap();
    let now = world.now().wall;
    plan.generation += 1;
    plan.spans = vec![(0, now.plus(std::time::Duration::from_hours(1))), (1, now)];
    world.commit(vec![Op::Set(key, plan::encode(&plan), None)]);
    world.run_for(3_000);
    assert_eq!(world.starts_of("j", 0).len(), 4, "not an hour later");
    assert_eq!(world.starts_of("j", 1).len(), 4);
}
