//! The jobs and shards that are to be looked at before anything is sent. A part that learns something marks
//! the job or the shard that it may matter to, and calls no other part.

use crate::names::JobIx;
use flockwork_core::id::ShardIndex;
use std::collections::{BTreeSet, VecDeque};

/// The job marks and the shard marks.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    jobs: BTreeSet<JobIx>,
    /// The marked shards of the job whose turn it is, in the order of their marks. A turn marks all shards of
    /// its job a few times at most, and ends with none marked.
    shards: VecDeque<ShardIndex>,
}

impl Dirty {
    pub(crate) fn mark_job(&mut self, job: JobIx) {
        self.jobs.insert(job);
    }

    pub(crate) fn mark_shard(&mut self, shard: ShardIndex) {
        self.shards.push_back(shard);
    }

    /// Takes the next job that is to be looked at as a whole.
    pub(crate) fn next_job(&mut self) -> Option<JobIx> {
        self.jobs.pop_first()
    }

    /// Takes the next shard that is to be looked at in this turn.
    pub(crate) fn next_shard(&mut self) -> Option<ShardIndex> {
        self.shards.pop_front()
    }

    /// Returns whether every marked shard has been looked at, as is the case between two turns.
    pub(crate) fn has_no_shard(&self) -> bool {
        self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_turn_for_all_its_marks() {
        let mut dirty = Dirty::default();
        for job in [2, 0, 2] {
            dirty.mark_job(JobIx(job));
        }
        let jobs: Vec<_> = std::iter::from_fn(|| dirty.next_job()).collect();
        assert_eq!(jobs, [JobIx(0), JobIx(2)]);
    }

    #[test]
    fn shards_have_their_turn_in_the_order_of_their_marks_whatever_is_marked_meanwhile() {
        let mut dirty = Dirty::default();
        assert!(dirty.has_no_shard());
        dirty.mark_shard(3);
        dirty.mark_shard(1);
        assert_eq!(dirty.next_shard(), Some(3));
        dirty.mark_shard(3);
        assert!(!dirty.has_no_shard());
        let shards: Vec<_> = std::iter::from_fn(|| dirty.next_shard()).collect();
        assert_eq!(shards, [1, 3]);
        assert!(dirty.has_no_shard());
    }
}
