//! Who runs user code.

use flockwork_core::execution::{CancelReason, Outcome, Run, RunId};
use flockwork_worker::{Handle, Worker};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Runs user code for a loop. No call may block: the loop waits for it.
///
/// Each run that was started is told to have ended exactly once, through the [`Endings`] the
/// executor was made with, after its code has really ended.
pub trait Executor: Debug + Send + 'static {
    /// Starts a run.
    fn start(&mut self, run: Arc<Run>);

    /// The loop has heard that a run has ended: it can be forgotten.
    fn forget(&mut self, run: RunId);

    /// Tells a run to stop; nothing happens if it has ended.
    fn cancel(&mut self, run: RunId, reason: CancelReason);
}

/// Where an executor tells that runs have ended.
///
/// The queue behind it is bounded by what fills it: each run under way ends once, and
/// `max_running` bounds the runs under way.
#[derive(Clone, Debug)]
pub struct Endings(mpsc::UnboundedSender<(RunId, Outcome)>);

impl Endings {
    /// A queue, and the end from which it is read.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<(RunId, Outcome)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// A run's code has really ended. When the loop is gone there is nobody to tell.
    pub fn ended(&self, run: RunId, outcome: Outcome) {
        let _ = self.0.send((run, outcome));
    }
}

/// The worker, as the loop uses it.
#[derive(Debug)]
pub struct WorkerExecutor {
    worker: Worker,
    endings: Endings,
    /// Runs under way; `max_running` bounds them.
    runs: BTreeMap<RunId, Handle>,
}

impl WorkerExecutor {
    /// Runs what the loop starts on `worker`.
    #[must_use]
    pub fn new(worker: Worker, endings: Endings) -> Self {
        Self { worker, endings, runs: BTreeMap::new() }
    }
}

impl Executor for WorkerExecutor {
    fn start(&mut self, run: Arc<Run>) {
        let (id, endings) = (run.id, self.endings.clone());
        let handle = self.worker.start(run, move |outcome| endings.ended(id, outcome));
        self.runs.insert(id, handle);
    }

    fn forget(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    fn cancel(&mut self, run: RunId, reason: CancelReason) {
        if let Some(handle) = self.runs.get(&run) {
            handle.cancel(reason);
        }
    }
}
