//! Running a job now. ElasticJob's way: one node for each instance that is to run its shards; the
//! instance takes it away when it has seen it.
//!
//! All instances are asked by one commit, so either all are or none is. More than a commit holds are
//! asked by several, one after the other; the first that fails is the last.

use crate::{AdminError, Operator};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_registry::client::CommitError;
use flockwork_registry::{Limits, Op, Refusal, Why};

/// How often a commit is made anew, beyond once for each of its instances, as others made or took
/// away what it stands on.
const TRIES: usize = 8;

/// What became of a request to run a job now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggered {
    /// Asked by this request.
    pub asked: Vec<InstanceId>,
    /// Asked by an earlier request that they have not seen yet: both are one.
    pub coalesced: Vec<InstanceId>,
    /// Left while they were to be asked.
    pub gone: Vec<InstanceId>,
    /// Asked or not: the answer was lost. Why, beside each.
    pub unknown: Vec<(InstanceId, String)>,
    /// Not asked, as a commit before theirs was not confirmed. Why, beside each.
    pub not_asked: Vec<(InstanceId, String)>,
}

/// One instance that is to be asked.
#[derive(Clone, Debug)]
struct Asked {
    instance: InstanceId,
    /// An earlier request to it stands.
    stands: bool,
}

/// How one commit ended that did not happen.
enum Unasked {
    /// It may have happened.
    Unknown(String),
    /// It did not, and nobody of it was asked.
    Not(AdminError),
}

impl Operator {
    /// Asks every instance that serves a job to run its shards now: all of them, or none, as far as
    /// one commit holds them. Those that an earlier request has reached and not been seen by are
    /// part of it.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`], [`AdminError::NotServed`], [`AdminError::JobDisabled`]: nobody was
    /// asked. [`AdminError::Unavailable`]: nobody was, and nobody will be. A commit whose answer is
    /// lost is told in [`Triggered::unknown`], what was to follow it in [`Triggered::not_asked`].
    pub async fn trigger(&mut self, name: &str) -> Result<Triggered, AdminError> {
        let job = self.find(name).await?;
        let instances = self.may_trigger(&job).await?;
        let key = self.key(&job, &Facet::Triggers);
        let standing = self.children(vec![key]).await?.remove(0);
        let stands = |instance: &InstanceId| standing.iter().any(|one| one == instance.as_str());
        let asked = instances.into_iter().map(|instance| {
            let stands = stands(&instance);
            Asked { instance, stands }
        });
        let triggered = self.ask_all(&job, asked.collect()).await?;
        match triggered.asked.is_empty()
            && triggered.coalesced.is_empty()
            && triggered.unknown.is_empty()
        {
            true => Err(AdminError::NotServed(job)),
            false => Ok(triggered),
        }
    }

    async fn may_trigger(&mut self, job: &JobName) -> Result<Vec<InstanceId>, AdminError> {
        let keys = vec![self.key(job, &Facet::Instances), self.key(job, &Facet::Servers)];
        let mut names = self.children(keys).await?.into_iter();
        let instances = names.next().unwrap_or_default();
        let servers = names.next().unwrap_or_default();
        let instances: Vec<InstanceId> =
            instances.iter().filter_map(|id| InstanceId::new(id).ok()).collect();
        if instances.is_empty() {
            return Err(AdminError::NotServed(job.clone()));
        }
        let mut enabled = 0;
        for ip in &servers {
            enabled += usize::from(self.is_enabled(job, ip).await?.unwrap_or(false));
        }
        match enabled {
            0 => Err(AdminError::JobDisabled(job.clone())),
            _ => Ok(instances),
        }
    }

    /// As many at a time as a commit holds.
    async fn ask_all(
        &mut self,
        job: &JobName,
        mut waiting: Vec<Asked>,
    ) -> Result<Triggered, AdminError> {
        let limits = self.client.registry().limits();
        let mut triggered = Triggered::default();
        while !waiting.is_empty() {
            let rest = waiting.split_off(self.fits(job, &waiting, limits));
            let mut batch = std::mem::replace(&mut waiting, rest);
            let others = || waiting.iter().map(|asked| asked.instance.clone());
            match self.ask_together(job, &mut batch, &mut triggered.gone).await {
                Ok(()) => {
                    let (stood, fresh): (Vec<_>, Vec<_>) =
                        batch.into_iter().partition(|asked| asked.stands);
                    triggered.asked.extend(fresh.into_iter().map(|asked| asked.instance));
                    triggered.coalesced.extend(stood.into_iter().map(|asked| asked.instance));
                }
                Err(Unasked::Unknown(why)) => {
                    let unknown = batch.into_iter().map(|asked| (asked.instance, why.clone()));
                    triggered.unknown.extend(unknown);
                    triggered.not_asked = others().map(|one| (one, why.clone())).collect();
                    return Ok(triggered);
                }
                // Of those asked before it is known that they were asked: an error would hide it.
                Err(Unasked::Not(why)) if triggered.asked.is_empty() => return Err(why),
                Err(Unasked::Not(why)) => {
                    let why = why.to_string();
                    let here = batch.iter().map(|asked| asked.instance.clone());
                    triggered.not_asked =
                        here.chain(others()).map(|one| (one, why.clone())).collect();
                    return Ok(triggered);
                }
            }
        }
        Ok(triggered)
    }

    /// How many of these one commit holds; at least one.
    fn fits(&self, job: &JobName, asked: &[Asked], limits: Limits) -> usize {
        let mut ops: usize = 2;
        let mut bytes: usize = self.preamble(job, true).iter().map(Op::bytes).sum();
        let held = asked.iter().take_while(|asked| {
            // As many as it may become: an earlier request may be seen meanwhile.
            let made = self.request(job, &Asked { stands: false, ..(*asked).clone() });
            ops += made.len();
            bytes += made.iter().map(Op::bytes).sum::<usize>();
            ops <= limits.max_ops && bytes <= limits.max_bytes
        });
        held.count().max(1)
    }

    /// What comes before the requests: the job is there, and so is their parent.
    fn preamble(&self, job: &JobName, makes_parent: bool) -> Vec<Op> {
        let mut ops = vec![Op::Check(self.key(job, &Facet::Config), None)];
        if makes_parent {
            ops.push(Op::create(self.key(job, &Facet::Triggers), ""));
        }
        ops
    }

    /// A request to one instance: it is there, and is asked; or the earlier request still stands.
    fn request(&self, job: &JobName, asked: &Asked) -> Vec<Op> {
        let there = self.key(job, &Facet::Instance(asked.instance.clone()));
        let request = self.key(job, &Facet::Trigger(asked.instance.clone()));
        let request = match asked.stands {
            true => Op::Check(request, None),
            false => Op::create(request, ""),
        };
        vec![Op::Check(there, None), request]
    }

    /// Asks all of these by one commit. Who has left meanwhile is left out; who was asked by another
    /// meanwhile, or has seen an earlier request, is taken as such.
    async fn ask_together(
        &mut self,
        job: &JobName,
        batch: &mut Vec<Asked>,
        gone: &mut Vec<InstanceId>,
    ) -> Result<(), Unasked> {
        let what = format!("trigger {job}");
        let mut makes_parent = false;
        // Each refusal settles one instance; more are others' doing.
        for _ in 0..2 * batch.len() + TRIES {
            if batch.is_empty() {
                return Ok(());
            }
            let before = self.preamble(job, makes_parent);
            let first = before.len();
            let requests = batch.iter().flat_map(|asked| self.request(job, asked));
            let ops = before.into_iter().chain(requests).collect();
            let refusal = match self.client.commit(ops).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Failed(why)) if why.may_have_happened() => {
                    return Err(Unasked::Unknown(why.to_string()));
                }
                Err(CommitError::Failed(why)) => {
                    return Err(Unasked::Not(AdminError::Unavailable(why)));
                }
                Err(CommitError::Refused(refusal)) => refusal,
            };
            match refusal.at.checked_sub(first) {
                None if refusal.at == 0 => {
                    return Err(Unasked::Not(self.was_removed(job).await));
                }
                // Another has just made it.
                None => makes_parent = false,
                Some(_) if refusal.why == Why::NoParent => makes_parent = true,
                Some(at) => settle(batch, at, &refusal, gone),
            }
        }
        Err(Unasked::Not(AdminError::Contended(what)))
    }

    async fn was_removed(&mut self, job: &JobName) -> AdminError {
        match self.find(job.as_str()).await {
            Err(why) => why,
            // And made again since.
            Ok(job) => AdminError::Contended(format!("trigger {job}")),
        }
    }
}

/// What a refusal says of the instance whose request it refused, two operations for each.
fn settle(batch: &mut Vec<Asked>, at: usize, refusal: &Refusal, gone: &mut Vec<InstanceId>) {
    let (which, is_request) = (at / 2, at % 2 == 1);
    let Some(asked) = batch.get_mut(which) else { return };
    match is_request {
        true => asked.stands = refusal.why == Why::Exists,
        false => gone.push(batch.remove(which).instance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_layout::keys::Namespace;
    use flockwork_registry::Failure;
    use flockwork_registry::client::Client;
    use flockwork_registry::memory::{Connected, Faults, Loss, MemoryRegistry, Options};
    use std::time::Duration;

    /// An operator, and a job that so many instances serve.
    async fn scene(instances: usize, max_ops: usize) -> (Operator, Faults, JobName) {
        let mut options = Options::default();
        options.limits.max_ops = max_ops.max(20);
        let registry = MemoryRegistry::new(options);
        let Connected { registry, inbox, faults } = registry.connect_faulty();
        let client = Client::new(registry, inbox, Duration::from_secs(5));
        let mut operator = Operator::new(client, Namespace::new("ns").unwrap());
        let job = JobName::new("j").unwrap();
        let mut facets = vec![
            Facet::Job,
            Facet::Config,
            Facet::Instances,
            Facet::Servers,
            Facet::Server("10.0.0.1".to_owned()),
        ];
        facets.extend((0..instances).map(|n| Facet::Instance(instance(n))));
        let root = Op::create(operator.namespace.root(), "");
        let made = facets.iter().map(|facet| Op::create(operator.key(&job, facet), "ENABLED"));
        for ops in [root].into_iter().chain(made).collect::<Vec<_>>().chunks(20) {
            operator.client.commit(ops.to_vec()).await.unwrap();
        }
        (operator, faults, job)
    }

    fn instance(n: usize) -> InstanceId {
        InstanceId::new(&format!("10.0.0.1@-@{n:04}-a")).unwrap()
    }

    /// The commits that made the requests that stand.
    async fn commits(operator: &mut Operator, job: &JobName) -> Vec<u64> {
        let names = operator.children(vec![operator.key(job, &Facet::Triggers)]).await.unwrap();
        let ids = names[0].iter().map(|id| InstanceId::new(id).unwrap());
        let keys = ids.map(|id| operator.key(job, &Facet::Trigger(id))).collect();
        let entries = operator.entries(keys).await.unwrap();
        entries.iter().map(|entry| entry.as_ref().unwrap().stamp.created.0).collect()
    }

    #[tokio::test]
    async fn all_instances_are_asked_by_one_commit() {
        let (mut operator, _, job) = scene(40, 1_000).await;
        let told = operator.trigger("j").await.unwrap();
        assert_eq!((told.asked.len(), told.gone.len(), told.coalesced.len()), (40, 0, 0));
        let commits = commits(&mut operator, &job).await;
        assert_eq!(commits.len(), 40);
        assert!(commits.iter().all(|commit| *commit == commits[0]), "{commits:?}");
        // Again, before they have seen it: both are one.
        let told = operator.trigger("j").await.unwrap();
        assert_eq!((told.asked.len(), told.coalesced.len()), (0, 40));
    }

    #[tokio::test]
    async fn more_than_a_commit_holds_are_asked_by_as_few_as_it_takes() {
        let (mut operator, _, job) = scene(40, 42).await;
        assert_eq!(operator.trigger("j").await.unwrap().asked.len(), 40);
        let commits = commits(&mut operator, &job).await;
        let distinct: std::collections::BTreeSet<u64> = commits.iter().copied().collect();
        assert_eq!((commits.len(), distinct.len()), (40, 2), "20 fit into 42 operations");
    }

    #[tokio::test]
    async fn who_left_and_who_saw_a_request_meanwhile_is_found_out_by_the_commit() {
        let (mut operator, _, job) = scene(4, 1_000).await;
        let key = |facet| operator.key(&job, &facet);
        // As if read before: 1 has left since; a request to 2 has come, one to 3 was seen.
        let ops = vec![
            Op::create(key(Facet::Triggers), ""),
            Op::create(key(Facet::Trigger(instance(2))), ""),
            Op::Delete(key(Facet::Instance(instance(1))), None),
        ];
        operator.client.commit(ops).await.unwrap();
        let asked = |n| Asked { instance: instance(n), stands: n == 3 };
        let told = operator.ask_all(&job, (0..4).map(asked).collect()).await.unwrap();
        assert_eq!(told.asked, [instance(0), instance(3)]);
        assert_eq!((told.coalesced, told.gone), (vec![instance(2)], vec![instance(1)]));
    }

    #[tokio::test]
    async fn a_lost_answer_is_told_as_unknown_for_all_whatever_happened() {
        for loss in [Loss::Applied, Loss::NotApplied] {
            let (mut operator, faults, job) = scene(30, 42).await;
            let asked = |n| Asked { instance: instance(n), stands: false };
            let waiting = (0..30).map(asked).collect();
            let key = operator.key(&job, &Facet::Triggers);
            operator.client.commit(vec![Op::create(key, "")]).await.unwrap();
            faults.lose_answers(1, loss);
            let told = operator.ask_all(&job, waiting).await.unwrap();
            assert_eq!((told.asked.len(), told.unknown.len(), told.not_asked.len()), (0, 20, 10));
        }
    }

    #[tokio::test]
    async fn a_commit_that_is_refused_asks_nobody_of_it() {
        let (mut operator, faults, job) = scene(30, 1_000).await;
        let asked = |n| Asked { instance: instance(n), stands: false };
        faults.refuse(1, &Failure::NotSent("away".to_owned()));
        let error = operator.ask_all(&job, (0..30).map(asked).collect()).await.unwrap_err();
        assert_eq!(error.code(), "REGISTRY_UNAVAILABLE");
        assert!(commits(&mut operator, &job).await.is_empty());
        // A job that is removed at this moment, likewise.
        let config = operator.key(&job, &Facet::Config);
        operator.client.commit(vec![Op::Delete(config, None)]).await.unwrap();
        let error = operator.ask_all(&job, (0..30).map(asked).collect()).await.unwrap_err();
        assert_eq!(error.code(), "JOB_NOT_FOUND");
        assert!(commits(&mut operator, &job).await.is_empty());
    }
}
