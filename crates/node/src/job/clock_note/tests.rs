use super::*;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::rig::{ME, Rig, SESSION, instance};
use flockwork_core::time::Mono;
use flockwork_layout::clock::decode;
use flockwork_registry::Index;

const LIMIT: Option<Duration> = Some(Duration::from_secs(5));
const DONE: Verdict = Verdict::Done(Index(9));

/// The registry's clock showed something now, when this node's shows 10,000 ms.
fn registry_shows(rig: &mut Rig, millis: i64) {
    let now = rig.now.mono;
    rig.turn().clock.told(millis, now, now);
}

/// A note that exists.
fn noted() -> (Rig, ClockNote) {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    note.reconcile(&mut rig.turn(), LIMIT);
    let change = rig.sent_one();
    note.answered(&mut rig.turn(), change, &DONE, true);
    assert!(rig.is_job_marked());
    (rig, note)
}

/// What kinds of operations are sent, all of them on the own note.
fn sent(rig: &mut Rig) -> Vec<&'static str> {
    let key = rig.turn().key(&Facet::Clock(instance(ME)));
    let ops = rig.sent().into_iter().flat_map(|change| {
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
        let (mut rig, mut note) = (Rig::new(), ClockNote::default());
        if let Some(shown) = shown {
            registry_shows(&mut rig, shown);
        }
        assert_eq!(note.compare(&mut rig.turn(), LIMIT), agreement, "{shown:?}");
        assert_eq!(note.differs(), ahead, "{shown:?}");
        assert_eq!(note.compare(&mut rig.turn(), None) == Agreement::AgreeAgain, ahead.is_some());
    }
}

#[test]
fn that_clocks_differ_or_agree_again_is_told_once() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    for (shown, agreements) in [
        (4_000, [Agreement::Differ, Agreement::Differ]),
        (9_000, [Agreement::AgreeAgain, Agreement::Agree]),
        (4_000, [Agreement::Differ, Agreement::Differ]),
    ] {
        registry_shows(&mut rig, shown);
        for agreement in agreements {
            assert_eq!(note.compare(&mut rig.turn(), LIMIT), agreement, "{shown}");
        }
        let is_marked = rig.is_job_marked();
        assert!(is_marked, "others read the note");
        match &rig.reports()[..] {
            [Report::Trouble { code: "CLOCK_DIFFERS", text, .. }] if shown == 4_000 => {
                assert!(text.contains("6000 ms") && text.contains("5000 ms"), "{text}");
            }
            [Report::ClockAgrees(_)] if shown == 9_000 => {}
            other => panic!("{shown}: {other:?}"),
        }
    }
    let alarms = std::iter::from_fn(|| rig.alarms.pop(Mono::from_millis(60_000)));
    assert_eq!(alarms.collect::<Vec<_>>(), [Alarm::Clock(JobIx(0))], "it is probed once at a time");
}

#[test]
fn a_limit_that_is_taken_away_ends_what_it_held_up() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    registry_shows(&mut rig, 4_000);
    note.compare(&mut rig.turn(), LIMIT);
    assert_eq!(note.compare(&mut rig.turn(), None), Agreement::AgreeAgain);
    assert_eq!(note.compare(&mut rig.turn(), None), Agreement::Agree);
    assert_eq!(note.differs(), None);
}

#[test]
fn a_note_is_made_empty_and_then_given_its_value_as_only_that_is_answered_with_a_time() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    registry_shows(&mut rig, 4_000);
    note.compare(&mut rig.turn(), LIMIT);
    for _ in 0..2 {
        note.reconcile(&mut rig.turn(), LIMIT);
    }
    let change = rig.sent_one();
    assert_eq!(note.awaited().collect::<Vec<_>>(), [JobChange::ClockNote]);
    let [Op::Create { value: made, .. }, Op::Set(_, value, None)] = &change.ops[..] else {
        panic!("{change:?}")
    };
    assert!(made.is_empty());
    let wanted = Note { limit: 5_000, ahead: Some(6_000), differs: true };
    assert_eq!(decode(value).unwrap(), wanted);
    let now = rig.now;
    assert!(rig.turn().clock.was_probed_within(now, PROBE));

    note.answered(&mut rig.turn(), change, &DONE, true);
    note.reconcile(&mut rig.turn(), LIMIT);
    assert_eq!(sent(&mut rig), [""; 0], "it stands");
    note.is_due();
    note.reconcile(&mut rig.turn(), LIMIT);
    assert_eq!(sent(&mut rig), ["set"], "one that is there");
}

#[test]
fn a_note_goes_with_the_limit_and_with_the_session() {
    let (mut rig, mut note) = noted();
    note.reconcile(&mut rig.turn(), None);
    let change = rig.sent_one();
    assert!(matches!(change.ops[..], [Op::Delete(_, None)]));
    note.answered(&mut rig.turn(), change, &DONE, true);
    note.reconcile(&mut rig.turn(), None);
    assert_eq!(sent(&mut rig), [""; 0], "once is enough");

    let (mut rig, mut note) = noted();
    rig.trust.renew(rig.now, SessionId(8), rig.trust.until());
    assert!(note.without(&rig.turn()).is_none());
    note.reconcile(&mut rig.turn(), LIMIT);
    assert_eq!(sent(&mut rig), ["make", "set"]);
}

#[test]
fn without_a_limit_or_with_the_clock_of_this_host_nothing_is_written() {
    for (clock, limit) in [(Clock::Told, None), (Clock::OfThisHost, LIMIT), (Clock::Untold, None)] {
        let (mut rig, mut note) = (Rig::new(), ClockNote::default());
        rig.settings.clock = clock;
        note.reconcile(&mut rig.turn(), limit);
        assert!(rig.sent().is_empty() && rig.reports().is_empty(), "{clock:?}");
    }
}

#[test]
fn that_a_registry_tells_no_time_is_said_once_where_it_is_wanted() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    rig.settings.clock = Clock::Untold;
    for _ in 0..2 {
        note.reconcile(&mut rig.turn(), LIMIT);
    }
    let reports = rig.reports();
    assert!(matches!(&reports[..], [Report::Trouble { code: "CLOCK_NOT_TOLD", .. }]));
    assert!(rig.sent().is_empty());
    // A job that is served again is another job to people.
    note.forget();
    note.reconcile(&mut rig.turn(), LIMIT);
    assert_eq!(rig.reports().len(), 1);
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
        let (mut rig, mut note) = (Rig::new(), ClockNote::default());
        note.reconcile(&mut rig.turn(), LIMIT);
        let change = rig.sent_one();
        note.answered(&mut rig.turn(), change, &verdict, true);
        assert_eq!(note.awaited().count(), 0, "{verdict:?}");
        let later = rig.now.mono.plus(PROBE);
        assert_eq!(rig.alarms.next().1, is_later.then_some(later), "{verdict:?}");
        note.reconcile(&mut rig.turn(), LIMIT);
        assert_eq!(sent(&mut rig), next, "{verdict:?}");
    }
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    note.reconcile(&mut rig.turn(), LIMIT);
    let change = rig.sent_one();
    note.answered(&mut rig.turn(), change, &Verdict::NotTaken, true);
    assert_eq!(sent(&mut rig), ["make", "set"]);
    assert_eq!(note.awaited().count(), 1);
}

#[test]
fn a_note_that_comes_after_the_instance_has_gone_goes_too() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    note.reconcile(&mut rig.turn(), LIMIT);
    let change = rig.sent_one();
    note.forget();
    note.answered(&mut rig.turn(), change, &DONE, false);
    let change = rig.sent_one();
    assert!(matches!(change.ops[..], [Op::Delete(_, None)]));
    note.answered(&mut rig.turn(), change, &DONE, false);
    assert_eq!(sent(&mut rig), [""; 0], "it is gone");
}

#[test]
fn a_clock_that_differs_is_measured_anew_once_for_all_jobs_until_it_agrees() {
    let (mut rig, mut note) = noted();
    registry_shows(&mut rig, 4_000);
    note.compare(&mut rig.turn(), LIMIT);
    note.reconcile(&mut rig.turn(), LIMIT);
    let change = rig.sent_one();
    note.answered(&mut rig.turn(), change, &DONE, true);
    rig.is_job_marked();
    for (millis, is_measured) in [(4_999, false), (1, true)] {
        rig.pass(millis);
        while rig.alarms.pop(Mono::from_millis(60_000)).is_some() {}
        note.probe(&mut rig.turn());
        assert!(rig.is_job_marked());
        assert_eq!(rig.alarms.next().1, Some(rig.now.mono.plus(PROBE)));
        note.reconcile(&mut rig.turn(), LIMIT);
        assert_eq!(!sent(&mut rig).is_empty(), is_measured, "{millis}");
    }
    let now = rig.now.wall.as_millis();
    registry_shows(&mut rig, now);
    assert_eq!(note.compare(&mut rig.turn(), LIMIT), Agreement::AgreeAgain);
    while rig.alarms.pop(Mono::from_millis(60_000)).is_some() {}
    note.probe(&mut rig.turn());
    assert_eq!(rig.alarms.next().1, None, "there is nothing to measure any more");
}

#[test]
fn whoever_leaves_takes_with_it_a_note_that_is_there_or_on_its_way() {
    let (mut rig, mut note) = (Rig::new(), ClockNote::default());
    assert!(note.without(&rig.turn()).is_none());
    note.reconcile(&mut rig.turn(), LIMIT);
    rig.sent();
    assert!(matches!(note.without(&rig.turn()), Some(Op::Delete(..))));
    assert_eq!(note.awaited().count(), 0, "nothing of it is left");

    let (mut rig, mut note) = noted();
    assert!(matches!(note.without(&rig.turn()), Some(Op::Delete(..))));
    assert!(note.without(&rig.turn()).is_none(), "once");
}
