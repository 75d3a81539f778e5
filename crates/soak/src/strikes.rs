//! Which fault comes next, and how it is made.

use crate::fleet::Fleet;
use crate::registry::Trouble;
use anyhow::Result;
use flockwork_sim::dice::Dice;
use std::time::Duration;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strike {
    /// A node is killed, and comes back later.
    Kill,
    /// Two nodes are killed together.
    KillTwo,
    /// All are killed: for a while no node lives.
    KillAll,
    /// A node stands still for less than its session's time-out.
    PauseWithin,
    /// A node stands still beyond it.
    PauseBeyond,
    /// A node is told to stop, and another process takes its place.
    Drain,
    /// All nodes are, one after the other.
    Roll,
    /// The registry, or the way to it, is in trouble.
    Registry(Trouble),
}

/// Faults in turn: each kind once, in an order by the seed, then again in another.
#[derive(Debug)]
pub struct Strikes {
    dice: Dice,
    kinds: Vec<Strike>,
    bag: Vec<Strike>,
    /// A session's time-out in milliseconds: what is short and what is long.
    session: u64,
}

impl Strikes {
    /// All kinds that a registry can have, and that end within `every`.
    #[must_use]
    pub fn new(seed: u64, troubles: &[Trouble], session: Duration, every: Duration) -> Self {
        let mut kinds = vec![
            Strike::Kill,
            Strike::KillTwo,
            Strike::KillAll,
            Strike::PauseWithin,
            Strike::PauseBeyond,
            Strike::Drain,
        ];
        kinds.extend(troubles.iter().copied().map(Strike::Registry));
        // Three nodes have to end their runs one after the other.
        if every >= Duration::from_secs(15) {
            kinds.push(Strike::Roll);
        }
        let session = u64::try_from(session.as_millis()).unwrap_or(u64::MAX);
        Self { dice: Dice::new(seed), kinds, bag: Vec::new(), session }
    }

    /// How many kinds there are.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// The next fault.
    pub fn draw(&mut self) -> Strike {
        if self.bag.is_empty() {
            self.bag = self.kinds.clone();
            for last in (1..self.bag.len()).rev() {
                let other = usize::try_from(self.dice.below(last as u64 + 1)).unwrap_or(0);
                self.bag.swap(last, other);
            }
        }
        self.bag.pop().unwrap_or(Strike::Kill)
    }

    /// A time of so many tenths of the session's time-out.
    fn tenths(&mut self, low: u64, high: u64) -> Duration {
        let tenths = self.dice.between(low, high);
        Duration::from_millis(self.session * tenths / 10)
    }

    /// Makes a fault and all that belongs to it; returns when the nodes are there again, with what
    /// was seen of it.
    ///
    /// # Errors
    /// If it could not be made, or something does not come back.
    pub fn make(&mut self, strike: Strike, fleet: &mut Fleet) -> Result<String> {
        let numbers = fleet.numbers();
        let first = usize::try_from(self.dice.below(numbers.len() as u64))?;
        let node = numbers[first];
        match strike {
            Strike::Kill => self.kill(fleet, &[node]),
            Strike::KillTwo => self.kill(fleet, &[node, numbers[(first + 1) % numbers.len()]]),
            Strike::KillAll => self.kill(fleet, &numbers),
            Strike::PauseWithin => fleet.pause(node, self.tenths(2, 6)),
            Strike::PauseBeyond => fleet.pause(node, self.tenths(13, 20)),
            Strike::Drain => self.roll(fleet, &[node]),
            Strike::Roll => self.roll(fleet, &numbers),
            Strike::Registry(trouble) => {
                let long = match trouble {
                    Trouble::Killed => self.tenths(1, 8),
                    Trouble::Still => self.tenths(2, 8),
                    Trouble::Cut => [self.tenths(0, 1), self.tenths(7, 9), self.tenths(13, 18)]
                        [usize::try_from(self.dice.below(3))?],
                    Trouble::NoRequests | Trouble::NoAnswers => self.tenths(3, 16),
                };
                fleet.trouble(trouble, node, long)
            }
        }
    }

    /// Others take over before they come back, or not, as it falls.
    fn kill(&mut self, fleet: &mut Fleet, nodes: &[u32]) -> Result<String> {
        let killed: Result<Vec<String>> = nodes.iter().map(|node| fleet.kill(*node)).collect();
        std::thread::sleep(self.tenths(1, 16));
        nodes.iter().try_for_each(|node| fleet.start(*node))?;
        Ok(killed?.join(", "))
    }

    fn roll(&mut self, fleet: &mut Fleet, nodes: &[u32]) -> Result<String> {
        let mut ended = Vec::new();
        for node in nodes {
            ended.push(fleet.drain(*node)?);
            fleet.start(*node)?;
        }
        Ok(ended.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_comes_before_any_comes_again_and_the_seed_decides_the_order() {
        let troubles = [Trouble::Killed, Trouble::Cut];
        let draw = |seed| {
            let (session, every) = (Duration::from_secs(4), Duration::from_secs(20));
            let mut strikes = Strikes::new(seed, &troubles, session, every);
            let kinds = strikes.kinds();
            (0..2 * kinds).map(|_| strikes.draw()).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        let half = drawn.len() / 2;
        let (first, second): (BTreeSet<_>, BTreeSet<_>) =
            (drawn[..half].iter().collect(), drawn[half..].iter().collect());
        assert_eq!((first.len(), &first), (9, &second));
        assert_eq!(drawn, draw(1));
        assert!((2..20).any(|seed| draw(seed) != drawn));
    }
}
