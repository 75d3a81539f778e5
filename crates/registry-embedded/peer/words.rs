//! The words of which carried requests and events are made, for both ends.

use flockwork_registry::{Index, Stamp};
use std::fmt::Write as _;

pub(crate) fn stamp(stamp: &Stamp) -> String {
    format!("{}.{}.{}", stamp.created.0, stamp.modified.0, stamp.version)
}

pub(crate) fn read_stamp(text: &str) -> Option<Stamp> {
    let mut numbers = text.split('.');
    let created = Index(numbers.next()?.parse().ok()?);
    let modified = Index(numbers.next()?.parse().ok()?);
    Some(Stamp { created, modified, version: numbers.next()?.parse().ok()? })
}

/// Begins with an `x`, so that it is a word even if there is nothing in it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = "x".to_owned();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('x')?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}
