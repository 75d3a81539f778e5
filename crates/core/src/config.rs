//! What a job is. A [`JobConfig`] is valid once built.
//!
//! Its parts in reading order: the names of its fields ([`field`]), what can be written ([`Draft`]),
//! how it is checked ([`check()`]), what is wrong with it ([`Problem`]), the syntax of shard
//! parameters ([`parameters`]), of ElasticJob's command lines ([`command_line`]).

mod check;
pub mod command_line;
mod draft;
pub mod field;
pub mod parameters;
mod problem;

pub use crate::duration;
pub use check::{
    Checked, DEFAULT_TIMEOUT, Level, MAX_BACKOFF, MAX_BEFORE_TIMEOUT, MAX_CLAIM_AHEAD, MAX_EVERY,
    MAX_RETRIES, MAX_TIMEOUT, MIN_EVERY, PARAMETER_BYTES, check, name_problem,
};
pub use draft::{Amount, Draft, ListenerDraft, Parameters, RetryDraft};
pub use problem::{Code, Position, Problem, SHOWN_CHARACTERS, Severity, nearest, shown};

use crate::execution::Work;
use crate::id::{JobName, ShardIndex};
use crate::schedule::Schedule;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most shards a job may have.
pub const MAX_SHARDS: u32 = 100_000;

/// What a job is: valid, and never changed. A changed job is a new one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobConfig {
    /// Its name, and the name of its node in the registry.
    pub name: JobName,
    /// What stands in the job's node: ElasticJob's implementation string (`SCRIPT`, a class name).
    pub implementation: String,
    /// What a run executes.
    pub work: Arc<Work>,
    /// When it is due.
    pub schedule: Schedule,
    /// Into how many shards it is cut; 1 to [`MAX_SHARDS`].
    pub shards: u32,
    /// Each shard's own parameter.
    pub shard_parameters: BTreeMap<ShardIndex, String>,
    /// A parameter for all shards.
    pub job_parameter: String,
    /// What happens to a fire that could not run on time: run once after, or skipped.
    pub misfire: bool,
    /// What happens to a fire that comes due while the shard still runs an earlier one.
    pub overlap: Overlap,
    /// What happens to fires due while no node lived.
    pub catch_up: CatchUp,
    /// Whether a crashed run is taken elsewhere at once.
    pub failover: bool,
    /// Whether and how a failed or crashed run is tried again in the same fire.
    pub retry: Retry,
    /// After how long a run is cancelled; none for never.
    pub timeout: Option<Duration>,
    /// How long before it is due a fire is claimed; zero for when it is due.
    pub claim_ahead: Duration,
    /// How the job's listener is called, if it has one.
    pub listener: Option<ListenerRules>,
    /// What happens to a run whose node lost its session.
    pub on_session_loss: OnSessionLoss,
    /// How shards are dealt to instances.
    pub strategy: Strategy,
    /// Whether shards stay where they are, by place, when instances come and go.
    pub static_sharding: bool,
    /// ElasticJob's `monitorExecution`: whether running shards are marked in the registry. Ours
    /// always are, as the mark is the claim; kept for ElasticJob nodes.
    pub monitor_execution: bool,
    /// The greatest tolerated difference to the registry's clock.
    pub max_time_difference: Option<Duration>,
    /// How often the assignment is compared with who is there; none for never.
    pub reconcile_interval: Option<Duration>,
    /// Starts as disabled when no server status is known yet.
    pub disabled: bool,
    /// Whether this definition replaces the registry's when they differ.
    pub overwrite: bool,
    /// For people.
    pub description: String,
    /// For people and consoles.
    pub label: Option<String>,
    /// ElasticJob settings that this node keeps and does not act on yet, as they were written.
    pub kept: Kept,
}

/// ElasticJob settings that are kept as they were written, so that rewriting loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// `jobErrorHandlerType`.
    pub error_handler: Option<String>,
    /// `jobListenerTypes`.
    pub listeners: Vec<String>,
    /// `jobExecutorThreadPoolSizeProviderType`, or the older key `jobExecutorServiceHandlerType`.
    pub pool: Option<(String, String)>,
    /// `jobExtraConfigurations`, verbatim YAML.
    pub extra_configurations: Option<String>,
    /// `props` that are not ours (ours start with `flockwork.` or are a job type's).
    pub props: BTreeMap<String, String>,
    /// A `jobShardingStrategyType` that only ElasticJob knows.
    pub strategy: Option<String>,
    /// Keys of a newer release, verbatim YAML, by name.
    pub unknown: BTreeMap<String, String>,
    /// No zone was written: the cron expression is in the zone of whoever reads it.
    pub no_time_zone: bool,
    /// `failover` was asked for without `monitorExecution`, which has no effect.
    pub failover_without_monitor: bool,
    /// `shardingItemParameters` as written, where the parameters by shard do not say all of it.
    pub parameters: Option<String>,
    /// `props.script.command.line` as written, where the script does not say all of it.
    pub command_line: Option<String>,
}

/// What happens to a fire that comes due while the shard still runs an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// All such fires together run once, right after (ElasticJob's way).
    #[default]
    RunOnceAfter,
    /// They are skipped.
    Skip,
    /// They run one after the other, in order.
    Queue,
}

/// What happens to fires due while no node lived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// They are reported as missed and not run.
    #[default]
    None,
    /// The latest of them runs; the others are reported as missed.
    Latest,
    /// Each of them runs, in order, up to 1,000; the older ones are reported as missed.
    All,
}

/// How failed and crashed runs are tried again in the same fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often, after the first run; 0 for never.
    pub times: u32,
    /// How long after the failure, times 2 for each further attempt, at most an hour.
    pub backoff: Duration,
    /// Where.
    pub on: RetryOn,
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, backoff: Duration::from_secs(1), on: RetryOn::PreferOther }
    }
}

impl Retry {
    /// How long after the end of attempt `attempt` (from 1) the next one may start.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        self.backoff.saturating_mul(factor).min(Duration::from_secs(3600))
    }
}

/// Where a run is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryOn {
    /// On another instance if there is one, else on the same.
    #[default]
    PreferOther,
    /// On another instance only; without one it ends failed, `NO_OTHER_INSTANCE`.
    Other,
    /// On the same instance; if that is gone, on the shard's owner.
    Same,
}

/// How a job's listener is called: `before` once before the first shard of a fire starts, `after` once when
/// the last has ended, on one instance for the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRules {
    /// After how long a call of `before` is cancelled and counts as failed.
    pub before_timeout: Duration,
    /// After how long a call of `after` is cancelled. The fire is then over like any other.
    pub after_timeout: Duration,
    /// What happens to a fire whose `before` failed.
    pub on_failure: OnBeforeFailure,
}

impl ListenerRules {
    /// How often a call of `before` is repeated because the instance that ran it is gone, so that a call
    /// which kills its node cannot kill every node.
    pub const MAX_REPEATS: u32 = 3;
}

impl Default for ListenerRules {
    fn default() -> Self {
        Self {
            before_timeout: Duration::from_secs(10),
            after_timeout: Duration::from_mins(10),
            on_failure: OnBeforeFailure::Skip,
        }
    }
}

/// What happens to a fire whose listener's `before` failed, or did not end in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBeforeFailure {
    /// Every shard accounts the fire as skipped, `BEFORE_FAILED`.
    #[default]
    Skip,
    /// The shards run.
    Run,
}

/// What happens to a run whose node lost its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSessionLoss {
    /// It may finish; its outcome is refused if the shard was taken by then.
    Finish,
    /// It is cancelled.
    Stop,
}

/// How shards are dealt to instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Equal shares, moving as few shards as it can when instances come and go. Ours, and the
    /// default of native jobs.
    #[default]
    Sticky,
    /// ElasticJob's `AVG_ALLOCATION`.
    Average,
    /// ElasticJob's `ODEVITY`.
    Parity,
    /// ElasticJob's `ROUND_ROBIN`.
    RoundRobin,
    /// ElasticJob's `SINGLE_SHARDING_BALANCE`, as far as dealing goes.
    SingleBalance,
}

impl JobConfig {
    /// The most attempts one fire of a shard may have that end in a crash and are taken over, so
    /// that a run which kills its node cannot kill every node.
    pub const MAX_TAKEOVERS: u32 = 8;

    /// What tells one schedule from another: fires are computed under one of these at a time.
    #[must_use]
    pub fn schedule_fingerprint(&self) -> String {
        self.schedule.to_string()
    }
}
