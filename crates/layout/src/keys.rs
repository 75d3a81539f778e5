//! The only place that spells registry keys: ElasticJob's tree under `/{namespace}`, ours in the
//! sibling `/{namespace}.flockwork`, since to ElasticJob every child of the namespace is a job.
//!
//! ```text
//! /{ns}/{job}                          the implementation string
//!   config                             the definition (YAML)
//!   instances/{instance}               session   the instance document
//!   servers/{ip}                       ENABLED or DISABLED
//!   leader/election/instance           session   the leader's id
//!   leader/sharding/necessary          someone asks for a new assignment
//!   sharding/{i}/instance              the owner's id
//!   sharding/{i}/running               the runner's id; session, unless failover or retries
//!   sharding/{i}/disabled              the shard is switched off
//!   sharding/{i}/failover, failovering taken over by
//!   trigger/{instance}                 run now
//! /{ns}.flockwork/{job}
//!   plan                               since when, under which schedule
//!   records/{i}                        what became of the shard's fires
//!   retries/{i}                        a released attempt, and for whom
//!   clocks/{instance}                  session   how far its clock is from the registry's
//!   leaving/{instance}                 session   it is to be dealt no shards
//! ```

use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_registry::Key;
use std::fmt;

/// A namespace: one or more parts, each as a job name may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(String);

/// A text that is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a namespace: {0:?}; it reads part or part/part, e.g. flockwork")]
pub struct BadNamespace(pub String);

impl Namespace {
    /// Checks and keeps a namespace, without leading slash.
    ///
    /// # Errors
    /// [`BadNamespace`], if a part could not be a job's name.
    pub fn new(text: &str) -> Result<Self, BadNamespace> {
        match text.split('/').all(|part| JobName::new(part).is_ok()) && text.len() <= 256 {
            true => Ok(Self(text.to_owned())),
            false => Err(BadNamespace(text.chars().take(120).collect())),
        }
    }

    /// The namespace as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where ElasticJob's tree starts.
    #[must_use]
    pub fn root(&self) -> Key {
        key(&format!("/{}", self.0))
    }

    /// Where what is not a job's starts.
    #[must_use]
    pub fn own_root(&self) -> Key {
        key(&format!("/{}.flockwork", self.0))
    }

    /// The key of a facet of a job.
    #[must_use]
    pub fn key(&self, job: &JobName, facet: &Facet) -> Key {
        use fmt::Write;
        let job = job.as_str();
        let mut text = String::with_capacity(self.0.len() + job.len() + 64);
        text.push('/');
        text.push_str(&self.0);
        text.push_str(if facet.is_own() { ".flockwork/" } else { "/" });
        text.push_str(job);
        if !matches!(facet, Facet::Job | Facet::OwnJob) {
            text.push('/');
            write!(text, "{facet}").expect("a string takes all");
        }
        key(&text)
    }

    /// Which facet of which job a key is, if it is one this release knows.
    #[must_use]
    pub fn parse(&self, key: &Key) -> Option<(JobName, Facet)> {
        let rest = key.as_str().strip_prefix('/')?.strip_prefix(&self.0)?;
        let (own, rest) = match rest.strip_prefix(".flockwork") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix('/')?;
        let (job, path) = rest.split_once('/').unwrap_or((rest, ""));
        let facet = if own { Facet::parse_own(path)? } else { Facet::parse(path)? };
        Some((JobName::new(job).ok()?, facet))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("parts are checked names, and numbers")
}

/// One thing the registry holds about a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// The job's own node: its implementation string.
    Job,
    /// Its definition.
    Config,
    /// Who serves it.
    Instances,
    /// One that serves it.
    Instance(InstanceId),
    /// The hosts that serve or served it.
    Servers,
    /// One host, by address: enabled or disabled.
    Server(String),
    /// Parent of the leader's affairs.
    LeaderRoot,
    /// Parent of the leader's node.
    Election,
    /// The leader.
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
    /// Parent of released attempts.
    Retries,
    /// A released attempt.
    Retry(ShardIndex),
    /// How far an instance's clock is from the registry's; its parent comes with the first.
    Clock(InstanceId),
    /// Parent of what instances say of their clocks.
    Clocks,
    /// An instance that runs nothing new and leaves when its runs have ended; its parent comes with the
    /// first.
    Leaver(InstanceId),
    /// Parent of those.
    Leavers,
}

impl Facet {
    /// Whether it is a folder that comes with a job, empty by itself.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(
            self,
            Self::Instances
                | Self::Servers
                | Self::LeaderRoot
                | Self::Election
                | Self::ShardingFlags
                | Self::Sharding
                | Self::Triggers
                | Self::OwnJob
                | Self::Records
                | Self::Retries
        )
    }

    /// Whether it lies in our own tree.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(
            self,
            Self::OwnJob
                | Self::Plan
                | Self::Records
                | Self::Record(_)
                | Self::Retries
                | Self::Retry(_)
                | Self::Clock(_)
                | Self::Clocks
                | Self::Leaver(_)
                | Self::Leavers
        )
    }

    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts.as_slice() {
            [""] => Self::Job,
            ["config"] => Self::Config,
            ["instances"] => Self::Instances,
            ["instances", id] => Self::Instance(InstanceId::new(id).ok()?),
            ["servers"] => Self::Servers,
            ["servers", ip] => Self::Server((*ip).to_owned()),
            ["leader"] => Self::LeaderRoot,
            ["leader", "election"] => Self::Election,
            ["leader", "election", "instance"] => Self::Leader,
            ["leader", "sharding"] => Self::ShardingFlags,
            ["leader", "sharding", "necessary"] => Self::Necessary,
            ["sharding"] => Self::Sharding,
            ["sharding", i] => Self::Shard(shard(i)?),
            ["sharding", i, "instance"] => Self::Owner(shard(i)?),
            ["sharding", i, "running"] => Self::Running(shard(i)?),
            ["sharding", i, "disabled"] => Self::Disabled(shard(i)?),
            ["sharding", i, "failover"] => Self::Failover(shard(i)?),
            ["sharding", i, "failovering"] => Self::Failovering(shard(i)?),
            ["trigger"] => Self::Triggers,
            ["trigger", id] => Self::Trigger(InstanceId::new(id).ok()?),
            _ => return None,
        })
    }

    fn parse_own(path: &str) -> Option<Self> {
        Some(match path.split_once('/') {
            None if path.is_empty() => Self::OwnJob,
            None if path == "plan" => Self::Plan,
            None if path == "records" => Self::Records,
            None if path == "retries" => Self::Retries,
            Some(("records", i)) => Self::Record(shard(i)?),
            Some(("retries", i)) => Self::Retry(shard(i)?),
            None if path == "clocks" => Self::Clocks,
            Some(("clocks", id)) => Self::Clock(InstanceId::new(id).ok()?),
            None if path == "leaving" => Self::Leavers,
            Some(("leaving", id)) => Self::Leaver(InstanceId::new(id).ok()?),
            _ => return None,
        })
    }
}

/// A shard's number as a name: decimal, without sign or leading zeros.
#[must_use]
pub fn shard(name: &str) -> Option<ShardIndex> {
    let number: ShardIndex = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job | Self::OwnJob => Ok(()),
            Self::Config => f.write_str("config"),
            Self::Instances => f.write_str("instances"),
            Self::Instance(id) => write!(f, "instances/{id}"),
            Self::Servers => f.write_str("servers"),
            Self::Server(ip) => write!(f, "servers/{ip}"),
            Self::LeaderRoot => f.write_str("leader"),
            Self::Election => f.write_str("leader/election"),
            Self::Leader => f.write_str("leader/election/instance"),
            Self::ShardingFlags => f.write_str("leader/sharding"),
            Self::Necessary => f.write_str("leader/sharding/necessary"),
            Self::Sharding => f.write_str("sharding"),
            Self::Shard(i) => write!(f, "sharding/{i}"),
            Self::Owner(i) => write!(f, "sharding/{i}/instance"),
            Self::Running(i) => write!(f, "sharding/{i}/running"),
            Self::Disabled(i) => write!(f, "sharding/{i}/disabled"),
            Self::Failover(i) => write!(f, "sharding/{i}/failover"),
            Self::Failovering(i) => write!(f, "sharding/{i}/failovering"),
            Self::Triggers => f.write_str("trigger"),
            Self::Trigger(id) => write!(f, "trigger/{id}"),
            Self::Plan => f.write_str("plan"),
            Self::Records => f.write_str("records"),
            Self::Record(i) => write!(f, "records/{i}"),
            Self::Retries => f.write_str("retries"),
            Self::Retry(i) => write!(f, "retries/{i}"),
            Self::Clocks => f.write_str("clocks"),
            Self::Clock(id) => write!(f, "clocks/{id}"),
            Self::Leavers => f.write_str("leaving"),
            Self::Leaver(id) => write!(f, "leaving/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_facet_is_found_again_by_its_key() {
        let namespace = Namespace::new("a/b").unwrap();
        let job = JobName::new("j").unwrap();
        let me = InstanceId::new("10.0.0.1@-@7-x").unwrap();
        let facets = [
            Facet::Job,
            Facet::Config,
            Facet::Instances,
            Facet::Instance(me.clone()),
            Facet::Servers,
            Facet::Server("10.0.0.1".into()),
            Facet::LeaderRoot,
            Facet::Election,
            Facet::Leader,
            Facet::ShardingFlags,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Shard(3),
            Facet::Owner(3),
            Facet::Running(3),
            Facet::Disabled(3),
            Facet::Failover(3),
            Facet::Failovering(3),
            Facet::Triggers,
            Facet::Trigger(me.clone()),
            Facet::Clocks,
            Facet::Clock(me.clone()),
            Facet::Leavers,
            Facet::Leaver(me),
            Facet::OwnJob,
            Facet::Plan,
            Facet::Records,
            Facet::Record(0),
            Facet::Retries,
            Facet::Retry(99_999),
        ];
        for facet in facets {
            let key = namespace.key(&job, &facet);
            assert_eq!(namespace.parse(&key), Some((job.clone(), facet)), "{key}");
        }
    }

    #[test]
    fn keys_of_others_are_no_facets() {
        let namespace = Namespace::new("ns").unwrap();
        for other in ["/", "/ns", "/ns2/j/config", "/ns/j/sharding/01/instance", "/ns/j/sharding/x"]
        {
            assert_eq!(namespace.parse(&Key::new(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn namespaces_that_are_no_path_are_refused() {
        for bad in ["", "/", "a//b", "a/../b", "/a", "a/", "a\u{1}"] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }
}
