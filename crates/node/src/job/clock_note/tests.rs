use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::stage::{ME, SESSION, Stage, instance};
use flockwork_core::time::Mono;
use flockwork_layout::clock::decode;
use flockwork_registry::Index;

const LIMIT: Option<Duration> = Some(Duration::from_secs(5));
const DONE: Verdict = Verdict::Done(Index(9));

/// The registry's clock showed something now, when this node's shows 10,000 ms.
fn registry_shows(stage: &mut Stage, millis: i64) {
    let now = stage.now.mono;
    stage.turn().clock.told(millis, now, now);
}

/// A note that exists.
fn noted() -> (Stage, ClockNote) {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    note.reconcile(&mut stage.turn(), LIMIT);
    let change = stage.sent_one();
    note.answered(&mut stage.turn(), change, &DONE, true);
    assert!(stage.is_job_marked());
    (stage, note)
}

/// What kinds of operations are sent, all of them on the own note.
fn sent(stage: &mut Stage) -> Vec<&'static str> {
    let key = stage.turn().key(&Facet::Clock(instance(ME)));
    let ops = stage.sent().into_iter().flat_map(|change| {
        assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::ClockNote));
        change.ops
    });
    let kind = |op: Op| {
        assert_eq!(*op.key(), key);
        match op {
            Op::Create { value, lifetime: Lifetime::Session, .. } if value.is_empty() => "make",
            Op::Set(_, _, None) => "set",
            Op::Delete(_, None) => "delete",
            other => panic!("{other:?}"),
        }
    };
    ops.map(kind).collect()
}

#[test]
fn clocks_differ_only_if_they_surely_do_by_more_than_the_limit() {
    for (shown, agreement, ahead) in [
        (None, Agreement::Agree, None),
        (Some(10_000), Agreement::Agree, None),
        (Some(5_000), Agreement::Agree, None),
        (Some(4_999), Agreement::Differ, Some(5_001)),
        (Some(15_000), Agreement::Agree, None),
        (Some(15_001), Agreement::Differ, Some(-5_001)),
    ] {
        let (mut stage, mut note) = (Stage::new(), ClockNote::default());
        if let Some(shown) = shown {
            registry_shows(&mut stage, shown);
        }
        assert_eq!(note.compare(&mut stage.turn(), LIMIT), agreement, "{shown:?}");
        assert_eq!(note.differs(), ahead, "{shown:?}");
        assert_eq!(note.compare(&mut stage.turn(), None) == Agreement::AgreeAgain, ahead.is_some());
    }
}

#[test]
fn that_clocks_differ_or_agree_again_is_told_once() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    for (shown, agreements) in [
        (4_000, [Agreement::Differ, Agreement::Differ]),
        (9_000, [Agreement::AgreeAgain, Agreement::Agree]),
        (4_000, [Agreement::Differ, Agreement::Differ]),
    ] {
        registry_shows(&mut stage, shown);
        for agreement in agreements {
            assert_eq!(note.compare(&mut stage.turn(), LIMIT), agreement, "{shown}");
        }
        let is_marked = stage.is_job_marked();
        assert!(is_marked, "others read the note");
        match &stage.reports()[..] {
            [Report::Trouble { code: "CLOCK_DIFFERS", text, .. }] if shown == 4_000 => {
                assert!(text.contains("6000 ms") && text.contains("5000 ms"), "{text}");
            }
            [Report::ClockAgrees(_)] if shown == 9_000 => {}
            other => panic!("{shown}: {other:?}"),
        }
    }
    let alarms = std::iter::from_fn(|| stage.alarms.pop(Mono::from_millis(60_000)));
    assert_eq!(alarms.collect::<Vec<_>>(), [Alarm::Clock(JobIx(0))], "it is probed once at a time");
}

#[test]
fn a_limit_that_is_taken_away_ends_what_it_held_up() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    registry_shows(&mut stage, 4_000);
    note.compare(&mut stage.turn(), LIMIT);
    assert_eq!(note.compare(&mut stage.turn(), None), Agreement::AgreeAgain);
    assert_eq!(note.compare(&mut stage.turn(), None), Agreement::Agree);
    assert_eq!(note.differs(), None);
}

#[test]
fn a_note_is_made_empty_and_then_given_its_value_as_only_that_is_answered_with_a_time() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    registry_shows(&mut stage, 4_000);
    note.compare(&mut stage.turn(), LIMIT);
    for _ in 0..2 {
        note.reconcile(&mut stage.turn(), LIMIT);
    }
    let change = stage.sent_one();
    assert_eq!(note.awaited().collect::<Vec<_>>(), [JobChange::ClockNote]);
    let [Op::Create { value: made, .. }, Op::Set(_, value, None)] = &change.ops[..] else {
        panic!("{change:?}")
    };
    assert!(made.is_empty());
    let wanted = Note { limit: 5_000, ahead: Some(6_000), differs: true };
    assert_eq!(decode(value).unwrap(), wanted);
    let now = stage.now;
    assert!(stage.turn().clock.was_probed_within(now, PROBE));

    note.answered(&mut stage.turn(), change, &DONE, true);
    note.reconcile(&mut stage.turn(), LIMIT);
    assert_eq!(sent(&mut stage), [""; 0], "it stands");
    note.is_due();
    note.reconcile(&mut stage.turn(), LIMIT);
    assert_eq!(sent(&mut stage), ["set"], "one that is there");
}

#[test]
fn a_note_goes_with_the_limit_and_with_the_session() {
    let (mut stage, mut note) = noted();
    note.reconcile(&mut stage.turn(), None);
    let change = stage.sent_one();
    assert!(matches!(change.ops[..], [Op::Delete(_, None)]));
    note.answered(&mut stage.turn(), change, &DONE, true);
    note.reconcile(&mut stage.turn(), None);
    assert_eq!(sent(&mut stage), [""; 0], "once is enough");

    let (mut stage, mut note) = noted();
    stage.trust.renew(stage.now, SessionId(8), stage.trust.until());
    assert!(note.without(&stage.turn()).is_none());
    note.reconcile(&mut stage.turn(), LIMIT);
    assert_eq!(sent(&mut stage), ["make", "set"]);
}

#[test]
fn without_a_limit_or_with_the_clock_of_this_host_nothing_is_written() {
    for (clock, limit) in [(Clock::Told, None), (Clock::OfThisHost, LIMIT), (Clock::Untold, None)] {
        let (mut stage, mut note) = (Stage::new(), ClockNote::default());
        stage.settings.clock = clock;
        note.reconcile(&mut stage.turn(), limit);
        assert!(stage.sent().is_empty() && stage.reports().is_empty(), "{clock:?}");
    }
}

#[test]
fn that_a_registry_tells_no_time_is_said_once_where_it_is_wanted() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    stage.settings.clock = Clock::Untold;
    for _ in 0..2 {
        note.reconcile(&mut stage.turn(), LIMIT);
    }
    let reports = stage.reports();
    assert!(matches!(&reports[..], [Report::Trouble { code: "CLOCK_NOT_TOLD", .. }]));
    assert!(stage.sent().is_empty());
    // A job that is served again is another job to people.
    note.forget();
    note.reconcile(&mut stage.turn(), LIMIT);
    assert_eq!(stage.reports().len(), 1);
}

#[test]
fn what_became_of_a_note_says_what_is_written_next_and_when() {
    for (verdict, next, is_later) in [
        (DONE, &[][..], false),
        (Verdict::Refused(Why::Exists, None), &["set"], true),
        (Verdict::Refused(Why::Absent, None), &["make", "set"], true),
        (Verdict::Unknown, &["make", "set"], true),
        (Verdict::SessionEnded(SESSION), &["make", "set"], true),
        (Verdict::TooLarge, &["make", "set"], false),
    ] {
        let (mut stage, mut note) = (Stage::new(), ClockNote::default());
        note.reconcile(&mut stage.turn(), LIMIT);
        let change = stage.sent_one();
        note.answered(&mut stage.turn(), change, &verdict, true);
        assert_eq!(note.awaited().count(), 0, "{verdict:?}");
        let later = stage.now.mono.plus(PROBE);
        assert_eq!(stage.alarms.next().1, is_later.then_some(later), "{verdict:?}");
        note.reconcile(&mut stage.turn(), LIMIT);
        assert_eq!(sent(&mut stage), next, "{verdict:?}");
    }
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    note.reconcile(&mut stage.turn(), LIMIT);
    let change = stage.sent_one();
    note.answered(&mut stage.turn(), change, &Verdict::NotTaken, true);
    assert_eq!(sent(&mut stage), ["make", "set"]);
    assert_eq!(note.awaited().count(), 1);
}

#[test]
fn a_note_that_comes_after_the_instance_has_gone_goes_too() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    note.reconcile(&mut stage.turn(), LIMIT);
    let change = stage.sent_one();
    note.forget();
    note.answered(&mut stage.turn(), change, &DONE, false);
    let change = stage.sent_one();
    assert!(matches!(change.ops[..], [Op::Delete(_, None)]));
    note.answered(&mut stage.turn(), change, &DONE, false);
    assert_eq!(sent(&mut stage), [""; 0], "it is gone");
}

#[test]
fn a_clock_that_differs_is_measured_anew_once_for_all_jobs_until_it_agrees() {
    let (mut stage, mut note) = noted();
    registry_shows(&mut stage, 4_000);
    note.compare(&mut stage.turn(), LIMIT);
    note.reconcile(&mut stage.turn(), LIMIT);
    let change = stage.sent_one();
    note.answered(&mut stage.turn(), change, &DONE, true);
    stage.is_job_marked();
    for (millis, is_measured) in [(4_999, false), (1, true)] {
        stage.pass(millis);
        while stage.alarms.pop(Mono::from_millis(60_000)).is_some() {}
        note.probe(&mut stage.turn());
        assert!(stage.is_job_marked());
        assert_eq!(stage.alarms.next().1, Some(stage.now.mono.plus(PROBE)));
        note.reconcile(&mut stage.turn(), LIMIT);
        assert_eq!(!sent(&mut stage).is_empty(), is_measured, "{millis}");
    }
    let now = stage.now.wall.as_millis();
    registry_shows(&mut stage, now);
    assert_eq!(note.compare(&mut stage.turn(), LIMIT), Agreement::AgreeAgain);
    while stage.alarms.pop(Mono::from_millis(60_000)).is_some() {}
    note.probe(&mut stage.turn());
    assert_eq!(stage.alarms.next().1, None, "there is nothing to measure any more");
}

#[test]
fn whoever_leaves_takes_with_it_a_note_that_is_there_or_on_its_way() {
    let (mut stage, mut note) = (Stage::new(), ClockNote::default());
    assert!(note.without(&stage.turn()).is_none());
    note.reconcile(&mut stage.turn(), LIMIT);
    stage.sent();
    assert!(matches!(note.without(&stage.turn()), Some(Op::Delete(..))));
    assert_eq!(note.awaited().count(), 0, "nothing of it is left");

    let (mut stage, mut note) = noted();
    assert!(matches!(note.without(&stage.turn()), Some(Op::Delete(..))));
    assert!(note.without(&stage.turn()).is_none(), "once");
}
