use super::*;
use crate::names::JobIx;
use crate::rig::{ME, OTHER, SESSION, at, entry, instance, stamp};
use crate::shard::scene::{CLAIMED, DUE, Scene, fire, holding, released_to, theirs};
use flockwork_core::account::Counts;

fn failing_over() -> Scene {
    Scene::of(|config| config.failover = true)
}

/// A claim of this instance from before it forgot.
fn forgotten() -> Claim {
    Claim { instance: instance(ME), ..theirs() }
}

#[test]
fn a_claim_demands_this_instance_and_the_plan_and_the_assignment_it_was_made_on() {
    let mut scene = Scene::new();
    scene.mirror.holds(Facet::Owner(0), Some(entry(ME, 4)));
    scene.plans(2_000);
    scene.first(DUE).unwrap();
    let (keys, change) = (scene.keys(), scene.sent_one());
    assert_eq!(
        change.ops[..3],
        [
            Op::Check(keys.instance, None),
            Op::Check(keys.plan, Some(stamp(2))),
            Op::Check(keys.owner, Some(stamp(4))),
        ]
    );
}

#[test]
fn nothing_is_claimed_while_the_assignment_or_the_plan_is_not_known() {
    for (unknown, is_absent) in
        [(Facet::Owner(0), false), (Facet::Owner(0), true), (Facet::Plan, false)]
    {
        let mut scene = Scene::new();
        match is_absent {
            true => scene.mirror.holds(unknown.clone(), None),
            false => scene.doubts(unknown.clone()),
        }
        assert!(scene.first(DUE).is_none(), "{unknown:?} {is_absent}");
        assert!(scene.rig.sent().is_empty());
        assert_eq!(scene.rig.capacity.running(), 0);
    }
}

#[test]
fn a_record_is_made_where_there_is_none_and_else_written_over_what_was_read() {
    let mut scene = Scene::new();
    scene.mirror.holds(Facet::Record(0), None);
    let claiming = scene.first(DUE).unwrap();
    let (keys, made) = (scene.keys(), scene.sent_one());
    assert!(matches!(&made.ops[3], Op::Create { key, .. } if *key == keys.record));
    let fresh = Stamp { created: CLAIMED, modified: CLAIMED, version: 0 };
    assert_eq!(claiming.stamp(CLAIMED), fresh);

    let mut scene = Scene::new();
    scene.stores(holding(None));
    let old = scene.mirror.record(0).and_then(|slot| slot.held()).unwrap().stamp;
    let claiming = scene.first(DUE).unwrap();
    let written = scene.sent_one();
    assert!(matches!(&written.ops[3], Op::Set(key, _, read)
        if *key == keys.record && *read == Some(old)));
    let next = Stamp { modified: CLAIMED, version: old.version + 1, ..old };
    assert_eq!(claiming.stamp(CLAIMED), next);
}

#[test]
fn a_mark_lasts_only_where_a_crashed_run_is_taken_elsewhere() {
    for (failover, wanted) in [(false, Lifetime::Session), (true, Lifetime::Lasting)] {
        let mut scene = Scene::of(|config| config.failover = failover);
        let claiming = scene.first(DUE).unwrap();
        assert_eq!(claiming.claim().claim().mark_lasts, failover);
        let (keys, change) = (scene.keys(), scene.sent_one());
        let mark =
            Op::Create { key: keys.running, value: ME.into(), lifetime: wanted, sequence: false };
        assert_eq!(change.ops[4], mark, "{failover}");
    }
}

#[test]
fn a_trigger_counts_as_one_and_accounts_no_due_fire() {
    let ran = |triggered| Counts { ran: 1, triggered, ..Counts::default() };
    let table = [
        (Source::Schedule, ran(0), 10_000, 1),
        (Source::Misfire, ran(0), 10_000, 1),
        (Source::CatchUp, ran(0), 10_000, 1),
        (Source::Trigger, ran(1), 9_000, 0),
    ];
    for (source, counts, through, told) in table {
        let claiming = Scene::new().first(fire(10_000, source)).unwrap();
        let record = &claiming.claim().after().record;
        assert_eq!((record.counts, record.watermark), (counts, at(through)), "{source:?}");
        assert_eq!(claiming.into_claim().take_notes().len(), told, "{source:?}");
    }
}

#[test]
fn a_claim_names_this_instance_and_its_first_attempt() {
    let mut scene = Scene::new();
    let claiming = scene.first(DUE).unwrap();
    let claim = Claim { instance: instance(ME), nonce: claiming.claim().id().0, ..theirs() };
    assert_eq!(*claiming.claim().claim(), claim);
    assert!(claiming.claim().is_first() && !claiming.claim().is_taken_over());
}

#[test]
fn each_claim_has_a_place_and_a_name_of_its_own() {
    let mut scene = Scene::new();
    let (one, other) = (scene.first(DUE).unwrap(), scene.again(&theirs()));
    assert_ne!(one.claim().id(), other.claim().id());
    for claiming in [&one, &other] {
        assert_eq!(scene.rig.capacity.whose(claiming.claim().id()), Some((JobIx(0), Some(0))));
    }
}

#[test]
fn a_run_again_is_the_next_attempt_and_a_crash_counts_where_it_was_taken_over() {
    let most = JobConfig::MAX_TAKEOVERS;
    // Failover, crashes before; crashes then.
    let table = [(true, 0, 1), (true, most - 1, most), (true, most, most), (false, 2, 2)];
    for (failover, before, crashes) in table {
        let mut scene = Scene::of(|config| config.failover = failover);
        let claiming = scene.again(&Claim { attempt: 9, crashes: before, ..theirs() });
        let own = claiming.claim();
        assert_eq!(
            (own.claim().attempt, own.claim().crashes),
            (10, crashes),
            "{failover} {before}"
        );
        assert_eq!(own.after().record.counts.crashed, 1);
        assert!(own.is_taken_over() && !own.is_first());
    }
    let mut scene = failing_over();
    let claiming = scene.again(&Claim { attempt: 2, crashes: 1, ..released_to(ME) });
    let own = claiming.claim();
    assert_eq!((own.claim().attempt, own.claim().crashes), (3, 1), "it was released, not cut off");
    assert_eq!(own.after().record.counts, Counts::default());
    assert!(!own.is_taken_over() && !own.is_first());
}

#[test]
fn a_held_claim_is_taken_over_only_if_its_instance_is_still_gone() {
    for (old, gone) in [(theirs(), Some(OTHER)), (forgotten(), None), (released_to(ME), None)] {
        let mut scene = Scene::new();
        scene.again(&old);
        let (keys, change) = (scene.keys(), scene.sent_one());
        assert_eq!(change.ops[0], Op::Check(keys.instance, None));
        let key = |id| scene.rig.turn().key(&Facet::Instance(instance(id)));
        let wanted: Vec<Op> = gone.map(key).map(Op::CheckAbsent).into_iter().collect();
        let absent = change.ops.iter().filter(|op| matches!(op, Op::CheckAbsent(_))).cloned();
        assert_eq!(absent.collect::<Vec<_>>(), wanted, "{old:?}");
    }
}

#[test]
fn what_an_earlier_attempt_left_behind_goes_with_the_claim() {
    let unsignalled = ClaimState::Released {
        to: instance(ME),
        not_before: Timestamp::default(),
        is_signalled: false,
    };
    let (record, mark) = (Facet::Record(0), Facet::Running(0));
    let taken = vec![record.clone(), mark.clone(), Facet::Failover(0)];
    let table = [
        (theirs(), taken.clone(), vec![], true),
        (Claim { mark_lasts: true, ..theirs() }, taken, vec![], false),
        (released_to(ME), vec![record.clone(), mark.clone()], vec![Facet::Retry(0)], true),
        (Claim { state: unsignalled, ..theirs() }, vec![record, mark], vec![], true),
    ];
    for (old, written, deleted, is_mark_made) in table {
        let mut scene = Scene::new();
        scene.again(&old);
        let (keys, change) = (scene.keys(), scene.sent_one());
        assert_eq!(scene.rig.written(&change), written, "{old:?}");
        assert_eq!(scene.rig.deleted(&change), deleted, "{old:?}");
        let over = Op::Set(keys.running, ME.into(), None);
        assert_eq!(change.ops.contains(&over), !is_mark_made, "{old:?}");
    }
}

#[test]
fn the_mark_of_a_take_over_lives_with_the_session() {
    let mut scene = failing_over();
    scene.again(&theirs());
    let key = scene.rig.turn().key(&Facet::Failover(0));
    assert!(scene.sent_one().ops.contains(&Op::create_for_session(key, ME)));
}

#[test]
fn a_mark_that_lasted_lasts_on() {
    let lasting = Claim { mark_lasts: true, ..theirs() };
    let released = Claim { mark_lasts: true, ..released_to(ME) };
    for (failover, old, lasts) in
        [(false, &lasting, true), (false, &theirs(), false), (true, &theirs(), true)]
    {
        let mut scene = Scene::of(|config| config.failover = failover);
        assert_eq!(scene.again(old).claim().claim().mark_lasts, lasts, "{failover} {old:?}");
    }
    let again = Scene::new().again(&released);
    assert!(!again.claim().claim().mark_lasts, "that mark went with the attempt");
}

#[test]
fn a_first_claim_rests_on_its_assignment_and_plan_and_a_run_again_on_neither() {
    let mut scene = Scene::new();
    let (first, again) = (scene.first(DUE).unwrap(), scene.again(&theirs()));
    let (first, again) = (first.claim(), again.claim());
    // What is known of the assignment, and since when the schedule is in force.
    let table = [(Some(stamp(1)), Some(at(1_000)), true), (Some(stamp(2)), Some(at(1_001)), false)];
    for (owner, since, holds) in table.into_iter().chain([(None, None, false)]) {
        assert_eq!(first.is_dealt(owner), holds, "{owner:?}");
        assert_eq!(first.is_planned(since), holds, "{since:?}");
        assert!(again.is_dealt(owner) && again.is_planned(since));
    }
}

#[test]
fn a_mark_that_does_not_last_went_with_the_session() {
    for (failover, other_stands) in [(false, false), (true, true)] {
        let mut scene = Scene::of(|config| config.failover = failover);
        let claiming = scene.first(DUE).unwrap();
        let claim = claiming.claim();
        assert!(claim.mark_stands(Some(SESSION)));
        assert_eq!(claim.mark_stands(Some(SessionId(8))), other_stands);
        assert_eq!(claim.mark_stands(None), other_stands);
    }
}

#[test]
fn a_request_was_answered_meanwhile_if_the_record_counts_one_more() {
    let counting = |triggered| {
        let mut record = holding(None);
        record.counts.triggered = triggered;
        Stored { record, ..Stored::default() }
    };
    let table = [
        (Source::Trigger, Some(counting(1)), true),
        (Source::Trigger, Some(counting(0)), false),
        (Source::Trigger, None, false),
        (Source::Schedule, Some(counting(1)), false),
    ];
    for (source, found, wanted) in table {
        let claiming = Scene::new().first(fire(10_000, source)).unwrap();
        let claim = claiming.claim();
        assert_eq!(claim.was_answered_meanwhile(found.as_ref()), wanted, "{source:?} {found:?}");
    }
}

#[test]
fn a_run_stops_without_a_session_if_the_definition_says_so() {
    for (loss, must) in [(OnSessionLoss::Finish, false), (OnSessionLoss::Stop, true)] {
        let mut scene = Scene::of(|config| config.on_session_loss = loss);
        let claiming = scene.first(DUE).unwrap();
        assert_eq!(claiming.claim().must_stop_without_session(), must);
    }
}
