//! P3: every due fire is accounted once.
//!
//! * A change of a record that moves its watermark from `a` to `b` accounts exactly the fires that
//!   the schedule in force makes due in `(a, b]`, each under one fate, and what an earlier schedule made due
//!   before the one in force began, as far as the plan keeps that schedule. Only what is more than
//!   [`MOST_PENDING`] may be left out of the counts, as is said of jobs nobody served for long.
//!   A claim that is taken back accounts nothing: what counts is what taking it back leaves.
//! * Where a claim is taken back, the counts go back as far as the watermark.
//! * Where what a clock that was ahead has accounted is taken back, from `b` to `a`, the counts lose exactly the
//!   fires due in `(a, b]` that are not kept as run. Where the plan was another one before, they lose no run.
//! * A record is deleted only with its job, and with it all that was due of it.
//! * Closing a claim counts exactly one run as ended well, failed or crashed (a crash that nobody
//!   tries again is a failure besides), unless it is taken back; nothing else counts one.
//! * A claim closed as ended, other than as crashed, had code that ran. One that was cut off before it
//!   could write that down is not known to have, where the trace may lack that.
//! * At the end, all that was due [`TOLERANCE`] before it is accounted, for each shard of each plan
//!   of a job that some instance serves. Where a clock that was ahead opened a later fire for all shards of a
//!   job, what is due until then waits for it.

use crate::story::{Change, Claimed, Closing, How, Stories, Story};
use crate::trace::{Counts, Line, Record, Unseen};
use crate::verdict::Verdict;
use std::collections::BTreeSet;

/// The invariant's name.
pub const NAME: &str = "P3 every fire accounted";

/// How many pending fires are accounted one by one.
pub const MOST_PENDING: u64 = 1_000;

/// How long after its due instant a fire must be accounted when nothing is wrong: milliseconds.
pub const TOLERANCE: i64 = 10_000;

/// How runs end that others cut off.
const CUT_OFF: [&str; 3] = ["TIMED_OUT", "SESSION_LOST", "SHUTDOWN"];

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    for story in stories.shards.values() {
        let taken_back = story.taken_back();
        let stands = |at: &usize| !taken_back.contains(at);
        let mut highest = i64::MIN;
        for change in (0..story.changes.len()).filter(stands).map(|at| &story.changes[at]) {
            if let Err(what) = accounts_what_was_due(stories, change, highest) {
                return Verdict::breach(trace, change.line, what);
            }
            // That it never goes back is judged by P18.
            let through = change.change.new.as_ref().map(|new| new.watermark);
            let before = if change.is_set_back() { i64::MIN } else { highest };
            highest = through.map_or(i64::MIN, |through| through.max(before));
        }
        if let Some((line, what)) = miscounted(stories, story) {
            return Verdict::breach(trace, line, what);
        }
    }
    if let Some((line, what)) = left_over(trace, stories) {
        return Verdict::breach(trace, line, what);
    }
    let claims = stories.shards.values().flat_map(|s| s.claims.iter().map(move |c| (s, c)));
    match claims.filter(|(story, claimed)| may_have_run(stories, story, claimed)).count() {
        0 => Verdict::Valid,
        n => Verdict::Unknown(format!("{n} runs were cut off before their code wrote anything")),
    }
}

/// Whether a claim was closed as cut off, and its code may have been before it wrote anything.
#[must_use]
pub fn may_have_run(stories: &Stories<'_>, story: &Story<'_>, claimed: &Claimed<'_>) -> bool {
    let Some(closing) = claimed.closed.filter(|closing| closing.how == How::Ended) else {
        return false;
    };
    let last = story.changes[closing.change].change.new.as_ref().and_then(|new| new.last.as_ref());
    let was_cut = last.is_some_and(|last| CUT_OFF.contains(&last.code.as_str()));
    let is_run = claimed.starts.is_empty() && counts_as_run(story, &closing);
    stories.unseen.contains(&Unseen::Beginnings) && is_run && was_cut
}

/// Compares the counts with the schedule.
fn accounts_what_was_due(
    stories: &Stories<'_>,
    change: &Change<'_>,
    highest: i64,
) -> Result<(), String> {
    let Some(new) = &change.change.new else {
        let is_right = change.is_removed;
        return if is_right { Ok(()) } else { Err("the record was deleted".to_owned()) };
    };
    if change.is_set_back() {
        return withdraws_what_did_not_run(stories, change, new);
    }
    let counted = new.counts.accounted() - change.base.counts.accounted();
    let after = change.base.watermark.max(highest);
    let (due, earlier) = stories.due(change, after, new.watermark)?;
    let kept = stories.kept(change, after, new.watermark);
    let least = i128::from(due.min(MOST_PENDING)) + i128::from(kept.min(MOST_PENDING));
    if counted < least || counted > i128::from(due + earlier.max(kept)) {
        let through = new.watermark;
        return Err(format!(
            "{due} were due in ({after}, {through}] ({earlier} more by a schedule before, of which the \
             plan keeps {kept}), {counted} were accounted"
        ));
    }
    Ok(())
}

/// Compares what the counts lose with the fires that are due again.
fn withdraws_what_did_not_run(
    stories: &Stories<'_>,
    change: &Change<'_>,
    new: &Record,
) -> Result<(), String> {
    let lost = change.base.counts.accounted() - new.counts.accounted();
    if new.counts.ran != change.base.counts.ran || lost < 0 {
        return Err(format!("it is set back, and counts {lost} fires less"));
    }
    // What an earlier plan made due beyond that instant is due no more.
    if stories.was_planned_otherwise(change) {
        return Ok(());
    }
    let (after, through) = (new.watermark, change.base.watermark);
    // What ran before, and what is kept as run now, was no loss.
    let (due, earlier) = stories.due_beside(change, (after, through), &new.ran)?;
    if lost < i128::from(due.min(MOST_PENDING)) || lost > i128::from(due + earlier) {
        return Err(format!(
            "{due} fires in ({after}, {through}] are due again ({earlier} by a schedule before), {lost} were \
             withdrawn"
        ));
    }
    Ok(())
}

fn miscounted(stories: &Stories<'_>, story: &Story<'_>) -> Option<(usize, String)> {
    let closings = story.claims.iter().filter_map(|claimed| claimed.closed);
    let mut counted: BTreeSet<usize> = closings
        .filter(|c| !matches!(c.how, How::Undone | How::Removed))
        .map(|closing| closing.line)
        .collect();
    counted.extend(&story.given_back);
    for change in &story.changes {
        let Some(new) = &change.change.new else { continue };
        let closes = counted.contains(&change.line);
        let raised = raised(&change.base.counts, &new.counts);
        let fits = match raised {
            (0, 0, 0) => !closes,
            (1, 0, 0) | (0, 1, 0) | (0, 0 | 1, 1) => closes,
            _ => false,
        };
        if !fits {
            let closes = if closes { "closes one claim" } else { "closes no claim" };
            return Some((change.line, format!("it {closes} and counts {raised:?} as over")));
        }
    }
    story.claims.iter().find_map(|claimed| {
        let closing = claimed.closed.filter(|closing| closing.how == How::Ended)?;
        let ran = !claimed.starts.is_empty()
            || !counts_as_run(story, &closing)
            || may_have_run(stories, story, claimed);
        (!ran).then(|| (closing.line, "counted as run, and no code ran under it".to_owned()))
    })
}

/// By how much runs that ended well, failed and crashed rose.
fn raised(old: &Counts, new: &Counts) -> (i128, i128, i128) {
    let by = |old: u64, new: u64| i128::from(new) - i128::from(old);
    (by(old.ok, new.ok), by(old.failed, new.failed), by(old.crashed, new.crashed))
}

fn counts_as_run(story: &Story<'_>, closing: &Closing) -> bool {
    let change = &story.changes[closing.change];
    let new = change.change.new.as_ref().map_or(change.base.counts, |new| new.counts);
    raised(&change.base.counts, &new).2 == 0
}

/// What was due and is not accounted though there was time enough.
fn left_over(trace: &[Line], stories: &Stories<'_>) -> Option<(usize, String)> {
    let last = trace.len() - 1;
    let (_, over) = stories.over;
    for (job, plans) in &stories.plans {
        let Some(plan) = plans.last() else { continue };
        let Some(schedule) = stories.schedules.named(job, &plan.schedule) else { continue };
        // What nobody serves waits for someone.
        for shard in (0..plan.shards).filter(|shard| stories.is_looked_after(job, *shard)) {
            let story = stories.shards.get(&(*job, shard));
            let record = story.and_then(|story| story.changes.last()?.change.new.as_ref());
            let through = record.map_or(i64::MIN, |record| record.watermark);
            let listened = stories.listened.get(job);
            // What a shard has not accounted of fires that are over is accounted with the next one.
            let decided = listened.and_then(|of| of.ahead_at(last, i64::MIN));
            let (from, ran) = record.map_or((plan.from(shard), &[][..]), |record| {
                (record.begins(plan.from(shard)), &record.ran)
            });
            let after = through.max(from).max(decided.unwrap_or(i64::MIN));
            let lost = schedule.next_without(after, ran).filter(|due| *due + TOLERANCE <= over);
            if let Some(due) = lost {
                let line = story.and_then(|story| Some(story.changes.last()?.line));
                let what = format!("{job}/{shard}: due {due}, not accounted at the end ({over})");
                return Some((line.unwrap_or(last), what));
            }
        }
    }
    None
}
