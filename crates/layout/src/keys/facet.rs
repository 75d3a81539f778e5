//! What the registry holds about a job, by name.

use super::row::{Kind, Lifetime, Maker, Row, Tree};
use super::table::ROWS;
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
    /// Parent of the requests for a new assignment.
    ShardingFlags,
    /// A request for a new assignment.
    Necessary,
    /// Parent of the shards.
    Sharding,
    /// Parent of what concerns one shard.
    Shard(ShardIndex),
    /// The instance a shard is assigned to.
    Owner(ShardIndex),
    /// The instance that runs a shard.
    Running(ShardIndex),
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
    /// Parent of what is ours about the job.
    OwnJob,
    /// Since when the job is served, and under which schedule.
    Plan,
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
}

impl Facet {
    /// The folders that come with a job, parents first.
    pub fn folders() -> impl Iterator<Item = Self> {
        let with_job = ROWS.iter().filter(|row| row.is_folder());
        with_job.filter_map(|row| Self::read(row.tree, row.path))
    }

    /// Whether the key is a folder that comes with a job, empty by itself.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.row().is_folder()
    }

    /// Whether the key's children are a list: of instances, shards or hosts. Then their names are
    /// what there is to read.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.row().kind == Kind::List
    }

    /// Whether the key lies in our own tree.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.row().tree == Tree::Own
    }

    /// How long the key lives once it is made.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.row().lifetime
    }

    /// Who makes the key.
    #[must_use]
    pub fn made_by(&self) -> Maker {
        self.row().maker
    }
}

impl Row {
    fn is_folder(&self) -> bool {
        self.kind != Kind::Value && self.maker == Maker::Starter
    }
}
