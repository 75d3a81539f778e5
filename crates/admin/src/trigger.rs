//! Running a job now. ElasticJob's way: one node for each instance that is to run its shards; the
//! instance takes it away when it has seen it.

use crate::{AdminError, Operator};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::keys::Facet;
use flockwork_registry::client::CommitError;
use flockwork_registry::{Op, Why};

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
}

impl Operator {
    /// Asks every instance that serves a job to run its shards now.
    ///
    /// # Errors
    /// [`AdminError::JobNotFound`], [`AdminError::NotServed`], [`AdminError::JobDisabled`]: nobody was
    /// asked. A request whose answer is lost is told in [`Triggered::unknown`].
    pub async fn trigger(&mut self, name: &str) -> Result<Triggered, AdminError> {
        let job = self.find(name).await?;
        let instances = self.may_trigger(&job).await?;
        self.make_triggers(&job).await?;
        let mut triggered = Triggered::default();
        for instance in instances {
            self.ask_instance(&job, instance, &mut triggered).await?;
        }
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

    /// Makes the parent of the requests; it is there after the first request ever.
    async fn make_triggers(&mut self, job: &JobName) -> Result<(), AdminError> {
        let key = self.key(job, &Facet::Triggers);
        match self.client.commit(vec![Op::create(key, "")]).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused(refusal)) if refusal.why == Why::Exists => Ok(()),
            Err(why) => Err(AdminError::telling(&format!("trigger {job}"), why)),
        }
    }

    async fn ask_instance(
        &mut self,
        job: &JobName,
        instance: InstanceId,
        triggered: &mut Triggered,
    ) -> Result<(), AdminError> {
        let there = self.key(job, &Facet::Instance(instance.clone()));
        let request = self.key(job, &Facet::Trigger(instance.clone()));
        match self.client.commit(vec![Op::Check(there, None), Op::create(request, "")]).await {
            Ok(_) => triggered.asked.push(instance),
            Err(CommitError::Refused(refusal)) if refusal.why == Why::Exists => {
                triggered.coalesced.push(instance);
            }
            Err(CommitError::Refused(_)) => triggered.gone.push(instance),
            Err(CommitError::Failed(why)) if why.may_have_happened() => {
                triggered.unknown.push((instance, why.to_string()));
            }
            // Of those asked before it is known that they were asked: an error would hide it.
            Err(why) if triggered.asked.is_empty() => {
                return Err(AdminError::telling(&format!("trigger {job}"), why));
            }
            Err(why) => triggered.unknown.push((instance, why.to_string())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_layout::keys::Namespace;
    use flockwork_registry::client::Client;
    use flockwork_registry::memory::{Connected, Faults, Loss, MemoryRegistry, Options};
    use std::time::Duration;

    /// An operator, and a job that one instance serves.
    async fn scene() -> (Operator, Faults, JobName, InstanceId) {
        let registry = MemoryRegistry::new(Options::default());
        let Connected { registry, inbox, faults } = registry.connect_faulty();
        let client = Client::new(registry, inbox, Duration::from_secs(5));
        let mut operator = Operator::new(client, Namespace::new("ns").unwrap());
        let job = JobName::new("j").unwrap();
        let me = InstanceId::new("10.0.0.1@-@7-a").unwrap();
        let facets = [Facet::Job, Facet::Instances, Facet::Instance(me.clone()), Facet::Triggers];
        let root = Op::create(operator.namespace.root(), "");
        let ops = facets.map(|facet| Op::create(operator.key(&job, &facet), ""));
        operator.client.commit([root].into_iter().chain(ops).collect()).await.unwrap();
        (operator, faults, job, me)
    }

    #[tokio::test]
    async fn a_lost_answer_is_told_as_unknown_whatever_happened() {
        for loss in [Loss::Applied, Loss::NotApplied] {
            let (mut operator, faults, job, me) = scene().await;
            faults.lose_answers(1, loss);
            let mut told = Triggered::default();
            operator.ask_instance(&job, me.clone(), &mut told).await.unwrap();
            assert_eq!((told.asked.len(), told.unknown.len()), (0, 1));
        }
    }

    #[tokio::test]
    async fn an_instance_that_left_is_told_as_gone() {
        let (mut operator, _, job, me) = scene().await;
        let key = operator.key(&job, &Facet::Instance(me.clone()));
        operator.client.commit(vec![Op::Delete(key, None)]).await.unwrap();
        let mut told = Triggered::default();
        operator.ask_instance(&job, me.clone(), &mut told).await.unwrap();
        assert_eq!(told, Triggered { gone: vec![me], ..Triggered::default() });
    }
}
