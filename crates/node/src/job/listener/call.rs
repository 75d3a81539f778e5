//! One call of a job's listener, from its beginning until the registry knows what has become of it.

use crate::Effect;
use crate::turn::Turn;
use flockwork_core::config::{JobConfig, ListenerRules};
use flockwork_core::execution::{Ending, Fire, Part, Run, RunId, Source};
use flockwork_core::id::Epoch;
use flockwork_layout::guarantee::{Guarantee, Stage};
use flockwork_registry::Stamp;
use std::sync::Arc;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    run: Arc<Run>,
    /// How it ended, if its code has, or if it took too long.
    ending: Option<Ending>,
}

impl Call {
    pub(super) fn of(run: Arc<Run>) -> Self {
        Self { run, ending: None }
    }

    /// Calls the listener, for the n-th time for that fire.
    pub(super) fn begin(
        turn: &mut Turn<'_>,
        config: &JobConfig,
        (part, fire, attempt): (Part, Fire, u32),
        leader: Stamp,
    ) -> Self {
        let id = turn.capacity.name_run();
        let run = Arc::new(run(turn, config, id, (part, fire, attempt), leader));
        turn.capacity.take(id, (turn.job, None));
        if let Some(timeout) = run.timeout {
            turn.alarms.add_timeout(turn.now.mono.plus(timeout), id);
        }
        turn.watch_trust();
        turn.effect(Effect::Start(run.clone()));
        Self::of(run)
    }

    /// Fails a call that cannot begin, because an earlier one does not stop.
    pub(super) fn not_begun(
        turn: &mut Turn<'_>,
        config: &JobConfig,
        what: (Part, Fire, u32),
        leader: Stamp,
    ) -> Self {
        let id = turn.capacity.name_run();
        let run = Arc::new(run(turn, config, id, what, leader));
        let text = "an earlier call was told to stop, and goes on";
        let mut call = Self::of(run);
        call.ended(turn, Ending::NotStarted(text.to_owned()));
        call
    }

    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Returns how the call ended, if it has.
    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Notes how the call ended, and tells people if that was not well.
    pub(super) fn ended(&mut self, turn: &mut Turn<'_>, ending: Ending) {
        if !ending.is_success() {
            let code = match self.run.part {
                Part::Before => "BEFORE_FAILED",
                Part::After | Part::Shard => "AFTER_FAILED",
            };
            let (part, due) = (self.run.part.as_str(), self.run.fire.due);
            turn.trouble(code, format!("{part} of the fire due {due}: {ending}"));
        }
        self.ending = Some(ending);
    }

    /// Returns whether the fire waits for the call, as far as the registry knows.
    pub(super) fn is_awaited(&self, document: &Guarantee) -> bool {
        let fire = self.run.fire;
        match (self.run.part, document.stage) {
            (Part::Before, Stage::Repeated { fire: repeated, .. }) => repeated == fire,
            (Part::Before, Stage::Closed | Stage::Passed(_)) => match fire.source {
                Source::Trigger => document.asked > document.answered,
                _ => fire.due > document.through,
            },
            (Part::After, Stage::Open { fire: open, .. } | Stage::Closing { fire: open, .. }) => {
                open == fire
            }
            _ => false,
        }
    }

    /// Gives the call's place back, as its code has ended.
    pub(super) fn is_over(turn: &mut Turn<'_>, run: &Run) {
        turn.capacity.free(run.id);
        turn.alarms.timeout_is_over(run.id);
    }
}

/// Returns what the listener is told.
fn run(
    turn: &Turn<'_>,
    config: &JobConfig,
    id: RunId,
    (part, fire, attempt): (Part, Fire, u32),
    leader: Stamp,
) -> Run {
    let ListenerRules { before_timeout, after_timeout, .. } = config.listener.unwrap_or_default();
    Run {
        id,
        job: turn.name.clone(),
        part,
        shard: 0,
        shards: config.shards,
        fire,
        attempt,
        // A later leader has a greater one.
        epoch: Epoch(leader.created.0),
        instance: turn.instance().clone(),
        shard_parameter: None,
        job_parameter: config.job_parameter.clone(),
        timeout: Some(if part == Part::Before { before_timeout } else { after_timeout }),
        work: config.work.clone(),
    }
}
