//! Scripts, as far as a node sees anything of them: which jobs run one, and when which host cannot start it.

use crate::dice::Dice;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Script, Work};
use std::ops::Range;
use std::sync::Arc;

/// How many jobs of a seed that has any run a script, of a thousand. The first one, which is to have much to do,
/// runs none.
const WITH_SCRIPT: u64 = 400;

/// How long the edge takes at most until it looks again, and until it answers when it is asked: milliseconds.
pub(crate) const LOOKS_WITHIN: u64 = 3_000;
const ANSWERS_WITHIN: u64 = 60;

/// The shortest spells are over within the grace.
const LENGTHS: [u64; 6] = [1_000, 4_000, 12_000, 60_000, 200_000, 900_000];

/// As long may nobody be able to start a script: much less than a crashed run may wait for somebody.
const NOBODY: [u64; 3] = [1_000, 4_000, 15_000];

/// How often a host cannot start a script, of a seed: mean milliseconds between two spells; 0 for never.
pub(crate) fn rate(dice: &mut Dice) -> u64 {
    *dice.pick(&[0, 0, 0, 300_000, 900_000])
}

/// Lets a job run a script, if the dice say so.
pub(crate) fn put_on(config: &mut JobConfig, dice: &mut Dice, number: u64) {
    if number > 0 && dice.chance(WITH_SCRIPT) {
        let argv = vec![format!("/scripts/{}", config.name)];
        config.work = Arc::new(Work::Script(Script { argv }));
        config.implementation = "SCRIPT".to_owned();
    }
}

/// When a host cannot start the script of a job, up to an instant. The first host nearly always can.
pub(crate) fn spells(dice: &mut Dice, is_first: bool, mean: u64, end: u64) -> Vec<Range<u64>> {
    let lengths = if is_first { &NOBODY[..] } else { &LENGTHS };
    let starts_able = is_first || dice.chance(700);
    let mut at = if starts_able { dice.between(mean / 4, mean * 7 / 4) } else { 0 };
    let mut spells = Vec::new();
    while at < end {
        let until = at + *dice.pick(lengths);
        spells.push(at..until);
        at = until + dice.between(mean / 4, mean * 7 / 4);
    }
    spells
}

/// After how long the edge answers when it is asked: mostly at once.
pub(crate) fn answers_after(dice: &mut Dice) -> u64 {
    let within = if dice.chance(50) { LOOKS_WITHIN } else { ANSWERS_WITHIN };
    dice.below(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_follow_each_other_and_the_first_host_is_soon_able_again() {
        for seed in 0..50 {
            for is_first in [true, false] {
                let spells = spells(&mut Dice::new(seed), is_first, 300_000, 3_600_000);
                assert!(!spells.is_empty());
                assert!(spells.windows(2).all(|two| two[0].end < two[1].start), "{spells:?}");
                let longest = spells.iter().map(|spell| spell.end - spell.start).max();
                assert!(
                    !is_first || (longest <= Some(15_000) && spells[0].start > 0),
                    "{spells:?}"
                );
            }
        }
    }
}
