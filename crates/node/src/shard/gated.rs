//! What becomes of fires that a shard does not decide by itself: those of a job with a listener, and those
//! that a replaced schedule left.

use crate::facts::Gate;
use flockwork_core::account::{AHEAD, Fate, Note, Passed, Policy, Reason, Record, Settled};
use flockwork_core::account::{settle_opened, settle_passed, settle_replaced};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::schedule::{Memo, Schedule};
use flockwork_core::time::Timestamp;
use flockwork_layout::plan::Plan;
use flockwork_layout::record::Stored;

/// Returns since when some node has lived without a break. An instant far beyond this node's clock was written by
/// a clock that is ahead: what came due since the shard was last accounted is not taken for missed then, as this
/// node lives.
pub(super) fn alive_since(
    plan: &Plan,
    policy: &Policy<'_>,
    record: &Record,
    now: Timestamp,
) -> Timestamp {
    match plan.alive > now.plus(AHEAD) {
        true => record.watermark.max(policy.from),
        false => plan.alive,
    }
}

/// Accounts what the oldest of the replaced schedules left of a shard that had come so far.
pub(super) fn left_by_the_past(
    plan: &Plan,
    policy: &Policy<'_>,
    (shard, record): (ShardIndex, &Record),
    now: Timestamp,
) -> Vec<Note> {
    let watermark = record.watermark;
    let alive = alive_since(plan, policy, record, now);
    // Whoever replaced a schedule may have had a clock that was ahead.
    let now = now.min(policy.from);
    let pending = plan.past.iter().filter(|past| past.until > watermark);
    let mut left = pending.filter_map(|past| {
        let schedule = Schedule::from_text(&past.schedule)?;
        let (memo, from) = (Memo::default(), record.begins(past.from(shard)?));
        let policy = Policy { schedule: &schedule, memo, from, ..*policy };
        let notes = settle_replaced(&policy, watermark, alive, past.until.min(now));
        (!notes.is_empty()).then_some(notes)
    });
    left.next().unwrap_or_default()
}

/// Returns what is to become of the due fires of a shard of a job that has a listener.
pub(super) fn settle_by(
    gate: Gate,
    policy: &Policy<'_>,
    alive: Timestamp,
    (stored, is_off): (&Stored, bool),
) -> Settled {
    let watermark = stored.record.watermark;
    let passed =
        |passed| Settled { notes: settle_passed(policy, watermark, alive, &passed), run: None };
    let fire = match gate {
        Gate::None | Gate::Shut => return Settled::default(),
        Gate::Passed(these) => return passed(these),
        Gate::Open(fire, ..) | Gate::Opening(fire, _) => fire,
    };
    match fire.source {
        Source::Trigger if is_off || has_run(stored, fire) => Settled::default(),
        Source::Trigger => settle_opened(policy, watermark, alive, fire),
        _ if is_off => {
            let (fate, reason) = (Fate::Skipped, Reason::Disabled);
            passed(Passed { first: fire.due, through: fire.due, fate, reason })
        }
        _ => settle_opened(policy, watermark, alive, fire),
    }
}

/// Returns whether a shard without a claim has run a fire that was asked for. A fire of the schedule is
/// accounted, which its watermark tells.
pub(crate) fn has_run(stored: &Stored, fire: Fire) -> bool {
    stored.record.last.as_ref().is_some_and(|last| last.fire == fire)
}
