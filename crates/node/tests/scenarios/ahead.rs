//! Claims made before their fire is due: the code starts on time and never before, and whatever changes
//! in between counts.

use crate::world::{START, World, namespace};
use crate::{job, quick};
use flockwork_core::account::Claim;
use flockwork_core::config::{JobConfig, Overlap};
use flockwork_core::execution::{Run, Source};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_core::schedule::{Every, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::document;
use flockwork_layout::keys::Facet;
use flockwork_node::Event;
use flockwork_registry::Op;
use std::time::Duration;

fn every(seconds: u64) -> Schedule {
    Schedule::Every(Every { period_ms: seconds * 1_000, anchor: Timestamp::from_millis(0) })
}

/// Due every two seconds, and claimed 300 ms before.
fn early(shards: u32) -> JobConfig {
    let claim_ahead = Duration::from_millis(300);
    JobConfig { schedule: every(2), claim_ahead, ..job("j", shards) }
}

/// Nodes that serve such a job, 200 ms before its second fire.
fn world(nodes: usize, config: &JobConfig) -> World {
    let mut world = World::new(quick);
    for n in 0..nodes {
        world.add(100);
        world.define(n, config);
    }
    world.run_for(3_800);
    world
}

fn key(facet: &Facet) -> flockwork_registry::Key {
    namespace().key(&JobName::new("j").expect("a name"), facet)
}

/// When code started, and for which fires: milliseconds.
fn starts(world: &World) -> Vec<(u64, i64)> {
    world.starts.iter().map(|(at, _, run)| (*at, run.fire.due.as_millis() - START)).collect()
}

fn claim(world: &World) -> Option<Claim> {
    world.record("j", 0)?.record.claim
}

fn is_claimed(world: &World) -> bool {
    claim(world).is_some()
}

/// Kills the node that claimed, of two; gives the other.
fn kill_the_holder(world: &mut World) -> usize {
    let holder = claim(world).expect("it is claimed").instance;
    let holder = usize::from(holder == InstanceId::new("10.0.0.1@-@1-x").expect("an id"));
    world.kill(holder);
    1 - holder
}

#[test]
fn a_fire_is_claimed_ahead_and_starts_when_it_is_due() {
    let mut world = world(1, &early(1));
    assert!(is_claimed(&world), "200 ms before it is due");
    let commits = world.store.index();
    let status = world.hosts[0].node.as_ref().expect("it lives").status();
    assert_eq!((status.running, starts(&world)), (0, vec![(2_000, 2_000)]));
    // Long before the next claim: only the run's end is written.
    world.run_for(300);
    assert_eq!(starts(&world), [(2_000, 2_000), (4_000, 4_000)]);
    assert_eq!(world.store.index().0, commits.0 + 1, "nothing is asked of the registry to start");
    world.run_for(8_000);
    let record = world.record("j", 0).expect("it ran").record;
    let counts = record.counts;
    assert_eq!((counts.ran, counts.succeeded, counts.misfired), (6, 6, 0));
    let last = record.last.expect("it ended");
    assert_eq!(last.started, last.fire.due, "not when it was claimed");
}

#[test]
fn what_is_due_more_often_than_it_is_claimed_ahead_is_claimed_when_due() {
    let often = JobConfig { claim_ahead: Duration::from_secs(2), ..early(1) };
    let mut world = world(1, &often);
    assert!(!is_claimed(&world));
    world.run_for(4_200);
    assert_eq!(starts(&world), [(2_000, 2_000), (4_000, 4_000), (6_000, 6_000), (8_000, 8_000)]);
}

#[test]
fn a_shard_switched_off_meanwhile_does_not_start() {
    let mut world = world(1, &early(1));
    world.commit(vec![Op::create(key(&Facet::Disabled(0)), "")]);
    world.run_for(1_000);
    assert_eq!(starts(&world), [(2_000, 2_000)]);
    let record = world.record("j", 0).expect("it ran").record;
    assert_eq!((record.claim, record.counts.ran, record.counts.skipped), (None, 1, 1));
    assert!(world.store.get(&key(&Facet::Running(0))).is_none(), "its mark is gone");
}

#[test]
fn a_server_switched_off_meanwhile_does_not_start() {
    let mut world = world(1, &early(1));
    world.commit(vec![Op::Set(
        key(&Facet::Server("10.0.0.0".to_owned())),
        "DISABLED".into(),
        None,
    )]);
    world.run_for(1_000);
    assert_eq!(starts(&world), [(2_000, 2_000)]);
    assert!(!is_claimed(&world));
}

#[test]
fn a_schedule_changed_meanwhile_counts() {
    let mut world = world(1, &early(1));
    let other = JobConfig { schedule: every(7), ..early(1) };
    let document = document::encode(&other);
    world.commit(vec![Op::Set(key(&Facet::Config), document.into(), None)]);
    world.run_for(6_000);
    assert_eq!(starts(&world), [(2_000, 2_000), (7_000, 7_000)]);
}

#[test]
fn a_job_removed_meanwhile_does_not_start() {
    let mut world = world(1, &early(1));
    let mut gone = vec![Op::Delete(key(&Facet::Running(0)), None)];
    for facet in [Facet::Config, Facet::Record(0)] {
        gone.push(Op::Delete(key(&facet), None));
    }
    world.commit(gone);
    world.run_for(3_000);
    assert_eq!(starts(&world), [(2_000, 2_000)]);
}

#[test]
fn who_stops_gives_back_what_it_claimed_and_others_run_it_on_time() {
    for leaving in [Event::Drain, Event::Withdraw(JobName::new("j").expect("a name"))] {
        let mut world = world(2, &early(2));
        world.step(0, leaving);
        world.run_for(1_000);
        let runs: Vec<_> = world.starts.iter().filter(|(at, ..)| *at > 3_800).collect();
        assert_eq!(runs.len(), 2, "each shard once: {:?}", starts(&world));
        assert!(runs.iter().all(|(at, n, _)| *n == 1 && *at < 4_050), "{:?}", starts(&world));
    }
}

#[test]
fn a_clock_set_back_meanwhile_starts_nothing_early_and_holds_nothing_up() {
    for back in [Duration::from_secs(4), Duration::from_hours(1)] {
        let mut world = World::new(quick);
        world.add(100);
        world.hosts[0].ahead = back;
        world.define(0, &early(1));
        world.run_for(3_800);
        let due = |run: &Run| run.fire.due.since(Timestamp::from_millis(START));
        let last = due(&world.starts.last().expect("it ran").2);
        assert!(is_claimed(&world));
        world.hosts[0].ahead = Duration::ZERO;
        world.run_for(29_000);
        let later: Vec<_> = world.starts.iter().filter(|(at, ..)| *at > 3_800).collect();
        for (at, _, run) in &later {
            assert!(u128::from(*at) >= due(run).as_millis(), "{back:?}: started early");
        }
        // What ran by the clock that was ahead does not run again, and holds nothing else up.
        assert!(later.len() > 10, "{back:?}: {later:?}");
        assert!(later.iter().all(|(.., run)| due(run) != last), "{back:?}: {last:?}");
        assert!(!is_claimed(&world), "{back:?}");
    }
}

/// Its fire is not due yet when it is taken over.
#[test]
fn what_a_dead_node_had_claimed_ahead_is_taken_over_and_not_started_early() {
    let ahead = Duration::from_secs(9);
    let config = JobConfig { schedule: every(10), claim_ahead: ahead, failover: true, ..early(1) };
    let mut world = World::new(quick);
    for n in 0..2 {
        world.add(100);
        world.define(n, &config);
    }
    world.run_for(1_500);
    kill_the_holder(&mut world);
    world.run_for(7_500);
    let attempt = claim(&world).map(|claim| claim.attempt);
    assert_eq!((attempt, starts(&world)), (Some(2), vec![]), "taken over, not started");
    world.run_for(2_000);
    assert_eq!(starts(&world), [(10_000, 10_000)]);
}

#[test]
fn claims_ahead_leave_half_of_the_places_to_what_is_due() {
    let mut world = World::new(quick);
    world.add(4);
    world.define(0, &early(6));
    world.run_for(3_800);
    let claimed = (0..6).filter(|shard| {
        let stored = world.record("j", *shard).expect("it ran");
        stored.record.claim.is_some()
    });
    assert_eq!(claimed.count(), 2);
    world.run_for(1_000);
    assert_eq!(starts(&world).iter().filter(|(_, due)| *due == 4_000).count(), 6, "all ran");
}

#[test]
fn a_request_to_run_now_meanwhile_is_answered() {
    for (overlap, runs) in [(Overlap::Skip, 1), (Overlap::RunOnceAfter, 2)] {
        let mut world = world(1, &JobConfig { overlap, ..early(1) });
        let me = world.hosts[0].node.as_ref().expect("it lives").status().instance;
        world.commit(vec![Op::create(key(&Facet::Trigger(me.clone())), "")]);
        world.run_for(1_000);
        let later = world.starts.iter().filter(|(at, ..)| *at > 3_800);
        let sources: Vec<Source> = later.map(|(_, _, run)| run.fire.source).collect();
        assert_eq!(sources.len(), runs, "{overlap:?}: {sources:?}");
        assert!(world.store.get(&key(&Facet::Trigger(me))).is_none(), "{overlap:?}");
    }
}

/// Its session is not proven when the fire comes due: it is claimed anew once it is.
#[test]
fn a_session_in_doubt_starts_nothing() {
    let mut world = world(1, &early(1));
    let suspended = flockwork_registry::SessionState::Suspended { why: "cut".to_owned() };
    world.step(0, Event::Registry(flockwork_registry::Event::Session(suspended)));
    world.step(0, Event::Wake);
    world.now_ms += 250;
    world.step(0, Event::Wake);
    assert_eq!(starts(&world), [(2_000, 2_000)]);
    world.tell_live(0);
    world.run_for(500);
    let runs = starts(&world);
    assert!(runs.len() == 2 && runs[1].1 == 4_000, "{runs:?}");
    let last = world.record("j", 0).expect("it ran").record.last.expect("it ended");
    assert_eq!(last.code, "OK");
}

/// Its answer comes when the clock has been set back.
#[test]
fn a_clock_set_back_during_the_claim_starts_nothing_early() {
    for back in [Duration::from_millis(50), Duration::from_hours(1)] {
        let claim_ahead = Duration::from_secs(10);
        let mut world = World::new(quick);
        world.add(100);
        world.hosts[0].ahead = back;
        world.define(0, &JobConfig { schedule: every(60), claim_ahead, ..early(1) });
        world.run_for(1_000);
        let first = 60_000 - u64::try_from(back.as_millis()).expect("short") % 60_000;
        world.run_for(first - 10_000 - world.now_ms - 5);
        world.now_ms += 5;
        let claim = world.step_held(0, Event::Wake);
        assert!(!claim.is_empty(), "it claims");
        world.hosts[0].ahead = Duration::ZERO;
        world.release(0, claim);
        assert!(starts(&world).is_empty(), "{back:?}");
        world.run_for(9_900);
        assert!(starts(&world).is_empty(), "{back:?}: {:?}", starts(&world));
        if back < Duration::from_secs(60) {
            world.run_for(200);
            assert_eq!(starts(&world), [(60_000, 60_000)]);
        }
    }
}

/// Whoever took over what was claimed ahead has its clock set back then: it does not start before the
/// instant, and does not wait for longer than any claim is made ahead.
#[test]
fn a_clock_set_back_after_a_take_over_starts_nothing_early_nor_waits_for_ever() {
    for (ahead_by, then, starts_at) in [(10_000, 9_000, 11_000), (3_600_000, 0, 15_500)] {
        let ahead = Duration::from_secs(9);
        let config =
            JobConfig { schedule: every(10), claim_ahead: ahead, failover: true, ..early(1) };
        let mut world = World::new(quick);
        for n in 0..2 {
            world.add(100);
            world.hosts[n].ahead = Duration::from_millis(ahead_by);
            world.define(n, &config);
        }
        world.run_for(1_500);
        let other = kill_the_holder(&mut world);
        world.run_for(4_005);
        let attempt = claim(&world).map(|claim| claim.attempt);
        assert_eq!((attempt, world.starts.len()), (Some(2), 0), "taken over, not started");
        world.hosts[other].ahead = Duration::from_millis(then);
        world.run_for(11_000);
        let at: Vec<u64> = world.starts.iter().map(|(at, ..)| *at).collect();
        let first = at.first().copied().unwrap_or(0);
        assert!(first.abs_diff(starts_at) <= 500, "{ahead_by}: {at:?}");
    }
}

#[test]
fn a_shard_that_is_no_more_meanwhile_does_not_start() {
    let mut world = world(1, &early(3));
    let fewer = document::encode(&early(1));
    world.commit(vec![Op::Set(key(&Facet::Config), fewer.into(), None)]);
    world.run_for(1_000);
    assert_eq!(starts(&world).iter().filter(|(_, due)| *due == 4_000).count(), 1);
}

/// What others want the shard for is not held up until the instant.
#[test]
fn what_is_known_not_to_start_is_given_back_at_once() {
    let ahead = Duration::from_secs(9);
    let config = JobConfig { schedule: every(10), claim_ahead: ahead, misfire: false, ..early(1) };
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &config);
    world.run_for(1_500);
    assert!(is_claimed(&world));
    let other = JobConfig { schedule: every(1), claim_ahead: Duration::ZERO, ..config };
    world.commit(vec![Op::Set(key(&Facet::Config), document::encode(&other).into(), None)]);
    world.run_for(10);
    assert!(!is_claimed(&world));
    world.run_for(5_000);
    let due: Vec<i64> = starts(&world).iter().map(|(_, due)| *due).collect();
    assert_eq!(due, [2_000, 3_000, 4_000, 5_000, 6_000]);
}

/// The answer to the claim comes late, and what was switched off meanwhile is heard before.
#[test]
fn a_claim_answered_after_its_instant_starts_nothing_that_was_switched_off() {
    let mut world = World::new(quick);
    world.add(100);
    world.define(0, &early(1));
    world.run_for(3_695);
    world.now_ms += 5;
    let claim = world.step_held(0, Event::Wake);
    world.commit(vec![Op::create(key(&Facet::Disabled(0)), "")]);
    world.now_ms += 350;
    world.release(0, claim);
    world.run_for(1_000);
    assert_eq!(starts(&world), [(2_000, 2_000)]);
    assert!(!is_claimed(&world));
}

#[test]
fn what_is_taken_over_ahead_leaves_room_for_what_is_due() {
    let ahead = Duration::from_secs(9);
    let slow = JobConfig { schedule: every(10), claim_ahead: ahead, failover: true, ..early(4) };
    let mut world = World::new(quick);
    for slots in [8, 4] {
        let n = world.add(slots);
        world.define(n, &slow);
    }
    world.run_for(1_500);
    world.define(1, &JobConfig { schedule: every(1), ..job("k", 2) });
    world.kill(0);
    world.run_for(7_000);
    let ran = world.starts.iter().filter(|(at, _, run)| run.job.as_str() == "k" && *at > 2_500);
    assert!(ran.count() >= 11, "{:?}", world.starts.len());
    world.run_for(3_000);
    for shard in 0..4 {
        assert_eq!(world.starts_of("j", shard).len(), 1, "shard {shard}");
    }
}
