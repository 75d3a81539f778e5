//! What a clock that was ahead has accounted, taken back.
//!
//! A watermark that lies an hour ahead silences its shard for an hour. It is set back to a clock that is
//! believed. What it had passed over is due again: its fates are withdrawn from the record. What had run is
//! never run again: the record keeps those instants until its watermark is beyond them.
//!
//! A record does not list its runs. What the watermark has passed and no note speaks of counts as run: so a
//! note that was dropped costs a fire and never doubles one.

use super::beyond::{Begins, MOST_RAN, Ran, SetBack};
use super::note::{Fate, Note, Reason, Span};
use super::record::Record;
use super::settle::{MOST_LATE, Policy, oldest_due};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use std::time::Duration;

/// How far a watermark may lie beyond a clock without being set back. Clocks of hosts that are kept in step
/// differ by less, and so long every shard can wait.
pub const AHEAD: Duration = Duration::from_secs(5);

const MOMENT: Duration = Duration::from_millis(1);

/// Sets a shard's record back to `now`, if what it accounts, or the beginning of its schedule, lies more than
/// [`AHEAD`] beyond that. `planned` is since when the schedule is in force by the plan, `first` since when any
/// schedule was: what an earlier one made due and had run is not due again by this one.
///
/// Returns the record as it is then, and a note of the fires that are withdrawn; it names no fires if the
/// clock had passed over none. `None` if the record stays as it is: also where the schedule's one fire has run.
#[must_use]
pub fn set_back(
    policy: &Policy<'_>,
    record: &Record,
    (first, planned): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<(Record, Note)> {
    let policy = policy.of_record(record);
    let reached = record.watermark.max(policy.from);
    if reached <= now.plus(AHEAD) {
        return None;
    }
    let mut kept = Record { notes: Vec::new(), ..record.clone() };
    let mut withdrawn = Vec::new();
    for note in &record.notes {
        let (stays, goes) = parted(&policy, note, now);
        kept.notes.extend(stays);
        withdrawn.extend(goes);
    }
    let is_due_again = withdrawn.iter().any(|note| note.span.last > policy.from);
    if !is_due_again && is_done(&policy, record) {
        return None;
    }
    let after = now.max(first.min(policy.from));
    let (ran, lumped) = joined(ran(policy.schedule, record, &withdrawn, after));
    for note in &mut withdrawn {
        note.span.fires -= counts_as_run(&policy, &lumped, note.span).min(note.span.fires);
        if let Some(count) = kept.counts.of(note.fate) {
            *count = count.saturating_sub(note.span.fires);
        }
    }
    let begins = match policy.from > now {
        true => Some(Begins { planned, from: now }),
        false => record.set_back.as_ref().and_then(|left| left.begins),
    };
    kept.watermark = record.watermark.min(now);
    let mut left = SetBack { ran, begins };
    let is_over = left.is_over(kept.watermark, &kept.notes);
    kept.set_back = (!is_over).then(|| Box::new(left));
    let note = summed_up(&withdrawn, (now, reached));
    if note.span.fires > 0 {
        kept.keep(note);
    }
    Some((kept, note))
}

/// Whether nothing more is ever due: a schedule of one fire, which has run.
fn is_done(policy: &Policy<'_>, record: &Record) -> bool {
    let is_single = matches!(policy.schedule, Schedule::Once(_) | Schedule::OnTrigger);
    let is_begun = record.watermark >= policy.from;
    let never = matches!(policy.schedule, Schedule::OnTrigger);
    never || (is_single && is_begun && policy.next_after(record.watermark).is_none())
}

/// Parts a note at an instant: what stays of it, and what is withdrawn.
fn parted(policy: &Policy<'_>, note: &Note, now: Timestamp) -> (Option<Note>, Option<Note>) {
    let Span { first, last, fires } = note.span;
    if last <= now || note.fate == Fate::Withdrawn {
        return (Some(*note), None);
    }
    if first > now {
        return (None, Some(*note));
    }
    let (before, until) = counted(policy, note.span, now);
    let before = before.min(fires);
    let part = |first, last, fires| {
        (fires > 0).then_some(Note { span: Span { first, last, fires }, ..*note })
    };
    let next = policy.next_after(now).map_or(last, |next| next.min(last));
    (part(first, until, before), part(next, last, fires - before))
}

/// How many fires of a span were due up to an instant in it, and the last of them. Of more than are settled at
/// a time, and of those of an earlier schedule, as many as there would be if they lay evenly.
fn counted(policy: &Policy<'_>, span: Span, now: Timestamp) -> (u64, Timestamp) {
    let due = oldest_due(policy, span.first.minus(MOMENT), now, MOST_LATE);
    if due.first() == Some(&span.first) && due.len() < MOST_LATE {
        return (due.len() as u64, *due.last().unwrap_or(&now));
    }
    let share = now.since(span.first).as_millis() * u128::from(span.fires);
    let evenly = share / span.time().as_millis().max(1);
    (u64::try_from(evenly).unwrap_or(u64::MAX), now)
}

/// The instants after one that the record accounts as run: all that no withdrawn note speaks of, and those that
/// it kept as run before.
fn ran(schedule: &Schedule, record: &Record, withdrawn: &[Note], after: Timestamp) -> Vec<Ran> {
    let mut from = after.plus(MOMENT);
    let mut ran = record.ran_ahead().to_vec();
    let mut add = |first: Timestamp, last: Timestamp| {
        let before = first.minus(MOMENT);
        let is_due = schedule.next_after(before, before).is_some_and(|due| due <= last);
        ran.extend((first <= last && is_due).then_some(Ran { first, last }));
    };
    for note in withdrawn {
        add(from, note.span.first.minus(MOMENT));
        from = from.max(note.span.last.plus(MOMENT));
    }
    add(from, record.watermark);
    ran
}

/// The same spans, ascending and apart; at most [`MOST_RAN`], for which the nearest ones are joined. Also what
/// lay between those: it counts as run from here on.
fn joined(mut ran: Vec<Ran>) -> (Vec<Ran>, Vec<Ran>) {
    ran.sort_by_key(|ran| ran.first);
    let mut apart: Vec<Ran> = Vec::new();
    for next in ran {
        match apart.last_mut().filter(|last| next.first <= last.last.plus(MOMENT)) {
            Some(last) => last.last = last.last.max(next.last),
            None => apart.push(next),
        }
    }
    let mut lumped = Vec::new();
    while apart.len() > MOST_RAN {
        let between = |at: &usize| apart[at + 1].first.since(apart[*at].last);
        let Some(nearest) = (0..apart.len() - 1).min_by_key(between) else { break };
        let next = apart.remove(nearest + 1);
        let (first, last) = (apart[nearest].last.plus(MOMENT), next.first.minus(MOMENT));
        lumped.push(Ran { first, last });
        apart[nearest].last = next.last;
    }
    (apart, lumped)
}

/// How many fires of a span count as run as they lie between spans that were joined.
fn counts_as_run(policy: &Policy<'_>, lumped: &[Ran], span: Span) -> u64 {
    let within = lumped.iter().map(|gap| {
        let after = gap.first.max(span.first).minus(MOMENT);
        oldest_due(policy, after, gap.last.min(span.last), MOST_LATE).len() as u64
    });
    within.sum()
}

/// One note of all that is withdrawn.
fn summed_up(withdrawn: &[Note], (now, reached): (Timestamp, Timestamp)) -> Note {
    let first = withdrawn.first().map_or(now, |note| note.span.first);
    let last = withdrawn.last().map_or(reached, |note| note.span.last);
    let fires = withdrawn.iter().fold(0_u64, |all, note| all.saturating_add(note.span.fires));
    let span = Span { first, last, fires };
    Note { fate: Fate::Withdrawn, reason: Reason::ClockWasAhead, span }
}

#[cfg(test)]
mod tests;
