//! The last run of a shard, as the shard's record keeps it.

use flockwork_core::account::{Claim, Last, Record};
use flockwork_core::time::Timestamp;
use std::sync::Arc;

/// How many bytes of an ending's text are kept.
const TEXT_BYTES: usize = 1_024;

/// Returns the record after a run that is over, although its ending is unknown.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::at;
    use crate::shard::scene::{holding, theirs};

    #[test]
    fn a_text_is_cut_at_a_character() {
        for (most, start, end) in
            [(0, "", ""), (1, "a", ""), (2, "a", "é"), (3, "aé", "é"), (5, "aéé", "aéé")]
        {
            assert_eq!((start_of("aéé", most), end_of("aéé", most)), (start, end), "{most}");
        }
    }

    #[test]
    fn no_run_has_ended_before_it_started() {
        let early = last(theirs(), "CRASHED", "", at(8_000));
        assert_eq!((early.started, early.ended), (at(8_000), at(8_000)));
        let late = last(theirs(), "CRASHED", "", at(12_000));
        assert_eq!((late.started, late.ended), (at(10_000), at(12_000)));
    }

    #[test]
    fn a_record_is_closed_only_where_it_holds_a_claim() {
        let free = holding(None);
        assert_eq!(closed(&free, "CRASHED", "", at(12_000)), free);
        let ended = closed(&holding(Some(theirs())), "CRASHED", "gone", at(12_000));
        assert_eq!(ended.claim, None);
        let last = ended.last.unwrap();
        assert_eq!((last.nonce, &*last.code, &*last.text), (5, "CRASHED", "gone"));
    }
}
