//! Running a job now, as [`flockwork_layout::trigger`] says: all instances are asked by one commit.

use crate::{AdminError, Operator};
use flockwork_core::id::JobName;
use flockwork_layout::trigger::{Next, NotTriggered, Served, Trigger};

pub use flockwork_layout::trigger::Triggered;

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
        match self.ask_to_run(&job, None).await {
            Ok(triggered) => Ok(triggered),
            Err(why) => Err(self.not_triggered(job, why).await),
        }
    }

    /// Each question is bounded in time, and so is their number: by servers and instances.
    async fn ask_to_run(
        &mut self,
        job: &JobName,
        served: Option<Served>,
    ) -> Result<Triggered, NotTriggered> {
        let limits = self.client.registry().limits();
        let mut trigger = Trigger::new(self.namespace.clone(), job.clone(), limits);
        let mut next = trigger.begin(served);
        loop {
            match next {
                Next::Ask(request) => {
                    let ticket = self.client.send(request);
                    next = trigger.answered(self.client.answer(ticket).await);
                }
                Next::Over(told) => return told,
            }
        }
    }

    async fn not_triggered(&mut self, job: JobName, why: NotTriggered) -> AdminError {
        let contended = || AdminError::Contended(format!("trigger {job}"));
        match why {
            NotTriggered::NotServed => AdminError::NotServed(job),
            NotTriggered::Disabled => AdminError::JobDisabled(job),
            NotTriggered::Contended => contended(),
            NotTriggered::Failed(why) => AdminError::Unavailable(why),
            // Removed since it was found, and perhaps made again since.
            NotTriggered::NotDefined => match self.find(job.as_str()).await {
                Err(why) => why,
                Ok(_) => contended(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::id::InstanceId;
    use flockwork_layout::keys::{Facet, Namespace};
    use flockwork_registry::client::Client;
    use flockwork_registry::memory::{Connected, Faults, Loss, MemoryRegistry, Options};
    use flockwork_registry::{Failure, Op};
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

    fn served(instances: usize) -> Option<Served> {
        Some(Served { instances: (0..instances).map(instance).collect(), is_enabled: true })
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
    async fn a_lost_answer_is_told_as_unknown_for_all_whatever_happened() {
        for loss in [Loss::Applied, Loss::NotApplied] {
            let (mut operator, faults, job) = scene(30, 42).await;
            let key = operator.key(&job, &Facet::Triggers);
            operator.client.commit(vec![Op::create(key, "")]).await.unwrap();
            faults.lose_answers(1, loss);
            let told = operator.ask_to_run(&job, served(30)).await.unwrap();
            assert_eq!((told.asked.len(), told.unknown.len(), told.not_asked.len()), (0, 20, 10));
        }
    }

    #[tokio::test]
    async fn a_commit_that_is_refused_asks_nobody_of_it() {
        let (mut operator, faults, job) = scene(30, 1_000).await;
        let away = Failure::NotSent("away".to_owned());
        faults.refuse(1, &away);
        let told = operator.ask_to_run(&job, served(30)).await;
        assert_eq!(told, Err(NotTriggered::Failed(away)));
        assert!(commits(&mut operator, &job).await.is_empty());
        // A job that is removed at this moment, likewise.
        let config = operator.key(&job, &Facet::Config);
        operator.client.commit(vec![Op::Delete(config, None)]).await.unwrap();
        let why = operator.ask_to_run(&job, served(30)).await.unwrap_err();
        assert_eq!(operator.not_triggered(job.clone(), why).await.code(), "JOB_NOT_FOUND");
        assert!(commits(&mut operator, &job).await.is_empty());
    }
}
