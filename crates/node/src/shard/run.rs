//! A run of this node whose code is under way.

use super::back::TakingBack;
use super::claim::OwnClaim;
use super::ending::Ended;
use crate::alarms::Alarm;
use crate::turn::Turn;
use crate::{Effect, Report};
use flockwork_core::config::{JobConfig, OnSessionLoss};
use flockwork_core::execution::{CancelReason, OVERDUE_AFTER, Outcome, Part, Run, Source};
use flockwork_core::id::{Epoch, ShardIndex};
use flockwork_core::time::Mono;
use flockwork_registry::Stamp;
use std::sync::Arc;

/// A run whose code is under way.
#[derive(Debug)]
pub(crate) struct Running {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    run: Arc<Run>,
    started: Mono,
    cancelled: Option<CancelReason>,
    /// Whether the run goes on long after it was told to stop.
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

    /// Tells the run to stop, once.
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, reason: CancelReason) {
        if self.cancelled.is_none() {
            self.cancelled = Some(reason);
            turn.effect(Effect::Cancel(self.run.id, reason));
            turn.alarm_in(OVERDUE_AFTER, Alarm::Overdue(self.run.id));
        }
    }

    /// Notes that the run was told to stop a good while ago.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_>) {
        self.is_overdue = true;
        turn.report(Report::Overdue(self.run.clone()));
    }

    /// Notes that the run's code has really ended.
    pub(crate) fn ended(self, turn: &mut Turn<'_>, outcome: Outcome) -> Ended {
        let took = turn.now.mono.since(self.started);
        timeout_is_over(turn, &self.run);
        Ended::new(self.claim, self.stamp, self.run, outcome, took)
    }

    /// Ends a run whose session's trust ended between the proof of its claim and the start of its code.
    /// Returns whether the run was for a request, which is open again.
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

/// Returns what the code is told about its run.
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
        part: Part::Shard,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{ME, instance};
    use crate::shard::scene::{CLAIMED, DUE, Scene, failed, fire, released_to};
    use flockwork_core::execution::RunId;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limited() -> Scene {
        Scene::of(|config| config.timeout = Some(MINUTE))
    }

    /// The run that has had its time a minute from now.
    fn timed_out(scene: &mut Scene) -> Option<RunId> {
        let at = scene.rig.now.mono.plus(MINUTE);
        assert_eq!(scene.rig.alarms.pop_timeout(Mono::from_millis(at.as_millis() - 1)), None);
        scene.rig.alarms.pop_timeout(at)
    }

    #[test]
    fn a_run_starts_under_the_definition_that_counts_by_then() {
        let mut scene = Scene::of(|config| config.on_session_loss = OnSessionLoss::Finish);
        let (claim, stamp) = scene.standing(DUE).into_parts();
        assert!(!claim.must_stop_without_session());
        scene.redefine(|config| {
            config.on_session_loss = OnSessionLoss::Stop;
            config.timeout = Some(MINUTE);
            config.job_parameter = "all".to_owned();
            config.shard_parameters.insert(0, "zero".to_owned());
        });
        scene.rig.pass(250);
        let running = scene
            .act(|turn, facts, _| Running::start(turn, claim, stamp, 0, facts.config.unwrap()));
        let run = running.run().clone();
        assert!(running.claim().must_stop_without_session());
        assert_eq!((&*run.job_parameter, run.shard_parameter.as_deref()), ("all", Some("zero")));
        let effects = std::mem::take(&mut scene.rig.effects);
        assert!(
            matches!(&effects[..], [Effect::Start(one), Effect::Report(Report::Started { run: two, late })]
            if *one == run && *two == run && *late == Duration::from_millis(250))
        );
        assert_eq!(scene.rig.alarms.pop(Mono::from_millis(70_000)), Some(Alarm::TrustEnd));
        assert_eq!(timed_out(&mut scene), Some(run.id));
    }

    #[test]
    fn a_run_without_a_limit_sets_no_alarm() {
        let mut scene = Scene::of(|config| {
            (config.timeout, config.on_session_loss) = (None, OnSessionLoss::Finish);
        });
        let claiming = scene.first(DUE).unwrap();
        scene.runs(claiming);
        assert_eq!(timed_out(&mut scene), None);
        assert_eq!(scene.rig.alarms.pop(Mono::from_millis(u64::MAX)), None);
    }

    #[test]
    fn a_run_is_told_its_claim_and_the_commit_that_made_it() {
        let mut scene = Scene::new();
        let claiming = scene.again(&released_to(ME));
        let id = claiming.claim().id();
        let running = scene.runs(claiming);
        let run = running.run();
        assert_eq!((run.id, run.shard, run.shards), (id, 0, 2));
        assert_eq!((run.fire, run.attempt), (DUE, 2));
        assert_eq!((run.epoch, &run.instance), (Epoch(CLAIMED.0), &instance(ME)));
    }

    #[test]
    fn a_run_is_told_to_stop_once_and_is_overdue_a_while_later() {
        let mut scene = Scene::of(|config| config.on_session_loss = OnSessionLoss::Finish);
        let claiming = scene.first(DUE).unwrap();
        let mut running = scene.runs(claiming);
        let id = running.run().id;
        for reason in [CancelReason::TimedOut, CancelReason::TimedOut, CancelReason::Removed] {
            running.cancel(&mut scene.rig.turn(), reason);
            scene.rig.pass(1);
        }
        assert!(matches!(scene.rig.effects[..], [Effect::Cancel(run, CancelReason::TimedOut)]
            if run == id));
        let late = Mono::from_millis(10_000).plus(OVERDUE_AFTER);
        assert_eq!(scene.rig.alarms.pop(Mono::from_millis(late.as_millis() - 1)), None);
        assert_eq!(scene.rig.alarms.pop(late), Some(Alarm::Overdue(id)));
        assert_eq!(scene.rig.alarms.pop(Mono::from_millis(u64::MAX)), None);
        assert!(!running.is_overdue());
        running.overdue(&mut scene.rig.turn());
        assert!(running.is_overdue());
        let reports = scene.rig.reports();
        assert!(matches!(&reports[..], [Report::Overdue(run)] if run.id == id));
    }

    #[test]
    fn what_was_not_started_is_given_back_and_said() {
        for (source, is_request) in [(Source::Schedule, false), (Source::Trigger, true)] {
            let mut scene = Scene::new();
            let claiming = scene.first(fire(10_000, source)).unwrap();
            let running = scene.runs(claiming);
            let (id, stamp) = (running.run().id, running.stamp);
            let (back, was_asked_for) = running.not_started(&mut scene.rig.turn());
            assert_eq!((back.claim().id(), back.stamp()), (id, stamp));
            assert!(!back.is_sent());
            assert_eq!(was_asked_for, is_request, "{source:?}");
            let reports = scene.rig.reports();
            assert!(matches!(&reports[..], [Report::Trouble { code: "GIVEN_BACK", .. }]));
        }
    }

    #[test]
    fn how_long_the_code_ran_is_told_with_its_end() {
        let mut scene = Scene::new();
        let claiming = scene.first(DUE).unwrap();
        let running = scene.runs(claiming);
        let run = running.run().clone();
        scene.rig.pass(1_500);
        let ended = running.ended(&mut scene.rig.turn(), failed());
        assert_eq!(*ended.run(), run);
        scene.tells(Box::new(ended)).known(&mut scene.rig.turn(), None);
        let took = Duration::from_millis(1_500);
        let reports = scene.rig.reports();
        assert!(matches!(&reports[..], [Report::Ended { took: told, .. }] if *told == took));
    }

    /// The time-outs of runs that are over go by and by, as many end.
    #[test]
    fn the_time_of_a_run_that_is_over_is_over() {
        let over: [fn(&mut Scene, Running); 2] = [
            |scene, running| drop(running.ended(&mut scene.rig.turn(), failed())),
            |scene, running| drop(running.not_started(&mut scene.rig.turn())),
        ];
        for over in over {
            let mut scene = limited();
            for _ in 0..100 {
                let claiming = scene.first(DUE).unwrap();
                let running = scene.runs(claiming);
                over(&mut scene, *running);
            }
            let alarms = &mut scene.rig.alarms;
            let left = std::iter::from_fn(|| alarms.pop_timeout(Mono::from_millis(u64::MAX)));
            assert!(left.count() < 100);
        }
    }
}
