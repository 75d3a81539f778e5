//! The questions.

use crate::nearest::nearest;
use crate::view::{
    ClockRow, Health, IneligibleRow, JobDetail, JobRow, ServerRow, ShardHealth, ShardRow,
};
use crate::{AdminError, Operator};
use flockwork_core::account::{AHEAD, Record};
use flockwork_core::config::{Checked, JobConfig};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::document::{self, Reading};
use flockwork_layout::keys::{Facet, shard as shard_index};
use flockwork_layout::{clock, ineligible, plan, record};
use flockwork_registry::{Entry, Key};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many of the next due instants a job's detail has.
pub const NEXT_FIRES: usize = 5;

impl Operator {
    /// All jobs of the namespace, by name.
    ///
    /// # Errors
    /// [`AdminError::Unavailable`], if the registry does not answer.
    pub async fn jobs(&mut self, now: Timestamp) -> Result<Vec<JobRow>, AdminError> {
        let mut rows = Vec::new();
        for name in self.names().await? {
            if let Some(row) = self.row(&name, now).await? {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// One job in full; of one that was removed, what is left.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`] with the nearest names; [`AdminError::Unavailable`].
    pub async fn job(&mut self, name: &str, now: Timestamp) -> Result<JobDetail, AdminError> {
        let (name, is_defined) = self.find_remains(name).await?;
        if !is_defined {
            return self.removed_job(name).await;
        }
        let definition = self.definition(&name, now).await?;
        let people = self.people(&name).await?;
        let count = definition.config.as_ref().map_or(0, |config| config.shards);
        let shards = self.shards(&name, count, &people.instances).await?;
        let owners = shards.iter().map(|shard| shard.owner.clone()).collect::<Vec<_>>();
        let leader = self.entries(vec![self.key(&name, &Facet::Leader)]).await?.remove(0);
        let next = self.next_fires(&name, definition.config.as_ref(), now, NEXT_FIRES).await?;
        let clocks = self.clocks(&name).await?;
        let ineligible = self.ineligible(&name).await?;
        Ok(JobDetail {
            health: health(definition.config.is_some(), &people, &owners, &ineligible),
            next,
            servers: people.servers,
            instances: people.instances,
            leader: leader.and_then(|entry| InstanceId::new(&text(&entry)).ok()),
            shards,
            clocks,
            ineligible,
            definition,
            name,
        })
    }

    async fn removed_job(&mut self, name: JobName) -> Result<JobDetail, AdminError> {
        let shards = self.records(&name).await?;
        let keys = shards.iter().map(|shard| self.key(&name, &Facet::Record(*shard))).collect();
        let records = self.entries(keys).await?;
        let rows = shards.into_iter().zip(records).map(|(shard, record)| {
            let entries = [None, None, None, None, record];
            let row = row_of(shard, &entries, &BTreeSet::new());
            ShardRow { health: ShardHealth::Removed, ..row }
        });
        Ok(JobDetail {
            name,
            health: Health::Removed,
            definition: Checked { config: None, problems: Vec::new() },
            next: Vec::new(),
            servers: Vec::new(),
            instances: Vec::new(),
            leader: None,
            shards: rows.collect(),
            clocks: Vec::new(),
            ineligible: Vec::new(),
        })
    }

    /// The jobs' names, in order. What no job could be called is not one.
    ///
    /// # Errors
    /// [`AdminError::Unavailable`], if the registry does not answer.
    pub async fn names(&mut self) -> Result<Vec<JobName>, AdminError> {
        let names = self.children(vec![self.namespace.root()]).await?.remove(0);
        Ok(names.iter().filter_map(|name| JobName::new(name).ok()).collect())
    }

    /// The job of this name, if there is one.
    pub(crate) async fn find(&mut self, name: &str) -> Result<JobName, AdminError> {
        let job = JobName::new(name)?;
        match self.exist(vec![self.key(&job, &Facet::Config)]).await? == [true] {
            true => Ok(job),
            false => Err(self.not_found(name).await?),
        }
    }

    pub(crate) async fn not_found(&mut self, name: &str) -> Result<AdminError, AdminError> {
        let names = self.names().await?;
        Ok(AdminError::JobNotFound {
            name: name.to_owned(),
            namespace: self.namespace.to_string(),
            nearest: nearest(name, names.iter().map(JobName::as_str)),
        })
    }

    /// What the registry says a job is; an empty definition if it has just been removed.
    pub(crate) async fn definition(
        &mut self,
        job: &JobName,
        now: Timestamp,
    ) -> Result<Checked, AdminError> {
        let keys = vec![self.key(job, &Facet::Config), self.key(job, &Facet::Job)];
        let entries = self.entries(keys).await?;
        let value = |at: usize| entries.get(at).and_then(Option::as_ref);
        let implementation = value(1).map(text).unwrap_or_default();
        let bytes = value(0).map_or(&b""[..], |config| &config.value);
        let reading =
            Reading { name: job, implementation: &implementation, default_zone: None, now };
        Ok(document::decode(bytes, reading))
    }

    async fn row(&mut self, name: &JobName, now: Timestamp) -> Result<Option<JobRow>, AdminError> {
        if self.exist(vec![self.key(name, &Facet::Config)]).await? == [false] {
            return Ok(None);
        }
        let config = self.definition(name, now).await?.config;
        let people = self.people(name).await?;
        let owners = self.owners(name).await?;
        let next = self.next_fires(name, config.as_ref(), now, 1).await?.first().copied();
        let ineligible = match people.instances.is_empty() {
            true => self.ineligible(name).await?,
            false => Vec::new(),
        };
        Ok(Some(JobRow {
            name: name.clone(),
            health: health(config.is_some(), &people, &owners, &ineligible),
            schedule: config.as_ref().map(|config| config.schedule.clone()),
            description: config.as_ref().map(|c| c.description.clone()).unwrap_or_default(),
            shards: config.as_ref().map(|config| config.shards),
            instances: people.instances.len(),
            ineligible,
            next,
        }))
    }

    async fn owners(&mut self, job: &JobName) -> Result<Vec<Option<InstanceId>>, AdminError> {
        let shards = self.children(vec![self.key(job, &Facet::Sharding)]).await?.remove(0);
        let shards = shards.iter().filter_map(|shard| shard_index(shard));
        let keys = shards.map(|shard| self.key(job, &Facet::Owner(shard))).collect();
        let owners = self.entries(keys).await?;
        Ok(owners.iter().map(|entry| entry.as_ref().and_then(instance)).collect())
    }

    async fn people(&mut self, job: &JobName) -> Result<People, AdminError> {
        let keys = vec![self.key(job, &Facet::Instances), self.key(job, &Facet::Servers)];
        let mut names = self.children(keys).await?.into_iter();
        let instances = names.next().unwrap_or_default();
        let ips = names.next().unwrap_or_default();
        let keys = ips.iter().map(|ip| self.key(job, &Facet::Server(ip.clone()))).collect();
        let states = self.entries(keys).await?;
        let servers = ips.into_iter().zip(states).filter_map(|(ip, state)| {
            let is_enabled = text(&state?) == "ENABLED";
            Some(ServerRow { ip, is_enabled })
        });
        Ok(People {
            instances: instances.iter().filter_map(|id| InstanceId::new(id).ok()).collect(),
            servers: servers.collect(),
        })
    }

    async fn clocks(&mut self, job: &JobName) -> Result<Vec<ClockRow>, AdminError> {
        let names = self.children(vec![self.key(job, &Facet::Clocks)]).await?.remove(0);
        let instances: Vec<_> = names.iter().filter_map(|id| InstanceId::new(id).ok()).collect();
        let keys = instances.iter().map(|id| self.key(job, &Facet::Clock(id.clone()))).collect();
        let entries = self.entries(keys).await?;
        let rows = instances.into_iter().zip(entries).filter_map(|(instance, entry)| {
            let note = clock::decode(&entry?.value).map_err(|why| why.to_string());
            Some(ClockRow { instance, note })
        });
        Ok(rows.collect())
    }

    async fn ineligible(&mut self, job: &JobName) -> Result<Vec<IneligibleRow>, AdminError> {
        let names = self.children(vec![self.key(job, &Facet::Ineligibles)]).await?.remove(0);
        let instances: Vec<_> = names.iter().filter_map(|id| InstanceId::new(id).ok()).collect();
        let key = |id: &InstanceId| self.key(job, &Facet::Ineligible(id.clone()));
        let entries = self.entries(instances.iter().map(key).collect()).await?;
        let rows = instances.into_iter().zip(entries).filter_map(|(instance, entry)| {
            let reasons = ineligible::decode(&entry?.value).map_err(|why| why.to_string());
            Some(IneligibleRow { instance, reasons })
        });
        Ok(rows.collect())
    }

    /// The next due instants after `now`, by the definition in force since the job's plan says.
    async fn next_fires(
        &mut self,
        job: &JobName,
        config: Option<&JobConfig>,
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<Timestamp>, AdminError> {
        let Some(config) = config else { return Ok(Vec::new()) };
        let plan = self.entries(vec![self.key(job, &Facet::Plan)]).await?.remove(0);
        let plan = plan.and_then(|entry| plan::decode(&entry.value).ok());
        // What begins later by a clock that was ahead is set back by whoever runs it.
        let begun = |from: Timestamp| if from > now.plus(AHEAD) { now } else { from };
        let begins: Vec<_> = plan.map_or_else(|| vec![now], |p| p.begins().map(begun).collect());
        let first_after = |instant| {
            begins.iter().filter_map(|from| config.schedule.next_after(instant, *from)).min()
        };
        Ok(std::iter::successors(first_after(now), |due| first_after(*due)).take(most).collect())
    }

    async fn shards(
        &mut self,
        job: &JobName,
        count: u32,
        instances: &[InstanceId],
    ) -> Result<Vec<ShardRow>, AdminError> {
        let there: BTreeSet<&InstanceId> = instances.iter().collect();
        let facets =
            [Facet::Owner, Facet::Running, Facet::Disabled, Facet::Failover, Facet::Record];
        let keys: Vec<Key> =
            (0..count).flat_map(|i| facets.map(|facet| self.key(job, &facet(i)))).collect();
        let entries = self.entries(keys).await?;
        let rows = (0..count).zip(entries.chunks_exact(facets.len()));
        Ok(rows.map(|(shard, entries)| row_of(shard, entries, &there)).collect())
    }
}

/// Who has to do with a job.
struct People {
    instances: Vec<InstanceId>,
    servers: Vec<ServerRow>,
}

fn row_of(shard: ShardIndex, entries: &[Option<Entry>], there: &BTreeSet<&InstanceId>) -> ShardRow {
    let owner = entries[0].as_ref().and_then(instance);
    let health = match (&entries[2], &entries[1], &owner) {
        (Some(_), ..) => ShardHealth::Disabled,
        (None, Some(_), _) => ShardHealth::Running,
        (None, None, Some(owner)) if there.contains(owner) => ShardHealth::Pending,
        (None, None, _) => ShardHealth::ShardingFlag,
    };
    let (record, trouble) = match entries[4].as_ref().map(|entry| record::decode(&entry.value)) {
        None => (Record::default(), None),
        Some(Ok(stored)) => (stored.record, None),
        Some(Err(why)) => (Record::default(), Some(why.to_string())),
    };
    ShardRow {
        shard,
        health,
        owner,
        is_failover: entries[3].is_some(),
        claim: record.claim,
        last: record.last.map(Arc::unwrap_or_clone),
        counts: record.counts,
        notes: record.notes,
        trouble,
    }
}

/// As ElasticJob's statistics tell it, but that [`Health::InvalidConfig`] comes before all, and
/// [`Health::Waiting`] where they know of nobody.
fn health(
    is_readable: bool,
    people: &People,
    owners: &[Option<InstanceId>],
    ineligible: &[IneligibleRow],
) -> Health {
    let mut owned = owners.iter().flatten().peekable();
    let is_owned = owned.peek().is_some();
    let all_there = owned.all(|owner| people.instances.contains(owner));
    match () {
        () if !is_readable => Health::InvalidConfig,
        () if people.instances.is_empty() && !ineligible.is_empty() => Health::Waiting,
        () if people.instances.is_empty() => Health::Crashed,
        () if people.servers.iter().all(|server| !server.is_enabled) => Health::Disabled,
        () if !is_owned || !all_there => Health::ShardingFlag,
        () => Health::Ok,
    }
}

fn instance(entry: &Entry) -> Option<InstanceId> {
    InstanceId::new(&text(entry)).ok()
}

pub(crate) fn text(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.value).into_owned()
}
