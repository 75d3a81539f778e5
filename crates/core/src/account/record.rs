//! A shard's record: all that the registry keeps about its fires.

use super::beyond::{Ran, SetBack};
use super::note::{Fate, Note};
use crate::execution::{Fire, Source};
use crate::id::InstanceId;
use crate::time::Timestamp;
use std::sync::Arc;

/// How many notes a record keeps.
pub const NOTES: usize = 8;

/// A shard's record. Its entry's last change is its claim's epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Every fire due up to here is accounted.
    pub watermark: Timestamp,
    /// The claim that is held, or was released to be tried again.
    pub claim: Option<Claim>,
    /// The last run that ended.
    pub last: Option<Arc<Last>>,
    /// How many fires met which fate, since the record was made.
    pub counts: Counts,
    /// The newest fates other than a plain run, oldest first; at most [`NOTES`]. Of the older half, the one that
    /// spans the shortest time goes first: the long ones tell which fires a clock that was ahead passed over.
    pub notes: Vec<Note>,
    /// What is left of a clock that was ahead, once the watermark was set back.
    pub set_back: Option<Box<SetBack>>,
}

/// The right to run one fire of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// For which fire.
    pub fire: Fire,
    /// Which run of it, from 1.
    pub attempt: u32,
    /// How many of its runs crashed.
    pub crashes: u32,
    /// Who made it.
    pub instance: InstanceId,
    /// Tells this claim from others of the same instance, so that a lost answer can be resolved.
    pub nonce: u64,
    /// When it was made, by the wall clock of whoever made it.
    pub at: Timestamp,
    /// Whether its mark in ElasticJob's tree outlives the session.
    pub mark_lasts: bool,
    /// Whether it is held.
    pub state: ClaimState,
}

impl Claim {
    /// Since when its code may run: from its making on, or, if it was made ahead, from the instant that
    /// it is for. A trigger's instant is its name only.
    #[must_use]
    pub fn begins(&self) -> Timestamp {
        match self.fire.source {
            Source::Trigger => self.at,
            _ => self.at.max(self.fire.due),
        }
    }
}

/// Whether a claim is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Its run is under way.
    Held,
    /// Its run failed and is to be tried again.
    Released {
        /// By whom.
        to: InstanceId,
        /// Not before.
        not_before: Timestamp,
        /// Whether a retry node tells that instance.
        is_signalled: bool,
    },
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The fire it belonged to.
    pub fire: Fire,
    /// Which run of it.
    pub attempt: u32,
    /// Who ran it.
    pub instance: InstanceId,
    /// Its claim's nonce.
    pub nonce: u64,
    /// Since when its code could run.
    pub started: Timestamp,
    /// When it ended, or was found to have.
    pub ended: Timestamp,
    /// The ending's stable code; `OK` for success.
    pub code: String,
    /// The ending in words; empty for success.
    pub text: String,
    /// The end of its output.
    pub output_tail: String,
    /// Rows it said it had done.
    pub rows: u64,
    /// Bytes it said it had done.
    pub bytes: u64,
}

/// How many fires met which fate, and how runs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fires that a run was claimed for, triggers among them.
    pub ran: u64,
    /// Of these, asked for by a trigger.
    pub triggered: u64,
    /// Fires that one later run made up for.
    pub misfired: u64,
    /// Fires not run on purpose.
    pub skipped: u64,
    /// Fires due while no node lived.
    pub missed: u64,
    /// Runs that ended well.
    pub succeeded: u64,
    /// Runs that ended otherwise.
    pub failed: u64,
    /// Runs whose instance was gone.
    pub crashed: u64,
}

impl Counts {
    /// The count of fires that met a fate. What was withdrawn is counted nowhere.
    pub(super) fn of(&mut self, fate: Fate) -> Option<&mut u64> {
        Some(match fate {
            Fate::Ran => &mut self.ran,
            Fate::Misfired => &mut self.misfired,
            Fate::Skipped => &mut self.skipped,
            Fate::Missed => &mut self.missed,
            Fate::Withdrawn => return None,
        })
    }
}

impl Record {
    /// Takes fates in: raises the counts, keeps the newest notes.
    pub fn account(&mut self, notes: &[Note]) {
        for note in notes {
            if let Some(count) = self.counts.of(note.fate) {
                *count = count.saturating_add(note.span.fires);
            }
            if note.fate != Fate::Ran {
                self.keep(*note);
            }
            self.watermark = self.watermark.max(note.span.last);
        }
        let notes = &self.notes;
        self.set_back.take_if(|left| left.is_over(self.watermark, notes));
    }

    /// Keeps a note. It goes on where the newest one ended if nothing else was accounted since.
    pub(super) fn keep(&mut self, note: Note) {
        let newest = self.notes.last_mut().filter(|newest| {
            (newest.fate, newest.reason) == (note.fate, note.reason)
                && newest.span.last == self.watermark
                && note.span.first > self.watermark
        });
        match newest {
            Some(newest) => {
                newest.span.last = note.span.last;
                newest.span.fires = newest.span.fires.saturating_add(note.span.fires);
            }
            None => self.notes.push(note),
        }
        if self.notes.len() > NOTES {
            let older = 0..NOTES / 2;
            let shortest = older.min_by_key(|at| self.notes[*at].weight());
            self.notes.remove(shortest.unwrap_or(0));
        }
    }

    /// Since when a schedule is in force for the shard that, by the plan, is in force since `planned`.
    #[must_use]
    pub fn begins(&self, planned: Timestamp) -> Timestamp {
        let begins = self.set_back.as_ref().and_then(|left| left.begins);
        begins.filter(|begins| begins.planned == planned).map_or(planned, |begins| begins.from)
    }

    /// The instants that ran by a clock that was ahead, ascending.
    #[must_use]
    pub fn ran_ahead(&self) -> &[Ran] {
        self.set_back.as_ref().map_or(&[], |left| &left.ran)
    }

    /// Whether the claim that is held is the one with this nonce of this instance.
    #[must_use]
    pub fn is_held_by(&self, instance: &InstanceId, nonce: u64) -> bool {
        self.claim.as_ref().is_some_and(|claim| {
            claim.state == ClaimState::Held && claim.instance == *instance && claim.nonce == nonce
        })
    }
}
