//! The store's map of keys. Its order says nothing and is never looked at, so that what the store
//! does depends on nothing but what it is told.

use crate::Key;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What is known by key. Keys of one tree share long beginnings: a map ordered by text compares
/// them to the end at each step, a cache miss each; this one compares about one.
pub(super) type ByKey<T> = HashMap<Key, T, BuildHasherDefault<Digest>>;

/// Eight bytes at a time, each multiplied into the rest: the same in every process. Good enough to
/// part keys; it need not resist anyone, as equal digests cost time only.
#[derive(Debug, Default)]
pub(super) struct Digest(u64);

impl Digest {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Digest {
    fn write(&mut self, text: &[u8]) {
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    /// The map looks at the lowest bits, and those of a product know only the lowest of its factors.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher as _;

    #[test]
    fn keys_of_a_large_tree_are_told_apart_by_their_digests() {
        let keys = (0..100_000).map(|n| format!("/ns/job-{:05}/sharding/{}", n / 10, n % 10));
        let hasher = BuildHasherDefault::<Digest>::default();
        let digests: BTreeSet<u64> = keys.map(|key| hasher.hash_one(key.as_str())).collect();
        assert_eq!(digests.len(), 100_000);
        let lowest: BTreeSet<u64> = digests.iter().map(|digest| digest & 0xF_FFFF).collect();
        // So many of a million places are taken by 100,000 that fall anywhere: 95,163 expected.
        assert!(lowest.len() > 94_000, "{}", lowest.len());
    }

    #[test]
    fn a_key_and_its_text_have_one_digest() {
        let hasher = BuildHasherDefault::<Digest>::default();
        let key = Key::new("/a/b").unwrap();
        assert_eq!(hasher.hash_one(&key), hasher.hash_one("/a/b"));
    }
}
