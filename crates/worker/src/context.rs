//! What one run is told, and what it tells while it runs.

use flockwork_core::execution::{CancelReason, Run, Source};
use flockwork_core::id::{Epoch, InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// What a run said it has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows done.
    pub rows: u64,
    /// Bytes done.
    pub bytes: u64,
}

/// One run of one shard, or one call of the job's listener, as its code sees it. Cheap to clone; may be sent to other tasks.
#[derive(Clone, Debug)]
pub struct Context {
    run: Arc<Run>,
    live: Arc<Live>,
}

impl Context {
    /// A context that nobody cancels: for calling a job in a test of one's own.
    #[must_use]
    pub fn detached(run: Arc<Run>) -> Self {
        Self { run, live: Arc::default() }
    }

    pub(crate) fn new(run: Arc<Run>, live: Arc<Live>) -> Self {
        Self { run, live }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobName {
        &self.run.job
    }

    /// Which shard, from 0. A call of the job's listener is for all of them, and has 0 here.
    #[must_use]
    pub fn shard(&self) -> ShardIndex {
        self.run.shard
    }

    /// Of how many; for a call of the job's listener, how many shards the fire has.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.run.shards
    }

    /// The shard's own parameter, if it has one. A call of the job's listener has none.
    #[must_use]
    pub fn shard_parameter(&self) -> Option<&str> {
        self.run.shard_parameter.as_deref()
    }

    /// The job's parameter; empty if it has none.
    #[must_use]
    pub fn job_parameter(&self) -> &str {
        &self.run.job_parameter
    }

    /// When the fire was due, which is not when the run started.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.run.fire.due
    }

    /// Why the fire was due.
    #[must_use]
    pub fn source(&self) -> Source {
        self.run.fire.source
    }

    /// The n-th run of this shard in this fire, or the n-th call of the same method of the listener for
    /// it, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.run.attempt
    }

    /// The claim's fencing token. A later claim of the shard always has a greater one, and no
    /// scheduler can promise that an earlier run has stopped by then (its host may be cut off, or
    /// stand still). So what a run writes elsewhere must carry this number, and be refused where a
    /// greater one was seen, for instance `UPDATE ... WHERE epoch <= ?`.
    ///
    /// A call of the job's listener has a token of its own, which grows with each new leader of the job. It
    /// does not compare with those of shards.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.run.epoch
    }

    /// The instance that runs it.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.run.instance
    }

    /// All that the run is told; its `part` says whether it is a shard's run or a call of the listener.
    #[must_use]
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Adds to what is done: shown live and kept with the outcome. Two atomic additions, so it may
    /// be called for every row.
    pub fn processed(&self, rows: u64, bytes: u64) {
        self.live.add(rows, bytes);
    }

    /// What this run has done so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.live.progress()
    }

    /// Whether the run was told to stop. It never becomes false again.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.live.reason().is_some()
    }

    /// Why the run was told to stop, if it was.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.live.reason()
    }

    /// Completes when the run is told to stop, at once if it was already. Safe in `select!`.
    pub async fn cancelled(&self) -> CancelReason {
        self.live.cancelled().await
    }
}

/// What the run, whoever watches it and whoever stops it share.
#[derive(Default)]
pub(crate) struct Live {
    rows: AtomicU64,
    bytes: AtomicU64,
    reason: OnceLock<CancelReason>,
    notify: Notify,
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Live {
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What a script said, as a sum.
    pub(crate) fn set_progress(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Calls `wake` at a cancel; at once if there was one.
    pub(crate) fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        // Set once for each run, by whoever executes it.
        let _ = self.waker.set(Box::new(wake));
        if let (Some(_), Some(wake)) = (self.reason(), self.waker.get()) {
            wake();
        }
    }

    pub(crate) fn reason(&self) -> Option<CancelReason> {
        self.reason.get().copied()
    }

    /// The first reason stays.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        if self.reason.set(reason).is_err() {
            return;
        }
        self.notify.notify_waiters();
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    pub(crate) async fn cancelled(&self) -> CancelReason {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            // Listening before looking: a cancel in between is not missed.
            notified.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            notified.await;
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("progress", &self.progress())
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
