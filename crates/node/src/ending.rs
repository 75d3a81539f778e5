//! What a run's end makes of its shard's record: done, failed for good, or to be tried again.

use crate::job::Job;
use crate::turn::Turn;
use flockwork_core::account::{ClaimState, Last, Record};
use flockwork_core::config::{JobConfig, RetryOn};
use flockwork_core::execution::{CancelReason, Ending, OUTPUT_TAIL_BYTES, RunId};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::record::Stored;
use std::sync::Arc;

/// How much of an ending's words is kept.
const TEXT_BYTES: usize = 1_024;

/// What is to follow a failed run.
enum Next {
    /// Another run of the same fire.
    Again { to: InstanceId, not_before: Timestamp, counts_as_crash: bool },
    /// Nothing, for the reason with this code if it is not the ending's own.
    Over(Option<&'static str>),
}

impl Job {
    /// The record as the end of a run is to write it.
    pub(crate) fn ended_record(&mut self, turn: &mut Turn<'_>, id: RunId) -> Option<Stored> {
        let run = turn.runs.get(&id)?;
        let outcome = run.outcome.clone()?;
        let shard = run.shard;
        let claim = run.claim().clone();
        let mut stored = Stored::clone(&run.claimed);
        let is_success = outcome.ending.is_success();
        let next = if is_success {
            Next::Over(None)
        } else {
            self.next(turn, shard, &claim, &outcome.ending)
        };
        let record = &mut stored.record;
        record.claim = None;
        let mut code = outcome.ending.code();
        match next {
            _ if is_success => record.counts.succeeded += 1,
            Next::Over(instead) => {
                record.counts.failed += 1;
                code = instead.unwrap_or(code);
            }
            Next::Again { to, not_before, counts_as_crash } => {
                record.counts.failed += 1;
                let is_signalled = to != turn.settings.instance;
                let mut released = claim.clone();
                released.crashes += u32::from(counts_as_crash);
                released.state = ClaimState::Released { to, not_before, is_signalled };
                record.claim = Some(released);
            }
        }
        let text = if is_success { String::new() } else { outcome.ending.to_string() };
        record.last = Some(Arc::new(Last {
            started: claim.begins(),
            fire: claim.fire,
            attempt: claim.attempt,
            instance: claim.instance,
            nonce: claim.nonce,
            ended: turn.now.wall,
            code: code.to_owned(),
            text: start_of(&text, TEXT_BYTES).to_owned(),
            output_tail: end_of(&outcome.output_tail, OUTPUT_TAIL_BYTES).to_owned(),
            rows: outcome.rows,
            bytes: outcome.bytes,
        }));
        Some(stored)
    }

    fn next(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        claim: &flockwork_core::account::Claim,
        ending: &Ending,
    ) -> Next {
        let Some(config) = self.config.clone() else { return Next::Over(None) };
        let other = self.other_instance(turn, shard, claim.attempt);
        // Whoever goes tries nothing again itself; the shard may have another owner by now.
        let goes = self.goes();
        let other = if goes { self.heir(turn, shard).or(other) } else { other };
        // The node, not the run, is to blame: as with a crash, it is taken elsewhere at once.
        let was_cut = matches!(
            ending,
            Ending::Cancelled(CancelReason::Shutdown | CancelReason::SessionLost)
                | Ending::Crashed(_)
        );
        if was_cut && config.failover && claim.crashes < JobConfig::MAX_TAKEOVERS {
            let to = other.unwrap_or_else(|| turn.settings.instance.clone());
            return Next::Again { to, not_before: turn.now.wall, counts_as_crash: true };
        }
        let failures = claim.attempt - claim.crashes;
        if matches!(ending, Ending::Cancelled(CancelReason::Removed))
            || failures > config.retry.times
        {
            return Next::Over(None);
        }
        let me = turn.settings.instance.clone();
        let to = match (config.retry.on, other) {
            (RetryOn::Same, Some(other)) if goes => other,
            (RetryOn::Same, _) | (RetryOn::PreferOther, None) => me,
            (RetryOn::Other | RetryOn::PreferOther, Some(other)) => other,
            (RetryOn::Other, None) => return Next::Over(Some("NO_OTHER_INSTANCE")),
        };
        let not_before = turn.now.wall.plus(config.retry.delay_after(failures));
        Next::Again { to, not_before, counts_as_crash: false }
    }

    /// Another that owns the shard, if one does and may.
    fn heir(&self, turn: &mut Turn<'_>, shard: ShardIndex) -> Option<InstanceId> {
        let me = &turn.settings.instance;
        let job = self;
        let owner = job.shards.get(shard as usize)?.owner.value()?;
        (owner != me && job.last_eligible().contains(owner)).then(|| owner.clone())
    }

    /// Another instance that may take shards, chosen by the shard and the attempt.
    pub(crate) fn other_instance(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        attempt: u32,
    ) -> Option<InstanceId> {
        let me = turn.settings.instance.clone();
        let mut others = self.last_eligible();
        others.retain(|instance| *instance != me);
        let at = (shard as usize + attempt as usize).checked_rem(others.len())?;
        Some(others.swap_remove(at))
    }
}

/// What is written of a run that is over though nobody can tell how it ended.
pub(crate) fn closed(record: &Record, code: &str, text: &str, now: Timestamp) -> Record {
    let mut record = record.clone();
    if let Some(claim) = record.claim.take() {
        record.last = Some(Arc::new(Last {
            started: claim.begins().min(now),
            fire: claim.fire,
            attempt: claim.attempt,
            instance: claim.instance,
            nonce: claim.nonce,
            ended: now,
            code: code.to_owned(),
            text: start_of(text, TEXT_BYTES).to_owned(),
            output_tail: String::new(),
            rows: 0,
            bytes: 0,
        }));
    }
    record
}

fn start_of(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn end_of(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}
