//! Where a key stands in the store's map: by a digest of its text first.
//!
//! Keys of one tree share long beginnings, and a map ordered by text compares them to the end at
//! each step, a cache miss each. The digest settles nearly every comparison; the text settles the
//! rest, so two keys are never confused and the order depends on nothing but the keys.

use crate::Key;
use std::borrow::Borrow;
use std::cmp::Ordering;

#[derive(Debug)]
pub(super) struct Place {
    digest: u64,
    pub(super) key: Key,
}

/// Something that stands where a [`Place`] does: lets the map be asked with borrowed text.
pub(super) trait Placed {
    fn parts(&self) -> (u64, &str);
}

/// The place of a text.
#[derive(Debug)]
pub(super) struct At<'a>(u64, &'a str);

impl<'a> At<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self(digest(text.as_bytes()), text)
    }
}

impl Place {
    pub(super) fn of(key: Key) -> Self {
        Self { digest: digest(key.as_str().as_bytes()), key }
    }
}

impl Placed for Place {
    fn parts(&self) -> (u64, &str) {
        (self.digest, self.key.as_str())
    }
}

impl Placed for At<'_> {
    fn parts(&self) -> (u64, &str) {
        (self.0, self.1)
    }
}

impl<'a> Borrow<dyn Placed + 'a> for Place {
    fn borrow(&self) -> &(dyn Placed + 'a) {
        self
    }
}

impl Ord for dyn Placed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for dyn Placed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Placed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Placed + '_ {}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Place {}

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
        let (one, two) = (At(7, "/a"), At(7, "/b"));
        assert_eq!(one.parts().cmp(&two.parts()), Ordering::Less);
        assert_eq!(Place::of(Key::root()), Place { digest: At::of("/").0, key: Key::root() });
    }
}
