//! The stored form of a shard's record: JSON, version 1. Short names, as it is written twice a run.
//!
//! Fields of a newer release are kept when a record is rewritten; a newer *version* is refused
//! ([`NotReadable::Newer`]), and with it only the job it belongs to.

use bytes::Bytes;
use flockwork_core::account::{
    Claim, ClaimState, Counts, Fate, Last, Note, Reason, Record, Span, record::NOTES,
};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::InstanceId;
use flockwork_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The version this release writes.
pub const VERSION: u32 = 1;

/// Room for a record whose texts are empty and that has a note: enough that nearly none is moved
/// while it is written.
const USUAL_BYTES: usize = 512;

/// A stored form that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReadable {
    /// Written by a newer release.
    #[error("it is of version {found}, this release reads up to {VERSION}; upgrade this node")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Not what it should be.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// A record together with fields of a newer release, which are written back as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What this release knows.
    pub record: Record,
    /// What it does not.
    pub unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    v: u32,
    through: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    claim: Option<ClaimForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    last: Option<LastForm<'a>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    counts: CountsForm,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(borrow)]
    notes: Vec<NoteForm<'a>>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct ClaimForm<'a> {
    due: i64,
    source: Cow<'a, str>,
    attempt: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    crashes: u32,
    by: Cow<'a, str>,
    nonce: u64,
    at: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    lasts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    released: Option<ReleasedForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ReleasedForm<'a> {
    to: Cow<'a, str>,
    not_before: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    signalled: bool,
}

#[derive(Serialize, Deserialize)]
struct LastForm<'a> {
    due: i64,
    source: Cow<'a, str>,
    attempt: u32,
    by: Cow<'a, str>,
    nonce: u64,
    started: i64,
    ended: i64,
    code: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    tail: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_zero")]
    rows: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    bytes: u64,
}

#[derive(PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
struct CountsForm {
    #[serde(skip_serializing_if = "is_zero")]
    ran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    triggered: u64,
    #[serde(skip_serializing_if = "is_zero")]
    misfired: u64,
    #[serde(skip_serializing_if = "is_zero")]
    skipped: u64,
    #[serde(skip_serializing_if = "is_zero")]
    missed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ok: u64,
    #[serde(skip_serializing_if = "is_zero")]
    failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    crashed: u64,
}

#[derive(Serialize, Deserialize)]
struct NoteForm<'a> {
    fate: Cow<'a, str>,
    why: Cow<'a, str>,
    first: i64,
    last: i64,
    fires: u64,
}

/// Nothing, no, none: what a reader takes a field for that is not there.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes a record. What is zero is left out.
#[must_use]
pub fn encode(stored: &Stored) -> Bytes {
    let form = Form::of(stored);
    let mut text = Vec::with_capacity(USUAL_BYTES + form.texts());
    // Text and numbers under text keys: there is nothing in it that cannot be written.
    match serde_json::to_writer(&mut text, &form) {
        Ok(()) => text.into_boxed_slice().into(),
        Err(_) => Bytes::new(),
    }
}

/// Reads a record.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<Stored, NotReadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let damaged = |error: serde_json::Error| NotReadable::Damaged(error.to_string());
    let Versioned { v } = serde_json::from_slice(value).map_err(damaged)?;
    if v > VERSION {
        return Err(NotReadable::Newer { found: v });
    }
    serde_json::from_slice::<Form<'_>>(value).map_err(damaged)?.read()
}

impl<'a> Form<'a> {
    fn of(stored: &'a Stored) -> Self {
        let record = &stored.record;
        Self {
            v: VERSION,
            through: record.through.as_millis(),
            claim: record.claim.as_ref().map(ClaimForm::of),
            last: record.last.as_ref().map(LastForm::of),
            counts: CountsForm::of(record.counts),
            notes: record.notes.iter().map(NoteForm::of).collect(),
            unknown: stored.unknown.clone(),
        }
    }

    /// Bytes of the texts that may be long.
    fn texts(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.text.len() + last.tail.len())
    }

    fn read(self) -> Result<Stored, NotReadable> {
        let notes: Result<Vec<Note>, NotReadable> =
            self.notes.into_iter().take(NOTES).map(NoteForm::read).collect();
        let record = Record {
            through: Timestamp::from_millis(self.through),
            claim: self.claim.map(ClaimForm::read).transpose()?,
            last: self.last.map(LastForm::read).transpose()?,
            counts: self.counts.read(),
            notes: notes?,
        };
        Ok(Stored { record, unknown: self.unknown })
    }
}

impl<'a> ClaimForm<'a> {
    fn of(claim: &'a Claim) -> Self {
        let released = match &claim.state {
            ClaimState::Held => None,
            ClaimState::Released { to, not_before, is_signalled } => Some(ReleasedForm {
                to: to.as_str().into(),
                not_before: not_before.as_millis(),
                signalled: *is_signalled,
            }),
        };
        Self {
            due: claim.fire.due.as_millis(),
            source: claim.fire.source.as_str().into(),
            attempt: claim.attempt,
            crashes: claim.crashes,
            by: claim.instance.as_str().into(),
            nonce: claim.nonce,
            at: claim.at.as_millis(),
            lasts: claim.mark_lasts,
            released,
        }
    }

    fn read(self) -> Result<Claim, NotReadable> {
        let state = match self.released {
            None => ClaimState::Held,
            Some(released) => ClaimState::Released {
                to: instance(&released.to)?,
                not_before: Timestamp::from_millis(released.not_before),
                is_signalled: released.signalled,
            },
        };
        Ok(Claim {
            fire: fire(self.due, &self.source)?,
            attempt: self.attempt,
            crashes: self.crashes,
            instance: instance(&self.by)?,
            nonce: self.nonce,
            at: Timestamp::from_millis(self.at),
            mark_lasts: self.lasts,
            state,
        })
    }
}

impl<'a> LastForm<'a> {
    fn of(last: &'a Last) -> Self {
        Self {
            due: last.fire.due.as_millis(),
            source: last.fire.source.as_str().into(),
            attempt: last.attempt,
            by: last.instance.as_str().into(),
            nonce: last.nonce,
            started: last.started.as_millis(),
            ended: last.ended.as_millis(),
            code: last.code.as_str().into(),
            text: last.text.as_str().into(),
            tail: last.output_tail.as_str().into(),
            rows: last.rows,
            bytes: last.bytes,
        }
    }

    fn read(self) -> Result<Last, NotReadable> {
        Ok(Last {
            fire: fire(self.due, &self.source)?,
            attempt: self.attempt,
            instance: instance(&self.by)?,
            nonce: self.nonce,
            started: Timestamp::from_millis(self.started),
            ended: Timestamp::from_millis(self.ended),
            code: self.code.into_owned(),
            text: self.text.into_owned(),
            output_tail: self.tail.into_owned(),
            rows: self.rows,
            bytes: self.bytes,
        })
    }
}

impl CountsForm {
    fn of(counts: Counts) -> Self {
        Self {
            ran: counts.ran,
            triggered: counts.triggered,
            misfired: counts.misfired,
            skipped: counts.skipped,
            missed: counts.missed,
            ok: counts.succeeded,
            failed: counts.failed,
            crashed: counts.crashed,
        }
    }

    fn read(self) -> Counts {
        Counts {
            ran: self.ran,
            triggered: self.triggered,
            misfired: self.misfired,
            skipped: self.skipped,
            missed: self.missed,
            succeeded: self.ok,
            failed: self.failed,
            crashed: self.crashed,
        }
    }
}

impl NoteForm<'_> {
    fn of(note: &Note) -> Self {
        Self {
            fate: note.fate.as_str().into(),
            why: note.reason.code().into(),
            first: note.span.first.as_millis(),
            last: note.span.last.as_millis(),
            fires: note.span.fires,
        }
    }

    fn read(self) -> Result<Note, NotReadable> {
        let fates = [Fate::Ran, Fate::Misfired, Fate::Skipped, Fate::Missed];
        let fate = fates.into_iter().find(|fate| fate.as_str() == self.fate);
        let reason = Reason::ALL.into_iter().find(|reason| reason.code() == self.why);
        let span = Span {
            first: Timestamp::from_millis(self.first),
            last: Timestamp::from_millis(self.last),
            fires: self.fires,
        };
        match (fate, reason) {
            (Some(fate), Some(reason)) => Ok(Note { fate, reason, span }),
            _ => Err(NotReadable::Damaged(format!("unknown fate {:?} {:?}", self.fate, self.why))),
        }
    }
}

fn fire(due: i64, source: &str) -> Result<Fire, NotReadable> {
    let sources = [Source::Schedule, Source::Misfire, Source::CatchUp, Source::Trigger];
    let source = sources
        .into_iter()
        .find(|known| known.as_str() == source)
        .ok_or_else(|| NotReadable::Damaged(format!("unknown source {source:?}")))?;
    Ok(Fire { due: Timestamp::from_millis(due), source })
}

fn instance(text: &str) -> Result<InstanceId, NotReadable> {
    InstanceId::new(text).map_err(|error| NotReadable::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Stored {
        let fire = Fire { due: Timestamp::from_millis(5_000), source: Source::Misfire };
        let instance = InstanceId::new("10.0.0.1@-@7-a").unwrap();
        let released = ClaimState::Released {
            to: instance.clone(),
            not_before: Timestamp::from_millis(9_000),
            is_signalled: true,
        };
        let record = Record {
            through: Timestamp::from_millis(5_000),
            claim: Some(Claim {
                fire,
                attempt: 2,
                crashes: 1,
                instance: instance.clone(),
                nonce: 77,
                at: Timestamp::from_millis(5_001),
                mark_lasts: true,
                state: released,
            }),
            last: Some(Last {
                fire,
                attempt: 1,
                instance,
                nonce: 76,
                started: Timestamp::from_millis(5_000),
                ended: Timestamp::from_millis(5_500),
                code: "EXIT".into(),
                text: "exit code 3".into(),
                output_tail: "no such \"table\"\n".into(),
                rows: 10,
                bytes: 2_048,
            }),
            counts: Counts { ran: 9, triggered: 1, failed: 1, ..Counts::default() },
            notes: vec![Note {
                fate: Fate::Misfired,
                reason: Reason::Overlap,
                span: Span {
                    first: Timestamp::from_millis(3_000),
                    last: Timestamp::from_millis(4_000),
                    fires: 2,
                },
            }],
        };
        Stored { record, unknown: Map::new() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        let held = Stored::default();
        assert_eq!(decode(&encode(&held)), Ok(held));
    }

    #[test]
    fn what_is_zero_is_left_out_and_read_as_zero_where_it_was_written() {
        assert_eq!(encode(&Stored::default()), r#"{"v":1,"through":0}"#);
        let zeros = r#"{"v":1,"through":0,"counts":{"ran":0,"missed":0},"notes":[]}"#;
        assert_eq!(decode(zeros.as_bytes()), Ok(Stored::default()));
    }

    #[test]
    fn fields_of_a_newer_release_are_kept() {
        let stored = decode(br#"{"v":1,"through":5,"shiny":{"a":1}}"#).unwrap();
        assert!(String::from_utf8_lossy(&encode(&stored)).contains(r#""shiny":{"a":1}"#));
    }

    #[test]
    fn a_newer_version_is_named_whatever_it_holds() {
        assert_eq!(decode(br#"{"v":2,"through":"x"}"#), Err(NotReadable::Newer { found: 2 }));
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = encode(&sample());
        for cut in 0..whole.len() {
            assert!(decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bad in ["", "null", "[]", "{\"v\":-1}", "{\"v\":1,\"through\":1e99}", "\u{0}"] {
            assert!(matches!(decode(bad.as_bytes()), Err(NotReadable::Damaged(_))), "{bad:?}");
        }
    }
}
