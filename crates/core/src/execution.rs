//! One run of one shard: what it is told, and how it can end.

use crate::id::{Epoch, InstanceId, JobName, ShardIndex};
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Names a run within its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Why a fire is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Its schedule said so.
    Schedule,
    /// It makes up for one or more fires that could not run on time.
    Misfire,
    /// It makes up for a fire due while no node lived, as `catch_up` says.
    CatchUp,
    /// Someone asked for it.
    Trigger,
}

impl Source {
    /// The word for people and stored forms.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Misfire => "misfire",
            Self::CatchUp => "catch-up",
            Self::Trigger => "trigger",
        }
    }
}

/// One due instant of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fire {
    /// When it was due.
    pub due: Timestamp,
    /// Why.
    pub source: Source,
}

/// A script to run: a program and its arguments, never a shell line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its arguments, as written; the context JSON is added as the last argument.
    pub argv: Vec<String>,
}

/// What a run executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A function that the node's program registered under the job's name.
    Function,
    /// A program of its own.
    Script(Script),
}

/// What of a job a run calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Its work, for one shard.
    #[default]
    Shard,
    /// Its listener, before the first shard of a fire starts.
    Before,
    /// Its listener, after the last shard of a fire has ended.
    After,
}

impl Part {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// All that one run of one shard is told, or one call of the job's listener. Shared by whoever starts, watches and reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name within the node.
    pub id: RunId,
    /// The job.
    pub job: JobName,
    /// What of the job is called.
    pub part: Part,
    /// Which shard; 0 for a call of the listener, which is for all of them.
    pub shard: ShardIndex,
    /// Of how many.
    pub shards: u32,
    /// The fire it belongs to.
    pub fire: Fire,
    /// The n-th run of this shard in this fire, or the n-th call of the listener, from 1.
    pub attempt: u32,
    /// The claim's fencing token: what the run writes elsewhere should carry it, and be refused
    /// where a greater one has been seen.
    pub epoch: Epoch,
    /// The instance that runs it.
    pub instance: InstanceId,
    /// The shard's own parameter, if it has one.
    pub shard_parameter: Option<String>,
    /// The job's parameter; empty if it has none.
    pub job_parameter: String,
    /// After how long it is cancelled.
    pub timeout: Option<Duration>,
    /// What is executed.
    pub work: Arc<Work>,
}

impl Run {
    /// ElasticJob's task id: `{job}@-@{shard}@-@READY@-@{instance}`.
    #[must_use]
    pub fn task_id(&self) -> String {
        format!("{}@-@{}@-@READY@-@{}", self.job, self.shard, self.instance)
    }
}

/// How long after it was told to stop a run counts as overdue: longer than a script's grace.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(10);

/// Why a run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CancelReason {
    /// It ran longer than its time-out.
    TimedOut,
    /// The node's session ended, and the job says `on_session_loss: stop`.
    SessionLost,
    /// The node stops, and its drain time is over; or an operator took its instance off the job, so that
    /// others take over, and the job says `on_session_loss: stop`.
    Shutdown,
    /// The job was removed.
    Removed,
}

impl CancelReason {
    /// The stable code for people and stored forms.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TimedOut => "TIMED_OUT",
            Self::SessionLost => "SESSION_LOST",
            Self::Shutdown => "SHUTDOWN",
            Self::Removed => "REMOVED",
        }
    }
}

/// How a run ended, told once its code has really ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Succeeded,
    /// It returned an error.
    Error(String),
    /// It panicked.
    Panicked(String),
    /// The script ended with another exit code than 0.
    Exited(i32),
    /// The script was ended by a signal that was not ours.
    Signalled(i32),
    /// It was told to stop, and has.
    Cancelled(CancelReason),
    /// It could not be started: the program is missing, not allowed, or no such job is registered.
    NotStarted(String),
    /// The runner that watched the script died, or the node did: whether the code finished is not
    /// known, but it has ended.
    Crashed(String),
}

impl Ending {
    /// Whether the shard's work is done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// The stable code for people and stored forms.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Succeeded => "OK",
            Self::Error(_) => "ERROR",
            Self::Panicked(_) => "PANIC",
            Self::Exited(_) => "EXIT",
            Self::Signalled(_) => "SIGNAL",
            Self::Cancelled(reason) => reason.code(),
            Self::NotStarted(_) => "NOT_STARTED",
            Self::Crashed(_) => "CRASHED",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("ok"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Self::Cancelled(CancelReason::TimedOut) => f.write_str("timed out"),
            Self::Cancelled(CancelReason::SessionLost) => f.write_str("stopped: session lost"),
            Self::Cancelled(CancelReason::Shutdown) => f.write_str("stopped: node shut down"),
            Self::Cancelled(CancelReason::Removed) => f.write_str("stopped: job removed"),
            Self::NotStarted(text) => write!(f, "not started: {text}"),
            Self::Crashed(text) => write!(f, "crashed: {text}"),
        }
    }
}

/// What is known of a run after it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The end of its output, at most [`OUTPUT_TAIL_BYTES`], cut at a character.
    pub output_tail: String,
    /// Rows it said it had done.
    pub rows: u64,
    /// Bytes it said it had done.
    pub bytes: u64,
}

/// How much of a run's output is kept in the registry.
pub const OUTPUT_TAIL_BYTES: usize = 2048;

impl Outcome {
    /// An outcome without output or progress.
    #[must_use]
    pub fn of(ending: Ending) -> Self {
        Self { ending, output_tail: String::new(), rows: 0, bytes: 0 }
    }
}
