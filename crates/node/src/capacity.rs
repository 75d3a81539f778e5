//! Places for runs: which run has a place, and which fire waits for one.
#![expect(clippy::disallowed_types, reason = "its order is never seen outside this file")]

use crate::names::JobIx;
use crate::spread::Spread;
use flockwork_core::execution::{Fire, RunId};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

/// The job that a run belongs to, and its shard. A run that belongs to no shard is a call of the job's
/// listener.
pub(crate) type Whose = (JobIx, Option<ShardIndex>);

/// A shard whose fire waits for a free place.
pub(crate) type Waits = (JobIx, ShardIndex);

/// All places of a node.
///
/// A run has a place from the sending of its claim until the registry knows of its end. Runs are looked up by
/// hash, because that is done for each run. Several runs are handled in the order of their numbers, because
/// what a node does follows only from what it is told.
#[derive(Debug)]
pub(crate) struct Capacity {
    most: usize,
    last_run: u64,
    runs: HashMap<RunId, Whose, BuildHasherDefault<Spread>>,
    /// The fires that wait for a free place, by due instant.
    waiting: BTreeSet<(Timestamp, JobIx, ShardIndex)>,
}

impl Capacity {
    /// Creates places for `most` runs at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, last_run: 0, runs: HashMap::default(), waiting: BTreeSet::new() }
    }

    /// Returns a name for a run that no other run of this node has.
    pub(crate) fn name_run(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    pub(crate) fn take(&mut self, run: RunId, whose: Whose) {
        self.runs.insert(run, whose);
    }

    pub(crate) fn free(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    pub(crate) fn whose(&self, run: RunId) -> Option<Whose> {
        self.runs.get(&run).copied()
    }

    /// Returns all runs with a place, in the order of their numbers.
    pub(crate) fn runs(&self) -> Vec<(RunId, Whose)> {
        let mut runs: Vec<_> = self.runs.iter().map(|(run, whose)| (*run, *whose)).collect();
        runs.sort_unstable();
        runs
    }

    pub(crate) fn running(&self) -> usize {
        self.runs.len()
    }

    /// Returns whether there is a place for another run.
    pub(crate) fn has_room(&self) -> bool {
        self.runs.len() < self.most
    }

    /// Returns whether a fire may be claimed before it is due. Fires that are due go first: half of the
    /// places are kept for them.
    pub(crate) fn has_room_ahead(&self) -> bool {
        self.waiting.is_empty() && self.runs.len() < self.most / 2
    }

    /// Returns whether a fire may run now: there is room, and no fire that was due earlier waits for it.
    pub(crate) fn is_next(&self, fire: Fire) -> bool {
        self.has_room() && self.waiting.first().is_none_or(|(due, ..)| *due >= fire.due)
    }

    pub(crate) fn wait(&mut self, due: Timestamp, (job, shard): Waits) {
        self.waiting.insert((due, job, shard));
    }

    pub(crate) fn wait_no_more(&mut self, due: Timestamp, (job, shard): Waits) {
        self.waiting.remove(&(due, job, shard));
    }

    /// Returns how many fires wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether the shard's fire with this due instant waits.
    pub(crate) fn waits(&self, due: Timestamp, (job, shard): Waits) -> bool {
        self.waiting.contains(&(due, job, shard))
    }

    /// Takes the shard whose fire waits longest, if there is room for it.
    pub(crate) fn admit(&mut self) -> Option<Waits> {
        if !self.has_room() {
            return None;
        }
        self.waiting.pop_first().map(|(_, job, shard)| (job, shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::execution::Source;

    fn fire(due: i64) -> Fire {
        Fire { due: Timestamp::from_millis(due), source: Source::Schedule }
    }

    #[test]
    fn whoever_was_due_first_has_the_next_free_place() {
        let mut capacity = Capacity::new(1);
        let waits = |shard| (JobIx(0), shard);
        let run = capacity.name_run();
        capacity.take(run, (JobIx(0), Some(0)));
        for (due, shard) in [(30, 1), (10, 2)] {
            capacity.wait(Timestamp::from_millis(due), waits(shard));
        }
        assert_eq!(capacity.admit(), None, "there is no room");
        capacity.free(run);
        assert!(!capacity.is_next(fire(20)), "another was due before");
        assert!(capacity.is_next(fire(10)));
        assert_eq!(capacity.admit(), Some(waits(2)));
    }

    #[test]
    fn half_of_the_places_are_kept_for_what_is_due() {
        let mut capacity = Capacity::new(4);
        for shard in 0..2 {
            assert!(capacity.has_room_ahead());
            let run = capacity.name_run();
            capacity.take(run, (JobIx(0), Some(shard)));
        }
        assert!(capacity.has_room() && !capacity.has_room_ahead());
    }

    #[test]
    fn runs_are_told_in_the_order_of_their_numbers() {
        let mut capacity = Capacity::new(9);
        let runs: Vec<_> = (0..9).map(|_| capacity.name_run()).collect();
        for run in runs.iter().rev() {
            capacity.take(*run, (JobIx(7), Some(0)));
        }
        assert!(capacity.runs().into_iter().map(|(run, _)| run).eq(runs));
    }
}
