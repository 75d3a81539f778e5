//! A record as JSON, written twice a run: field by field into one buffer, which takes a third of the
//! time of the general way. What is zero or empty is left out.

use super::{Stored, VERSION};
use bytes::Bytes;
use flockwork_core::account::{Claim, ClaimState, Counts, Last, Note, SetBack};
use serde::Serialize;
use std::cell::Cell;

/// What is kept to write in: more than any record takes whose texts are not long.
const KEPT_BYTES: usize = 4_096;

thread_local! {
    /// Where records are written before each is given room of its own, of its own size.
    static DESK: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Writes a record.
#[must_use]
pub fn encode(stored: &Stored) -> Bytes {
    let record = &stored.record;
    let mut json = Json(DESK.take());
    json.0.clear();
    json.raw("{\"v\":").value(&VERSION);
    json.raw(",\"through\":").value(&record.watermark.as_millis());
    if let Some(claim) = &record.claim {
        json.claim(claim);
    }
    if let Some(last) = &record.last {
        json.last(last);
    }
    if record.counts != Counts::default() {
        json.counts(&record.counts);
    }
    if !record.notes.is_empty() {
        json.notes(&record.notes);
    }
    if let Some(left) = &record.set_back {
        json.set_back(left);
    }
    for (name, value) in &stored.unknown {
        json.raw(",").value(name).raw(":").value(value);
    }
    json.raw("}");
    let written = Bytes::copy_from_slice(&json.0);
    json.0.shrink_to(KEPT_BYTES);
    DESK.set(json.0);
    written
}

struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Text and numbers under text keys: there is nothing in it that cannot be written.
    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        let _ = serde_json::to_writer(&mut self.0, value);
        self
    }

    /// A field after others. Its name, with what is around it, is spelled by whoever writes it.
    fn number(&mut self, field: &str, number: u64) {
        if number != 0 {
            self.raw(field).value(&number);
        }
    }

    fn text(&mut self, field: &str, text: &str) {
        if !text.is_empty() {
            self.raw(field).value(text);
        }
    }

    fn claim(&mut self, claim: &Claim) {
        self.raw(",\"claim\":{\"due\":").value(&claim.fire.due.as_millis());
        self.raw(",\"source\":\"").raw(claim.fire.source.as_str());
        self.raw("\",\"attempt\":").value(&claim.attempt);
        self.number(",\"crashes\":", claim.crashes.into());
        self.raw(",\"by\":").value(claim.instance.as_str());
        self.raw(",\"nonce\":").value(&claim.nonce);
        self.raw(",\"at\":").value(&claim.at.as_millis());
        if claim.mark_lasts {
            self.raw(",\"lasts\":true");
        }
        if let ClaimState::Released { to, not_before, is_signalled } = &claim.state {
            self.raw(",\"released\":{\"to\":").value(to.as_str());
            self.raw(",\"not_before\":").value(&not_before.as_millis());
            self.raw(if *is_signalled { ",\"signalled\":true}" } else { "}" });
        }
        self.raw("}");
    }

    fn last(&mut self, last: &Last) {
        self.raw(",\"last\":{\"due\":").value(&last.fire.due.as_millis());
        self.raw(",\"source\":\"").raw(last.fire.source.as_str());
        self.raw("\",\"attempt\":").value(&last.attempt);
        self.raw(",\"by\":").value(last.instance.as_str());
        self.raw(",\"nonce\":").value(&last.nonce);
        self.raw(",\"started\":").value(&last.started.as_millis());
        self.raw(",\"ended\":").value(&last.ended.as_millis());
        self.raw(",\"code\":").value(last.code.as_str());
        self.text(",\"text\":", &last.text);
        self.text(",\"tail\":", &last.output_tail);
        self.number(",\"rows\":", last.rows);
        self.number(",\"bytes\":", last.bytes);
        self.raw("}");
    }

    fn counts(&mut self, counts: &Counts) {
        // All of them: the first comma below is that of one that is not zero.
        let Counts { ran, triggered, misfired, skipped, missed, succeeded, failed, crashed } =
            *counts;
        self.raw(",\"counts\":{");
        let first = self.0.len();
        self.number(",\"ran\":", ran);
        self.number(",\"triggered\":", triggered);
        self.number(",\"misfired\":", misfired);
        self.number(",\"skipped\":", skipped);
        self.number(",\"missed\":", missed);
        self.number(",\"ok\":", succeeded);
        self.number(",\"failed\":", failed);
        self.number(",\"crashed\":", crashed);
        self.0.remove(first);
        self.raw("}");
    }

    fn notes(&mut self, notes: &[Note]) {
        for (at, note) in notes.iter().enumerate() {
            self.raw(if at == 0 { ",\"notes\":[" } else { "," });
            self.raw("{\"fate\":\"").raw(note.fate.as_str());
            self.raw("\",\"why\":\"").raw(note.reason.code());
            self.raw("\",\"first\":").value(&note.span.first.as_millis());
            self.raw(",\"last\":").value(&note.span.last.as_millis());
            self.raw(",\"fires\":").value(&note.span.fires).raw("}");
        }
        self.raw("]");
    }

    fn set_back(&mut self, left: &SetBack) {
        let ran = left.ran.iter().map(|ran| (ran.first.as_millis(), ran.last.as_millis()));
        self.raw(",\"set_back\":{\"ran\":").value(&ran.collect::<Vec<_>>());
        if let Some(begins) = left.begins {
            self.raw(",\"planned\":").value(&begins.planned.as_millis());
            self.raw(",\"from\":").value(&begins.from.as_millis());
        }
        self.raw("}");
    }
}
