//! A node's view of itself, for pages, metrics and people.

use flockwork_core::execution::{Fire, Run};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use std::sync::Arc;

/// A whole node.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who it is.
    pub instance: InstanceId,
    /// Whether its session is proven: whether it may start anything.
    pub is_trusted: bool,
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

/// Where a job stands on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its place in the registry is being read or made.
    Joining,
    /// It is served.
    Serving,
    /// It is refused; the report said why.
    Refused,
    /// It is being left.
    Leaving,
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
    /// The last outcome's code, if this node knows it.
    pub last: Option<&'static str>,
    /// Fires run by this node.
    pub ran: u64,
}
