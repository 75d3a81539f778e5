//! What a program says about a job.

use flockwork_core::config::duration::format;
use flockwork_core::config::{
    CatchUp, Draft, OnSessionLoss, Overlap, Parameters, Retry, RetryDraft,
};
use flockwork_core::config::{Checked, JobConfig, Level, Problem, Strategy, check};
use flockwork_core::id::ShardIndex;
use flockwork_core::schedule::DstPolicy;
use flockwork_core::time::Timestamp;
use std::time::Duration;

/// A job: when it is due, into how many shards it is cut, and what happens when things go wrong.
/// What it runs is given beside it ([`NodeBuilder::job`](crate::NodeBuilder::job)).
///
/// Nothing is checked here; [`NodeBuilder::start`](crate::NodeBuilder::start) checks all jobs and
/// reports all that is wrong with them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job(Draft);

impl Job {
    /// Due by a Quartz cron expression (seconds first): `0/5 * * * * ?` is every five seconds,
    /// `0 0 2 ? * MON-FRI` at two in the night on weekdays. In UTC, unless
    /// [`Job::time_zone`] says otherwise.
    #[must_use]
    pub fn cron(name: &str, expression: &str) -> Self {
        Self(Draft { cron: Some(expression.to_owned()), ..Draft::native(name) })
    }

    /// Due at a fixed rate, counted from the epoch, so that all nodes agree: every 15 minutes is at
    /// :00, :15, :30 and :45. From 10 ms to 366 days.
    #[must_use]
    pub fn every(name: &str, period: Duration) -> Self {
        Self(Draft { every: Some(format(period)), ..Draft::native(name) })
    }

    /// Due once, at an instant.
    #[must_use]
    pub fn at(name: &str, instant: Timestamp) -> Self {
        Self(Draft { at: Some(instant.to_string()), ..Draft::native(name) })
    }

    /// Due once, as soon as the job exists in the registry. A restarted program does not run it
    /// again.
    #[must_use]
    pub fn now(name: &str) -> Self {
        Self(Draft { at: Some("now".to_owned()), ..Draft::native(name) })
    }

    /// Due only when someone asks for it ([`Handle::trigger`](crate::Handle::trigger)).
    #[must_use]
    pub fn on_trigger(name: &str) -> Self {
        Self(Draft::native(name))
    }

    /// A job with every setting there is, as a job file has them.
    #[must_use]
    pub fn from_draft(draft: Draft) -> Self {
        Self(draft)
    }

    /// The zone of the cron expression: an IANA name (`Asia/Shanghai`) or an offset (`GMT+08:00`).
    #[must_use]
    pub fn time_zone(mut self, zone: &str) -> Self {
        self.0.time_zone = Some(zone.to_owned());
        self
    }

    /// What happens to the cron expression when clocks change.
    #[must_use]
    pub fn dst(mut self, policy: DstPolicy) -> Self {
        let word = match policy {
            DstPolicy::Quartz => "quartz",
            DstPolicy::Sane => "sane",
        };
        self.0.dst = Some(word.to_owned());
        self
    }

    /// Into how many shards the job is cut; 1 unless said otherwise, at most 100,000.
    #[must_use]
    pub fn shards(mut self, shards: u32) -> Self {
        self.0.shards = Some(i64::from(shards));
        self
    }

    /// One shard's own parameter.
    #[must_use]
    pub fn shard_parameter(mut self, shard: ShardIndex, parameter: &str) -> Self {
        let pair = (shard.to_string(), parameter.to_owned());
        match &mut self.0.parameters {
            Some(Parameters::Pairs(pairs)) => pairs.push(pair),
            Some(Parameters::Text(_)) | None => {
                self.0.parameters = Some(Parameters::Pairs(vec![pair]));
            }
        }
        self
    }

    /// A parameter for all shards.
    #[must_use]
    pub fn parameter(mut self, parameter: &str) -> Self {
        self.0.parameter = Some(parameter.to_owned());
        self
    }

    /// Whether a fire that could not run on time runs once afterwards (the default) or is skipped.
    #[must_use]
    pub fn misfire(mut self, run_afterwards: bool) -> Self {
        self.0.misfire = Some(run_afterwards);
        self
    }

    /// What happens to a fire that comes due while its shard still runs.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.0.overlap = Some(overlap.native_name().to_owned());
        self
    }

    /// What happens to fires due while no node lived.
    #[must_use]
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.0.catch_up = Some(catch_up.native_name().to_owned());
        self
    }

    /// A crashed run is taken over by another node at once.
    #[must_use]
    pub fn failover(mut self, failover: bool) -> Self {
        self.0.failover = Some(failover);
        self
    }

    /// How a failed or crashed run is tried again in the same fire.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = RetryDraft {
            times: Some(i64::from(retry.times)),
            backoff: Some(format(retry.backoff)),
            on: Some(retry.on.native_name().to_owned()),
        };
        self
    }

    /// After how long a run is told to stop, with [`CancelReason::TimedOut`](crate::CancelReason::TimedOut); an hour unless said
    /// otherwise, at most seven days, `None` for never.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.0.timeout = Some(timeout.map_or_else(|| "none".to_owned(), format));
        self
    }

    /// How long before it is due a fire is claimed, at most ten seconds; zero, the default, for when it is
    /// due. Its code then starts on time whatever the registry costs; a node that dies meanwhile has
    /// crashed in that run, as if its code had begun.
    #[must_use]
    pub fn claim_ahead(mut self, ahead: Duration) -> Self {
        self.0.claim_ahead = Some(format(ahead));
        self
    }

    /// What happens to a run whose node lost its session: it is stopped where crashed or failed
    /// runs are taken elsewhere, and may finish otherwise, unless this says something else.
    #[must_use]
    pub fn on_session_loss(mut self, rule: OnSessionLoss) -> Self {
        self.0.on_session_loss = Some(rule.native_name().to_owned());
        self
    }

    /// How shards are dealt to nodes.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.0.strategy = Some(strategy.native_name().to_owned());
        self
    }

    /// The job starts switched off on this node's host, if it is not known there yet.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.0.disabled = Some(true);
        self
    }

    /// This definition replaces the registry's where they differ. Otherwise the registry's wins and
    /// the differences are reported, so that what an operator changed is not undone by a restart.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.0.overwrite = Some(true);
        self
    }

    /// For people.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.0.description = Some(text.to_owned());
        self
    }

    pub(crate) fn script(mut self, argv: Vec<String>) -> Self {
        self.0.script = Some(argv);
        self
    }

    /// Checks the job as files, command line and API are checked.
    pub(crate) fn check(&self, now: Timestamp) -> Result<JobConfig, Vec<Problem>> {
        let Checked { config, problems } = check(&self.0, Level::Strict, now);
        config.ok_or(problems)
    }
}
