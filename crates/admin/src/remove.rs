//! Removing a job: its tree as ElasticJob has it; what is ours about it, its account of past fires,
//! stays until it is removed on purpose.
//!
//! The definition goes first: with it the job is gone for every reader, and its nodes tell its runs
//! to stop. Then the rest of its tree goes, so that nothing can be claimed any more; then the runs
//! that were under way are waited for, a while, and closed. Interrupted anywhere, the same order
//! given again completes it.

use crate::query::text;
use crate::{AdminError, Operator};
use flockwork_core::account::{Claim, ClaimState, Last, Record};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::{Facet, shard as shard_index};
use flockwork_layout::record;
use flockwork_registry::client::CommitError;
use flockwork_registry::{Entry, Key, Op};
use std::sync::Arc;
use std::time::Duration;

/// How often what nodes make anew while they leave is removed again: their last entries come within
/// a few commits of the definition's end.
const ROUNDS: usize = 8;

/// How deep a job's tree can be; ElasticJob's deepest is `leader/election/latch/{node}`.
const MAX_DEPTH: usize = 8;

/// The most entries a tree may have: a hundred thousand shards with all their marks.
const MAX_ENTRIES: usize = 1_000_000;

/// How often runs that were told to stop are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Also what became of its fires.
    pub with_records: bool,
    /// How long its runs are waited for, which are told to stop.
    pub patience: Duration,
}

impl Default for Removal {
    /// Keeps the records, and waits for a second longer than a script has between SIGTERM and
    /// SIGKILL if nobody said otherwise (5 s).
    fn default() -> Self {
        Self { with_records: false, patience: Duration::from_secs(6) }
    }
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The job.
    pub job: JobName,
    /// Whether it was defined; else an earlier removal was completed.
    pub was_defined: bool,
    /// How many entries of its tree were found and are gone.
    pub entries: usize,
    /// The runs that were under way.
    pub runs: Vec<Stopped>,
    /// How many shards' records there are, kept or removed.
    pub records: usize,
    /// Whether they were removed.
    pub with_records: bool,
}

/// A run that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its shard.
    pub shard: ShardIndex,
    /// The instant of its fire.
    pub due: Timestamp,
    /// The instance that ran it.
    pub instance: InstanceId,
    /// How it ended (`REMOVED`, or what it came to before it was told); none if it had not by then,
    /// so that its outcome counts for nothing.
    pub ended: Option<String>,
}

/// A claim that stood, and the record it was found in.
#[derive(PartialEq, Eq)]
struct Open {
    shard: ShardIndex,
    claim: Claim,
}

impl Operator {
    /// Removes a job from the registry. Its nodes leave it as soon as they see that, and tell its runs
    /// to stop.
    ///
    /// What became of its fires stays readable ([`Operator::job`]) unless `removal` says otherwise. A
    /// job that was removed only in part, as an earlier order was interrupted, is removed whole.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`]: nothing was removed. [`AdminError::OutcomeUnknown`],
    /// [`AdminError::Unavailable`]: it may be gone in part; the same order again completes it.
    /// [`AdminError::Contended`]: something keeps making it anew.
    pub async fn remove(
        &mut self,
        name: &str,
        removal: Removal,
        now: Timestamp,
    ) -> Result<Removed, AdminError> {
        let (job, was_defined) = self.find_remains(name).await?;
        let live = self.children(vec![self.key(&job, &Facet::Instances)]).await?.remove(0);
        let live: Vec<_> = live.iter().filter_map(|id| InstanceId::new(id).ok()).collect();
        // Looked at before as well: a run may end while the tree goes.
        let mut open = self.open_claims(&job).await?;
        if was_defined {
            let config = self.key(&job, &Facet::Config);
            self.delete(&job, vec![config]).await?;
        }
        let root = self.key(&job, &Facet::Job);
        let entries = self.remove_tree(&job, &root).await? + usize::from(was_defined);
        // From here on no claim can be made: what it checks is gone.
        let late = self.open_claims(&job).await?;
        open.extend(late.into_iter().filter(|late| !open.contains(late)).collect::<Vec<_>>());
        open.sort_by_key(|open| open.shard);
        let runs = self.await_ends(&job, open, &live, (removal.patience, now)).await?;
        if self.exist(vec![self.key(&job, &Facet::Config)]).await? == [true] {
            // Defined anew meanwhile: what is left is that job's.
            return Err(AdminError::Contended(format!("remove {job}")));
        }
        for facet in [Facet::Retries, Facet::Clocks, Facet::Leavers, Facet::Ineligibles] {
            self.empty(&job, &facet).await?;
        }
        // How far a listener had come is of no use to a job that is defined anew.
        let once = self.key(&job, &Facet::Once);
        self.delete(&job, vec![once]).await?;
        let records = self.records(&job).await?.len();
        if removal.with_records {
            let own = self.key(&job, &Facet::OwnJob);
            self.remove_tree(&job, &own).await?;
        }
        let with_records = removal.with_records;
        Ok(Removed { job, was_defined, entries, runs, records, with_records })
    }

    /// A job of which anything is left, and whether it is defined.
    pub(crate) async fn find_remains(&mut self, name: &str) -> Result<(JobName, bool), AdminError> {
        let job = JobName::new(name)?;
        let facets = [Facet::Config, Facet::Job, Facet::OwnJob];
        let keys = facets.iter().map(|facet| self.key(&job, facet)).collect();
        let exist = self.exist(keys).await?;
        match exist.contains(&true) {
            true => Ok((job, exist[0])),
            false => Err(self.not_found(name).await?),
        }
    }

    /// The shards that have a record.
    pub(crate) async fn records(&mut self, job: &JobName) -> Result<Vec<ShardIndex>, AdminError> {
        let names = self.children(vec![self.key(job, &Facet::Records)]).await?.remove(0);
        let mut shards: Vec<_> = names.iter().filter_map(|name| shard_index(name)).collect();
        shards.sort_unstable();
        Ok(shards)
    }

    async fn open_claims(&mut self, job: &JobName) -> Result<Vec<Open>, AdminError> {
        let shards = self.records(job).await?;
        let records = self.read_records(job, &shards).await?;
        // What a newer release wrote is left to it.
        let claims = records.into_iter().map(|record| record?.claim);
        let open = shards.into_iter().zip(claims);
        Ok(open.filter_map(|(shard, claim)| Some(Open { shard, claim: claim? })).collect())
    }

    /// Records that can be read.
    async fn read_records(
        &mut self,
        job: &JobName,
        shards: &[ShardIndex],
    ) -> Result<Vec<Option<Record>>, AdminError> {
        let keys = shards.iter().map(|shard| self.key(job, &Facet::Record(*shard))).collect();
        let entries = self.entries(keys).await?;
        let read = |entry: Entry| record::decode(&entry.value).ok().map(|stored| stored.record);
        Ok(entries.into_iter().map(|entry| entry.and_then(read)).collect())
    }

    /// Waits for runs that were told to stop, and closes what is still open then. There is nothing
    /// to wait for where the instance is gone, or an attempt was released and runs nowhere.
    async fn await_ends(
        &mut self,
        job: &JobName,
        open: Vec<Open>,
        live: &[InstanceId],
        (patience, now): (Duration, Timestamp),
    ) -> Result<Vec<Stopped>, AdminError> {
        let shards: Vec<_> = open.iter().map(|open| open.shard).collect();
        let mut left = patience;
        loop {
            let records = self.read_records(job, &shards).await?;
            let ends = open.iter().zip(records).map(|(open, record)| match record {
                Some(record) => end_of(&record, &open.claim),
                None => Some("its record is gone".to_owned()),
            });
            let ends: Vec<Option<String>> = ends.collect();
            let runs_on = |open: &Open| {
                open.claim.state == ClaimState::Held && live.contains(&open.claim.instance)
            };
            let is_over = open.iter().zip(&ends).all(|(open, end)| end.is_some() || !runs_on(open));
            if is_over || left.is_zero() {
                return self.close_claims(job, open, ends, now).await;
            }
            let nap = LOOK.min(left);
            tokio::time::sleep(nap).await;
            left -= nap;
        }
    }

    async fn close_claims(
        &mut self,
        job: &JobName,
        open: Vec<Open>,
        ends: Vec<Option<String>>,
        now: Timestamp,
    ) -> Result<Vec<Stopped>, AdminError> {
        let mut runs = Vec::with_capacity(open.len());
        for (open, end) in open.into_iter().zip(ends) {
            let ended = match end {
                Some(end) => Some(end),
                None => self.close_claim(job, &open, now).await?,
            };
            let Open { shard, claim } = open;
            runs.push(Stopped { shard, due: claim.fire.due, instance: claim.instance, ended });
        }
        Ok(runs)
    }

    /// Writes down that a run was cancelled whose end nobody told, so that nobody takes it for crashed
    /// should the job be made anew. Says how it ended, if it did at this moment.
    async fn close_claim(
        &mut self,
        job: &JobName,
        open: &Open,
        now: Timestamp,
    ) -> Result<Option<String>, AdminError> {
        let key = self.key(job, &Facet::Record(open.shard));
        let what = format!("remove {job}");
        for _ in 0..ROUNDS {
            let entry = self.entries(vec![key.clone()]).await?.remove(0);
            let Some(Entry { value, stamp, .. }) = entry else { return Ok(None) };
            let Ok(mut stored) = record::decode(&value) else { return Ok(None) };
            if let Some(ended) = end_of(&stored.record, &open.claim) {
                return Ok(Some(ended));
            }
            stored.record = cancelled(stored.record, now);
            let op = Op::Set(key.clone(), record::encode(&stored), Some(stamp));
            match self.client.commit(vec![op]).await {
                Ok(_) => return Ok(None),
                Err(CommitError::Refused(_)) => {}
                Err(why) => return Err(AdminError::telling(&what, why)),
            }
        }
        Err(AdminError::Contended(what))
    }

    /// Removes all below a key that stays.
    async fn empty(&mut self, job: &JobName, facet: &Facet) -> Result<(), AdminError> {
        let root = self.key(job, facet);
        let mut keys = self.tree(&root).await?.unwrap_or_default();
        keys.retain(|key| *key != root);
        for batch in self.batches(keys) {
            self.delete(job, batch).await?;
        }
        Ok(())
    }

    /// Removes all from `root` down; says how much there was at first.
    async fn remove_tree(&mut self, job: &JobName, root: &Key) -> Result<usize, AdminError> {
        let mut found = 0;
        for _ in 0..ROUNDS {
            let Some(keys) = self.tree(root).await? else { return Ok(found) };
            found = found.max(keys.len());
            for batch in self.batches(keys) {
                self.delete(job, batch).await?;
            }
            if self.exist(vec![root.clone()]).await? == [false] {
                return Ok(found);
            }
        }
        Err(AdminError::Contended(format!("remove {job}")))
    }
    /// All keys from `root` down, the deepest first; none if it does not exist.
    async fn tree(&mut self, root: &Key) -> Result<Option<Vec<Key>>, AdminError> {
        if self.exist(vec![root.clone()]).await? == [false] {
            return Ok(None);
        }
        let mut levels = vec![vec![root.clone()]];
        let mut total = 1;
        while let Some(level) = levels.last().filter(|level| !level.is_empty()).cloned() {
            let children = self.children(level.clone()).await?;
            let below: Vec<Key> = level
                .iter()
                .zip(children)
                .flat_map(|(key, names)| names.into_iter().map(move |name| (key.clone(), name)))
                .filter_map(|(key, name)| Key::new(&format!("{key}/{name}")).ok())
                .collect();
            total += below.len();
            if levels.len() > MAX_DEPTH || total > MAX_ENTRIES {
                let what = format!("tree of {}", root.name());
                let why = format!("more than {MAX_DEPTH} levels or {MAX_ENTRIES} entries");
                return Err(AdminError::NotReadable { what, why });
            }
            levels.push(below);
        }
        Ok(Some(levels.into_iter().rev().flatten().collect()))
    }

    fn batches(&self, keys: Vec<Key>) -> Vec<Vec<Key>> {
        let limits = self.client.registry().limits();
        let mut batches: Vec<Vec<Key>> = Vec::new();
        let mut bytes = usize::MAX;
        for key in keys {
            let more = Op::Delete(key.clone(), None).bytes();
            let is_full = |batch: &Vec<Key>| batch.len() >= limits.max_ops;
            if bytes.saturating_add(more) > limits.max_bytes || batches.last().is_none_or(is_full) {
                batches.push(Vec::new());
                bytes = 0;
            }
            bytes += more;
            if let Some(batch) = batches.last_mut() {
                batch.push(key);
            }
        }
        batches
    }

    /// Deletes all, or, where others deleted or made something meanwhile, each alone that can be.
    async fn delete(&mut self, job: &JobName, keys: Vec<Key>) -> Result<(), AdminError> {
        let what = format!("remove {job}");
        let ops = keys.iter().map(|key| Op::Delete(key.clone(), None)).collect();
        match self.client.commit(ops).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Refused(_)) if keys.len() > 1 => {}
            Err(CommitError::Refused(_)) => return Ok(()),
            Err(why) => return Err(AdminError::telling(&what, why)),
        }
        for key in keys {
            match self.client.commit(vec![Op::Delete(key, None)]).await {
                Ok(_) | Err(CommitError::Refused(_)) => {}
                Err(why) => return Err(AdminError::telling(&what, why)),
            }
        }
        Ok(())
    }

    /// A job's definition as it stands in the registry, for keeping before it is removed.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`], [`AdminError::Unavailable`].
    pub async fn document(&mut self, name: &str) -> Result<String, AdminError> {
        let job = self.find(name).await?;
        let entry = self.entries(vec![self.key(&job, &Facet::Config)]).await?.remove(0);
        Ok(entry.as_ref().map(text).unwrap_or_default())
    }
}

/// How the run of a claim ended, if it did: its record tells of it, or of what came after.
fn end_of(record: &Record, claim: &Claim) -> Option<String> {
    let is_same = |other: &Claim| {
        (other.nonce, &other.instance, &other.state) == (claim.nonce, &claim.instance, &claim.state)
    };
    if record.claim.as_ref().is_some_and(is_same) {
        return None;
    }
    let last = record.last.as_ref().filter(|last| last.nonce == claim.nonce);
    Some(last.map_or_else(|| "given back".to_owned(), |last| last.code.clone()))
}

/// The record of a run that was told to stop and whose end nobody told.
fn cancelled(mut record: Record, now: Timestamp) -> Record {
    let Some(claim) = record.claim.take() else { return record };
    record.counts.failed += u64::from(claim.state == ClaimState::Held);
    record.last = Some(Arc::new(Last {
        started: claim.begins().min(now),
        fire: claim.fire,
        attempt: claim.attempt,
        instance: claim.instance,
        nonce: claim.nonce,
        ended: now,
        code: "REMOVED".to_owned(),
        text: "the job was removed before its end was told".to_owned(),
        output_tail: String::new(),
        rows: 0,
        bytes: 0,
    }));
    record
}
