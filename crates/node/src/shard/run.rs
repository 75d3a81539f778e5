//! A run of this node: its code is under way.

use super::back::TakingBack;
use super::claim::OwnClaim;
use super::ending::Ended;
use crate::alarms::Alarm;
use crate::turn::Turn;
use crate::{Effect, Report};
use flockwork_core::config::{JobConfig, OnSessionLoss};
use flockwork_core::execution::{CancelReason, OVERDUE_AFTER, Outcome, Run, Source};
use flockwork_core::id::{Epoch, ShardIndex};
use flockwork_core::time::Mono;
use flockwork_registry::Stamp;
use std::sync::Arc;

/// One run.
#[derive(Debug)]
pub(crate) struct Running {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    run: Arc<Run>,
    started: Mono,
    cancelled: Option<CancelReason>,
    /// Whether it runs on long after it was told to stop.
    is_overdue: bool,
}

impl Running {
    /// Starts the code of a claim that stands, under the definition that counts.
    pub(crate) fn start(
        turn: &mut Turn<'_>,
        mut claim: Box<OwnClaim>,
        stamp: Stamp,
        shard: ShardIndex,
        config: &JobConfig,
    ) -> Self {
        claim.on_session_loss(config.on_session_loss);
        let run = Arc::new(run(turn, &claim, stamp, shard, config));
        if let Some(timeout) = run.timeout {
            turn.alarms.add_timeout(turn.now.mono.plus(timeout), run.id);
        }
        if config.on_session_loss == OnSessionLoss::Stop {
            turn.watch_trust();
        }
        let late = turn.now.wall.since(run.fire.due);
        turn.effect(Effect::Start(run.clone()));
        turn.report(Report::Started { run: run.clone(), late });
        let started = turn.now.mono;
        Self { claim, stamp, run, started, cancelled: None, is_overdue: false }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// Tells it to stop, once.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        if self.cancelled.is_none() {
            self.cancelled = Some(reason);
            turn.effect(Effect::Cancel(self.run.id, reason));
            turn.alarm_in(OVERDUE_AFTER, Alarm::Overdue(self.run.id));
        }
    }

    /// It was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>) {
        self.is_overdue = true;
        turn.report(Report::Overdue(self.run.clone()));
    }

    /// Its code has really ended.
    pub(crate) fn ended(self, turn: &mut Turn<'_>, outcome: Outcome) -> Ended {
        let took = turn.now.mono.since(self.started);
        timeout_is_over(turn, &self.run);
        Ended::new(self.claim, self.stamp, self.run, outcome, took)
    }

    /// The session's trust ended between the proof of the claim and the start of its code. Says whether
    /// it was for a request, which is open again.
    pub(crate) fn not_started(self, turn: &mut Turn<'_>) -> (TakingBack, bool) {
        let text = "the process stood still until its session could have ended; the claim is \
                    given back and the fire is settled again";
        turn.trouble("GIVEN_BACK", text.to_owned());
        timeout_is_over(turn, &self.run);
        let was_asked_for = self.run.fire.source == Source::Trigger;
        (TakingBack::new(self.claim, self.stamp), was_asked_for)
    }
}

fn timeout_is_over(turn: &mut Turn<'_>, run: &Run) {
    if run.timeout.is_some() {
        turn.alarms.timeout_is_over(run.id);
    }
}

/// What the code is told.
fn run(
    turn: &Turn<'_>,
    claim: &OwnClaim,
    stamp: Stamp,
    shard: ShardIndex,
    config: &JobConfig,
) -> Run {
    let (id, claim) = (claim.id(), claim.claim());
    Run {
        id,
        job: turn.name.clone(),
        shard,
        shards: config.shards,
        fire: claim.fire,
        attempt: claim.attempt,
        epoch: Epoch(stamp.modified.0),
        instance: claim.instance.clone(),
        shard_parameter: config.shard_parameters.get(&shard).cloned(),
        job_parameter: config.job_parameter.clone(),
        timeout: config.timeout,
        work: config.work.clone(),
    }
}
