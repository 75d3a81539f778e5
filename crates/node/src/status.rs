//! A node's view of itself, for pages, metrics and people.

use crate::phase::Phase;
use flockwork_core::execution::{Fire, Run};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::{Mono, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// The status of a whole node.
#[derive(Clone, Debug)]
pub struct Status {
    /// The id of this instance.
    pub instance: InstanceId,
    /// Whether the session is in doubt or gone, so that the node starts nothing.
    pub is_suspended: bool,
    /// The time on the monotonic clock until which the session is proven.
    pub trusted_until: Mono,
    /// Whether the node is on its way out.
    pub is_draining: bool,
    /// The number of runs under way.
    pub running: usize,
    /// The number of due fires that wait for a free place.
    pub waiting: usize,
    /// The number of commits that were sent and not answered.
    pub commits_in_flight: usize,
    /// The node's jobs, each with its name.
    pub jobs: Vec<JobStatus>,
}

/// The status of one job on this node.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The name of the job.
    pub name: JobName,
    /// The phase of the job on this node.
    pub phase: Phase,
    /// The job's schedule as text.
    pub schedule: String,
    /// The job's next due instant, if it is known.
    pub next: Option<Timestamp>,
    /// The instances that serve the job.
    pub instances: Vec<InstanceId>,
    /// The instance that assigns the job's shards.
    pub leader: Option<InstanceId>,
    /// All shards of the job, as this node knows them.
    pub shards: Vec<ShardStatus>,
    /// How far this node's clock is off, if the node takes up nothing of the job for that reason.
    pub clock: Option<ClockStatus>,
}

/// A clock that differs from the registry's by more than a job tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// The difference that the job tolerates.
    pub limit: Duration,
    /// By how many milliseconds this node's clock is at least ahead. A negative number means that the clock
    /// is behind.
    pub ahead: i64,
}

/// The status of one shard, as this node knows it.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The index of the shard.
    pub shard: ShardIndex,
    /// The instance that the shard is assigned to.
    pub owner: Option<InstanceId>,
    /// The shard's run on this node, if one is under way.
    pub run: Option<Arc<Run>>,
    /// The fire of the shard that waits here for a free place.
    pub waiting: Option<Fire>,
    /// Whether the shard's run goes on long after it was told to stop.
    pub is_overdue: bool,
    /// Whether the shard is switched off.
    pub is_disabled: bool,
    /// The code of the shard's last outcome, if this node knows it.
    pub last: Option<&'static str>,
    /// The number of the shard's fires that this node ran.
    pub ran: u64,
}
