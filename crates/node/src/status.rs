//! A node's view of itself, for pages, metrics and people.

use crate::Phase;
use flockwork_core::execution::{Fire, Run};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::{Mono, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// A whole node.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who it is.
    pub instance: InstanceId,
    /// Whether its session is in doubt or gone, so that it starts nothing.
    pub is_suspended: bool,
    /// Until when, on the monotonic clock, the session is proven.
    pub trusted_until: Mono,
    /// Whether it is on its way out.
    pub is_draining: bool,
    /// Runs under way.
    pub running: usize,
    /// Fires that are due and wait for a free place.
    pub waiting: usize,
    /// Commits sent and not answered.
    pub commits_in_flight: usize,
    /// Its jobs by name.
    pub jobs: Vec<JobStatus>,
}

/// One job on this node.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Its name.
    pub name: JobName,
    /// Where it stands.
    pub phase: Phase,
    /// The schedule as text.
    pub schedule: String,
    /// Its next due instant, if known.
    pub next: Option<Timestamp>,
    /// The instances that serve it.
    pub instances: Vec<InstanceId>,
    /// The one that assigns its shards.
    pub leader: Option<InstanceId>,
    /// All its shards as this node knows them.
    pub shards: Vec<ShardStatus>,
    /// Where this node takes up nothing of it for its clock's sake: how far that is off.
    pub clock: Option<ClockStatus>,
}

/// A clock that differs from the registry's by more than a job tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// What the job tolerates.
    pub limit: Duration,
    /// By how many milliseconds this node's clock is ahead at least; behind, if negative.
    pub ahead: i64,
}

/// One shard as this node knows it.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardIndex,
    /// The instance it is assigned to.
    pub owner: Option<InstanceId>,
    /// Its run on this node, if one is under way.
    pub run: Option<Arc<Run>>,
    /// A fire that waits here for a free place.
    pub waiting: Option<Fire>,
    /// Whether its run goes on long after it was told to stop.
    pub is_overdue: bool,
    /// Whether it is switched off.
    pub is_disabled: bool,
    /// The last outcome's code, if this node knows it.
    pub last: Option<&'static str>,
    /// Fires run by this node.
    pub ran: u64,
}
