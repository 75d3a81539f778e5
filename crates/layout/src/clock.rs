//! The stored form of what an instance says of its clock, for a job that limits the difference.
//! JSON, version 1. It lives with the instance's session; nobody decides by it but who wrote it.

use crate::record::{NotReadable, form};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version this release writes.
pub const VERSION: u32 = 1;

/// What an instance says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockNote {
    /// What the job tolerates, in milliseconds.
    pub limit: u64,
    /// By how much its clock is ahead of the registry's at least, in milliseconds; behind, if
    /// negative. None before it was measured.
    pub ahead: Option<i64>,
    /// Whether it takes up nothing of the job for that.
    pub differs: bool,
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    limit_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ahead_ms: Option<i64>,
    differs: bool,
}

/// Writes a note.
#[must_use]
pub fn encode(note: &ClockNote) -> Bytes {
    let ClockNote { limit, ahead, differs } = *note;
    let form = Form { v: VERSION, limit_ms: limit, ahead_ms: ahead, differs };
    // Numbers under text keys: there is nothing in it that cannot be written.
    serde_json::to_vec(&form).unwrap_or_default().into()
}

/// Reads a note.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<ClockNote, NotReadable> {
    let Form { limit_ms, ahead_ms, differs, .. } = form(value, VERSION)?;
    Ok(ClockNote { limit: limit_ms, ahead: ahead_ms, differs })
}

/// A difference for people: `3200 ms ahead of the registry's`.
#[must_use]
pub fn difference(ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    format!("{} ms {way} the registry's", ahead.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for ahead in [None, Some(-3_200), Some(0)] {
            let note = ClockNote { limit: 2_000, ahead, differs: ahead == Some(-3_200) };
            assert_eq!(decode(&encode(&note)), Ok(note));
        }
    }

    #[test]
    fn a_newer_version_and_damage_are_told_apart() {
        assert_eq!(decode(br#"{"v":2}"#), Err(NotReadable::Newer { found: 2 }));
        assert!(matches!(decode(b"{}"), Err(NotReadable::Damaged(_))));
    }
}
