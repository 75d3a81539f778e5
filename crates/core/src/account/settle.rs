//! What is to become of fires that are due and not accounted.

use super::beyond::Ran;
use super::note::{Fate, Note, Reason, Span};
use super::record::Record;
use crate::config::{CatchUp, JobConfig, Overlap};
use crate::execution::{Fire, Source};
use crate::schedule::{Memo, Schedule};
use crate::time::Timestamp;
use std::time::Duration;

/// How far back fires that nobody was there for are looked for.
pub const MISSED_WINDOW: Duration = Duration::from_hours(24);
/// How many fires that nobody was there for are told one by one, and how many may wait in a queue.
pub const MOST_PENDING: usize = 1_000;
/// How many late fires are settled at a time, so that a shard that was held up for months keeps its
/// node busy for milliseconds only. The rest is settled next.
pub(super) const MOST_LATE: usize = 20_000;

/// What a job says about fires that cannot run on time.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// When it is due.
    pub schedule: &'a Schedule,
    /// What is remembered of it.
    pub memo: Memo,
    /// Since when that schedule is in force for the shard.
    pub from: Timestamp,
    /// The instants that ran by a clock that was ahead: they are not due again.
    pub ran: &'a [Ran],
    /// Whether late fires are made up for.
    pub misfire: bool,
    /// What happens to fires due during a run.
    pub overlap: Overlap,
    /// What happens to fires due while no node lived.
    pub catch_up: CatchUp,
}

impl<'a> Policy<'a> {
    /// The policy of a job whose schedule is in force since `from`.
    #[must_use]
    pub fn of(config: &'a JobConfig, from: Timestamp) -> Self {
        Self {
            schedule: &config.schedule,
            memo: Memo::default(),
            from,
            ran: &[],
            misfire: config.misfire,
            overlap: config.overlap,
            catch_up: config.catch_up,
        }
    }

    /// The same for a shard with this record. The record may know better since when the schedule is in force,
    /// and which instants have run already.
    #[must_use]
    pub fn of_record(self, record: &'a Record) -> Self {
        Self { from: record.begins(self.from), ran: record.ran_ahead(), ..self }
    }

    /// The first due instant after `after` that has not run.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = |after| self.memo.next_after(self.schedule, after, self.from);
        let mut due = next(after)?;
        while let Some(ran) = self.ran.iter().find(|ran| ran.contains(due)) {
            due = next(ran.last)?;
        }
        Some(due)
    }
}

/// Until when a shard could not run, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since this instant it can. Fires due before it were held up.
    pub until: Timestamp,
    /// What held it up.
    pub reason: Reason,
}

/// What is to become of what is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Fires that are not run themselves.
    pub notes: Vec<Note>,
    /// The fire to run now.
    pub run: Option<Fire>,
}

/// Settles what came due after `watermark` up to `now`, for a shard that is free.
///
/// Fires before `alive` were due while no node lived. Those before `hold.until` were held up.
/// Nothing is decided about a fire that stays pending (in a queue); it is settled later.
#[must_use]
pub fn settle(
    policy: &Policy<'_>,
    watermark: Timestamp,
    alive: Timestamp,
    hold: Option<Hold>,
    now: Timestamp,
) -> Settled {
    let mut settled = Settled::default();
    let after = watermark.max(policy.from);
    let earliest = alive.minus(Duration::from_millis(1));
    if after < earliest {
        let (older, unattended) = unattended(policy, (after, alive), earliest.min(now));
        settled.notes.extend(older);
        if let Some(run) = settle_missed(policy, &unattended, &mut settled) {
            settled.run = Some(run);
            return settled;
        }
    }
    // `alive` only parts fires when it is not before what is accounted.
    let attended = oldest_due(policy, after.max(earliest), now, MOST_LATE);
    if attended.len() == MOST_LATE {
        settled.notes.extend(note_backlog(policy, &attended, hold));
        return settled;
    }
    settle_late(policy, &attended, hold, &mut settled);
    settled
}

/// The due instants after `after`, up to and with `until`: the oldest `most` of them.
pub(super) fn oldest_due(
    policy: &Policy<'_>,
    after: Timestamp,
    until: Timestamp,
    most: usize,
) -> Vec<Timestamp> {
    let mut last = after;
    // Nothing is looked for behind the first fire that is not due yet: that search is the dearest part.
    let fires = std::iter::from_fn(|| {
        last = policy.next_after(last)?;
        Some(last)
    });
    fires.take_while(|due| *due <= until).take(most).collect()
}

/// The fires due after `after` and up to `until` while no node lived: a note of those that are looked at no more
/// closely, and the newest of the last [`MISSED_WINDOW`].
///
/// The note spans all of the former. It counts one of them at least, and no more than make up [`MOST_PENDING`]
/// with the latter.
pub(super) fn unattended(
    policy: &Policy<'_>,
    (after, alive): (Timestamp, Timestamp),
    until: Timestamp,
) -> (Option<Note>, Vec<Timestamp>) {
    let looked_from = after.max(alive.minus(MISSED_WINDOW));
    let newest = due(policy, looked_from, until, MOST_PENDING);
    let end = newest.first().map_or(until, |first| first.minus(Duration::from_millis(1)));
    let most = (MOST_PENDING - newest.len()).max(1);
    let older = oldest_due(policy, after, end, most);
    let mut note = note(Fate::Missed, Reason::NoNode, &older);
    if let Some(note) = note.as_mut().filter(|_| older.len() == most) {
        note.span.last = end;
    }
    (note, newest)
}

/// Fires so many that more are pending behind them: none of them runs.
fn note_backlog(policy: &Policy<'_>, due: &[Timestamp], hold: Option<Hold>) -> Option<Note> {
    let reason = hold.map_or(Reason::Late, |hold| hold.reason);
    let is_made_up = policy.misfire && reason != Reason::Disabled;
    note(if is_made_up { Fate::Misfired } else { Fate::Skipped }, reason, due)
}

/// The due instants after `after`, up to and with `until`: the newest `most` of them.
pub(super) fn due(
    policy: &Policy<'_>,
    after: Timestamp,
    until: Timestamp,
    most: usize,
) -> Vec<Timestamp> {
    let mut found = std::collections::VecDeque::new();
    let mut last = match policy.schedule {
        // Far more of them may be due than are wanted.
        Schedule::Every(every) => {
            let wanted = every.period_ms.saturating_mul(most as u64 + 1);
            after.max(until.minus(Duration::from_millis(wanted)))
        }
        _ => after,
    };
    while let Some(next) = policy.next_after(last) {
        if next > until {
            break;
        }
        if found.len() == most {
            found.pop_front();
        }
        found.push_back(next);
        last = next;
    }
    found.into()
}

/// Fires that nobody was there for.
fn settle_missed(policy: &Policy<'_>, due: &[Timestamp], settled: &mut Settled) -> Option<Fire> {
    let caught_up = |due: Timestamp| Fire { due, source: Source::CatchUp };
    let (missed, run) = match policy.catch_up {
        CatchUp::None => (due, None),
        CatchUp::Latest => due.split_last().map_or((due, None), |(last, rest)| (rest, Some(*last))),
        CatchUp::All => (&due[..0], due.first().copied()),
    };
    settled.notes.extend(note(Fate::Missed, Reason::NoNode, missed));
    run.map(caught_up)
}

/// Fires that someone was there for.
fn settle_late(policy: &Policy<'_>, due: &[Timestamp], hold: Option<Hold>, settled: &mut Settled) {
    let held_up = hold.map_or(0, |hold| due.partition_point(|due| *due < hold.until));
    let reason = hold.map_or(Reason::Late, |hold| hold.reason);
    if reason == Reason::Disabled {
        settled.notes.extend(note(Fate::Skipped, reason, &due[..held_up]));
        return settle_free(policy, &due[held_up..], settled);
    }
    let queued = policy.overlap == Overlap::Queue && reason == Reason::Overlap;
    if queued || held_up == 0 {
        return settle_free(policy, due, settled);
    }
    let made_up = match reason {
        Reason::Overlap => policy.overlap == Overlap::RunOnceAfter && policy.misfire,
        _ => policy.misfire,
    };
    if !made_up {
        settled.notes.extend(note(Fate::Skipped, reason, &due[..held_up]));
        return settle_free(policy, &due[held_up..], settled);
    }
    // One run makes up for all that was held up; a fire due since then runs in its own name.
    let (last, rest) = due.split_last().expect("something was held up");
    settled.notes.extend(note(Fate::Misfired, reason, rest));
    let source = if held_up == due.len() { Source::Misfire } else { Source::Schedule };
    settled.run = Some(Fire { due: *last, source });
}

/// Fires that nothing but the node itself held up.
fn settle_free(policy: &Policy<'_>, due: &[Timestamp], settled: &mut Settled) {
    let scheduled = |due: Timestamp| Fire { due, source: Source::Schedule };
    let Some((last, rest)) = due.split_last() else { return };
    if policy.overlap == Overlap::Queue {
        let surplus = due.len().saturating_sub(MOST_PENDING);
        settled.notes.extend(note(Fate::Skipped, Reason::QueueFull, &due[..surplus]));
        settled.run = Some(scheduled(due[surplus]));
        return;
    }
    let fate = if policy.misfire { Fate::Misfired } else { Fate::Skipped };
    settled.notes.extend(note(fate, Reason::Late, rest));
    settled.run = Some(scheduled(*last));
}

pub(super) fn note(fate: Fate, reason: Reason, due: &[Timestamp]) -> Option<Note> {
    let (first, last) = (*due.first()?, *due.last()?);
    Some(Note { fate, reason, span: Span { first, last, fires: due.len() as u64 } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Every;

    /// Due each second, on the second.
    const EACH_SECOND: Schedule =
        Schedule::Every(Every { period_ms: 1_000, anchor: Timestamp::from_millis(0) });

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn policy(misfire: bool, overlap: Overlap, catch_up: CatchUp) -> Policy<'static> {
        Policy {
            memo: Memo::default(),
            schedule: &EACH_SECOND,
            from: at(0),
            ran: &[],
            misfire,
            overlap,
            catch_up,
        }
    }

    fn noted(fate: Fate, reason: Reason, first: i64, last: i64) -> Note {
        let fires = u64::try_from(last - first + 1).unwrap();
        Note { fate, reason, span: Span { first: at(first), last: at(last), fires } }
    }

    fn run(due: i64, source: Source) -> Option<Fire> {
        Some(Fire { due: at(due), source })
    }

    fn held(until: i64, reason: Reason) -> Option<Hold> {
        Some(Hold { until: Timestamp::from_millis(until * 1_000 + 500), reason })
    }

    #[test]
    fn a_fire_on_time_runs() {
        let plain = policy(true, Overlap::RunOnceAfter, CatchUp::None);
        let settled = settle(&plain, at(9), at(0), None, at(10));
        assert_eq!(settled, Settled { notes: vec![], run: run(10, Source::Schedule) });
        assert_eq!(settle(&plain, at(10), at(0), None, at(10)), Settled::default());
    }

    #[test]
    fn fires_held_up_by_a_run_meet_their_policy() {
        use Overlap::{Queue, RunOnceAfter, Skip};
        let table = [
            (
                RunOnceAfter,
                true,
                vec![noted(Fate::Misfired, Reason::Overlap, 4, 5)],
                run(6, Source::Misfire),
            ),
            (RunOnceAfter, false, vec![noted(Fate::Skipped, Reason::Overlap, 4, 6)], None),
            (Skip, true, vec![noted(Fate::Skipped, Reason::Overlap, 4, 6)], None),
            (Queue, true, vec![], run(4, Source::Schedule)),
        ];
        for (overlap, misfire, notes, run) in table {
            let policy = policy(misfire, overlap, CatchUp::None);
            let hold = held(6, Reason::Overlap);
            let settled = settle(&policy, at(3), at(0), hold, Timestamp::from_millis(6_500));
            assert_eq!(settled, Settled { notes, run }, "{overlap:?} {misfire}");
        }
    }

    #[test]
    fn a_fire_due_since_the_run_ended_runs_in_its_own_name() {
        let made_up = policy(true, Overlap::RunOnceAfter, CatchUp::None);
        let settled = settle(&made_up, at(3), at(0), held(5, Reason::Overlap), at(6));
        assert_eq!(settled.notes, [noted(Fate::Misfired, Reason::Overlap, 4, 5)]);
        assert_eq!(settled.run, run(6, Source::Schedule));
        let skipped = policy(true, Overlap::Skip, CatchUp::None);
        let settled = settle(&skipped, at(3), at(0), held(5, Reason::Overlap), at(6));
        assert_eq!(settled.notes, [noted(Fate::Skipped, Reason::Overlap, 4, 5)]);
        assert_eq!(settled.run, run(6, Source::Schedule));
    }

    #[test]
    fn what_was_held_up_by_resharding_is_made_up_for_or_skipped() {
        for overlap in [Overlap::RunOnceAfter, Overlap::Skip, Overlap::Queue] {
            let hold = held(6, Reason::Resharding);
            let now = Timestamp::from_millis(6_500);
            let settled = settle(&policy(true, overlap, CatchUp::None), at(3), at(0), hold, now);
            assert_eq!(settled.run, run(6, Source::Misfire), "{overlap:?}");
            let settled = settle(&policy(false, overlap, CatchUp::None), at(3), at(0), hold, now);
            assert_eq!(settled.notes, [noted(Fate::Skipped, Reason::Resharding, 4, 6)]);
            assert_eq!(settled.run, None);
        }
    }

    #[test]
    fn nothing_due_while_switched_off_is_made_up_for() {
        let policy = policy(true, Overlap::Queue, CatchUp::All);
        let settled = settle(&policy, at(3), at(0), held(6, Reason::Disabled), at(7));
        assert_eq!(settled.notes, [noted(Fate::Skipped, Reason::Disabled, 4, 6)]);
        assert_eq!(settled.run, run(7, Source::Schedule));
    }

    #[test]
    fn fires_that_nobody_was_there_for_are_missed_unless_caught_up() {
        let alive = Timestamp::from_millis(8_500);
        let settle = |catch_up| {
            settle(&policy(true, Overlap::RunOnceAfter, catch_up), at(3), alive, None, at(9))
        };
        let none = settle(CatchUp::None);
        assert_eq!(none.notes, [noted(Fate::Missed, Reason::NoNode, 4, 8)]);
        assert_eq!(none.run, run(9, Source::Schedule));
        let latest = settle(CatchUp::Latest);
        assert_eq!(latest.notes, [noted(Fate::Missed, Reason::NoNode, 4, 7)]);
        assert_eq!(latest.run, run(8, Source::CatchUp));
        let all = settle(CatchUp::All);
        assert_eq!((all.notes.len(), all.run), (0, run(4, Source::CatchUp)));
    }

    #[test]
    fn no_more_than_a_thousand_missed_fires_of_a_day_are_told() {
        let policy = policy(true, Overlap::RunOnceAfter, CatchUp::None);
        let settled = settle(&policy, at(0), at(1_000_001), None, at(1_000_001));
        let [older, newest] = settled.notes[..] else { panic!("{:?}", settled.notes) };
        assert_eq!(newest, noted(Fate::Missed, Reason::NoNode, 999_001, 1_000_000));
        // One stands for all before, so that the notes leave no gap.
        let until = newest.span.first.minus(Duration::from_millis(1));
        assert_eq!(older.span, Span { first: at(1), last: until, fires: 1 });
    }

    #[test]
    fn a_long_backlog_is_settled_in_pieces_and_whole() {
        use crate::account::Record;
        let policy = policy(true, Overlap::RunOnceAfter, CatchUp::None);
        let mut record = Record::default();
        let now = at(50_000);
        let runs: Vec<Option<Fire>> = std::iter::from_fn(|| {
            let settled = settle(&policy, record.watermark, at(0), None, now);
            record.account(&settled.notes);
            (record.watermark < at(49_999)).then_some(settled.run)
        })
        .collect();
        assert_eq!(runs, [None, None]);
        assert_eq!((record.counts.misfired, record.watermark), (49_999, at(49_999)));
        assert_eq!(
            settle(&policy, record.watermark, at(0), None, now).run,
            run(50_000, Source::Schedule)
        );
    }

    #[test]
    fn a_queue_takes_a_thousand_fires() {
        let policy = policy(true, Overlap::Queue, CatchUp::None);
        let settled = settle(&policy, at(0), at(0), None, at(1_200));
        assert_eq!(settled.notes, [noted(Fate::Skipped, Reason::QueueFull, 1, 200)]);
        assert_eq!(settled.run, run(201, Source::Schedule));
    }

    /// Settling again and again accounts each fire exactly once, whatever the policy.
    #[test]
    fn each_fire_is_accounted_once() {
        use crate::account::Record;
        for overlap in [Overlap::RunOnceAfter, Overlap::Skip, Overlap::Queue] {
            for (misfire, catch_up) in [(true, CatchUp::All), (false, CatchUp::Latest)] {
                let policy = policy(misfire, overlap, catch_up);
                let mut record = Record { watermark: at(10), ..Record::default() };
                for step in 0..60 {
                    let now = at(30 + step);
                    let hold =
                        (step % 3 > 0).then_some(Hold { until: now, reason: Reason::Overlap });
                    let settled = settle(&policy, record.watermark, at(20), hold, now);
                    record.account(&settled.notes);
                    if let Some(fire) = settled.run {
                        assert!(fire.due > record.watermark, "{fire:?} after {}", record.watermark);
                        record.account(
                            &note(Fate::Ran, Reason::Due, &[fire.due])
                                .into_iter()
                                .collect::<Vec<_>>(),
                        );
                    }
                    let counts = record.counts;
                    let sum = counts.ran + counts.misfired + counts.skipped + counts.missed;
                    assert_eq!(at(10 + i64::try_from(sum).unwrap()), record.watermark);
                }
            }
        }
    }
}
