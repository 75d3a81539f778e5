//! What a record knows of instants beyond its watermark, where a clock that was ahead has been there.

use super::note::{Fate, Note};
use crate::time::Timestamp;

/// How many spans of instants that ran are kept. If there are more, the nearest are joined, and what lies between
/// them counts as run.
pub const MOST_RAN: usize = 16;

/// What a record keeps of a clock that was ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetBack {
    /// The instants beyond the watermark that ran, ascending; at most [`MOST_RAN`] spans.
    pub ran: Vec<Ran>,
    /// Since when the schedule is in force, if the plan says so by a clock that was ahead.
    pub begins: Option<Begins>,
}

/// The instants from the first to the last: those of them that were due have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// Since when a schedule is in force for a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begins {
    /// Since when it is by the plan. This is about that plan only.
    pub planned: Timestamp,
    /// Since when it is.
    pub from: Timestamp,
}

impl Ran {
    /// Whether an instant is one of them.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.first <= instant && instant <= self.last
    }
}

impl SetBack {
    /// Forgets what matters no more to a shard that has come so far. Returns whether nothing is left.
    ///
    /// A note of fires that lie around an instant that ran does not say that it ran, so both are kept. Since
    /// when the schedule is in force is kept for good: a clock may be set back once more, to before the instant
    /// that the plan names, and what ran before that must be known then.
    pub(super) fn is_over(&mut self, watermark: Timestamp, notes: &[Note]) -> bool {
        let is_around = |ran: &Ran| {
            let mut notes = notes.iter().filter(|note| note.fate != Fate::Withdrawn);
            notes.any(|note| note.span.first < ran.first && ran.last < note.span.last)
        };
        self.ran.retain(|ran| ran.last > watermark || is_around(ran));
        self.ran.is_empty() && self.begins.is_none()
    }
}
