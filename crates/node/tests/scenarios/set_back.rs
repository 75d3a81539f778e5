//! Clocks that were ahead, and clocks that are set back: nothing runs twice, and nothing is silent but what ran.

use crate::world::World;
use crate::{job, quick};
use flockwork_core::account::{Fate, Reason};
use flockwork_core::time::Timestamp;
use flockwork_node::Report;
use flockwork_registry::Clock;
use std::collections::BTreeSet;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

fn world(clock: Clock) -> World {
    let mut world = World::new(quick);
    world.clock = clock;
    world.add(100);
    world
}

/// The due instants of a shard's runs that started after a time, each of which is one.
fn ran_after(world: &World, shard: u32, since: u64) -> BTreeSet<Timestamp> {
    let runs = world.starts.iter().filter(|(_, _, run)| run.shard == shard);
    let all: Vec<_> = runs.map(|(at, _, run)| (*at, run.fire.due)).collect();
    let once: BTreeSet<Timestamp> = all.iter().map(|(_, due)| *due).collect();
    assert_eq!(once.len(), all.len(), "an instant ran twice: {all:?}");
    all.iter().filter(|(at, _)| *at > since).map(|(_, due)| *due).collect()
}

fn told(world: &World) -> Vec<&str> {
    let of = |report| match report {
        &Report::Trouble { code: "CLOCK_WAS_AHEAD", ref text, .. } => Some(text.as_str()),
        _ => None,
    };
    world.reports.iter().filter_map(|(_, _, report)| of(report)).collect()
}

#[test]
fn one_of_two_clocks_an_hour_ahead_for_five_seconds_silences_neither_shard() {
    let mut world = world(Clock::Untold);
    world.add(100);
    world.define(0, &job("j", 2));
    world.define(1, &job("j", 2));
    world.run_for(5_000);
    world.hosts[1].ahead = HOUR;
    world.run_for(5_000);
    world.hosts[1].ahead = Duration::ZERO;
    world.run_for(60_000);
    for shard in 0..2 {
        let ran = ran_after(&world, shard, 10_000);
        assert!(ran.len() >= 58, "shard {shard} ran {} times in a minute", ran.len());
    }
    let [text] = told(&world)[..] else { panic!("told once: {:?}", told(&world)) };
    assert!(text.contains("shard 1, and perhaps others, was accounted beyond "), "{text}");
    let record = world.record("j", 1).unwrap().record;
    let withdrawn = record.notes.iter().find(|note| note.fate == Fate::Withdrawn).unwrap();
    assert_eq!(withdrawn.reason, Reason::ClockWasAhead);
    assert!((3_580..=3_600).contains(&withdrawn.span.fires), "{withdrawn:?}");
    assert!(record.counts.misfired < 20, "{:?}", record.counts);
}

/// The fires that ran by the clock that was ahead are left out when the hour has passed.
#[test]
fn what_ran_ahead_of_time_does_not_run_again() {
    let mut world = world(Clock::Untold);
    world.define(0, &job("j", 1));
    world.run_for(3_000);
    world.hosts[0].ahead = Duration::from_secs(60);
    world.run_for(5_000);
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(90_000);
    let ran = ran_after(&world, 0, 8_000);
    assert!((82..=86).contains(&ran.len()), "ran {} times in 90 s, 5 of them before", ran.len());
    assert_eq!(world.record("j", 0).unwrap().record.set_back, None);
}

#[test]
fn a_start_four_hundred_days_ahead_begins_when_the_clock_is_right() {
    let mut world = world(Clock::Untold);
    world.hosts[0].ahead = Duration::from_hours(400 * 24);
    world.define(0, &job("j", 3));
    world.run_for(2_500);
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(10_000);
    for shard in 0..3 {
        let ran = ran_after(&world, shard, 2_500);
        assert!(ran.len() >= 8, "shard {shard} ran {} times in 10 s", ran.len());
    }
}

/// F51 of the catalogue of faults.
#[test]
fn a_clock_set_back_by_an_hour_repeats_nothing() {
    let mut world = world(Clock::Untold);
    world.hosts[0].ahead = HOUR;
    world.define(0, &job("j", 1));
    world.run_for(30_000);
    let before = ran_after(&world, 0, 0).len();
    world.hosts[0].ahead = Duration::from_secs(59 * 60 + 40);
    world.run_for(60_000);
    // For the twenty seconds by which it was set back nothing is due, and nothing runs twice.
    let after = ran_after(&world, 0, 30_000).len();
    assert!(before >= 28 && (38..=42).contains(&after), "{before}, then {after}");
}

/// The registry's clock is believed: the node's own is behind, not the record's ahead.
#[test]
fn a_clock_that_is_behind_the_registrys_sets_nothing_back() {
    let mut world = world(Clock::Told);
    world.registry_ahead = HOUR;
    world.hosts[0].ahead = HOUR;
    world.define(0, &job("j", 1));
    world.run_for(5_000);
    let before = world.record("j", 0).unwrap().record.watermark;
    world.hosts[0].ahead = Duration::ZERO;
    world.run_for(5_000);
    let record = world.record("j", 0).unwrap().record;
    assert_eq!((record.watermark, record.set_back), (before, None));
    assert_eq!(told(&world), Vec::<&str>::new());
    world.hosts[0].ahead = HOUR;
    world.run_for(5_000);
    assert!(ran_after(&world, 0, 10_000).len() >= 4);
}
