//! What is shown of jobs, servers and shards: by the words of ElasticJob's lifecycle API where it has
//! them.

use flockwork_core::account::{Claim, ClaimState, Counts, Last, Note};
use flockwork_core::config::Checked;
use flockwork_core::execution::OVERDUE_AFTER;
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::schedule::Schedule;
use flockwork_core::time::Timestamp;
use flockwork_layout::clock::ClockNote;
use flockwork_layout::ineligible::Reason;
use std::collections::BTreeSet;

/// How a job is, as ElasticJob's statistics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is served, and each shard's owner is there.
    Ok,
    /// Each of its servers is disabled.
    Disabled,
    /// Shards wait for a new owner.
    ShardingFlag,
    /// No instance serves it, and those that would may not: each says why. Not a word of ElasticJob's.
    Waiting,
    /// No instance serves it.
    Crashed,
    /// Its definition cannot be read by this release.
    InvalidConfig,
    /// It was removed; what became of its fires is kept. Not a word of ElasticJob's.
    Removed,
}

impl Health {
    /// ElasticJob's word.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Disabled => "DISABLED",
            Self::ShardingFlag => "SHARDING_FLAG",
            Self::Waiting => "WAITING",
            Self::Crashed => "CRASHED",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::Removed => "REMOVED",
        }
    }

    /// The same as a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Ok => "served, every shard has its owner",
            Self::Disabled => "disabled on every server",
            Self::ShardingFlag => "shards wait for a new owner",
            Self::Waiting => "no instance that is there may serve it",
            Self::Crashed => "no instance serves it",
            Self::InvalidConfig => "its definition cannot be read",
            Self::Removed => "what became of its fires is kept",
        }
    }
}

/// How a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardHealth {
    /// Switched off.
    Disabled,
    /// It runs.
    Running,
    /// Its owner is not there.
    ShardingFlag,
    /// It waits for its next fire.
    Pending,
    /// Its job was removed. Not a word of ElasticJob's.
    Removed,
}

impl ShardHealth {
    /// ElasticJob's word.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Running => "RUNNING",
            Self::ShardingFlag => "SHARDING_FLAG",
            Self::Pending => "PENDING",
            Self::Removed => "REMOVED",
        }
    }
}

/// A job in a list.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Its name.
    pub name: JobName,
    /// How it is.
    pub health: Health,
    /// Its schedule; none if the definition cannot be read.
    pub schedule: Option<Schedule>,
    /// For people.
    pub description: String,
    /// How many shards it has; none if the definition cannot be read.
    pub shards: Option<u32>,
    /// How many instances serve it.
    pub instances: usize,
    /// Why instances may not serve it, if none does.
    pub ineligible: Vec<IneligibleRow>,
    /// Its next due instant, if there is one.
    pub next: Option<Timestamp>,
}

/// A job in full.
#[derive(Clone, Debug)]
pub struct JobDetail {
    /// Its name.
    pub name: JobName,
    /// How it is.
    pub health: Health,
    /// Its definition, and what is wrong or odd about it.
    pub definition: Checked,
    /// The next due instants, ascending, at most [`NEXT_FIRES`](crate::query::NEXT_FIRES).
    pub next: Vec<Timestamp>,
    /// The hosts that serve or served it.
    pub servers: Vec<ServerRow>,
    /// Who serves it.
    pub instances: Vec<InstanceId>,
    /// Who deals its shards.
    pub leader: Option<InstanceId>,
    /// Its shards.
    pub shards: Vec<ShardRow>,
    /// What instances say of their clocks, where the job limits the difference to the registry's.
    pub clocks: Vec<ClockRow>,
    /// Which instances would serve it and may not, and why.
    pub ineligible: Vec<IneligibleRow>,
}

/// Why an instance may not serve a job.
#[derive(Clone, Debug)]
pub struct IneligibleRow {
    /// Which instance.
    pub instance: InstanceId,
    /// What it says, or why that cannot be read.
    pub reasons: Result<Vec<Reason>, String>,
}

impl IneligibleRow {
    /// The codes of the reasons, each once; none if they cannot be read.
    #[must_use]
    pub fn codes(rows: &[Self]) -> BTreeSet<&str> {
        let reasons = rows.iter().filter_map(|row| row.reasons.as_ref().ok()).flatten();
        reasons.map(|reason| reason.code.as_str()).collect()
    }
}

/// What an instance says of its clock.
#[derive(Clone, Debug)]
pub struct ClockRow {
    /// Which instance.
    pub instance: InstanceId,
    /// What it says, or why that cannot be read.
    pub note: Result<ClockNote, String>,
}

impl JobDetail {
    /// Whether a shard's run should have ended by `now`: it has a time-out, was told to stop when that
    /// had passed, and does not. By the clock of whoever asks.
    #[must_use]
    pub fn is_overdue(&self, shard: &ShardRow, now: Timestamp) -> bool {
        let timeout = self.definition.config.as_ref().and_then(|config| config.timeout);
        let held = shard.claim.as_ref().filter(|claim| claim.state == ClaimState::Held);
        let (Some(timeout), Some(claim)) = (timeout, held) else { return false };
        claim.begins().plus(timeout).plus(OVERDUE_AFTER) < now
    }
}

/// A host of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    /// Its address.
    pub ip: String,
    /// Whether the job is enabled there.
    pub is_enabled: bool,
}

/// A shard of a job.
#[derive(Clone, Debug)]
pub struct ShardRow {
    /// Which.
    pub shard: ShardIndex,
    /// How it is.
    pub health: ShardHealth,
    /// The instance it is assigned to, whether that is there or not.
    pub owner: Option<InstanceId>,
    /// Whether a crashed run of it was taken over and has not ended.
    pub is_failover: bool,
    /// The run under way or released, by its record.
    pub claim: Option<Claim>,
    /// The run that ended last, by its record.
    pub last: Option<Last>,
    /// What became of its fires.
    pub counts: Counts,
    /// What happened to fires that did not run on time, newest last.
    pub notes: Vec<Note>,
    /// Why its record cannot be read, if so.
    pub trouble: Option<String>,
}
