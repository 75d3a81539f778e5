//! The hash function by which runs are looked up: it spreads their numbers.

use std::hash::Hasher;

/// A hasher for numbers that are given one after the other. Such numbers need no more than being spread, by
/// Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4).
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// Folds the high bits into the low bits. The map looks at the lowest bits, and the lowest bits of a
    /// product depend on the lowest bits of its factors alone.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
