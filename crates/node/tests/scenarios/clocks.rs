//! A node whose clock differs from the registry's by more than a job tolerates.

use crate::world::{World, namespace};
use crate::{job, quick};
use flockwork_core::account::{Fate, Reason};
use flockwork_core::config::JobConfig;
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::clock::{ClockNote, decode};
use flockwork_layout::keys::Facet;
use flockwork_node::{ClockStatus, Report};
use flockwork_registry::{Clock, Op};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

fn limited(name: &str) -> JobConfig {
    JobConfig { max_time_difference: Some(LIMIT), ..job(name, 1) }
}

fn world(clock: Clock) -> World {
    let mut world = World::new(quick);
    world.clock = clock;
    world.add(100);
    world
}

fn told(world: &World, code: &str) -> usize {
    let of = |report: &Report| matches!(report, Report::Trouble { code: c, .. } if *c == code);
    world.reports.iter().filter(|(_, _, report)| of(report)).count()
}

fn note(world: &World, n: usize) -> Option<ClockNote> {
    let instance = InstanceId::new(&format!("10.0.0.{n}@-@{n}-x")).expect("an id");
    let key = namespace().key(&JobName::new("j").expect("a name"), &Facet::Clock(instance));
    world.store.get(&key).map(|entry| decode(&entry.value).expect("a note"))
}

fn clock_of(world: &World, name: &str) -> Option<ClockStatus> {
    let status = world.hosts[0].node.as_ref().expect("it lives").status();
    status.jobs.iter().find(|job| job.name.as_str() == name).expect("it is served").clock
}

#[test]
fn a_clock_that_differs_takes_up_nothing_says_so_once_and_goes_on_when_it_agrees() {
    let mut world = world(Clock::Told);
    world.hosts[0].ahead = Duration::from_secs(10);
    world.define(0, &limited("j"));
    world.define(0, &job("k", 1));
    world.run_for(12_000);
    assert!(world.starts_of("j", 0).is_empty());
    assert!(world.starts_of("k", 0).len() >= 11, "a job that sets no limit goes on");
    assert_eq!(told(&world, "CLOCK_DIFFERS"), 1);
    assert_eq!(clock_of(&world, "j"), Some(ClockStatus { limit: LIMIT, ahead: 10_000 }));
    assert_eq!(clock_of(&world, "k"), None);
    let differs = ClockNote { limit: 2_000, ahead: Some(10_000), differs: true };
    assert_eq!(note(&world, 0), Some(differs));

    world.hosts[0].ahead = Duration::from_secs(1);
    world.run_for(8_000);
    assert!(world.starts_of("j", 0).len() >= 2, "within the limit");
    let agrees = |report: &Report| matches!(report, Report::ClockAgrees(_));
    assert_eq!(world.reports.iter().filter(|(_, _, report)| agrees(report)).count(), 1);
    assert_eq!(told(&world, "CLOCK_DIFFERS"), 1);
    assert_eq!(clock_of(&world, "j"), None);
    assert!(!note(&world, 0).unwrap().differs);
}

#[test]
fn fires_that_a_wrong_clock_held_up_are_accounted_with_that_reason() {
    let mut world = world(Clock::Told);
    world.define(0, &limited("j"));
    world.run_for(2_500);
    let before = world.starts_of("j", 0).len();
    assert!(before >= 2);
    // Set forward during the service: noticed without another word from the registry.
    world.hosts[0].ahead = Duration::from_secs(10);
    world.run_for(5_000);
    assert_eq!(world.starts_of("j", 0).len(), before);
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(6_000);
    assert!(world.starts_of("j", 0).len() > before);
    let notes = world.record("j", 0).unwrap().record.notes;
    let held_up = |fate| notes.iter().any(|n| n.fate == fate && n.reason == Reason::ClockDiffers);
    assert!(held_up(Fate::Misfired), "{notes:?}");
}

/// What the claim's own answer tells is heard before its code starts.
#[test]
fn a_claim_whose_answer_tells_that_clocks_differ_is_given_back() {
    let mut world = world(Clock::Told);
    world.define(0, &limited("j"));
    world.run_for(1_500);
    let before = world.starts_of("j", 0).len();
    // It is the registry's clock that moves: only an answer can tell.
    world.registry_ahead = Duration::from_mins(1);
    world.run_for(4_000);
    assert_eq!(world.starts_of("j", 0).len(), before);
    assert_eq!(clock_of(&world, "j").unwrap().ahead, -60_000);
    let record = world.record("j", 0).unwrap().record;
    assert!(record.claim.is_none(), "{record:?}");
    world.registry_ahead = Duration::ZERO;
    world.run_for(8_000);
    assert!(world.starts_of("j", 0).len() > before);
}

#[test]
fn where_no_clock_is_told_that_is_said_once_and_the_job_runs() {
    let mut world = world(Clock::Untold);
    world.hosts[0].ahead = Duration::from_hours(1);
    world.define(0, &limited("j"));
    world.run_for(3_000);
    assert!(world.starts_of("j", 0).len() >= 2);
    assert_eq!((told(&world, "CLOCK_NOT_TOLD"), told(&world, "CLOCK_DIFFERS")), (1, 0));
    assert_eq!(note(&world, 0), None);
}

#[test]
fn a_request_to_run_now_waits_for_the_clock() {
    let mut world = world(Clock::Told);
    world.define(0, &limited("j"));
    world.run_for(1_200);
    world.hosts[0].ahead = Duration::from_secs(100);
    world.run_for(1_000);
    let me = InstanceId::new("10.0.0.0@-@0-x").unwrap();
    let key = namespace().key(&JobName::new("j").unwrap(), &Facet::Trigger(me));
    world.commit(vec![Op::create(key.clone(), "")]);
    world.run_for(6_000);
    assert!(world.store.get(&key).is_some(), "it stands");
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(10_000);
    assert!(world.store.get(&key).is_none());
    assert_eq!(world.record("j", 0).unwrap().record.counts.triggered, 1);
}

#[test]
fn an_instance_that_leaves_the_job_takes_its_note_along() {
    let mut world = world(Clock::Told);
    world.define(0, &limited("j"));
    world.run_for(1_200);
    assert!(note(&world, 0).is_some());
    world.step(0, flockwork_node::Event::Withdraw(JobName::new("j").unwrap()));
    world.run_for(1_000);
    assert!(note(&world, 0).is_none());
    // A definition that no longer limits it, likewise.
    world.define(0, &limited("j"));
    world.run_for(1_000);
    assert!(note(&world, 0).is_some());
    let config = namespace().key(&JobName::new("j").unwrap(), &Facet::Config);
    let document = flockwork_layout::document::encode(&job("j", 1));
    world.commit(vec![Op::Set(config, document.into(), None)]);
    world.run_for(1_000);
    assert!(note(&world, 0).is_none());
}

/// The job is removed between the sending of the note and its answer.
#[test]
fn a_note_that_was_under_way_when_the_job_was_left_goes_too() {
    let mut world = world(Clock::Told);
    world.define(0, &limited("j"));
    world.run_for(1_200);
    // Set far enough that a note is due, and held back on its way.
    world.hosts[0].ahead = Duration::from_mins(1);
    world.now_ms += 5;
    let note_sent = world.step_held(0, flockwork_node::Event::Wake);
    world.step(0, flockwork_node::Event::Withdraw(JobName::new("j").unwrap()));
    world.release(0, note_sent);
    world.run_for(1_000);
    assert!(note(&world, 0).is_none());
}
