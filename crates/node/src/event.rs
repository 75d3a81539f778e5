//! What a node is told.

use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Outcome, RunId};
use flockwork_core::id::JobName;
use std::sync::Arc;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something came back from the registry. Events must be told in the inbox's order.
    Registry(flockwork_registry::Event),
    /// This node offers to serve a job, from now on.
    Define(Define),
    /// This node no longer serves a job. Its runs end first; the registry keeps the job.
    Withdraw(JobName),
    /// A run's code has really ended.
    RunEnded(RunId, Outcome),
    /// A run's code was not started, as the process stood still until its session's trust was over:
    /// the claim is given back.
    NotStarted(RunId),
    /// The instant asked for by [`Node::wake_at`](crate::Node::wake_at) has come, or the wall clock
    /// has moved. Harmless at any other time. If more is due than one wake-up takes, `wake_at` is
    /// not later than now afterwards: flush, and wake again.
    Wake,
    /// Start nothing new, let runs end, then leave ([`Effect::Drained`](crate::Effect::Drained)).
    Drain,
    /// The drain time is over: cancel what still runs, then leave.
    DrainOver,
}

/// An offer to serve a job.
#[derive(Clone, Debug)]
pub struct Define {
    /// The job, as the node's own file or program says.
    pub config: Arc<JobConfig>,
    /// Whether this definition replaces the registry's if they differ (`--apply`, or the job's
    /// own `overwrite`).
    pub apply: bool,
}
