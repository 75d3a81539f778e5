//! The stored form of why an instance may not serve a job. JSON, version 1. It lives with the instance's
//! session and is for people: nobody decides by it.

use crate::record::{NotReadable, form};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version this release writes.
pub const VERSION: u32 = 1;

/// The most reasons that are stored, and the most bytes of each reason's text. A text names a path, which
/// may be long; the whole stays far below what any registry takes.
const MOST_REASONS: usize = 8;
const TEXT_BYTES: usize = 1_024;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable code of the reason.
    pub code: String,
    /// What is wrong and what to do.
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    reasons: Vec<Reason>,
}

/// Writes the reasons, the first 8 of them and 1,024 bytes of each text.
#[must_use]
pub fn encode(reasons: &[Reason]) -> Bytes {
    let clipped = |reason: &Reason| {
        let end = reason.text.floor_char_boundary(TEXT_BYTES);
        Reason { code: reason.code.clone(), text: reason.text[..end].to_owned() }
    };
    let reasons = reasons.iter().take(MOST_REASONS).map(clipped).collect();
    // Texts under text keys: there is nothing in it that cannot be written.
    serde_json::to_vec(&Form { v: VERSION, reasons }).unwrap_or_default().into()
}

/// Reads the reasons.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<Vec<Reason>, NotReadable> {
    let Form { reasons, .. } = form(value, VERSION)?;
    Ok(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Reason {
        Reason { code: "SCRIPT_NOT_ALLOWED".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn reasons_are_read_as_they_were_written() {
        let reasons = [reason("\"é\"\n"), reason("")];
        assert_eq!(decode(&encode(&reasons)).as_deref(), Ok(&reasons[..]));
    }

    #[test]
    fn what_is_stored_is_bounded_and_cut_between_characters() {
        let many = vec![reason(&"é".repeat(2_000)); 20];
        let read = decode(&encode(&many)).unwrap();
        assert_eq!((read.len(), read[0].text.len()), (8, 1_024));
        let odd = decode(&encode(&[reason(&format!("x{}", "é".repeat(2_000)))])).unwrap();
        assert_eq!(odd[0].text.len(), 1_023);
    }

    #[test]
    fn a_newer_version_and_damage_are_told_apart() {
        assert_eq!(decode(br#"{"v":2}"#), Err(NotReadable::Newer { found: 2 }));
        assert!(matches!(decode(b"{}"), Err(NotReadable::Damaged(_))));
    }
}
