//! What a program says about a job.

use flockwork_core::config::duration::format;
use flockwork_core::config::field::Field;
use flockwork_core::config::{
    CatchUp, Draft, OnBeforeFailure, OnSessionLoss, Overlap, Parameters, Retry, RetryDraft,
};
use flockwork_core::config::{Checked, Code, JobConfig, Level, Problem, Strategy, check};
use flockwork_core::id::ShardIndex;
use flockwork_core::schedule::DstPolicy;
use flockwork_core::time::Timestamp;
use flockwork_worker::Listener;
use std::sync::Arc;
use std::time::Duration;

/// A job: when it is due, into how many shards it is cut, and what happens when things go wrong.
/// What it runs is given beside it ([`NodeBuilder::job`](crate::NodeBuilder::job)).
///
/// Nothing is checked here; [`NodeBuilder::start`](crate::NodeBuilder::start) checks all jobs and
/// reports all that is wrong with them at once.
#[derive(Clone, Debug)]
pub struct Job {
    draft: Draft,
    listener: Option<Arc<dyn Listener>>,
}

impl Job {
    /// Due by a Quartz cron expression (seconds first): `0/5 * * * * ?` is every five seconds,
    /// `0 0 2 ? * MON-FRI` at two in the night on weekdays. In UTC, unless
    /// [`Job::time_zone`] says otherwise.
    #[must_use]
    pub fn cron(name: &str, expression: &str) -> Self {
        Self::of(Draft { cron: Some(expression.to_owned()), ..Draft::native(name) })
    }

    /// Due at a fixed rate, counted from the epoch, so that all nodes agree: every 15 minutes is at
    /// :00, :15, :30 and :45. From 10 ms to 366 days.
    #[must_use]
    pub fn every(name: &str, period: Duration) -> Self {
        Self::of(Draft { every: Some(format(period)), ..Draft::native(name) })
    }

    /// Due once, at an instant.
    #[must_use]
    pub fn at(name: &str, instant: Timestamp) -> Self {
        Self::of(Draft { at: Some(instant.to_string()), ..Draft::native(name) })
    }

    /// Due once, as soon as the job exists in the registry. A restarted program does not run it
    /// again.
    #[must_use]
    pub fn now(name: &str) -> Self {
        Self::of(Draft { at: Some("now".to_owned()), ..Draft::native(name) })
    }

    /// Due only when someone asks for it ([`Handle::trigger`](crate::Handle::trigger)).
    #[must_use]
    pub fn on_trigger(name: &str) -> Self {
        Self::of(Draft::native(name))
    }

    /// A job with every setting there is, as a job file has them. One with rules for a listener needs a
    /// listener too ([`Job::listener`]).
    #[must_use]
    pub fn from_draft(draft: Draft) -> Self {
        Self::of(draft)
    }

    /// The zone of the cron expression: an IANA name (`Asia/Shanghai`) or an offset (`GMT+08:00`).
    #[must_use]
    pub fn time_zone(mut self, zone: &str) -> Self {
        self.draft.time_zone = Some(zone.to_owned());
        self
    }

    /// What happens to the cron expression when clocks change.
    #[must_use]
    pub fn dst(mut self, policy: DstPolicy) -> Self {
        let word = match policy {
            DstPolicy::Quartz => "quartz",
            DstPolicy::Sane => "sane",
        };
        self.draft.dst = Some(word.to_owned());
        self
    }

    /// Into how many shards the job is cut; 1 unless said otherwise, at most 100,000.
    #[must_use]
    pub fn shards(mut self, shards: u32) -> Self {
        self.draft.shards = Some(i64::from(shards));
        self
    }

    /// One shard's own parameter.
    #[must_use]
    pub fn shard_parameter(mut self, shard: ShardIndex, parameter: &str) -> Self {
        let pair = (shard.to_string(), parameter.to_owned());
        match &mut self.draft.parameters {
            Some(Parameters::Pairs(pairs)) => pairs.push(pair),
            Some(Parameters::Text(_)) | None => {
                self.draft.parameters = Some(Parameters::Pairs(vec![pair]));
            }
        }
        self
    }

    /// A parameter for all shards.
    #[must_use]
    pub fn parameter(mut self, parameter: &str) -> Self {
        self.draft.parameter = Some(parameter.to_owned());
        self
    }

    /// Whether a fire that could not run on time runs once afterwards (the default) or is skipped.
    #[must_use]
    pub fn misfire(mut self, run_afterwards: bool) -> Self {
        self.draft.misfire = Some(run_afterwards);
        self
    }

    /// What happens to a fire that comes due while its shard still runs.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.draft.overlap = Some(overlap.native_name().to_owned());
        self
    }

    /// What happens to fires due while no node lived.
    #[must_use]
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.draft.catch_up = Some(catch_up.native_name().to_owned());
        self
    }

    /// A crashed run is taken over by another node at once.
    #[must_use]
    pub fn failover(mut self, failover: bool) -> Self {
        self.draft.failover = Some(failover);
        self
    }

    /// How a failed or crashed run is tried again in the same fire.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.draft.retry = RetryDraft {
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
        self.draft.timeout = Some(timeout.map_or_else(|| "none".to_owned(), format));
        self
    }

    /// How long before it is due a fire is claimed, at most ten seconds; zero, the default, for when it is
    /// due. Its code then starts on time whatever the registry costs; a node that dies meanwhile has
    /// crashed in that run, as if its code had begun.
    #[must_use]
    pub fn claim_ahead(mut self, ahead: Duration) -> Self {
        self.draft.claim_ahead = Some(format(ahead));
        self
    }

    /// What happens to a run whose node lost its session: it is stopped where crashed or failed
    /// runs are taken elsewhere, and may finish otherwise, unless this says something else.
    #[must_use]
    pub fn on_session_loss(mut self, rule: OnSessionLoss) -> Self {
        self.draft.on_session_loss = Some(rule.native_name().to_owned());
        self
    }

    /// How shards are dealt to nodes.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.draft.strategy = Some(strategy.native_name().to_owned());
        self
    }

    /// The job starts switched off on this node's host, if it is not known there yet.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.draft.disabled = Some(true);
        self
    }

    /// This definition replaces the registry's where they differ. Otherwise the registry's wins and
    /// the differences are reported, so that what an operator changed is not undone by a restart.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.draft.overwrite = Some(true);
        self
    }

    /// For people.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.draft.description = Some(text.to_owned());
        self
    }

    /// Calls `listener` once before and once after each fire, on one node for all that share the registry:
    ///
    /// ```
    /// use flockwork::{Context, Job, JobFuture, Listener, Node};
    /// use std::time::Duration;
    ///
    /// struct Batch;
    ///
    /// impl Listener for Batch {
    ///     fn before(&self, context: Context) -> JobFuture<'_> {
    ///         Box::pin(async move {
    ///             println!("{} opens the batch of {}", context.instance(), context.due());
    ///             Ok(())
    ///         })
    ///     }
    ///
    ///     fn after(&self, context: Context) -> JobFuture<'_> {
    ///         Box::pin(async move {
    ///             println!("{} shards have settled it", context.shards());
    ///             Ok(())
    ///         })
    ///     }
    /// }
    ///
    /// # async fn settle(_: Context) -> Result<(), std::io::Error> {
    /// #     Ok(())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), flockwork::Error> {
    /// let job = Job::cron("settle", "0 0 2 * * ?")
    ///     .shards(4)
    ///     .listener(Batch)
    ///     .before_timeout(Duration::from_secs(30));
    /// let node = Node::builder().job(job, settle).start()?;
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// All programs that serve the job must give it one: which of them is called is not known before.
    /// [`Listener`] says what the calls must stand.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.draft.listener.get_or_insert_default();
        self.listener = Some(Arc::new(listener));
        self
    }

    /// After how long the listener's [`before`](Listener::before) is told to stop and has failed; 10 s unless
    /// said otherwise, at most an hour. All shards of the fire wait for it.
    #[must_use]
    pub fn before_timeout(mut self, timeout: Duration) -> Self {
        self.draft.listener.get_or_insert_default().before_timeout = Some(format(timeout));
        self
    }

    /// After how long the listener's [`after`](Listener::after) is told to stop; 10 min unless said otherwise,
    /// at most seven days. The job's next fire waits for it.
    #[must_use]
    pub fn after_timeout(mut self, timeout: Duration) -> Self {
        self.draft.listener.get_or_insert_default().after_timeout = Some(format(timeout));
        self
    }

    /// What happens to a fire whose [`before`](Listener::before) failed, or did not end in time: it is skipped
    /// unless said otherwise.
    #[must_use]
    pub fn on_before_failure(mut self, rule: OnBeforeFailure) -> Self {
        let word = rule.native_name().to_owned();
        self.draft.listener.get_or_insert_default().on_failure = Some(word);
        self
    }

    fn of(draft: Draft) -> Self {
        Self { draft, listener: None }
    }

    pub(crate) fn script(mut self, argv: Vec<String>) -> Self {
        self.draft.script = Some(argv);
        self
    }

    /// Checks the job as files, command line and API are checked. Gives back its listener, if it has one.
    pub(crate) fn check(self, now: Timestamp) -> Result<CheckedJob, Vec<Problem>> {
        let Checked { config, mut problems } = check(&self.draft, Level::Strict, now);
        let missing = self.missing_listener();
        match config.filter(|_| missing.is_none()) {
            Some(config) => Ok(CheckedJob { config, listener: self.listener }),
            None => {
                problems.extend(missing);
                Err(problems)
            }
        }
    }

    /// The registry would tell all nodes that the job has a listener, and this one could not call it.
    fn missing_listener(&self) -> Option<Problem> {
        if self.draft.listener.is_none() || self.listener.is_some() {
            return None;
        }
        let message = "the job has rules for a listener, and no listener";
        let place = self.draft.place_of(Field::Listener);
        let problem = Problem::error(Code::NoListener, place, message);
        let hint = "give it one with Job::listener, or leave the rules out";
        Some(problem.at(self.draft.position_of(Field::Listener)).with_hint(hint))
    }
}

/// A job that is as it must be.
#[derive(Debug)]
pub(crate) struct CheckedJob {
    pub(crate) config: JobConfig,
    /// None exactly where the config has no rules for one.
    pub(crate) listener: Option<Arc<dyn Listener>>,
}
