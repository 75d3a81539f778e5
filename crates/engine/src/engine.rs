//! A node from start to stop: connect, loop, leave.

mod connecting;
#[cfg(test)]
mod tests;
mod turn;

use crate::clock::{Clock, SystemClock};
use crate::connect::Connect;
use crate::executor::{Endings, Executor};
use crate::findings::Findings;
use crate::handle::{COMMANDS_WAITING, Command, Handle};
use crate::metrics::{Counter, Metrics};
use crate::pulse::Pulse;
use crate::report::{Audience, Reporter};
use connecting::{Connected, connected};
use flockwork_core::execution::{Outcome, RunId};
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Namespace;
use flockwork_node::{Define, Node, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use turn::{Loop, Machine};

/// How long after the drain time a node may still wait for runs that were told to stop and for the
/// registry to hear of them; and how long after the end of its last run for the registry alone. What is not
/// done then is found by others as crashed.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);

/// How long closing the session may take: the contract says five seconds, and a registry that
/// breaks it must not keep a process from ending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(6);

/// Runs a node has at a time if nothing else is said: as many threads as blocking functions may
/// need then are cheap on any host.
pub const DEFAULT_MAX_RUNNING: usize = 256;

/// The drain time if nothing else is said: below the 30 s after which Kubernetes kills.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// How often a node compares what it believes with what the registry holds, if nothing else is said.
/// Watches tell it of changes at once; this is for those that were lost.
pub const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

/// What a node is started with.
#[derive(Debug)]
pub struct Start {
    /// Who it is; unique to this start of the process.
    pub instance: InstanceId,
    /// Where its jobs are.
    pub namespace: Namespace,
    /// How many runs it has at a time.
    pub max_running: usize,
    /// How often it compares what it believes with what the registry holds.
    pub reconcile_interval: Duration,
    /// How long runs may go on after [`Handle::drain`] before they are told to stop.
    pub drain_timeout: Duration,
    /// The jobs it serves from the start.
    pub jobs: Vec<Define>,
    /// Beats with the loop; a new one if nothing else must hear it.
    pub pulse: Pulse,
    /// Who is told what happens.
    pub reporters: Vec<Box<dyn Reporter>>,
}

/// How a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every run ended and the registry knows it.
    InOrder,
    /// The time was over: so many runs were still under way, or the registry did not take what became of
    /// the last ones. Other nodes find them as crashed.
    TimedOut {
        /// Runs still under way.
        running: usize,
    },
    /// It was told to stop before it had found its registry.
    NeverConnected,
}

/// Why a node ended unasked. A node is never alive without its loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The registry cannot be used, and trying again is of no use.
    #[error("the registry {registry} cannot be used: {text}")]
    Registry {
        /// Which.
        registry: String,
        /// Why.
        text: String,
    },
    /// The registry was deleted, moved or replaced: its path names another one by now, or none. What ran was
    /// ended as when a session is lost.
    #[error("the registry {registry} is not the one that was opened: {text}")]
    RegistryReplaced {
        /// Which.
        registry: String,
        /// What became of it.
        text: String,
    },
    /// The registry's end of the connection is gone.
    #[error("the connection to {0} ended for good")]
    RegistryGone(String),
    /// A bug: the loop panicked.
    #[error("the node's loop panicked: {0}")]
    Panicked(String),
    /// The program's runtime was shut down.
    #[error("the node's loop was aborted with its runtime")]
    Aborted,
}

/// A started node.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    task: JoinHandle<Result<Stopped, EngineError>>,
}

impl Running {
    /// The node from outside.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the node has stopped. It stops when drained ([`Handle::drain`]); dropping this
    /// instead leaves it running.
    ///
    /// # Errors
    /// [`EngineError`], if it ended otherwise.
    pub async fn join(self) -> Result<Stopped, EngineError> {
        self.task.await.unwrap_or_else(|failed| Err(ended(failed)))
    }
}

fn ended(failed: JoinError) -> EngineError {
    let Ok(panic) = failed.try_into_panic() else { return EngineError::Aborted };
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied());
    EngineError::Panicked(text.unwrap_or("without a text").to_owned())
}

impl Start {
    /// Starts the node on the current tokio runtime. `executor` makes what runs user code; it tells
    /// through the [`Endings`] that runs have ended.
    ///
    /// # Panics
    /// Outside of a tokio runtime with timers.
    pub fn spawn<X: Executor>(
        self,
        connect: impl Connect,
        executor: impl FnOnce(Endings) -> X,
    ) -> Running {
        let (endings, ended, findings) = Endings::channel();
        let work = Work { executor: Box::new(executor(endings)), ended, findings };
        self.spawn_with(Box::new(connect), work, Box::new(SystemClock), Node::new)
    }

    fn spawn_with<M: Machine>(
        mut self,
        connect: Box<dyn Connect>,
        work: Work,
        clock: Box<dyn Clock>,
        machine: impl FnOnce(Settings) -> M + Send + 'static,
    ) -> Running {
        let metrics = Arc::new(Metrics::default());
        self.reporters.push(Box::new(Counter(Arc::clone(&metrics))));
        let audience = Audience::new(std::mem::take(&mut self.reporters));
        let (commands, commanded) = mpsc::channel(COMMANDS_WAITING);
        let (drain, drained) = watch::channel(false);
        let handle = Handle {
            instance: self.instance.clone(),
            commands,
            drain: Arc::new(drain),
            door: audience.door(),
            metrics,
        };
        let outside = Outside { handle: handle.clone(), commanded, drained, audience, clock };
        let task = tokio::spawn(live(self, connect, work, outside, machine));
        Running { handle, task }
    }
}

/// What runs user code, where it tells that runs have ended, and what it found out about scripts.
#[derive(Debug)]
struct Work {
    executor: Box<dyn Executor>,
    ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    findings: Findings,
}

/// What connects a loop with the program around it. It holds a handle of its own, so that its queue
/// of commands never ends.
#[derive(Debug)]
struct Outside {
    handle: Handle,
    commanded: mpsc::Receiver<Command>,
    drained: watch::Receiver<bool>,
    audience: Audience,
    clock: Box<dyn Clock>,
}

/// A node's whole life.
async fn live<M: Machine>(
    start: Start,
    connect: Box<dyn Connect>,
    work: Work,
    mut outside: Outside,
    machine: impl FnOnce(Settings) -> M,
) -> Result<Stopped, EngineError> {
    let Some(Connected { link, commands }) = connected(connect, &mut outside).await? else {
        return Ok(Stopped::NeverConnected);
    };
    let registry = Arc::clone(&link.registry);
    let settings = Settings {
        instance: start.instance,
        namespace: start.namespace,
        limits: registry.limits(),
        clock: registry.clock(),
        max_running: start.max_running,
        reconcile_interval: start.reconcile_interval,
    };
    let mut turns = Loop::new(machine(settings), link, work, outside, start.pulse);
    turns.expect(start.jobs, commands, start.drain_timeout);
    let stopped = turns.run().await;
    if timeout(CLOSE_TIMEOUT, registry.close()).await.is_err() {
        tracing::warn!(registry = registry.describe(), "did not confirm the session's end in time");
    }
    stopped
}
