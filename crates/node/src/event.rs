//! The events that a node is told of.

use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{Outcome, RunId};
use flockwork_core::id::JobName;
use std::sync::Arc;

/// An event that a node is told of.
#[derive(Clone, Debug)]
pub enum Event {
    /// The registry sent an event. These events must be passed on in the inbox's order.
    Registry(flockwork_registry::Event),
    /// This node offers to serve a job from now on.
    Define(Define),
    /// This node no longer serves a job. The job's runs end first; the registry keeps the job.
    Withdraw(JobName),
    /// All instances that serve a job, in whatever process, are to be asked to run their shards of it
    /// now. [`Effect::Triggered`](crate::Effect::Triggered) tells under the same id, exactly once and
    /// within seconds, what became of that; not after [`Effect::Drained`](crate::Effect::Drained).
    Trigger(TriggerId, JobName),
    /// The code of a run has really ended.
    RunEnded(RunId, Outcome),
    /// What was found out about the script of a definition, as [`Effect::Look`](crate::Effect::Look) asks.
    Looked(Looked),
    /// The code of a run was not started, because the process stood still until its session's trust was over.
    /// The claim is given back.
    NotStarted(RunId),
    /// The instant that [`Node::wake_at`](crate::Node::wake_at) asked for has come, or the wall clock has
    /// moved. The event is harmless at any other time. If more is due than one wake-up takes, `wake_at` is
    /// not later than now afterwards: flush, and wake the node again.
    Wake,
    /// The node starts nothing new, lets its runs end, then leaves
    /// ([`Effect::Drained`](crate::Effect::Drained)).
    Drain,
    /// The drain time is over: the node cancels the runs that go on, then leaves.
    DrainOver,
}

/// Names a request to run a job now, so that its answer can be told from others. Chosen by whoever asks,
/// for each another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TriggerId(pub u64);

/// What was found out about the script of a job's definition.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The job.
    pub job: JobName,
    /// The definition that was asked about. An answer about an earlier one is harmless.
    pub definition: Arc<JobConfig>,
    /// Whether this node can start the script now, or why not.
    pub found: Result<(), Hindrance>,
}

/// An offer to serve a job.
#[derive(Clone, Debug)]
pub struct Define {
    /// The job's definition, as the node's own file or program says.
    pub config: Arc<JobConfig>,
    /// Whether this definition replaces the registry's if the two differ (`--apply`, or the job's own
    /// `overwrite`).
    pub apply: bool,
}
