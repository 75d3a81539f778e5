//! What can be asked of a running node from outside of its loop.

use crate::metrics::Metrics;
use crate::report::{Door, Subscription};
use flockwork_core::id::{InstanceId, JobName};
use flockwork_node::{Define, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Questions and orders that may wait for the loop; who has one more waits until there is room.
pub(crate) const COMMANDS_WAITING: usize = 64;

/// How long a question may go unanswered: the loop answers within milliseconds, and a trigger takes
/// a few round trips to the registry.
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
    /// No answer within ten seconds. An order may still be carried out.
    #[error("the node has not answered within {} s; the order may still be carried out", ANSWER_TIMEOUT.as_secs())]
    NoAnswer,
    /// Too many such orders are under way.
    #[error("{0} such orders are under way; try again when they are done")]
    Busy(usize),
    /// No instance serves the job.
    #[error("no instance serves the job {0}; start one, or check the name and the namespace")]
    NotServed(JobName),
    /// The registry did not do it.
    #[error("{0}")]
    Registry(String),
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

    /// Asks all instances that serve a job, in whatever process, to run their shards of it now.
    /// Returns how many were asked.
    ///
    /// # Errors
    /// [`Unavailable`]; after [`Unavailable::NoAnswer`] the job may run all the same.
    pub async fn trigger(&self, job: JobName) -> Result<usize, Unavailable> {
        self.ask(|answer| Command::Trigger(job, answer)).await
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
