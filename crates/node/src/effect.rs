//! What a node wants done, and what it reports.

use flockwork_core::account::{Fate, Reason};
use flockwork_core::execution::{CancelReason, Outcome, Run, RunId};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_registry::{Request, SessionId, Ticket};
use std::sync::Arc;
use std::time::Duration;

/// One thing to do. Effects are carried out in their order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a request to the registry.
    Submit(Ticket, Request),
    /// Start user code. Its claim is proven; what ends it is told by
    /// [`Event::RunEnded`](crate::Event::RunEnded), exactly once, or, if it was not started after
    /// all, by [`Event::NotStarted`](crate::Event::NotStarted).
    Start(Arc<Run>),
    /// Tell a run to stop. It still ends by [`Event::RunEnded`](crate::Event::RunEnded).
    Cancel(RunId, CancelReason),
    /// Tell people and metrics.
    Report(Report),
    /// Everything is left in order; the session may be closed.
    Drained,
}

/// Fires of one shard that met the same fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The job.
    pub job: JobName,
    /// The shard.
    pub shard: ShardIndex,
    /// What became of them.
    pub fate: Fate,
    /// Why.
    pub reason: Reason,
    /// How many fires.
    pub fires: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

/// A fact, told after it is certain.
#[derive(Clone, Debug)]
pub enum Report {
    /// The session lives: work may start.
    SessionLive(SessionId),
    /// The session is not proven: nothing new starts.
    SessionSuspended(String),
    /// The session ended; the node joins again with a new one.
    SessionEnded(SessionId),
    /// This node now serves a job. `differences` lists what the registry's definition, which
    /// counts, says otherwise than the node's own (`key: registry value, own value`).
    Serving {
        /// The job.
        job: JobName,
        /// Differences that were left as the registry has them.
        differences: Vec<String>,
        /// Differences that were overwritten by this node's definition.
        applied: bool,
    },
    /// This node does not serve a job, and why, as a stable code and a sentence.
    Refused {
        /// The job.
        job: JobName,
        /// The stable code.
        code: &'static str,
        /// What is wrong, and what to do.
        text: String,
    },
    /// A job was removed from the registry, or an operator took this instance off it.
    Left {
        /// The job.
        job: JobName,
        /// Why, for people.
        why: &'static str,
    },
    /// This node now assigns a job's shards.
    Leading(JobName),
    /// This node dealt a job's shards anew.
    Assigned {
        /// The job.
        job: JobName,
        /// How many shards changed their instance.
        moved: usize,
        /// How many instances share them.
        instances: usize,
    },
    /// User code starts now.
    Started {
        /// The run.
        run: Arc<Run>,
        /// How long after it was due.
        late: Duration,
    },
    /// A run ended and the registry knows it.
    Ended {
        /// The run.
        run: Arc<Run>,
        /// How.
        outcome: Outcome,
        /// How long its code ran.
        took: Duration,
        /// If it will be tried again: where and when.
        retry: Option<(InstanceId, Timestamp)>,
    },
    /// A run ended, but its shard had been taken by then: its outcome counts for nothing.
    Superseded {
        /// The run.
        run: Arc<Run>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A run of an instance that is gone was found; it will be run again here, or not at all.
    FoundCrashed {
        /// The job.
        job: JobName,
        /// The shard.
        shard: ShardIndex,
        /// The instance that ran it.
        instance: InstanceId,
        /// Whether it is run again.
        taken: bool,
    },
    /// What became of fires.
    Accounted(Account),
    /// A request to run a job now was taken, or refused with a reason.
    Triggered {
        /// The job.
        job: JobName,
        /// How many shards of it start here.
        shards: usize,
        /// Why some do not.
        refused: Option<&'static str>,
    },
    /// This node's clock agrees with the registry's again, as a job wants it: what was held up by
    /// that (code `CLOCK_DIFFERS`) goes on.
    ClockAgrees(JobName),
    /// A blocking run does not stop though it was told to.
    Overdue(Arc<Run>),
    /// Something is wrong that a person may have to look at.
    Trouble {
        /// The job, if it is about one.
        job: Option<JobName>,
        /// A stable code.
        code: &'static str,
        /// What, and what to do.
        text: String,
    },
}
