//! What is to be looked at before anything is sent: whoever learns something marks the job, or the shard,
//! that it may matter to, and calls nobody.

use crate::names::JobIx;
use flockwork_core::id::ShardIndex;
use std::collections::{BTreeSet, VecDeque};

/// Both kinds of marks.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    jobs: BTreeSet<JobIx>,
    /// Shards of the job whose turn it is, in the order in which they were marked.
    shards: VecDeque<ShardIndex>,
}

impl Dirty {
    pub(crate) fn mark_job(&mut self, job: JobIx) {
        self.jobs.insert(job);
    }

    pub(crate) fn mark_shard(&mut self, shard: ShardIndex) {
        self.shards.push_back(shard);
    }

    /// The next job that is to be looked at as a whole.
    pub(crate) fn next_job(&mut self) -> Option<JobIx> {
        self.jobs.pop_first()
    }

    /// The next shard that is to be looked at in this turn.
    pub(crate) fn next_shard(&mut self) -> Option<ShardIndex> {
        self.shards.pop_front()
    }

    /// Whether every shard that was marked has been looked at: so it is between two turns.
    pub(crate) fn has_no_shard(&self) -> bool {
        self.shards.is_empty()
    }
}
