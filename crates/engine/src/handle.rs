//! What can be asked of a running node from outside of its loop.

use crate::metrics::Metrics;
use crate::report::{Door, Subscription};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_layout::trigger::{NotTriggered, Triggered};
use flockwork_node::{Define, NotAsked, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Questions and orders that may wait for the loop; who has one more waits until there is room.
pub(crate) const COMMANDS_WAITING: usize = 64;

/// How long a question may go unanswered: the loop answers within milliseconds, and what became of a
/// trigger is told within eight seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a question was not answered, or an order not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The node waits for its registry.
    #[error("the node waits for its registry: {0}")]
    NoRegistry(String),
    /// No answer within ten seconds, or the node has stopped before it answered. An order may still be
    /// carried out.
    #[error("the node has not answered within {} s, or before it stopped; the order may still be carried out", ANSWER_TIMEOUT.as_secs())]
    NoAnswer,
    /// Too many such orders are under way.
    #[error("{0} such orders are under way; try again when they are done")]
    Busy(usize),
    /// The job was removed.
    #[error("there is no job {0}; check the name and the namespace")]
    NotFound(JobName),
    /// No instance serves the job.
    #[error("no instance serves the job {0}; start one, or check the name and the namespace")]
    NotServed(JobName),
    /// Every server that an instance serves the job from is disabled.
    #[error("the job {0} is disabled on every server that serves it")]
    Disabled(JobName),
    /// Others changed it each time it was about to be done.
    #[error("{0}: it was changed by others each time; nothing was done")]
    Contended(JobName),
    /// The registry did not do it, or not all of it.
    #[error("{0}")]
    Registry(String),
    /// The registry's answer was lost: all of it may have been done, or nothing.
    #[error("{0}")]
    Unknown(String),
}

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Unavailable>>;

/// What a loop is asked or told.
#[derive(Debug)]
pub(crate) enum Command {
    Define(Define),
    Withdraw(JobName),
    Trigger(JobName, Answer<usize>),
    Status(Answer<Arc<Status>>),
}

/// A node from outside. Clones speak to the same node; the node goes on when all are dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) instance: InstanceId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) drain: Arc<watch::Sender<bool>>,
    pub(crate) door: Door,
    pub(crate) metrics: Arc<Metrics>,
}

impl Handle {
    /// Who the node is.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// What the node knows. With very many jobs the answer may be a moment old: it is made at most
    /// a tenth of the time.
    ///
    /// # Errors
    /// [`Unavailable`], if the node waits for its registry, has stopped or does not answer.
    pub async fn status(&self) -> Result<Arc<Status>, Unavailable> {
        self.ask(Command::Status).await
    }

    /// Offers to serve a job from now on; a report says what becomes of it.
    ///
    /// # Errors
    /// [`Unavailable::Stopped`].
    pub async fn define(&self, define: Define) -> Result<(), Unavailable> {
        self.order(Command::Define(define)).await
    }

    /// Serves a job no longer. Its runs end first; the registry keeps the job.
    ///
    /// # Errors
    /// [`Unavailable::Stopped`].
    pub async fn withdraw(&self, job: JobName) -> Result<(), Unavailable> {
        self.order(Command::Withdraw(job)).await
    }

    /// Asks all instances that serve a job, in whatever process, to run their shards of it now: by one
    /// commit, so all of them or none, as far as a commit holds them. Returns how many are asked by that,
    /// or by an earlier request that they have not seen yet.
    ///
    /// # Errors
    /// [`Unavailable`]; after [`Unavailable::NoAnswer`] and [`Unavailable::Unknown`] the job may run all
    /// the same. Where one commit does not hold all instances, [`Unavailable::Registry`] says of how many
    /// it is known that they were asked.
    pub async fn trigger(&self, job: JobName) -> Result<usize, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.order(Command::Trigger(job, answer)).await?;
        match timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            // What it has asked the registry by then may be done.
            Ok(Err(_)) | Err(_) => Err(Unavailable::NoAnswer),
        }
    }

    /// Starts nothing new, lets runs end for at most the drain time, then leaves. Returns at once;
    /// [`Running::join`](crate::Running::join) waits for it. Once more changes nothing.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Reports from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.door.subscribe()
    }

    /// What was counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn order(&self, command: Command) -> Result<(), Unavailable> {
        match timeout(ANSWER_TIMEOUT, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(Unavailable::NoAnswer),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.order(command(answer)).await?;
        match timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(Unavailable::NoAnswer),
        }
    }
}

/// What whoever asked for a run of a job is told.
pub(crate) fn triggered(
    job: &JobName,
    told: Result<Triggered, NotAsked>,
) -> Result<usize, Unavailable> {
    let told = told.map_err(|why| not_asked(job, why))?;
    let asked = told.asked.len() + told.coalesced.len();
    let before = match asked {
        0 => String::new(),
        _ => format!("{asked} instances of {job} were asked to run it, then: "),
    };
    match (told.unknown.first(), told.not_asked.first()) {
        (None, None) => Ok(asked),
        (Some((_, why)), _) => {
            let unknown = told.unknown.len();
            let text = format!("{before}{unknown} of {job} may have been asked, or not: {why}");
            Err(Unavailable::Unknown(text))
        }
        (None, Some((_, why))) => Err(Unavailable::Registry(format!("{before}{why}"))),
    }
}

fn not_asked(job: &JobName, why: NotAsked) -> Unavailable {
    match why {
        NotAsked::TooMany(open) => Unavailable::Busy(open),
        NotAsked::Because(NotTriggered::NotDefined) => Unavailable::NotFound(job.clone()),
        NotAsked::Because(NotTriggered::NotServed) => Unavailable::NotServed(job.clone()),
        NotAsked::Because(NotTriggered::Disabled) => Unavailable::Disabled(job.clone()),
        NotAsked::Because(NotTriggered::Contended) => Unavailable::Contended(job.clone()),
        NotAsked::Because(NotTriggered::Failed(why)) => Unavailable::Registry(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::id::InstanceId;
    use flockwork_registry::Failure;

    fn some(of: std::ops::Range<u32>) -> Vec<InstanceId> {
        of.map(|n| InstanceId::new(&format!("10.0.0.1@-@{n}-a")).unwrap()).collect()
    }

    fn with_why(of: std::ops::Range<u32>) -> Vec<(InstanceId, String)> {
        some(of).into_iter().map(|id| (id, "cut".to_owned())).collect()
    }

    #[test]
    fn only_what_is_known_to_be_asked_is_called_done() {
        let job = || JobName::new("j").unwrap();
        let all = Triggered { asked: some(0..2), coalesced: some(2..3), ..Triggered::default() };
        assert_eq!(triggered(&job(), Ok(all.clone())), Ok(3));
        let unknown = Triggered { unknown: with_why(3..5), not_asked: with_why(5..6), ..all };
        let told = triggered(&job(), Ok(unknown)).unwrap_err();
        assert!(matches!(&told, Unavailable::Unknown(_)), "{told:?}");
        assert_eq!(
            told.to_string(),
            "3 instances of j were asked to run it, then: 2 of j may have been asked, or not: cut"
        );
        let not_all =
            Triggered { asked: some(0..2), not_asked: with_why(2..3), ..Triggered::default() };
        let told = triggered(&job(), Ok(not_all)).unwrap_err();
        let text = "2 instances of j were asked to run it, then: cut";
        assert_eq!(told, Unavailable::Registry(text.to_owned()));
    }

    #[test]
    fn why_nobody_was_asked_names_the_job() {
        let job = || JobName::new("j").unwrap();
        let because = NotAsked::Because;
        let away = Failure::NotSent("away".to_owned());
        for (why, expected) in [
            (NotAsked::TooMany(16), Unavailable::Busy(16)),
            (because(NotTriggered::NotDefined), Unavailable::NotFound(job())),
            (because(NotTriggered::NotServed), Unavailable::NotServed(job())),
            (because(NotTriggered::Disabled), Unavailable::Disabled(job())),
            (because(NotTriggered::Contended), Unavailable::Contended(job())),
            (because(NotTriggered::Failed(away.clone())), Unavailable::Registry(away.to_string())),
        ] {
            assert_eq!(triggered(&job(), Err(why)), Err(expected));
        }
    }
}
