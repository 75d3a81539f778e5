//! Nodes that cannot start a job's script: they are dealt nothing of it, and say why.

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Ending, Run, Script, Work};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::document;
use flockwork_layout::ineligible;
use flockwork_layout::keys::Facet;
use flockwork_node::{Event, Phase, Report};
use flockwork_registry::Op;
use std::sync::Arc;

const PROGRAM: &str = "/bin/true";

fn name() -> JobName {
    JobName::new("j").expect("a name")
}

fn instance(n: usize) -> InstanceId {
    InstanceId::new(&format!("10.0.0.{n}@-@{n}-x")).expect("an id")
}

/// The codes by which a node says why it may not serve the job.
fn says(world: &World, n: usize) -> Option<Vec<String>> {
    let entry = world.store.get(&namespace().key(&name(), &Facet::Ineligible(instance(n))))?;
    let reasons = ineligible::decode(&entry.value).expect("reasons");
    Some(reasons.into_iter().map(|reason| reason.code).collect())
}

fn is_registered(world: &World, n: usize) -> bool {
    world.store.get(&namespace().key(&name(), &Facet::Instance(instance(n)))).is_some()
}

fn starts_on(world: &World, n: usize) -> usize {
    world.starts.iter().filter(|(_, on, _)| *on == n).count()
}

fn phase(world: &World, n: usize) -> Phase {
    world.hosts[n].node.as_ref().expect("it lives").status().jobs[0].phase
}

fn refusals(world: &World) -> usize {
    let is_one = |report: &Report| matches!(report, Report::Refused { code, .. } if *code == "SCRIPT_NOT_ALLOWED");
    world.reports.iter().filter(|(_, _, report)| is_one(report)).count()
}

/// Two nodes that serve the job, of which the second cannot start its script.
fn two_of_which_one_cannot() -> World {
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        if n == 1 {
            world.hosts[n].cannot_start.insert(PROGRAM);
        }
        world.define(n, &job("j", 4));
    }
    world
}

#[test]
fn who_may_not_serve_a_job_is_dealt_nothing_of_it_and_says_why() {
    let mut world = two_of_which_one_cannot();
    world.run_for(5_500);
    for shard in 0..4 {
        assert_eq!(world.starts_of("j", shard).len(), 5, "shard {shard}");
        assert_eq!(world.record("j", shard).expect("it ran").record.counts.succeeded, 5);
    }
    assert_eq!((starts_on(&world, 1), is_registered(&world, 1)), (0, false));
    assert_eq!((says(&world, 0), says(&world, 1)), (None, Some(vec!["SCRIPT_NOT_ALLOWED".into()])));
    assert_eq!((phase(&world, 1), refusals(&world)), (Phase::Refused, 1));
}

#[test]
fn a_job_that_nobody_may_serve_is_there_and_waits() {
    let mut world = World::new(quick);
    world.add(100);
    world.hosts[0].cannot_start.insert(PROGRAM);
    world.define(0, &job("j", 2));
    world.run_for(20_000);
    assert!(world.store.get(&namespace().key(&name(), &Facet::Config)).is_some());
    assert_eq!((world.starts.len(), is_registered(&world, 0)), (0, false));
    assert_eq!(says(&world, 0), Some(vec!["SCRIPT_NOT_ALLOWED".into()]));
    assert_eq!(refusals(&world), 1, "told once");

    world.may_start(0, PROGRAM, true);
    world.run_for(3_000);
    assert_eq!((world.starts.len(), says(&world, 0)), (2 * 3, None));
}

#[test]
fn who_may_serve_a_job_later_takes_its_share() {
    let mut world = two_of_which_one_cannot();
    world.run_for(3_500);
    world.may_start(1, PROGRAM, true);
    world.run_for(3_000);
    assert_eq!((starts_on(&world, 1), says(&world, 1)), (2 * 3, None));
    for shard in 0..4 {
        assert_eq!(world.starts_of("j", shard).len(), 6, "shard {shard}");
    }
    let serving = world.reports.iter().filter(|(_, n, _)| *n == 1);
    let serving = serving.filter(|(.., report)| matches!(report, Report::Serving { .. }));
    assert_eq!(serving.count(), 1, "it says that it serves the job now");
}

/// The first runs last for half a minute.
fn first_is_long(run: &Run) -> (u64, Ending) {
    let is_first = run.fire.due.as_millis() - crate::world::START == 1_000;
    (if is_first { 30_000 } else { 100 }, Ending::Succeeded)
}

#[test]
fn who_may_not_serve_a_job_any_more_ends_its_runs_and_others_run_the_rest() {
    let mut world = World::new(first_is_long);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 4));
    }
    world.run_for(1_500);
    assert_eq!(world.hosts[1].running.len(), 2);
    world.code = quick;
    world.may_start(1, PROGRAM, false);
    world.run_for(4_000);
    assert_eq!(says(&world, 1), None, "it may come back within the grace");
    world.run_for(2_000);
    assert!(says(&world, 1).is_some() && is_registered(&world, 1), "it waits for its runs");
    world.run_for(30_000);
    let ended = world.ends.iter().filter(|(_, n, ..)| *n == 1);
    let endings: Vec<_> = ended.map(|(.., ending)| ending.clone()).collect();
    assert_eq!(endings, [Ending::Succeeded, Ending::Succeeded]);
    assert!(!is_registered(&world, 1));
    let before = world.starts.len();
    world.run_for(3_000);
    assert_eq!(world.starts.len() - before, 4 * 3, "all shards, each second");
    assert!(world.starts[before..].iter().all(|(_, n, _)| *n == 0));
}

#[test]
fn a_script_that_is_written_anew_moves_no_shard() {
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 4));
    }
    world.run_for(3_500);
    let assigned = |world: &World| {
        let assigned = |report: &&(u64, usize, Report)| matches!(report.2, Report::Assigned { .. });
        world.reports.iter().filter(assigned).count()
    };
    let before = assigned(&world);
    for _ in 0..5 {
        world.may_start(1, PROGRAM, false);
        world.run_for(3_000);
        world.may_start(1, PROGRAM, true);
        world.run_for(1_000);
    }
    assert_eq!((assigned(&world), refusals(&world)), (before, 0));
}

#[test]
fn who_can_start_the_script_again_before_its_runs_have_ended_stays() {
    let mut world = World::new(first_is_long);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 4));
    }
    world.run_for(1_500);
    world.code = quick;
    world.may_start(1, PROGRAM, false);
    world.run_for(7_000);
    assert!(says(&world, 1).is_some());
    world.may_start(1, PROGRAM, true);
    world.run_for(30_000);
    assert!(is_registered(&world, 1) && says(&world, 1).is_none());
    let before = world.starts.len();
    world.run_for(1_000);
    let on_second = world.starts[before..].iter().filter(|(_, n, _)| *n == 1);
    assert_eq!(on_second.count(), 2);
}

#[test]
fn another_script_in_the_registry_is_asked_for_anew() {
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        world.define(n, &job("j", 4));
    }
    world.hosts[1].cannot_start.insert("/bin/other");
    world.run_for(2_500);
    let other = |program: &str| {
        let script = Script { argv: vec![program.to_owned()] };
        let changed = JobConfig { work: Arc::new(Work::Script(script)), ..job("j", 4) };
        let key = namespace().key(&name(), &Facet::Config);
        vec![Op::Set(key, document::encode(&changed).into(), None)]
    };
    world.commit(other("/bin/other"));
    world.run_for(2_000);
    assert_eq!((is_registered(&world, 1), says(&world, 1).is_some()), (false, true));
    let before = world.starts.len();
    world.run_for(2_000);
    let (on, of): (Vec<_>, Vec<_>) =
        world.starts[before..].iter().map(|(_, n, run)| (*n, run.work.clone())).unzip();
    assert_eq!(on, [0; 8]);
    let program = |work: &Work| match work {
        Work::Script(script) => script.argv[0].clone(),
        Work::Function => String::new(),
    };
    assert!(of.iter().all(|work| program(work) == "/bin/other"));

    world.commit(other("/bin/third"));
    world.run_for(1_000);
    assert_eq!((is_registered(&world, 1), says(&world, 1)), (true, None));
}

/// What is not known is neither yes nor no.
#[test]
fn a_file_system_that_does_not_answer_is_waited_for_a_while_and_then_named() {
    let mut world = World::new(quick);
    world.add(100);
    world.hosts[0].is_blind = true;
    world.define(0, &job("j", 1));
    world.run_for(9_000);
    assert_eq!((is_registered(&world, 0), says(&world, 0)), (false, None));
    world.run_for(2_000);
    assert_eq!(says(&world, 0), Some(vec!["PROGRAM_UNREADABLE".into()]));
    world.hosts[0].is_blind = false;
    world.may_start(0, PROGRAM, true);
    world.run_for(1_500);
    assert_eq!((is_registered(&world, 0), says(&world, 0)), (true, None));
}

#[test]
fn a_definition_that_cannot_be_read_is_named_in_the_same_place() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &JobConfig { implementation: "another".into(), ..job("j", 1) });
    world.add(100);
    world.define(1, &job("j", 1));
    world.run_for(500);
    assert_eq!(says(&world, 1), Some(vec!["IMPLEMENTATION_CONFLICT".into()]));
    let key = namespace().key(&name(), &Facet::Config);
    world.commit(vec![Op::Set(key, "no: job".into(), None)]);
    world.run_for(500);
    for n in 0..2 {
        let said = says(&world, n).expect("a reason");
        assert!(said.len() == 1 && said[0] != "IMPLEMENTATION_CONFLICT", "{said:?}");
    }
}

#[test]
fn what_is_said_goes_with_the_job_and_with_the_node() {
    let mut world = two_of_which_one_cannot();
    world.run_for(1_000);
    world.step(1, Event::Withdraw(name()));
    world.run_for(500);
    assert_eq!(says(&world, 1), None, "it was withdrawn");
    world.define(1, &job("j", 4));
    world.run_for(500);
    assert!(says(&world, 1).is_some(), "it is given the job again");
    world.commit(vec![Op::Delete(namespace().key(&name(), &Facet::Config), None)]);
    world.run_for(500);
    assert_eq!(says(&world, 1), None, "it was removed");

    let mut world = two_of_which_one_cannot();
    world.run_for(1_000);
    world.kill(1);
    world.run_for(6_000);
    assert_eq!(says(&world, 1), None, "its session is over");
}

#[test]
fn what_a_node_says_is_said_again_under_its_next_session() {
    let mut world = two_of_which_one_cannot();
    world.hosts[1].lost_commits = 3;
    world.run_for(2_000);
    assert!(says(&world, 1).is_some(), "though answers were lost");
}
