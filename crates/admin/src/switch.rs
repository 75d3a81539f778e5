//! Enabling and disabling, as ElasticJob's lifecycle API does: by job, by server, by shard.

use crate::{AdminError, Operator};
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_registry::client::CommitError;
use flockwork_registry::{Failure, Key, Op, Why};

/// How often a switch is tried while others make and delete the same entry, or answers are lost: it
/// says the same each time, so repeating does no harm.
const TRIES: usize = 4;

/// What is switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// A job on every server that serves or served it.
    Job(String),
    /// A job on one server, also one that has not served it yet.
    JobOnServer(String, String),
    /// Every job on one server.
    Server(String),
    /// One shard of a job, wherever it is.
    Shard(String, ShardIndex),
}

/// What was switched: a job, and on which server or which shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The job.
    pub job: JobName,
    /// The server, or the shard as `shard N`.
    pub place: String,
}

impl Operator {
    /// Enables or disables. What is switched already stays so, and counts as switched.
    ///
    /// # Errors
    /// [`AdminError`], which says how far it came where it came some way.
    pub async fn switch(
        &mut self,
        what: &Switch,
        is_enabled: bool,
        now: Timestamp,
    ) -> Result<Vec<Switched>, AdminError> {
        match what {
            Switch::Shard(name, shard) => self.switch_shard(name, *shard, is_enabled, now).await,
            Switch::JobOnServer(name, ip) => {
                let job = self.find(name).await?;
                self.switch_servers(vec![(job, ip.clone())], is_enabled).await
            }
            Switch::Job(name) => {
                let job = self.find(name).await?;
                let key = self.key(&job, &Facet::Servers);
                let ips = self.children(vec![key]).await?.remove(0);
                if ips.is_empty() {
                    return Err(AdminError::NotServed(job));
                }
                let places = ips.into_iter().map(|ip| (job.clone(), ip)).collect();
                self.switch_servers(places, is_enabled).await
            }
            Switch::Server(ip) => {
                let places = self.jobs_on(ip).await?;
                self.switch_servers(places, is_enabled).await
            }
        }
    }

    async fn jobs_on(&mut self, ip: &str) -> Result<Vec<(JobName, String)>, AdminError> {
        let jobs = self.names().await?;
        let keys = jobs.iter().map(|job| self.key(job, &Facet::Servers)).collect();
        let servers = self.children(keys).await?;
        let places: Vec<_> = jobs
            .into_iter()
            .zip(&servers)
            .filter(|(_, servers)| servers.iter().any(|server| server == ip))
            .map(|(job, _)| (job, ip.to_owned()))
            .collect();
        if places.is_empty() {
            let mut known: Vec<String> = servers.into_iter().flatten().collect();
            known.sort();
            known.dedup();
            known.truncate(10);
            let namespace = self.namespace.to_string();
            return Err(AdminError::ServerNotFound { server: ip.to_owned(), namespace, known });
        }
        Ok(places)
    }

    async fn switch_servers(
        &mut self,
        places: Vec<(JobName, String)>,
        is_enabled: bool,
    ) -> Result<Vec<Switched>, AdminError> {
        let value = if is_enabled { "ENABLED" } else { "DISABLED" };
        let mut switched = Vec::new();
        for (job, place) in places {
            let what = format!("{job} on {place} {value} ({} done before)", switched.len());
            // Made without its parent the name could be anything, so it is checked as a name is.
            JobName::new(&place)?;
            let key = self.key(&job, &Facet::Server(place.clone()));
            self.set(&what, key, value).await?;
            switched.push(Switched { job, place });
        }
        Ok(switched)
    }

    async fn switch_shard(
        &mut self,
        name: &str,
        shard: ShardIndex,
        is_enabled: bool,
        now: Timestamp,
    ) -> Result<Vec<Switched>, AdminError> {
        let job = self.find(name).await?;
        let definition = self.definition(&job, now).await?;
        let Some(shards) = definition.config.map(|config| config.shards) else {
            let why = definition.problems.first().map(ToString::to_string).unwrap_or_default();
            return Err(AdminError::NotReadable { what: format!("definition of {job}"), why });
        };
        if shard >= shards {
            return Err(AdminError::ShardNotFound { job, shard, shards });
        }
        let what = format!("shard {shard} of {job}");
        let key = self.key(&job, &Facet::Disabled(shard));
        match is_enabled {
            true => self.unset(&what, key).await?,
            false => {
                for parent in [Facet::Sharding, Facet::Shard(shard)] {
                    self.make(&what, self.key(&job, &parent)).await?;
                }
                self.make(&what, key).await?;
            }
        }
        Ok(vec![Switched { job, place: format!("shard {shard}") }])
    }

    /// Gives a key a value, whether it exists or not.
    async fn set(&mut self, what: &str, key: Key, value: &'static str) -> Result<(), AdminError> {
        let mut exists = true;
        self.insist(what, |refused| {
            exists = match refused {
                Some(Why::Absent) => false,
                Some(Why::Exists) => true,
                _ => exists,
            };
            match exists {
                true => Op::Set(key.clone(), value.into(), None),
                false => Op::create(key.clone(), value),
            }
        })
        .await
    }

    async fn make(&mut self, what: &str, key: Key) -> Result<(), AdminError> {
        match self.insist(what, |_| Op::create(key.clone(), "")).await {
            Err(AdminError::Contended(_)) if self.exist(vec![key.clone()]).await? == [true] => {
                Ok(())
            }
            done => done,
        }
    }

    async fn unset(&mut self, what: &str, key: Key) -> Result<(), AdminError> {
        match self.insist(what, |_| Op::Delete(key.clone(), None)).await {
            Err(AdminError::Contended(_)) if self.exist(vec![key.clone()]).await? == [false] => {
                Ok(())
            }
            done => done,
        }
    }

    /// Commits what `op` makes of the last refusal, until it is done or has been tried often enough.
    async fn insist(
        &mut self,
        what: &str,
        mut op: impl FnMut(Option<Why>) -> Op,
    ) -> Result<(), AdminError> {
        let (mut refused, mut lost): (Option<Why>, Option<Failure>) = (None, None);
        for _ in 0..TRIES {
            match self.client.commit(vec![op(refused)]).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Refused(refusal)) => refused = Some(refusal.why),
                Err(CommitError::Failed(why)) if why.may_have_happened() => lost = Some(why),
                Err(why) if lost.is_none() => return Err(AdminError::telling(what, why)),
                Err(_) => {}
            }
        }
        match lost {
            Some(why) if refused.is_none() => {
                Err(AdminError::OutcomeUnknown { what: what.to_owned(), why })
            }
            _ => Err(AdminError::Contended(what.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_layout::keys::Namespace;
    use flockwork_registry::client::Client;
    use flockwork_registry::memory::{Connected, Faults, Loss, MemoryRegistry, Options};
    use std::time::Duration;

    fn scene() -> (Operator, Faults, Key) {
        let registry = MemoryRegistry::new(Options::default());
        let Connected { registry, inbox, faults } = registry.connect_faulty();
        let client = Client::new(registry, inbox, Duration::from_secs(5));
        let namespace = Namespace::new("ns").unwrap();
        let root = namespace.root();
        (Operator::new(client, namespace), faults, root)
    }

    #[tokio::test]
    async fn a_switch_whose_answer_is_lost_is_told_again_until_it_is_known() {
        for loss in [Loss::Applied, Loss::NotApplied, Loss::AppliedLate] {
            let (mut operator, faults, key) = scene();
            faults.lose_answers(1, loss);
            operator.set("x", key.clone(), "ENABLED").await.unwrap();
            assert_eq!(
                operator.entries(vec![key]).await.unwrap()[0].as_ref().unwrap().value,
                "ENABLED"
            );
        }
    }

    #[tokio::test]
    async fn a_switch_that_is_never_answered_is_unknown() {
        let (mut operator, faults, key) = scene();
        faults.lose_answers(TRIES, Loss::NotApplied);
        let error = operator.set("x", key, "ENABLED").await.unwrap_err();
        assert_eq!(error.code(), "OUTCOME_UNKNOWN");
    }
}
