//! The stored form of a shard's record: JSON, version 1. Short names, as it is written twice a run.
//!
//! Fields of a newer release are kept when a record is rewritten; a newer *version* is refused
//! ([`NotReadable::Newer`]), and with it only the job it belongs to.

mod write;

pub use write::encode;

use flockwork_core::account::{
    Begins, Claim, ClaimState, Counts, Fate, Last, Note, Ran, Reason, Record, SetBack, Span,
    beyond::MOST_RAN, record::NOTES,
};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::InstanceId;
use flockwork_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// The version this release writes.
pub const VERSION: u32 = 1;

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

#[derive(Deserialize)]
struct Form<'a> {
    /// Known by then; named here so that it is none of the unknown fields.
    #[serde(rename = "v")]
    _version: u32,
    #[serde(rename = "through")]
    watermark: i64,
    #[serde(borrow)]
    claim: Option<ClaimForm<'a>>,
    #[serde(borrow)]
    last: Option<LastForm<'a>>,
    #[serde(default)]
    counts: CountsForm,
    #[serde(default)]
    #[serde(borrow)]
    notes: Vec<NoteForm<'a>>,
    set_back: Option<SetBackForm>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
struct ClaimForm<'a> {
    due: i64,
    source: Cow<'a, str>,
    attempt: u32,
    #[serde(default)]
    crashes: u32,
    by: Cow<'a, str>,
    nonce: u64,
    at: i64,
    #[serde(default)]
    lasts: bool,
    #[serde(borrow)]
    released: Option<ReleasedForm<'a>>,
}

#[derive(Deserialize)]
struct ReleasedForm<'a> {
    to: Cow<'a, str>,
    not_before: i64,
    #[serde(default)]
    signalled: bool,
}

#[derive(Deserialize)]
struct LastForm<'a> {
    due: i64,
    source: Cow<'a, str>,
    attempt: u32,
    by: Cow<'a, str>,
    nonce: u64,
    started: i64,
    ended: i64,
    code: Cow<'a, str>,
    #[serde(default)]
    text: Cow<'a, str>,
    #[serde(default)]
    tail: Cow<'a, str>,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    bytes: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CountsForm {
    ran: u64,
    triggered: u64,
    misfired: u64,
    skipped: u64,
    missed: u64,
    ok: u64,
    failed: u64,
    crashed: u64,
}

#[derive(Deserialize)]
struct NoteForm<'a> {
    fate: Cow<'a, str>,
    why: Cow<'a, str>,
    first: i64,
    last: i64,
    fires: u64,
}

#[derive(Deserialize)]
struct SetBackForm {
    ran: Vec<(i64, i64)>,
    planned: Option<i64>,
    from: Option<i64>,
}

/// Reads a stored form, unless it is of a version beyond `newest`, whatever it holds.
pub(crate) fn form<'a, F: Deserialize<'a>>(value: &'a [u8], newest: u32) -> Result<F, NotReadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let damaged = |error: serde_json::Error| NotReadable::Damaged(error.to_string());
    let Versioned { v } = serde_json::from_slice(value).map_err(damaged)?;
    if v > newest {
        return Err(NotReadable::Newer { found: v });
    }
    serde_json::from_slice(value).map_err(damaged)
}

/// Reads a record.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<Stored, NotReadable> {
    form::<Form<'_>>(value, VERSION)?.read()
}

impl Form<'_> {
    fn read(self) -> Result<Stored, NotReadable> {
        let notes: Result<Vec<Note>, NotReadable> =
            self.notes.into_iter().take(NOTES).map(NoteForm::read).collect();
        let record = Record {
            watermark: Timestamp::from_millis(self.watermark),
            claim: self.claim.map(ClaimForm::read).transpose()?,
            last: self.last.map(LastForm::read).transpose()?.map(Arc::new),
            counts: self.counts.read(),
            notes: notes?,
            set_back: self.set_back.map(|left| Box::new(left.read())),
        };
        Ok(Stored { record, unknown: self.unknown })
    }
}

impl ClaimForm<'_> {
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

impl LastForm<'_> {
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

impl SetBackForm {
    fn read(self) -> SetBack {
        let at = Timestamp::from_millis;
        let ran = self.ran.into_iter().take(MOST_RAN);
        let ran = ran.map(|(first, last)| Ran { first: at(first), last: at(last) }).collect();
        let begins = self.planned.zip(self.from);
        let begins = begins.map(|(planned, from)| Begins { planned: at(planned), from: at(from) });
        SetBack { ran, begins }
    }
}

impl NoteForm<'_> {
    fn read(self) -> Result<Note, NotReadable> {
        let fate = Fate::ALL.into_iter().find(|fate| fate.as_str() == self.fate);
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
            watermark: Timestamp::from_millis(5_000),
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
            last: Some(Arc::new(Last {
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
            })),
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
            set_back: None,
        };
        Stored { record, unknown: Map::new() }
    }

    /// Other releases read it: byte by byte as it has always been.
    #[test]
    fn a_record_is_written_as_it_always_was() {
        let text = r#"{"v":1,"through":5000,"claim":{"due":5000,"source":"misfire","attempt":2,"crashes":1,"by":"10.0.0.1@-@7-a","nonce":77,"at":5001,"lasts":true,"released":{"to":"10.0.0.1@-@7-a","not_before":9000,"signalled":true}},"last":{"due":5000,"source":"misfire","attempt":1,"by":"10.0.0.1@-@7-a","nonce":76,"started":5000,"ended":5500,"code":"EXIT","text":"exit code 3","tail":"no such \"table\"\n","rows":10,"bytes":2048},"counts":{"ran":9,"triggered":1,"failed":1},"notes":[{"fate":"misfired","why":"OVERLAP","first":3000,"last":4000,"fires":2}]}"#;
        assert_eq!(String::from_utf8_lossy(&encode(&sample())), text);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        let held = Stored::default();
        assert_eq!(decode(&encode(&held)), Ok(held));
    }

    #[test]
    fn what_is_left_of_a_clock_that_was_ahead_is_read_as_it_was_written() {
        let at = Timestamp::from_millis;
        let ran = vec![Ran { first: at(7_000), last: at(9_000) }];
        let begins = Some(Begins { planned: at(8_000), from: at(5_000) });
        for left in [SetBack { ran: ran.clone(), begins: None }, SetBack { ran, begins }] {
            let mut stored = sample();
            stored.record.set_back = Some(Box::new(left));
            assert_eq!(decode(&encode(&stored)), Ok(stored));
        }
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
