//! Which address is tried next, and when.

use std::net::SocketAddr;

/// The first rest after all addresses failed, in milliseconds; it doubles from round to round.
const FIRST_REST: u64 = 25;

/// No attempt is given less time than this, in milliseconds.
const LEAST: u64 = 100;

/// The addresses in turn.
#[derive(Debug)]
pub(super) struct Route {
    addresses: Vec<SocketAddr>,
    /// Counts attempts; the address is its remainder.
    turn: u64,
    /// Attempts left in this round.
    left: usize,
    /// Rounds that failed in a row.
    rounds: u32,
    spread: u64,
}

impl Route {
    pub(super) fn new(spread: u64) -> Self {
        Self { addresses: Vec::new(), turn: spread, left: 0, rounds: 0, spread }
    }

    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>) {
        self.left = addresses.len();
        self.addresses = addresses;
    }

    /// The next address of this round.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        self.left = self.left.checked_sub(1)?;
        let count = u64::try_from(self.addresses.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(self.turn % count).ok()?;
        self.turn = self.turn.wrapping_add(1);
        self.addresses.get(at).copied()
    }

    /// All is well again.
    pub(super) fn arrived(&mut self) {
        self.rounds = 0;
        self.left = 0;
    }

    /// How long to rest once a round has failed: at most a tenth of the time-out, so that no session
    /// ends while its client sleeps; between half and all of it, so that not all come at once.
    pub(super) fn rest(&mut self, timeout: u64) -> u64 {
        let most = (FIRST_REST << self.rounds.min(16)).min(timeout / 10).max(2);
        self.rounds = self.rounds.saturating_add(1);
        let mixed =
            self.spread.wrapping_add(u64::from(self.rounds)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        most / 2 + (mixed >> 32) % (most - most / 2)
    }

    /// How long one connection may take: all addresses have their try within a third of the
    /// time-out.
    pub(super) fn patience(&self, timeout: u64) -> u64 {
        let count = u64::try_from(self.addresses.len()).unwrap_or(u64::MAX).max(1);
        (timeout / 3 / count).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_turn_and_the_next_round_starts_elsewhere() {
        let addresses: Vec<SocketAddr> =
            (1..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let mut route = Route::new(7);
        let round = |route: &mut Route| {
            route.resolved(addresses.clone());
            std::iter::from_fn(|| route.next()).map(|address| address.port()).collect::<Vec<_>>()
        };
        assert_eq!(round(&mut route), [2, 3, 1]);
        assert_eq!(route.next(), None);
        route.resolved(addresses.clone());
        route.next();
        route.arrived();
        assert_eq!(round(&mut route), [3, 1, 2]);
    }

    #[test]
    fn rests_grow_to_a_tenth_of_the_time_out_and_differ() {
        for spread in 0..50 {
            let mut route = Route::new(spread);
            let rests: Vec<u64> = (0..40).map(|_| route.rest(4_000)).collect();
            assert!(rests[0] <= 25 && rests.iter().all(|rest| *rest < 400), "{rests:?}");
            assert!(rests[39] >= 200, "{rests:?}");
        }
        let rests = [1, 2].map(|spread| Route::new(spread).rest(400_000));
        assert_ne!(rests[0], rests[1]);
    }
}
