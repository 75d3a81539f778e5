//! Removing a job: its tree, and what is ours about it.

use crate::query::text;
use crate::{AdminError, Operator};
use flockwork_core::id::JobName;
use flockwork_layout::keys::Facet;
use flockwork_registry::client::CommitError;
use flockwork_registry::{Key, Op};

/// How often what nodes make anew while they leave is removed again: their last entries come within
/// a few commits of the definition's end.
const ROUNDS: usize = 8;

/// How deep a job's tree can be; ElasticJob's deepest is `leader/election/latch/{node}`.
const MAX_DEPTH: usize = 8;

/// The most entries a tree may have: a hundred thousand shards with all their marks.
const MAX_ENTRIES: usize = 1_000_000;

impl Operator {
    /// Removes a job from the registry. Its nodes leave it as soon as they see that; a run under way
    /// is cancelled by its node.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`]: nothing was removed. [`AdminError::OutcomeUnknown`]: it may be
    /// gone in part; repeating is safe. [`AdminError::Contended`]: something keeps making it anew.
    pub async fn remove(&mut self, name: &str) -> Result<JobName, AdminError> {
        let job = self.find(name).await?;
        // The definition goes first: with it the job is gone for every reader, however large the
        // rest is.
        let config = self.key(&job, &Facet::Config);
        self.delete(&job, vec![config]).await?;
        for root in [Facet::Job, Facet::OwnJob] {
            let root = self.key(&job, &root);
            self.remove_tree(&job, &root).await?;
        }
        Ok(job)
    }

    async fn remove_tree(&mut self, job: &JobName, root: &Key) -> Result<(), AdminError> {
        for _ in 0..ROUNDS {
            let Some(keys) = self.tree(root).await? else { return Ok(()) };
            for batch in self.batches(keys) {
                self.delete(job, batch).await?;
            }
            if self.exist(vec![root.clone()]).await? == [false] {
                return Ok(());
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
