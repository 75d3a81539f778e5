//! Requests of a node's own process to run a job now.

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::Source;
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::schedule::Schedule;
use flockwork_layout::keys::Facet;
use flockwork_layout::trigger::{NotTriggered, Triggered};
use flockwork_node::{Effect, Event, Node, NotAsked, TriggerId};
use flockwork_registry::{Answer, Event as Told, Failure, Key, Op, Request, SessionState};

/// A world of so many nodes that serve the job `j`, which runs when it is asked for, and one that does not.
fn served_by(nodes: usize) -> World {
    let mut world = World::new(quick);
    let config = JobConfig { schedule: Schedule::OnTrigger, ..job("j", 3) };
    for n in 0..=nodes {
        world.add(100);
        if n < nodes {
            world.define(n, &config);
        }
    }
    world.run_for(1_000);
    world
}

fn name() -> JobName {
    JobName::new("j").expect("a name")
}

fn node(world: &World, n: usize) -> &Node {
    world.hosts[n].node.as_ref().expect("a node that lives")
}

fn ask(id: u64) -> Event {
    Event::Trigger(TriggerId(id), name())
}

fn key(facet: &Facet) -> Key {
    namespace().key(&name(), facet)
}

fn instance(world: &World, n: usize) -> InstanceId {
    node(world, n).status().instance
}

fn instances(world: &World, nodes: usize) -> Vec<InstanceId> {
    (0..nodes).map(|n| instance(world, n)).collect()
}

/// What was told of the last request.
fn told(world: &mut World) -> Result<Triggered, NotAsked> {
    world.triggered.pop().expect("an answer").1
}

/// How many requests stand.
fn stand(world: &World) -> usize {
    world.store.children(&key(&Facet::Triggers)).unwrap_or_default().len()
}

fn whole(world: &World, n: usize) {
    node(world, n).check().expect("parts that agree");
}

#[test]
fn every_instance_is_asked_by_one_commit_and_each_shard_runs_once() {
    let mut world = served_by(3);
    let asked = world.step_held(0, ask(1));
    whole(&world, 0);
    let [Effect::Submit(_, Request::Commit(ops))] = &asked[..] else { panic!("{asked:?}") };
    let demanded = |facet| ops.contains(&Op::Check(key(&facet), None));
    assert!(demanded(Facet::Config));
    for one in instances(&world, 3) {
        assert!(demanded(Facet::Instance(one.clone())), "{one}");
        assert!(ops.contains(&Op::create(key(&Facet::Trigger(one.clone())), "")), "{one}");
    }
    world.release(0, asked);
    let asked = instances(&world, 3);
    assert_eq!(told(&mut world), Ok(Triggered { asked, ..Triggered::default() }));
    world.run_for(500);
    for shard in 0..3 {
        let runs = world.starts_of("j", shard);
        assert!(matches!(&runs[..], [run] if run.fire.source == Source::Trigger), "{runs:?}");
    }
}

#[test]
fn a_job_that_the_node_does_not_serve_is_read_first_and_then_asked_for() {
    let mut world = served_by(2);
    let asked = world.step_held(2, ask(1));
    whole(&world, 2);
    let instances = key(&Facet::Instances);
    let [Effect::Submit(_, Request::Children(read))] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(read, &instances);
    world.release(2, asked);
    assert_eq!(told(&mut world).unwrap().asked.len(), 2);
    world.run_for(500);
    assert_eq!(world.starts.len(), 3);
}

#[test]
fn nobody_who_could_run_it_is_told_and_nobody_is_asked() {
    let mut world = served_by(0);
    world.step(0, ask(1));
    assert_eq!(told(&mut world), Err(NotAsked::Because(NotTriggered::NotServed)));
    let mut world = served_by(2);
    for one in instances(&world, 2) {
        let server = key(&Facet::Server(one.server().to_owned()));
        world.commit(vec![Op::Set(server, "DISABLED".into(), None)]);
    }
    world.run_for(100);
    // By what it mirrors, or what it reads.
    for n in [0, 2] {
        world.step(n, ask(1));
        assert_eq!(told(&mut world), Err(NotAsked::Because(NotTriggered::Disabled)), "{n}");
    }
    assert_eq!(stand(&world), 0);
}

#[test]
fn who_left_and_who_was_asked_before_is_found_out_by_the_commit() {
    let mut world = served_by(3);
    let all = instances(&world, 3);
    // The node has not heard of it yet.
    let request = Op::create(key(&Facet::Trigger(all[2].clone())), "");
    let gone = Op::Delete(key(&Facet::Instance(all[1].clone())), None);
    assert!(matches!(world.commit(vec![request, gone]), Answer::Committed(_)));
    world.step(0, ask(1));
    let told = told(&mut world).unwrap();
    assert_eq!((told.asked, told.coalesced), (all[..1].to_vec(), all[2..].to_vec()));
    assert_eq!(told.gone, all[1..2]);
}

#[test]
fn a_parent_that_is_missing_is_made_by_the_same_commit() {
    let mut world = served_by(2);
    let parent = key(&Facet::Triggers);
    assert!(matches!(world.commit(vec![Op::Delete(parent.clone(), None)]), Answer::Committed(_)));
    world.step(0, ask(1));
    assert_eq!(told(&mut world).unwrap().asked.len(), 2);
    let request = key(&Facet::Trigger(instance(&world, 1)));
    let made = [parent, request].map(|key| world.store.get(&key).unwrap().stamp.created);
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_job_that_is_removed_meanwhile_is_not_asked_for() {
    let mut world = served_by(2);
    world.commit(vec![Op::Delete(key(&Facet::Config), None)]);
    world.step(0, ask(1));
    assert_eq!(told(&mut world), Err(NotAsked::Because(NotTriggered::NotDefined)));
    assert_eq!(stand(&world), 0);
}

#[test]
fn a_lost_answer_is_not_called_done() {
    let mut world = served_by(2);
    world.hosts[0].lost_commits = 1;
    world.step(0, ask(1));
    let told = told(&mut world).unwrap();
    assert_eq!((told.asked.len(), told.unknown.len()), (0, 2));
    assert!(told.unknown.iter().all(|(_, why)| why.contains("lost")), "{told:?}");
}

#[test]
fn a_commit_that_the_registry_does_not_take_asks_nobody_and_is_not_sent_again() {
    let mut world = served_by(2);
    let asked = world.step_held(0, ask(1));
    let [Effect::Submit(ticket, _)] = &asked[..] else { panic!("{asked:?}") };
    let why = Failure::NotSent("away".to_owned());
    let answer = Told::Answer(*ticket, Answer::Failed(why.clone()));
    world.step(0, Event::Registry(answer));
    assert_eq!(told(&mut world), Err(NotAsked::Because(NotTriggered::Failed(why))));
    world.run_for(1_000);
    assert_eq!(stand(&world), 0);
}

#[test]
fn a_session_that_ends_before_the_request_is_sent_is_told() {
    let mut world = served_by(1);
    let session = world.hosts[0].session;
    let ended = Event::Registry(Told::Session(SessionState::Ended(session)));
    let effects = world.step_all_held(0, vec![ask(1), ended]);
    whole(&world, 0);
    let why = NotTriggered::Failed(Failure::SessionEnded(session));
    let is_told = |effect: &Effect| matches!(effect, Effect::Triggered(TriggerId(1), Err(NotAsked::Because(of))) if *of == why);
    assert!(effects.iter().any(is_told), "{effects:?}");
}

#[test]
fn too_many_at_once_are_refused_and_none_once_they_are_answered() {
    let mut world = served_by(1);
    let asked = world.step_all_held(1, (0..17).map(ask).collect());
    whole(&world, 1);
    let is_refused = |effect: &&Effect| {
        matches!(effect, Effect::Triggered(TriggerId(16), Err(NotAsked::TooMany(16))))
    };
    assert_eq!(asked.iter().filter(is_refused).count(), 1, "{asked:?}");
    world.release(1, asked);
    assert_eq!(world.triggered.iter().filter(|(_, told)| told.is_ok()).count(), 16);
    world.step(1, ask(17));
    assert!(told(&mut world).is_ok());
}

#[test]
fn what_is_not_answered_is_given_up_and_called_unknown_if_it_may_have_been_done() {
    let mut world = served_by(1);
    let commit = world.step_held(0, ask(1));
    let read = world.step_held(1, ask(2));
    for ms in [7_900, 100] {
        assert!(world.triggered.is_empty());
        // Not by the world's turns: they would do what else the nodes want.
        world.now_ms += ms;
        for n in 0..2 {
            let effects = world.step_held(n, Event::Wake);
            let told = effects.into_iter().filter(|it| matches!(it, Effect::Triggered(..)));
            let told = told.collect();
            world.release(n, told);
        }
    }
    let told = std::mem::take(&mut world.triggered);
    assert!(matches!(&told[0], (TriggerId(1), Ok(told)) if told.unknown.len() == 1), "{told:?}");
    let failed = |told| matches!(told, Err(NotAsked::Because(NotTriggered::Failed(_))));
    assert!(told[1].0 == TriggerId(2) && failed(told[1].1.clone()), "{told:?}");
    // What comes late is told to nobody.
    world.release(0, commit);
    world.release(1, read);
    assert!(world.triggered.is_empty());
    for n in 0..2 {
        whole(&world, n);
    }
}

#[test]
fn a_node_that_drains_tells_of_each_request_before_it_has_left() {
    let mut world = served_by(1);
    let asked = world.step_held(1, ask(1));
    assert!(matches!(&asked[..], [Effect::Submit(_, Request::Children(_))]), "{asked:?}");
    let left = world.step_held(1, Event::Drain);
    let [Effect::Triggered(TriggerId(1), Err(_)), Effect::Drained] = &left[..] else {
        panic!("{left:?}")
    };
}

/// The registry denies for longer than anybody waits for an answer.
#[test]
fn what_was_given_up_before_it_was_sent_is_not_sent_later() {
    let mut world = served_by(1);
    let asked = world.step_held(0, ask(1));
    let [Effect::Submit(ticket, Request::Commit(_))] = &asked[..] else { panic!("{asked:?}") };
    let denied = Answer::Failed(Failure::Denied("no".to_owned()));
    world.step(0, Event::Registry(Told::Answer(*ticket, denied)));
    assert!(told(&mut world).is_err());
    world.step(0, ask(2));
    world.run_for(9_000);
    let given_up = told(&mut world);
    let not_sent = NotTriggered::Failed(Failure::NotSent("no answer within 8 s".to_owned()));
    assert_eq!(given_up, Err(NotAsked::Because(not_sent)));
    world.run_for(5_000);
    assert_eq!((stand(&world), world.starts_of("j", 0).len()), (0, 0));
}
