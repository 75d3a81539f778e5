//! Randomness: one seed, split into streams, so that a draw in one place shifts no other.
//!
//! Splitmix64 (Steele, Lea, Flood 2014): a counter and a mixing function, which is all a simulation
//! needs, the same on every machine and in every release.

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// One stream.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x666C_6F63_6B77_6F72))
    }

    /// Another stream, told from its siblings by a name and a number.
    #[must_use]
    pub fn split(&self, name: &str, number: u64) -> Self {
        let named = name.bytes().fold(self.0, |seed, byte| mix(seed ^ u64::from(byte)));
        Self(mix(named ^ mix(number)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `sides`; 0 if there are none.
    pub fn below(&mut self, sides: u64) -> u64 {
        let bits = self.bits();
        bits.checked_rem(sides).unwrap_or(0)
    }

    /// A number from `low` to `high`, both possible.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something with this many chances in a thousand happens.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of several; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        &of[at]
    }
}

fn mix(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_not_shifted_by_draws_from_another() {
        let seed = Dice::new(7);
        let (mut first, mut second) = (seed.split("network", 1), seed.split("network", 2));
        let alone: Vec<u64> = (0..5).map(|_| second.clone().split("x", 0).bits()).collect();
        let plain = second.clone().bits();
        first.bits();
        assert_eq!(second.bits(), plain);
        assert!(alone.windows(2).all(|pair| pair[0] == pair[1]));
        assert_ne!(seed.split("a", 0).bits(), seed.split("b", 0).bits());
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut dice = Dice::new(1);
        assert!((0..1_000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert_eq!((dice.below(0), dice.between(4, 4)), (0, 4));
        assert!((0..100).all(|_| !dice.chance(0) && dice.chance(1_000)));
    }
}
