//! The effects that a node wants, and the facts that it reports.

use crate::event::TriggerId;
use flockwork_core::account::{Fate, Reason};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{CancelReason, Outcome, Run, RunId};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::trigger::{NotTriggered, Triggered};
use flockwork_registry::{Request, SessionId, Ticket};
use std::sync::Arc;
use std::time::Duration;

/// A thing to do. Effects are carried out in their order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a request to the registry.
    Submit(Ticket, Request),
    /// Start user code, whose claim is proven. The end of the code is told by
    /// [`Event::RunEnded`](crate::Event::RunEnded), exactly once. Code that was not started after all is told
    /// by [`Event::NotStarted`](crate::Event::NotStarted).
    Start(Arc<Run>),
    /// Tell a run to stop. The run still ends by [`Event::RunEnded`](crate::Event::RunEnded).
    Cancel(RunId, CancelReason),
    /// Look whether the script of this definition can be started here, at once and whenever that may have
    /// changed, until the next such effect for the job; with none, look no more. What is found is told by
    /// [`Event::Looked`](crate::Event::Looked), the first answer always, later ones if they differ from the one
    /// before. The job is not served before the first answer.
    Look(JobName, Option<Arc<JobConfig>>),
    /// Tell whoever asked by [`Event::Trigger`](crate::Event::Trigger) what became of it.
    Triggered(TriggerId, Result<Triggered, NotAsked>),
    /// Tell a fact to people and metrics.
    Report(Report),
    /// The node has left everything in order; the session may be closed.
    Drained,
}

/// Why nobody was asked to run a job now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// So many such requests are under way; again when they are done.
    TooMany(usize),
    /// The job, or the registry, is not such that it can be done.
    Because(NotTriggered),
}

/// Fires of one shard that met the same fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The job of these fires.
    pub job: JobName,
    /// The shard of these fires.
    pub shard: ShardIndex,
    /// The fate that the fires met.
    pub fate: Fate,
    /// The reason for the fires' fate.
    pub reason: Reason,
    /// The number of these fires.
    pub fires: u64,
    /// The instant of the first fire.
    pub first: Timestamp,
    /// The instant of the last fire.
    pub last: Timestamp,
}

/// A fact, reported after it is certain.
#[derive(Clone, Debug)]
pub enum Report {
    /// The session lives: work may start.
    SessionLive(SessionId),
    /// The session is not proven: nothing new starts.
    SessionSuspended(String),
    /// The session ended; the node joins again with a new one.
    SessionEnded(SessionId),
    /// This node now serves a job. `differences` lists where the registry's definition, which counts, differs
    /// from the node's own (`key: registry value, own value`).
    Serving {
        /// The job that is served.
        job: JobName,
        /// The differences that were left as the registry has them.
        differences: Vec<String>,
        /// Whether this node's definition overwrote the registry's.
        applied: bool,
    },
    /// This node does not serve a job. A stable code and a sentence say why.
    Refused {
        /// The job that is refused.
        job: JobName,
        /// The stable code of the refusal.
        code: &'static str,
        /// The sentence that says what is wrong and what to do.
        text: String,
    },
    /// This node left a job, for example because the job was removed from the registry or an operator took
    /// this instance off the job.
    Left {
        /// The job that was left.
        job: JobName,
        /// The reason, in words for people.
        why: &'static str,
    },
    /// This node now assigns a job's shards.
    Leading(JobName),
    /// This node dealt a job's shards anew.
    Assigned {
        /// The job whose shards were dealt.
        job: JobName,
        /// The number of shards that changed their instance.
        moved: usize,
        /// The number of instances that share the shards.
        instances: usize,
    },
    /// The user code of a run starts now.
    Started {
        /// The run that starts now.
        run: Arc<Run>,
        /// How long after its due instant the run starts.
        late: Duration,
    },
    /// A run ended, and the registry knows it.
    Ended {
        /// The run that ended.
        run: Arc<Run>,
        /// How the run ended.
        outcome: Outcome,
        /// How long the run's code ran.
        took: Duration,
        /// The instance and the instant at which the run is tried again, if it is.
        retry: Option<(InstanceId, Timestamp)>,
    },
    /// A run ended, but its shard had been taken by then: the run's outcome counts for nothing.
    Superseded {
        /// The run that was superseded.
        run: Arc<Run>,
        /// How the run ended.
        outcome: Outcome,
    },
    /// A run of an instance that is gone was found. The run will be repeated here, or not at all.
    FoundCrashed {
        /// The job of the run.
        job: JobName,
        /// The shard of the run.
        shard: ShardIndex,
        /// The instance that had the run.
        instance: InstanceId,
        /// Whether this node repeats the run.
        taken: bool,
    },
    /// Fires of a shard met their fate.
    Accounted(Account),
    /// A request to run a job now was taken, or refused with a reason.
    Triggered {
        /// The job that was requested to run.
        job: JobName,
        /// The number of the job's shards that start here.
        shards: usize,
        /// The reason why some shards do not start.
        refused: Option<&'static str>,
    },
    /// This node's clock agrees with the registry's again, to within what a job tolerates. Shards that the
    /// difference held up (code `CLOCK_DIFFERS`) go on.
    ClockAgrees(JobName),
    /// A blocking run does not stop though it was told to.
    Overdue(Arc<Run>),
    /// A problem came up that a person may have to look at.
    Trouble {
        /// The job that the problem is about, if there is one.
        job: Option<JobName>,
        /// The stable code of the problem.
        code: &'static str,
        /// The text that says what is wrong and what to do.
        text: String,
    },
}
