//! What is to become of a shard's due fires where the fires of its job are opened one at a time, for all
//! shards together: the job has a listener, which is called once for each fire.
//!
//! Which fire is opened is decided for the job as a whole, by [`settle`](super::settle()). A shard follows:
//! it runs the fire that is open, and accounts what was due before.

use super::note::{Fate, Note, Reason};
use super::settle::{MOST_LATE, Policy, Settled, note, oldest_due, unattended};
use crate::execution::{Fire, Source};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

/// Fires that are not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub through: Timestamp,
    /// Their fate.
    pub fate: Fate,
    /// The reason for their fate.
    pub reason: Reason,
}

/// Returns whether a schedule makes an instant due. A fire may have been opened by one that was replaced.
#[must_use]
pub fn is_due(schedule: &Schedule, instant: Timestamp) -> bool {
    let before = instant.minus(MOMENT);
    schedule.next_after(before, before) == Some(instant)
}

/// Settles what came due after `watermark` up to the fire that is `opened`, for a shard that is free. Later
/// fires are not looked at. A fire that is asked for by a trigger is beside the schedule.
#[must_use]
pub fn settle_opened(
    policy: &Policy<'_>,
    watermark: Timestamp,
    alive: Timestamp,
    opened: Fire,
) -> Settled {
    if opened.source == Source::Trigger {
        return Settled { notes: Vec::new(), run: Some(opened) };
    }
    let is_over = opened.due <= watermark.max(policy.from)
        || policy.ran.iter().any(|ran| ran.contains(opened.due));
    if is_over || !is_due(policy.schedule, opened.due) {
        return Settled::default();
    }
    let until = opened.due.minus(MOMENT);
    let (notes, is_all) = passed_over(policy, (watermark, alive, until), Reason::Overlap);
    Settled { notes, run: is_all.then_some(opened) }
}

/// Accounts what came due after `watermark` and was passed, for a shard that is free.
#[must_use]
pub fn settle_passed(
    policy: &Policy<'_>,
    watermark: Timestamp,
    alive: Timestamp,
    passed: &Passed,
) -> Vec<Note> {
    let before = passed.first.minus(MOMENT);
    let (mut notes, is_all) = passed_over(policy, (watermark, alive, before), Reason::Overlap);
    if is_all {
        let after = watermark.max(policy.from).max(before);
        let fires = oldest_due(policy, after, passed.through, MOST_LATE);
        notes.extend(note(passed.fate, passed.reason, &fires));
    }
    notes
}

/// Accounts what came due after `watermark` and up to `until` by a schedule that another one has replaced,
/// for a shard that is free. None of it runs.
#[must_use]
pub fn settle_replaced(
    policy: &Policy<'_>,
    watermark: Timestamp,
    alive: Timestamp,
    until: Timestamp,
) -> Vec<Note> {
    let policy = Policy { misfire: false, ..*policy };
    passed_over(&policy, (watermark, alive, until), Reason::ScheduleChanged).0
}

/// Accounts what came due up to `until` and runs no more, for this reason or because no node lived. Returns
/// whether that is all of it: the rest of a long backlog is settled next.
fn passed_over(
    policy: &Policy<'_>,
    (watermark, alive, until): (Timestamp, Timestamp, Timestamp),
    reason: Reason,
) -> (Vec<Note>, bool) {
    let after = watermark.max(policy.from);
    let earliest = alive.minus(MOMENT);
    let mut notes = Vec::new();
    if after < earliest {
        let (older, newest) = unattended(policy, (after, alive), earliest.min(until));
        notes.extend(older.into_iter().chain(note(Fate::Missed, Reason::NoNode, &newest)));
    }
    let attended = oldest_due(policy, after.max(earliest), until, MOST_LATE);
    let fate = if policy.misfire { Fate::Misfired } else { Fate::Skipped };
    notes.extend(note(fate, reason, &attended));
    (notes, attended.len() < MOST_LATE)
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;
    use crate::config::{CatchUp, Overlap};
    use crate::schedule::{Every, Memo};

    const EACH_SECOND: Schedule =
        Schedule::Every(Every { period_ms: 1_000, anchor: Timestamp::from_millis(0) });

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn policy(misfire: bool) -> Policy<'static> {
        Policy {
            schedule: &EACH_SECOND,
            memo: Memo::default(),
            from: at(2),
            ran: &[],
            misfire,
            overlap: Overlap::RunOnceAfter,
            catch_up: CatchUp::None,
        }
    }

    fn noted(fate: Fate, reason: Reason, first: i64, last: i64) -> Note {
        let fires = u64::try_from(last - first + 1).unwrap();
        Note { fate, reason, span: Span { first: at(first), last: at(last), fires } }
    }

    #[test]
    fn a_shard_runs_what_is_open_and_accounts_what_was_due_before() {
        let fire = Fire { due: at(9), source: Source::Misfire };
        let overlapped = |fate, first| vec![noted(fate, Reason::Overlap, first, 8)];
        let table = [
            (true, 8, 0, vec![], Some(fire)),
            (true, 5, 0, overlapped(Fate::Misfired, 6), Some(fire)),
            (false, 5, 0, overlapped(Fate::Skipped, 6), Some(fire)),
            // It was not due before the schedule was in force.
            (true, 0, 0, overlapped(Fate::Misfired, 3), Some(fire)),
            (true, 9, 0, vec![], None),
            (true, 12, 0, vec![], None),
            (true, 5, 9, vec![noted(Fate::Missed, Reason::NoNode, 6, 8)], Some(fire)),
            // The fire itself is caught up.
            (true, 5, 12, vec![noted(Fate::Missed, Reason::NoNode, 6, 8)], Some(fire)),
        ];
        for (misfire, watermark, alive, notes, run) in table {
            let settled = settle_opened(&policy(misfire), at(watermark), at(alive), fire);
            assert_eq!(settled, Settled { notes, run }, "{misfire} {watermark} {alive}");
        }
    }

    #[test]
    fn a_fire_of_a_schedule_that_was_replaced_is_none_of_the_shards() {
        let due = Timestamp::from_millis(9_500);
        let fire = Fire { due, source: Source::Schedule };
        assert_eq!(settle_opened(&policy(true), at(5), at(0), fire), Settled::default());
    }

    #[test]
    fn a_fire_that_somebody_asked_for_is_beside_the_schedule() {
        let fire = Fire { due: at(3), source: Source::Trigger };
        let settled = settle_opened(&policy(true), at(5), at(0), fire);
        assert_eq!(settled, Settled { notes: vec![], run: Some(fire) });
    }

    #[test]
    fn what_was_passed_has_the_reason_for_it_and_what_was_due_before_its_own() {
        let (fate, reason) = (Fate::Skipped, Reason::BeforeFailed);
        let passed = Passed { first: at(8), through: at(9), fate, reason };
        let notes = |watermark| settle_passed(&policy(true), at(watermark), at(0), &passed);
        let failed = noted(fate, reason, 8, 9);
        assert_eq!(notes(7), [failed]);
        assert_eq!(notes(5), [noted(Fate::Misfired, Reason::Overlap, 6, 7), failed]);
        assert_eq!(notes(8), [noted(fate, reason, 9, 9)]);
        assert_eq!(notes(9), []);
    }

    #[test]
    fn what_a_replaced_schedule_left_is_skipped_whatever_would_have_become_of_it() {
        let (skipped, why) = (Fate::Skipped, Reason::ScheduleChanged);
        for misfire in [true, false] {
            let left = |alive| settle_replaced(&policy(misfire), at(5), at(alive), at(8));
            assert_eq!(left(0), [noted(skipped, why, 6, 8)]);
            let missed = noted(Fate::Missed, Reason::NoNode, 6, 6);
            assert_eq!(left(7), [missed, noted(skipped, why, 7, 8)]);
            assert_eq!(settle_replaced(&policy(misfire), at(8), at(0), at(8)), []);
        }
    }

    #[test]
    fn a_long_backlog_is_accounted_in_pieces_and_whole() {
        use crate::account::Record;
        let fire = Fire { due: at(50_000), source: Source::Schedule };
        let mut record = Record::default();
        let mut pieces = 0;
        let settled = loop {
            let settled = settle_opened(&policy(true), record.watermark, at(0), fire);
            record.account(&settled.notes);
            pieces += 1;
            if settled.run.is_some() {
                break settled;
            }
        };
        assert_eq!((pieces, record.watermark, settled.run), (3, at(49_999), Some(fire)));
        assert_eq!(record.counts.misfired, 49_997);
    }
}
