//! Judges runs: one file for each invariant, from traces alone.
//!
//! A trace ([`trace`]) is what the registry committed, what the user code itself wrote down, what
//! nodes were told about their sessions, and which faults really happened; never what a node says
//! about itself. Simulation and real runs write the same form, so one checker judges both.
//!
//! In reading order: the form ([`trace`]), one shard's claims as they follow from it ([`story`]),
//! its job's calls of a listener ([`listened`]), when a schedule is due ([`due`]), when a cluster was left alone ([`weather`]), the invariants, a file
//! each, by their numbers; and how a trace is made of what a registry held ([`committed`]) and
//! told to people ([`timeline`]).

pub mod committed;
pub mod due;
pub mod listened;
pub mod p01_one_holder;
pub mod p03_every_fire_accounted;
pub mod p04_nothing_invented;
pub mod p05_never_early;
pub mod p06_taken_over;
pub mod p07_over_is_over;
pub mod p08_all_assigned;
pub mod p09_nothing_waits;
pub mod p10_unknown_is_not_no;
pub mod p11_config_kept;
pub mod p12_asked_once;
pub mod p17_clean_stop;
pub mod p18_clock_steps;
pub mod p20_releases;
pub mod p21_all_join;
pub mod p22_listener;
pub mod p23_who_may;
pub mod story;
pub mod timeline;
pub mod trace;
pub mod verdict;
pub mod weather;

pub use trace::{Fact, Line, Unseen};
pub use verdict::{Verdict, Witness};

use story::Stories;

/// An invariant: its name, and what judges it.
pub type Invariant = (&'static str, fn(&[Line], &Stories<'_>) -> Verdict);

/// All invariants that are judged.
pub const INVARIANTS: [Invariant; 17] = [
    (p01_one_holder::NAME, p01_one_holder::judge),
    (p03_every_fire_accounted::NAME, p03_every_fire_accounted::judge),
    (p04_nothing_invented::NAME, p04_nothing_invented::judge),
    (p05_never_early::NAME, p05_never_early::judge),
    (p06_taken_over::NAME, p06_taken_over::judge),
    (p07_over_is_over::NAME, p07_over_is_over::judge),
    (p08_all_assigned::NAME, p08_all_assigned::judge),
    (p09_nothing_waits::NAME, p09_nothing_waits::judge),
    (p10_unknown_is_not_no::NAME, p10_unknown_is_not_no::judge),
    (p11_config_kept::NAME, p11_config_kept::judge),
    (p12_asked_once::NAME, p12_asked_once::judge),
    (p17_clean_stop::NAME, p17_clean_stop::judge),
    (p18_clock_steps::NAME, p18_clock_steps::judge),
    (p20_releases::NAME, p20_releases::judge),
    (p21_all_join::NAME, p21_all_join::judge),
    (p22_listener::NAME, p22_listener::judge),
    (p23_who_may::NAME, p23_who_may::judge),
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
    let judged = INVARIANTS.iter().map(|(name, judge)| {
        let lacking: Vec<Unseen> =
            rests_on(name).iter().filter(|what| stories.unseen.contains(what)).copied().collect();
        (*name, judge(trace, stories).as_far_as_seen(&lacking))
    });
    judged.collect()
}

/// Which parts of a trace an invariant cannot do without, of those that a real run may lack.
fn rests_on(invariant: &str) -> &'static [Unseen] {
    match invariant {
        p01_one_holder::NAME => &[Unseen::Guards, Unseen::Writers],
        p04_nothing_invented::NAME | p12_asked_once::NAME => &[Unseen::Writers],
        p10_unknown_is_not_no::NAME => &[Unseen::Trust],
        p11_config_kept::NAME => &[Unseen::Guards, Unseen::Trust, Unseen::Writers],
        _ => &[],
    }
}
