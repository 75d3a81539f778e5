//! What the registry holds about a job, by name.

use flockwork_core::id::{InstanceId, ShardIndex};

/// One thing the registry holds about a job. Its row in the table of keys says where it lies, how
/// long it lives and who makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// The job's own node, which holds the implementation string.
    Job,
    /// The job's definition, a YAML document.
    Config,
    /// Parent of the instances that serve the job.
    Instances,
    /// An instance that serves the job.
    Instance(InstanceId),
    /// Parent of the hosts that serve the job or once did.
    Servers,
    /// One host, by address: enabled or disabled.
    Server(String),
    /// Parent of what concerns the leader.
    LeaderRoot,
    /// Parent of the leader's node.
    Election,
    /// The node that names the leader.
    Leader,
    /// A queue of those who would each do something alone.
    Latch(Latch),
    /// Someone who waits at a latch, by the name in the queue: `_c_{uuid}-latch-` and ten digits that
    /// the registry appends. The lowest digits have their turn.
    Candidate(Latch, String),
    /// Parent of the requests for a new assignment.
    ShardingFlags,
    /// A request for a new assignment.
    Necessary,
    /// A mark of ElasticJob's leader: shards are being assigned, which takes it more than one commit.
    Processing,
    /// Parent of what concerns all crashed shards.
    FailoverRoot,
    /// Parent of the crashed shards that nobody has taken over.
    FailoverItems,
    /// A crashed shard that nobody has taken over.
    FailoverItem(ShardIndex),
    /// Parent of the shards.
    Sharding,
    /// Parent of what concerns one shard.
    Shard(ShardIndex),
    /// The instance a shard is assigned to.
    Owner(ShardIndex),
    /// The instance that runs a shard.
    Running(ShardIndex),
    /// A mark: ElasticJob passed over a fire of the shard and is to make up for it.
    Misfire(ShardIndex),
    /// A shard is switched off.
    Disabled(ShardIndex),
    /// A crashed shard was taken over (lives with the taker).
    Failover(ShardIndex),
    /// A crashed shard was taken over (outlives the taker).
    Failovering(ShardIndex),
    /// Parent of requests to run now.
    Triggers,
    /// A request that an instance runs its shards now.
    Trigger(InstanceId),
    /// Parent of what ElasticJob's once-only listeners agree on.
    GuaranteeRoot,
    /// Parent of the shards that have begun, as ElasticJob's once-only listeners count them.
    StartedItems,
    /// A shard that has begun, as ElasticJob's once-only listeners count it.
    Started(ShardIndex),
    /// Parent of the shards that have ended, as ElasticJob's once-only listeners count them.
    CompletedItems,
    /// A shard that has ended, as ElasticJob's once-only listeners count it.
    Completed(ShardIndex),
    /// Parent of the node by which ElasticJob learns the registry's time.
    TimeRoot,
    /// A node that ElasticJob writes to learn the registry's time: when it was changed is now.
    Time,
    /// The host that has the next turn at a job with one shard that goes from host to host.
    NextServer,
    /// Parent of what is ours about the job.
    OwnJob,
    /// Since when the job is served, and under which schedule.
    Plan,
    /// How far our once-only listener of the fire under way has come, a JSON document.
    Once,
    /// Parent of the shards' records.
    Records,
    /// What became of a shard's fires.
    Record(ShardIndex),
    /// Parent of the released attempts.
    Retries,
    /// A released attempt, and the instance it is released to.
    Retry(ShardIndex),
    /// How far an instance's clock is from the registry's.
    Clock(InstanceId),
    /// Parent of what instances say of their clocks.
    Clocks,
    /// An instance that runs nothing new and leaves when its runs have ended.
    Leaver(InstanceId),
    /// Parent of the instances that are leaving.
    Leavers,
    /// Why an instance may not serve the job, a JSON document.
    Ineligible(InstanceId),
    /// Parent of what instances say of why they may not serve the job.
    Ineligibles,
}

/// What each of those who queue would do alone. The queues are Curator's, so that ElasticJob's nodes
/// and ours can stand in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latch {
    /// Become the leader of the job.
    Election,
    /// Take over a crashed shard.
    Failover,
    /// Call a once-only listener before the work of a fire.
    Started,
    /// Call a once-only listener after the work of a fire.
    Completed,
}
