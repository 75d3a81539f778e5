//! Judges runs: one file for each invariant, from traces alone.
//!
//! A trace ([`trace`]) is what the registry committed, what the user code itself wrote down, what
//! nodes were told about their sessions, and which faults really happened; never what a node says
//! about itself. Simulation and real runs write the same form, so one checker judges both.
//!
//! In reading order: the form ([`trace`]), one shard's claims as they follow from it ([`story`]),
//! when a schedule is due ([`due`]), and the invariants: [`p01_one_holder`],
//! [`p03_every_fire_accounted`], [`p04_nothing_invented`], [`p10_unknown_is_not_no`].

pub mod due;
pub mod p01_one_holder;
pub mod p03_every_fire_accounted;
pub mod p04_nothing_invented;
pub mod p10_unknown_is_not_no;
pub mod story;
pub mod trace;
pub mod verdict;

pub use trace::{Fact, Line};
pub use verdict::{Verdict, Witness};

use story::Stories;

/// An invariant: its name, and what judges it.
pub type Invariant = (&'static str, fn(&[Line], &Stories<'_>) -> Verdict);

/// All invariants that are judged.
pub const INVARIANTS: [Invariant; 4] = [
    (p01_one_holder::NAME, p01_one_holder::judge),
    (p03_every_fire_accounted::NAME, p03_every_fire_accounted::judge),
    (p04_nothing_invented::NAME, p04_nothing_invented::judge),
    (p10_unknown_is_not_no::NAME, p10_unknown_is_not_no::judge),
];

/// Judges a whole trace by every invariant.
///
/// A trace that does not tell a whole story (no node, no commit, no end) is `Unknown` by each: a
/// run in which nothing happened proves nothing.
#[must_use]
pub fn judge(trace: &[Line]) -> Vec<(&'static str, Verdict)> {
    judge_story(trace, &Stories::read(trace))
}

/// Judges a trace whose stories were read already.
#[must_use]
pub fn judge_story(trace: &[Line], stories: &Stories<'_>) -> Vec<(&'static str, Verdict)> {
    if let Some(why) = verdict::cannot_be_judged(trace) {
        return INVARIANTS.iter().map(|(name, _)| (*name, Verdict::Unknown(why.clone()))).collect();
    }
    INVARIANTS.iter().map(|(name, judge)| (*name, judge(trace, stories))).collect()
}
