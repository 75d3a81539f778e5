//! The last run of a shard, as its record keeps it.

use flockwork_core::account::{Claim, Last, Record};
use flockwork_core::time::Timestamp;
use std::sync::Arc;

/// How much of an ending's words is kept.
const TEXT_BYTES: usize = 1_024;

/// What is written of a run that is over though nobody can tell how it ended.
pub(crate) fn closed(record: &Record, code: &str, text: &str, now: Timestamp) -> Record {
    let mut record = record.clone();
    if let Some(claim) = record.claim.take() {
        record.last = Some(Arc::new(last(claim, code, text, now)));
    }
    record
}

pub(crate) fn last(claim: Claim, code: &str, text: &str, now: Timestamp) -> Last {
    Last {
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
    }
}

fn start_of(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

pub(crate) fn end_of(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}
