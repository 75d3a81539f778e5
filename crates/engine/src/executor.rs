//! Who runs user code.

use crate::findings::Findings;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{CancelReason, Outcome, Run, RunId};
use flockwork_core::id::JobName;
use flockwork_node::Looked;
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

    /// Looks whether the script of a job's definition can be started, from now on, in place of the definition
    /// before; of none, no more. What is found is told through the [`Endings`]: first in any case, then
    /// whenever it differs. The definition names a script.
    fn look_at(&mut self, job: JobName, definition: Option<Arc<JobConfig>>);
}

/// Where an executor tells that runs have ended, and what it found out about scripts.
///
/// The queue behind it is bounded by what fills it: each run under way ends once, and
/// `max_running` bounds the runs under way.
#[derive(Clone, Debug)]
pub struct Endings {
    ended: mpsc::UnboundedSender<(RunId, Outcome)>,
    findings: Findings,
}

impl Endings {
    /// The queues, and the ends from which they are read.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<(RunId, Outcome)>, Findings) {
        let (ended, receiver) = mpsc::unbounded_channel();
        let findings = Findings::default();
        (Self { ended, findings: findings.clone() }, receiver, findings)
    }

    /// A run's code has really ended. When the loop is gone there is nobody to tell.
    pub fn ended(&self, run: RunId, outcome: Outcome) {
        let _ = self.ended.send((run, outcome));
    }

    /// A script was looked at.
    pub fn looked(&self, looked: Looked) {
        self.findings.tell(looked);
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

    fn look_at(&mut self, job: JobName, definition: Option<Arc<JobConfig>>) {
        let Some(definition) = definition else { return self.worker.look_no_more(&job) };
        let (endings, of, at) = (self.endings.clone(), job.clone(), definition.clone());
        let tell = move |found| {
            endings.looked(Looked { job: of.clone(), definition: at.clone(), found });
        };
        self.worker.look_at(job, definition, Box::new(tell));
    }
}
