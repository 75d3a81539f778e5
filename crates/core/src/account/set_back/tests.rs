use super::super::{Settled, settle};
use super::*;
use crate::config::{CatchUp, Overlap};
use crate::schedule::{Every, Memo, Once};
use std::collections::BTreeSet;

/// Due each second, on the second.
const EACH_SECOND: Schedule =
    Schedule::Every(Every { period_ms: 1_000, anchor: Timestamp::from_millis(0) });
const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn policy(schedule: &Schedule) -> Policy<'_> {
    Policy {
        schedule,
        memo: Memo::default(),
        from: at(0),
        ran: &[],
        misfire: true,
        overlap: Overlap::RunOnceAfter,
        catch_up: CatchUp::None,
    }
}

fn noted(fate: Fate, reason: Reason, first: i64, last: i64) -> Note {
    let fires = u64::try_from(last - first + 1).unwrap();
    Note { fate, reason, span: Span { first: at(first), last: at(last), fires } }
}

/// Settles a shard once, and takes in what comes of it. Returns the fire that runs.
fn step(
    policy: &Policy<'_>,
    record: &mut Record,
    alive: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let shard = policy.of_record(record);
    let Settled { notes, run } = settle(&shard, record.watermark, alive, None, now);
    record.account(&notes);
    let due = run?.due;
    let span = Span { first: due, last: due, fires: 1 };
    record.account(&[Note { fate: Fate::Ran, reason: Reason::Due, span }]);
    Some(due)
}

#[test]
fn a_clock_an_hour_ahead_silences_nothing_but_what_ran() {
    let policy = policy(&EACH_SECOND);
    let mut record = Record { watermark: at(100), ..Record::default() };
    // The clock is set to an hour later, for five seconds.
    for now in HOUR + 101..=HOUR + 105 {
        assert_eq!(step(&policy, &mut record, at(0), at(now)), Some(at(now)));
    }
    assert_eq!((record.counts.ran, record.counts.misfired), (5, 3_600));
    let (mut record, note) = set_back(&policy, &record, (at(0), at(0)), at(106)).unwrap();
    // The fires of the seconds for which the clock was ahead stay accounted: a run made up for them.
    assert_eq!(note, noted(Fate::Withdrawn, Reason::ClockWasAhead, 107, HOUR + 100));
    assert_eq!((record.watermark, record.counts.misfired), (at(106), 6));
    let after_the_leap = at(HOUR + 100).plus(MOMENT);
    assert_eq!(record.ran_ahead(), [Ran { first: after_the_leap, last: at(HOUR + 105) }]);
    for now in 107..=HOUR + 100 {
        assert_eq!(step(&policy, &mut record, at(0), at(now)), Some(at(now)));
    }
    for now in HOUR + 101..=HOUR + 105 {
        assert_eq!(step(&policy, &mut record, at(0), at(now)), None, "{now} has run");
    }
    assert_eq!(step(&policy, &mut record, at(0), at(HOUR + 106)), Some(at(HOUR + 106)));
    assert_eq!(record.set_back, None, "nothing is left of it");
}

#[test]
fn a_watermark_that_is_not_far_ahead_stays() {
    let record = Record { watermark: at(105), ..Record::default() };
    assert_eq!(set_back(&policy(&EACH_SECOND), &record, (at(0), at(0)), at(100)), None);
    let now = at(100).minus(MOMENT);
    let (back, _) = set_back(&policy(&EACH_SECOND), &record, (at(0), at(0)), now).unwrap();
    assert_eq!(back.watermark, now);
}

#[test]
fn a_schedule_that_begins_in_four_hundred_days_begins_now() {
    let planned = at(400 * 24 * HOUR);
    let policy = Policy { from: planned, ..policy(&EACH_SECOND) };
    // Two fires ran before the clock was put right.
    let mut record = Record { watermark: planned.plus(2 * AHEAD), ..Record::default() };
    for ran in [false, true] {
        let before = if ran { record.clone() } else { Record::default() };
        let (mut back, note) = set_back(&policy, &before, (planned, planned), at(100)).unwrap();
        assert_eq!(note.span.fires, 0, "no fire was passed over: none was due");
        assert_eq!(back.begins(planned), at(100));
        assert_eq!(back.begins(at(200)), at(200), "another plan counts as it says");
        assert_eq!(back.ran_ahead().len(), usize::from(ran));
        assert_eq!(step(&policy, &mut back, at(0), at(101)), Some(at(101)));
        if ran {
            record = back;
            let until = planned.plus(2 * AHEAD);
            let shard = policy.of_record(&record);
            assert_eq!(shard.next_after(planned), Some(until.plus(Duration::from_secs(1))));
            assert_eq!(shard.next_after(at(500)), Some(at(501)));
        }
    }
}

/// What an earlier schedule ran is not run again by the one that replaced it while the clock was ahead.
#[test]
fn what_a_replaced_schedule_ran_is_not_due_again_by_the_new_one() {
    let planned = at(HOUR + 200);
    let policy = Policy { from: planned, ..policy(&EACH_SECOND) };
    let mut record = Record { watermark: at(HOUR + 100), ..Record::default() };
    record.account(&[noted(Fate::Misfired, Reason::Late, HOUR + 101, HOUR + 110)]);
    let late = Span { first: at(HOUR + 111), last: at(HOUR + 111), fires: 1 };
    record.account(&[Note { fate: Fate::Ran, reason: Reason::Due, span: late }]);
    let (mut back, _) = set_back(&policy, &record, (at(0), planned), at(HOUR + 90)).unwrap();
    for now in HOUR + 91..=HOUR + 120 {
        let was_passed_over = (HOUR + 101..=HOUR + 110).contains(&now) || now > HOUR + 111;
        let ran = step(&policy, &mut back, at(0), at(now));
        assert_eq!(ran, was_passed_over.then_some(at(now)), "{now}");
    }
}

/// A clock may be set back once more, to before the instant that the plan names.
#[test]
fn what_ran_before_the_plans_own_instant_is_known_after_that_has_come() {
    let planned = at(200);
    let policy = Policy { from: planned, ..policy(&EACH_SECOND) };
    let (mut record, _) =
        set_back(&policy, &Record::default(), (planned, planned), at(100)).unwrap();
    for now in 101..=300 {
        assert_eq!(step(&policy, &mut record, at(0), at(now)), Some(at(now)));
    }
    let (mut back, _) = set_back(&policy, &record, (planned, planned), at(90)).unwrap();
    for now in 91..=300 {
        let ran = step(&policy, &mut back, at(0), at(now));
        assert_eq!(ran, (now <= 100).then_some(at(now)), "{now}");
    }
}

#[test]
fn a_single_fire_that_has_run_is_over_and_one_that_was_passed_over_is_due_again() {
    let once = Schedule::Once(Once::At(at(HOUR)));
    let policy = policy(&once);
    let ran = Record { watermark: at(HOUR), ..Record::default() };
    assert_eq!(set_back(&policy, &ran, (at(0), at(0)), at(100)), None);
    let mut missed = Record::default();
    missed.account(&[noted(Fate::Missed, Reason::NoNode, HOUR, HOUR)]);
    let (mut back, note) = set_back(&policy, &missed, (at(0), at(0)), at(100)).unwrap();
    assert_eq!((note.span.fires, back.counts.missed), (1, 0));
    assert_eq!(step(&policy, &mut back, at(0), at(HOUR)), Some(at(HOUR)));

    // One that is due as soon as its job exists, which was by a clock that was ahead.
    let now = Schedule::Once(Once::Now);
    let planned = at(HOUR);
    let policy = Policy { schedule: &now, from: planned, ..policy };
    let ran = Record { watermark: planned.plus(MOMENT), ..Record::default() };
    assert_eq!(set_back(&policy, &ran, (planned, planned), at(100)), None, "it is not due again");
    let (mut back, _) = set_back(&policy, &Record::default(), (planned, planned), at(100)).unwrap();
    assert_eq!(step(&policy, &mut back, at(0), at(101)), Some(at(100).plus(MOMENT)));
}

#[test]
fn what_nobody_was_there_for_is_due_again_however_long_it_was() {
    let policy = policy(&EACH_SECOND);
    let day = 24 * HOUR;
    let mut record = Record { watermark: at(100), ..Record::default() };
    // A node starts, for the first time in a minute, with a clock that is ahead by 400 days.
    let start = at(160 + 400 * day);
    assert_eq!(step(&policy, &mut record, start, start), Some(start));
    let (mut back, note) = set_back(&policy, &record, (at(0), at(0)), at(161)).unwrap();
    assert_eq!(note.span.first, at(162));
    assert_eq!(step(&policy, &mut back, at(160), at(162)), Some(at(162)));
    assert_eq!(step(&policy, &mut back, at(160), at(163)), Some(at(163)));
}

/// The newest notes are many, as each run overlaps a fire; the leap is still known.
#[test]
fn a_leap_is_remembered_beside_many_later_notes() {
    let policy = policy(&EACH_SECOND);
    let mut record = Record { watermark: at(100), ..Record::default() };
    step(&policy, &mut record, at(0), at(HOUR + 101));
    for n in 0..50 {
        step(&policy, &mut record, at(0), at(HOUR + 103 + 2 * n));
    }
    let (mut back, note) = set_back(&policy, &record, (at(0), at(0)), at(201)).unwrap();
    assert_eq!(note.span.first, at(202));
    assert_eq!(step(&policy, &mut back, at(0), at(202)), Some(at(202)));
}

/// What lies between the nearest ones counts as run, and stays counted as what it was.
#[test]
fn of_more_than_sixteen_spans_the_nearest_are_joined() {
    let ran = |n: i64| Ran { first: at(100 + n * 10), last: at(100 + n * 10 + 5 - n % 2) };
    let left = SetBack { ran: (1..=20).map(ran).collect(), begins: None };
    let set_back_before = Some(Box::new(left));
    let policy = policy(&EACH_SECOND);
    let mut record = Record { watermark: at(100), set_back: set_back_before, ..Record::default() };
    assert_eq!(step(&policy, &mut record, at(0), at(400)), Some(at(400)));
    let passed_over = record.counts.misfired;
    let (mut back, note) = set_back(&policy, &record, (at(0), at(0)), at(100)).unwrap();
    assert_eq!(back.ran_ahead().len(), MOST_RAN);
    assert_eq!(back.counts.misfired + note.span.fires, passed_over);
    assert!(back.counts.misfired > 0, "some count as run now");
    let again = (101..400).filter(|now| step(&policy, &mut back, at(0), at(*now)).is_some());
    assert_eq!(again.count() as u64, note.span.fires);
}

/// Whatever the clock does: nothing runs twice, each fire is accounted once, and once the clock is right each
/// fire that has not run runs.
#[test]
fn nothing_runs_twice_and_nothing_is_silent_whatever_the_clock_does() {
    for seed in 0..300_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut dice = |sides: i64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(state >> 33).unwrap() % sides
        };
        let policy = policy(&EACH_SECOND);
        let mut record = Record { watermark: at(10_000), ..Record::default() };
        let mut ran = BTreeSet::new();
        let mut real = 10_000;
        // Up to three times a clock is ahead or behind for a while, and in between and at last it is right.
        for _ in 0..=dice(3) {
            for offset in [dice(2 * HOUR) - HOUR / 2, 0] {
                for _ in 0..=dice(40) {
                    real += 1;
                    let now = at(real + offset);
                    if let Some((back, _)) = set_back(&policy, &record, (at(0), at(0)), now) {
                        record = back;
                    }
                    if let Some(due) = step(&policy, &mut record, at(0), now) {
                        assert!(ran.insert(due), "seed {seed}: {due} ran twice");
                    }
                }
            }
        }
        let calm = real;
        while real < calm + 3 * HOUR {
            real += 1;
            match step(&policy, &mut record, at(0), at(real)) {
                Some(due) => assert!(ran.insert(due), "seed {seed}: {due} ran twice"),
                // A watermark that is not far ahead is waited for.
                None if real <= calm + 5 => {}
                None => assert!(ran.contains(&at(real)), "seed {seed}: {real} is silent"),
            }
        }
        let counts = record.counts;
        let accounted = counts.ran + counts.misfired + counts.skipped + counts.missed;
        assert_eq!(accounted, u64::try_from(real - 10_000).unwrap(), "seed {seed}");
    }
}

/// A note of fires around one that ran may be parted twice.
#[test]
fn what_ran_within_a_note_is_known_however_often_the_clock_goes_back() {
    let policy = policy(&EACH_SECOND);
    let ran = vec![Ran { first: at(140), last: at(149) }];
    let set_back_before = Some(Box::new(SetBack { ran, begins: None }));
    let mut record = Record { watermark: at(100), set_back: set_back_before, ..Record::default() };
    assert_eq!(step(&policy, &mut record, at(0), at(200)), Some(at(200)));
    assert_eq!(record.counts.misfired, 89, "ten of those passed over had run");
    for back in [180, 120] {
        (record, _) = set_back(&policy, &record, (at(0), at(0)), at(back)).unwrap();
    }
    assert_eq!(record.counts.misfired, 20);
    for now in 121..=199 {
        let ran = step(&policy, &mut record, at(0), at(now));
        assert_eq!(ran.is_none(), (140..=149).contains(&now), "{now}");
    }
}
