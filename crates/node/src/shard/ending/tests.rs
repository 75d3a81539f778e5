use super::*;
use crate::names::JobIx;
use crate::rig::{ME, OTHER, at, entry, instance};
use crate::shard::scene::{CLAIMED, DUE, Scene, failed, holding, released_to, theirs};

/// A third instance, on a third server.
const THIRD: &str = "10.0.0.3@-@1-c";

/// A job that tries again twice, a second later at first.
fn retrying(on: RetryOn) -> Scene {
    Scene::of(|config| (config.retry.times, config.retry.on) = (2, on))
}

/// A definition, and a claim that another attempt and crashes came before.
fn after(attempt: u32, crashes: u32) -> Claim {
    Claim { attempt, crashes, ..theirs() }
}

fn cancelled(reason: CancelReason) -> Ends {
    Ends::Cancelled(reason)
}

/// What follows a run that failed at 10,000 ms.
fn next(scene: &mut Scene, claim: &Claim, ending: &Ends, where_: (bool, Option<&str>)) -> Next {
    let (goes, other) = where_;
    let other = other.map(instance);
    scene.act(|turn, facts, _| {
        let (me, config) = (turn.instance(), facts.config.unwrap());
        Next::after_failure(config, (claim, ending), (me, goes, other), turn.now.wall)
    })
}

fn again(to: &str, not_before: i64) -> Next {
    Next::Again { to: instance(to), not_before: at(not_before), counts_as_crash: false }
}

/// The registry is told of how the first run of a fire ended.
fn tell(scene: &mut Scene, outcome: Outcome) -> Ending {
    let claiming = scene.first(DUE).unwrap();
    let ended = scene.ends(claiming, outcome);
    scene.tells(ended)
}

fn third_joins(scene: &mut Scene) {
    scene.mirror.lists(Facet::Instances, &[ME, OTHER, THIRD]);
    let server = instance(THIRD).server().to_owned();
    scene.mirror.holds(Facet::Server(server), Some(entry("ENABLED", 1)));
}

#[test]
fn a_run_is_tried_again_as_often_as_the_job_says_and_later_each_time() {
    // Attempt, crashes among those before.
    let table = [
        (1, 0, again(ME, 11_000)),
        (2, 0, again(ME, 12_000)),
        (3, 0, Next::Over(None)),
        (3, 1, again(ME, 12_000)),
        (5, 3, again(ME, 12_000)),
        (5, 2, Next::Over(None)),
    ];
    let mut scene = retrying(RetryOn::Same);
    for (attempt, crashes, wanted) in table {
        let claim = after(attempt, crashes);
        let found = next(&mut scene, &claim, &Ends::Exited(3), (false, Some(OTHER)));
        assert_eq!(found, wanted, "{attempt} {crashes}");
    }
}

#[test]
fn where_a_run_is_tried_again_is_what_the_job_says_as_far_as_it_can_be() {
    use RetryOn::{Other, PreferOther, Same};
    let nowhere = Next::Over(Some("NO_OTHER_INSTANCE"));
    let here = again(ME, 11_000);
    let there = again(OTHER, 11_000);
    // Where, whether this instance goes; then: if there is another instance, if there is none.
    let table = [
        (Same, false, &here, &here),
        (Same, true, &there, &here),
        (PreferOther, false, &there, &here),
        (PreferOther, true, &there, &here),
        (Other, false, &there, &nowhere),
        (Other, true, &there, &nowhere),
    ];
    for (on, goes, with, without) in table {
        let mut scene = retrying(on);
        for (other, wanted) in [(Some(OTHER), with), (None, without)] {
            let found = next(&mut scene, &after(1, 0), &Ends::Exited(3), (goes, other));
            assert_eq!(found, *wanted, "{on:?} {goes} {other:?}");
        }
    }
}

#[test]
fn a_run_that_its_node_cut_short_counts_as_a_crash_where_those_are_taken_over() {
    let most = JobConfig::MAX_TAKEOVERS;
    let cut =
        |to: &str| Next::Again { to: instance(to), not_before: at(10_000), counts_as_crash: true };
    let crashed = Ends::Crashed(String::new());
    // Failover, crashes before, the ending; then.
    let table = [
        (true, 0, cancelled(CancelReason::Shutdown), cut(OTHER)),
        (true, 0, cancelled(CancelReason::SessionLost), cut(OTHER)),
        (true, 0, crashed.clone(), cut(OTHER)),
        (true, most - 1, crashed.clone(), cut(OTHER)),
        (true, most, crashed.clone(), Next::Over(None)),
        (true, 0, cancelled(CancelReason::TimedOut), Next::Over(None)),
        (true, 0, Ends::Exited(3), Next::Over(None)),
        (false, 0, crashed.clone(), Next::Over(None)),
    ];
    for (failover, crashes, ending, wanted) in table {
        let mut scene = Scene::of(|config| config.failover = failover);
        let claim = after(crashes + 1, crashes);
        let found = next(&mut scene, &claim, &ending, (false, Some(OTHER)));
        assert_eq!(found, wanted, "{failover} {crashes} {ending:?}");
    }
    let mut scene = Scene::of(|config| config.failover = true);
    let alone = next(&mut scene, &after(1, 0), &crashed, (false, None));
    assert_eq!(alone, cut(ME), "with nobody else it is this instance again");
}

#[test]
fn a_run_of_a_job_that_was_removed_is_never_tried_again() {
    let mut scene = retrying(RetryOn::Same);
    let removed = cancelled(CancelReason::Removed);
    let found = next(&mut scene, &after(1, 0), &removed, (false, Some(OTHER)));
    assert_eq!(found, Next::Over(None));
    let claiming = scene.first(DUE).unwrap();
    let ended = scene.ends(claiming, failed());
    let undefined = scene.act(|turn, facts, mirror| {
        Next::of(&ended, turn, 0, &Facts { config: None, ..*facts }, mirror)
    });
    assert_eq!(undefined, Next::Over(None));
}

#[test]
fn whoever_goes_hands_a_run_to_the_shards_new_owner_if_that_may_take_it() {
    // Whether this one goes, who owns the shard by now; whom the run is for.
    let gone = "10.0.0.9@-@1-z";
    let table = [
        (false, THIRD, OTHER),
        (true, OTHER, OTHER),
        (true, THIRD, THIRD),
        (true, ME, OTHER),
        (true, gone, OTHER),
    ];
    for (goes, owner, wanted) in table {
        let mut scene = retrying(RetryOn::PreferOther);
        let claiming = scene.first(DUE).unwrap();
        let ended = scene.ends(claiming, failed());
        third_joins(&mut scene);
        scene.mirror.holds(Facet::Owner(0), Some(entry(owner, 2)));
        let found = scene.act(|turn, facts, mirror| {
            Next::of(&ended, turn, 0, &Facts { goes, ..*facts }, mirror)
        });
        assert_eq!(found, again(wanted, 11_000), "{goes} {owner}");
    }
}

#[test]
fn attempts_go_round_the_other_instances_that_may_take_shards() {
    let mut scene = Scene::new();
    let me = instance(ME);
    let other = |scene: &Scene, shard, attempt| {
        other_instance(&scene.mirror, &me, shard, attempt).map(|it| it.to_string())
    };
    third_joins(&mut scene);
    let chosen = [(0, 1), (0, 2), (1, 1), (1, 2)].map(|(s, a)| other(&scene, s, a).unwrap());
    assert_eq!(chosen, [OTHER, THIRD, THIRD, OTHER]);
    let server = instance(OTHER).server().to_owned();
    scene.mirror.holds(Facet::Server(server), Some(entry("DISABLED", 2)));
    assert_eq!(other(&scene, 0, 1).as_deref(), Some(THIRD));
    scene.mirror.lists(Facet::Instances, &[ME, OTHER]);
    assert_eq!(other(&scene, 0, 1), None);
}

#[test]
fn an_end_frees_the_record_and_counts_as_what_it_was() {
    // How it ended; successes, failures; the code and whether there is a text.
    let table = [
        (Ends::Succeeded, (1, 0), "OK", ""),
        (Ends::Exited(3), (0, 1), "EXIT", "exit code 3"),
        (cancelled(CancelReason::Removed), (0, 1), "REMOVED", "stopped: job removed"),
    ];
    for (ending, (succeeded, failed), code, text) in table {
        let mut scene = Scene::new();
        let told = tell(&mut scene, Outcome { rows: 4, bytes: 5, ..Outcome::of(ending) });
        let record = &told.record.record;
        assert_eq!(record.claim, None, "{code}");
        assert_eq!((record.counts.succeeded, record.counts.failed), (succeeded, failed), "{code}");
        assert_eq!((record.counts.ran, record.watermark), (1, at(10_000)));
        let last = record.last.as_ref().unwrap();
        assert_eq!((&*last.code, &*last.text), (code, text));
        assert_eq!((last.rows, last.bytes, last.nonce), (4, 5, told.claim().claim().nonce));
    }
}

#[test]
fn a_run_that_can_be_tried_nowhere_else_ends_with_that_code() {
    let mut scene = retrying(RetryOn::Other);
    scene.mirror.lists(Facet::Instances, &[ME]);
    let told = tell(&mut scene, failed());
    let last = told.record.record.last.as_ref().unwrap();
    assert_eq!((&*last.code, &*last.text), ("NO_OTHER_INSTANCE", "exit code 3"));
    assert_eq!(told.record.record.claim, None);
}

#[test]
fn what_is_kept_of_an_end_is_bounded() {
    let mut scene = Scene::new();
    let (text, tail) = ("é".repeat(4_000), format!("{}end", "é".repeat(4_000)));
    let outcome = Outcome { output_tail: tail, ..Outcome::of(Ends::Error(text)) };
    let told = tell(&mut scene, outcome);
    let last = told.record.record.last.as_ref().unwrap();
    assert!((1_023..=1_024).contains(&last.text.len()), "{}", last.text.len());
    assert!(last.text.starts_with("error: é"));
    let most = OUTPUT_TAIL_BYTES;
    assert!((most - 1..=most).contains(&last.output_tail.len()), "{}", last.output_tail.len());
    assert!(last.output_tail.ends_with("éend"));
}

#[test]
fn an_attempt_is_released_to_whoever_is_to_try_it_and_signalled_if_that_is_another() {
    for (on, to, is_signalled) in [(RetryOn::Same, ME, false), (RetryOn::Other, OTHER, true)] {
        let mut scene = retrying(on);
        let told = tell(&mut scene, failed());
        let claim = told.record.record.claim.as_ref().unwrap();
        let (to, not_before) = (instance(to), at(11_000));
        let key = scene.rig.turn().key(&Facet::Retry(0));
        let signal = Op::create(key, to.to_string());
        assert_eq!(claim.state, ClaimState::Released { to, not_before, is_signalled });
        assert_eq!((claim.attempt, claim.crashes), (1, 0));
        assert_eq!(scene.sent_one().ops.contains(&signal), is_signalled);
    }
    let mut scene = Scene::of(|config| config.failover = true);
    let told = tell(&mut scene, Outcome::of(Ends::Crashed(String::new())));
    let record = &told.record.record;
    assert_eq!(record.claim.as_ref().unwrap().crashes, 1, "it is taken over");
    assert_eq!((record.counts.failed, record.counts.crashed), (1, 0));
}

#[test]
fn an_end_is_told_over_the_record_that_its_claim_has_written() {
    let mut scene = Scene::new();
    let told = tell(&mut scene, failed());
    let (keys, change) = (scene.keys(), scene.sent_one());
    let end = ShardChange::End(told.claim().id());
    assert_eq!(change.purpose, Purpose::Shard(JobIx(0), 0, end));
    let value = record::encode(&told.record);
    let claimed = told.ended.stamp;
    assert_eq!(
        change.ops,
        [Op::Set(keys.record, value, Some(claimed)), Op::Delete(keys.running, None),]
    );
    assert_eq!(claimed.modified, CLAIMED);
    let next = Stamp { modified: Index(200), version: claimed.version + 1, ..claimed };
    assert_eq!(told.stamp(Index(200)), next);
}

#[test]
fn the_marks_that_still_stand_are_taken_away_with_the_end() {
    let (running, failover) = (Facet::Running(0), Facet::Failover(0));
    // Whether marks last, whether the run was taken over, whether the session is still the claim's.
    let table = [
        (false, false, true, vec![running.clone()]),
        (false, false, false, vec![]),
        (true, false, false, vec![running.clone()]),
        (true, true, true, vec![running.clone(), failover]),
        (true, true, false, vec![running]),
    ];
    for (lasts, is_taken_over, is_same, deleted) in table {
        let mut scene = Scene::of(|config| config.failover = lasts);
        let old = if is_taken_over { theirs() } else { released_to(ME) };
        let claiming = scene.again(&old);
        let ended = scene.ends(claiming, Outcome::of(Ends::Succeeded));
        if !is_same {
            scene.another_session();
        }
        scene.tells(ended);
        let change = scene.sent_one();
        assert_eq!(scene.rig.deleted(&change), deleted, "{lasts} {is_taken_over} {is_same}");
    }
}

#[test]
fn an_end_is_reported_as_the_registry_has_it() {
    let found = Stored { record: holding(None), ..Stored::default() };
    // What was found there, and the retry that is told.
    let table = [(None, Some((instance(OTHER), at(11_000)))), (Some(Arc::new(found)), None)];
    for (found, wanted) in table {
        let mut scene = retrying(RetryOn::PreferOther);
        let told = tell(&mut scene, failed());
        let as_told = told.record.clone();
        let record = told.known(&mut scene.rig.turn(), found.clone());
        assert_eq!(record, found.unwrap_or(as_told));
        let reports = scene.rig.reports();
        assert!(matches!(&reports[..], [Report::Ended { outcome, retry, .. }]
            if *outcome == failed() && *retry == wanted));
    }
}

#[test]
fn an_end_that_came_too_late_is_reported_as_such() {
    let mut scene = Scene::new();
    let told = tell(&mut scene, failed());
    told.superseded(&mut scene.rig.turn());
    let reports = scene.rig.reports();
    assert!(matches!(&reports[..], [Report::Superseded { outcome, .. }] if *outcome == failed()));
}

#[test]
fn an_end_that_was_not_told_is_told_anew_from_what_is_known_then() {
    let mut scene = retrying(RetryOn::PreferOther);
    let told = tell(&mut scene, failed());
    scene.rig.sent();
    scene.mirror.lists(Facet::Instances, &[ME]);
    let told = scene.tells(told.untold());
    let claim = told.record.record.claim.as_ref().unwrap();
    assert!(matches!(&claim.state, ClaimState::Released { to, .. } if to.as_str() == ME));
}
