//! Where a key stands in the store's map: by a digest of its text first.
//!
//! Keys of one tree share long beginnings, and a map ordered by text compares them to the end at
//! each step, a cache miss each. The digest settles nearly every comparison; the text settles the
//! rest, so two keys are never confused and the order depends on nothing but the keys.

use crate::Key;

/// Ordered by its fields in turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    digest: u64,
    pub(super) key: Key,
}

impl Place {
    pub(super) fn of(key: Key) -> Self {
        Self { digest: digest(key.as_str().as_bytes()), key }
    }
}

/// Eight bytes at a time, each multiplied into the rest. Good enough to part keys; it need not
/// resist anyone, as equal digests cost time only.
fn digest(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |sum: u64, word: &[u8; 8]| {
        (sum.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    mix(words.iter().fold(text.len() as u64, mix), &last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_of_a_large_tree_are_told_apart_by_their_digests() {
        let keys = (0..100_000).map(|n| format!("/ns/job-{:05}/sharding/{}", n / 10, n % 10));
        let digests: BTreeSet<u64> = keys.map(|key| digest(key.as_bytes())).collect();
        assert_eq!(digests.len(), 100_000);
    }

    #[test]
    fn equal_digests_are_settled_by_the_text() {
        let at = |text| Place { digest: 7, key: Key::new(text).unwrap() };
        assert!(at("/a") < at("/b"));
        assert_eq!(at("/a"), at("/a"));
    }
}
