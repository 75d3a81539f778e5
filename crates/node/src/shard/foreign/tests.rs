use super::*;
use crate::rig::{ME, OTHER, at, entry, instance};
use crate::shard::scene::{Scene, holding, released_to, theirs, written_by};
use flockwork_core::account::Last;
use flockwork_core::config::Retry;
use flockwork_layout::record;
use flockwork_registry::Entry;
use std::sync::Arc;

/// An instance that is gone.
const GONE: &str = "10.0.0.9@-@1-z";
const INTERVAL: Decision = Decision::ReconsiderIn(Duration::from_secs(60));
const CRASHED: Decision = Decision::Close("CRASHED", "its instance is gone");

fn failing_over() -> Scene {
    Scene::of(|config| config.failover = true)
}

fn retrying(times: u32, on: RetryOn) -> Scene {
    let backoff = Duration::from_secs(4);
    Scene::of(|config| config.retry = Retry { times, backoff, on })
}

fn held_by(id: &str) -> Claim {
    Claim { instance: instance(id), ..theirs() }
}

/// What is to be done about a claim in the record of shard 0.
fn plan(scene: &mut Scene, claim: &Claim) -> Decision {
    scene.stores(holding(Some(claim.clone())));
    planned(scene, &mut Foreign::default(), claim)
}

/// The same, by one that may have seen it before.
fn planned(scene: &mut Scene, foreign: &mut Foreign, claim: &Claim) -> Decision {
    scene.act(|turn, facts, mirror| foreign.decide(turn, (0, claim), facts, mirror))
}

fn owned_by(scene: &mut Scene, id: &'static str) {
    scene.mirror.holds(Facet::Owner(0), Some(entry(id, 2)));
}

/// A claim that is released until an instant, in a record that this commit has written.
fn released_until(scene: &mut Scene, not_before: i64, commit: u64) -> Claim {
    let (to, not_before) = (instance(ME), at(not_before));
    let state = ClaimState::Released { to, not_before, is_signalled: true };
    let claim = Claim { state, ..theirs() };
    let stored = Stored { record: holding(Some(claim.clone())), ..Stored::default() };
    let (value, stamp) = (record::encode(&stored), written_by(commit));
    scene.mirror.holds(Facet::Record(0), Some(Entry { value, stamp, session: None }));
    claim
}

#[test]
fn a_held_claim_is_looked_after_by_the_shards_keeper_alone() {
    // Who holds it, who owns the shard; what this instance does.
    let table = [
        (OTHER, ME, Decision::FollowMark),
        (OTHER, OTHER, Decision::Nothing),
        (GONE, ME, Decision::ClaimAgain),
        (GONE, OTHER, Decision::Nothing),
        // An owner that is gone leaves shard 0 to the first of those that live, in descending order.
        (GONE, GONE, Decision::Nothing),
        // A claim that this instance has forgotten is its own to make good, whoever owns the shard.
        (ME, ME, Decision::ClaimAgain),
        (ME, OTHER, Decision::ClaimAgain),
    ];
    for (holder, owner, wanted) in table {
        let mut scene = failing_over();
        owned_by(&mut scene, owner);
        assert_eq!(plan(&mut scene, &held_by(holder)), wanted, "{holder} {owner}");
    }
    let mut scene = failing_over();
    owned_by(&mut scene, GONE);
    scene.mirror.lists(Facet::Instances, &[ME]);
    assert_eq!(plan(&mut scene, &held_by(GONE)), Decision::ClaimAgain, "nobody else is left");
}

#[test]
fn nothing_is_done_about_a_claim_while_it_is_not_known_who_lives() {
    for holder in [OTHER, GONE, ME] {
        let mut scene = failing_over();
        scene.doubts(Facet::Instances);
        assert_eq!(plan(&mut scene, &held_by(holder)), Decision::Nothing, "{holder}");
    }
}

#[test]
fn a_crashed_run_is_taken_over_or_tried_again_as_often_as_the_job_says() {
    let most = JobConfig::MAX_TAKEOVERS;
    // Failover, retries; the attempt and the crashes among those before.
    let table = [
        (true, 0, 1, 0, Decision::ClaimAgain),
        (true, 0, most, most - 1, Decision::ClaimAgain),
        (true, 0, most + 1, most, CRASHED),
        (true, 1, most + 1, most, Decision::ClaimAgain),
        (false, 0, 1, 0, CRASHED),
        (false, 1, 1, 0, Decision::ClaimAgain),
        (false, 1, 2, 0, CRASHED),
        (false, 1, 2, 1, Decision::ClaimAgain),
    ];
    for (failover, times, attempt, crashes, wanted) in table {
        let mut scene =
            Scene::of(|config| (config.failover, config.retry.times) = (failover, times));
        let claim = Claim { attempt, crashes, ..held_by(GONE) };
        let found = plan(&mut scene, &claim);
        assert_eq!(found, wanted, "{failover} {times} {attempt} {crashes}");
    }
}

#[test]
fn nothing_is_done_about_a_claim_of_a_job_without_a_definition() {
    for claim in [held_by(GONE), released_to(ME)] {
        let mut scene = failing_over();
        scene.stores(holding(Some(claim.clone())));
        let found = scene.act(|turn, facts, mirror| {
            let facts = Facts { config: None, ..*facts };
            Foreign::default().decide(turn, (0, &claim), &facts, mirror)
        });
        assert_eq!(found, Decision::Nothing, "{claim:?}");
    }
}

#[test]
fn a_released_attempt_is_for_whom_it_names_or_if_that_is_gone_for_the_keeper() {
    // Whom it names, who owns the shard; what this instance does.
    let table = [
        (ME, ME, Decision::ClaimAgain),
        (ME, OTHER, Decision::ClaimAgain),
        (OTHER, ME, INTERVAL),
        (OTHER, OTHER, Decision::Nothing),
        (GONE, ME, Decision::ClaimAgain),
        (GONE, OTHER, Decision::Nothing),
    ];
    for (to, owner, wanted) in table {
        let mut scene = failing_over();
        owned_by(&mut scene, owner);
        assert_eq!(plan(&mut scene, &released_to(to)), wanted, "{to} {owner}");
    }
    let mut scene = failing_over();
    scene.doubts(Facet::Instances);
    assert_eq!(plan(&mut scene, &released_to(GONE)), Decision::Nothing, "it may live");
}

#[test]
fn an_attempt_that_is_to_be_tried_elsewhere_alone_is_over_where_only_this_instance_is_left() {
    let nowhere = Decision::Close("NO_OTHER_INSTANCE", "no other instance is left to try it again");
    // Whom it names, where it failed, failover, where it may be tried.
    let table = [
        (GONE, ME, false, RetryOn::Other, nowhere),
        (ME, ME, false, RetryOn::Other, Decision::ClaimAgain),
        (GONE, OTHER, false, RetryOn::Other, Decision::ClaimAgain),
        (GONE, ME, true, RetryOn::Other, Decision::ClaimAgain),
        (GONE, ME, false, RetryOn::PreferOther, Decision::ClaimAgain),
        (GONE, ME, false, RetryOn::Same, Decision::ClaimAgain),
    ];
    for (to, failed_on, failover, on, wanted) in table {
        let mut scene = Scene::of(|config| {
            (config.failover, config.retry.times, config.retry.on) = (failover, 2, on);
        });
        let claim = Claim { instance: instance(failed_on), ..released_to(to) };
        assert_eq!(plan(&mut scene, &claim), wanted, "{to} {failed_on} {failover} {on:?}");
    }
}

#[test]
fn an_attempt_waits_for_its_instant_and_never_longer_than_the_whole_back_off() {
    let wait = |millis| Decision::ReconsiderIn(Duration::from_millis(millis));
    // Until when, at 10,000 ms; the back-off of the first attempt is 4 s.
    let table = [
        (10_000, Decision::ClaimAgain),
        (10_001, wait(1)),
        (14_000, wait(4_000)),
        (9_000_000, wait(4_000)),
    ];
    for (until, wanted) in table {
        let mut scene = retrying(2, RetryOn::PreferOther);
        let claim = released_until(&mut scene, until, 5);
        assert_eq!(planned(&mut scene, &mut Foreign::default(), &claim), wanted, "{until}");
    }
}

#[test]
fn the_back_off_is_measured_since_the_attempt_was_first_seen() {
    let wait = |millis| Decision::ReconsiderIn(Duration::from_millis(millis));
    let (mut scene, mut foreign) = (retrying(2, RetryOn::PreferOther), Foreign::default());
    let claim = released_until(&mut scene, 9_000_000, 5);
    assert_eq!(planned(&mut scene, &mut foreign, &claim), wait(4_000));
    scene.rig.pass(1_500);
    assert_eq!(planned(&mut scene, &mut foreign, &claim), wait(2_500));
    // Another commit released another attempt.
    let claim = released_until(&mut scene, 9_000_000, 6);
    assert_eq!(planned(&mut scene, &mut foreign, &claim), wait(4_000));
    scene.rig.pass(4_000);
    assert_eq!(planned(&mut scene, &mut foreign, &claim), Decision::ClaimAgain);
}

#[test]
fn a_mark_is_watched_once_and_no_more_when_it_is_gone() {
    let (mut scene, mut foreign) = (Scene::new(), Foreign::default());
    let mark = Facet::Running(0);
    let follow = |scene: &mut Scene, foreign: &mut Foreign| {
        scene.act(|turn, _, mirror| foreign.follow_mark(turn, mirror, 0));
        scene.rig.asked()
    };
    assert_eq!(follow(&mut scene, &mut foreign), [mark.clone(), mark.clone()], "watched, read");
    assert_eq!(follow(&mut scene, &mut foreign), []);
    scene.act(|turn, _, mirror| foreign.mark_is_gone(turn, mirror, 0));
    assert_eq!(follow(&mut scene, &mut foreign), [mark.clone(), mark]);
}

#[test]
fn a_record_is_released_to_whom_its_claim_names() {
    let table = [
        (None, false),
        (Some(theirs()), false),
        (Some(released_to(OTHER)), false),
        (Some(released_to(ME)), true),
    ];
    for (claim, wanted) in table {
        let stored = Stored { record: holding(claim), ..Stored::default() };
        assert_eq!(is_released_to(Some(&stored), &instance(ME)), wanted, "{stored:?}");
    }
    assert!(!is_released_to(None, &instance(ME)));
}

#[test]
fn a_record_tells_of_the_end_of_the_claim_that_its_last_run_had() {
    let me = instance(ME);
    let last = |id: &str, nonce| Last {
        nonce,
        ..crate::shard::last::last(held_by(id), "OK", "", at(11_000))
    };
    let held = Claim { nonce: 7, ..held_by(ME) };
    // Whose run the record tells of, what it holds; whether claim 7 of this instance has ended.
    let table = [
        (Some(last(ME, 7)), None, true),
        (Some(last(ME, 7)), Some(released_to(OTHER)), true),
        (Some(last(ME, 7)), Some(held), false),
        (Some(last(ME, 6)), None, false),
        (Some(last(OTHER, 7)), None, false),
        (None, None, false),
    ];
    for (last, claim, wanted) in table {
        let mut record = holding(claim);
        record.last = last.map(Arc::new);
        let stored = Stored { record, ..Stored::default() };
        assert_eq!(is_ended_by(&stored, &me, 7), wanted, "{stored:?}");
    }
}
