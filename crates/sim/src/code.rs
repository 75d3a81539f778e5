//! User code: how long it runs, how it ends, whether it stops when told to. It writes its own
//! probes into the trace.

use crate::host::Running;
use crate::mutants::Mutant;
use crate::queue::{HostAt, Within};
use crate::world::World;
use flockwork_checker::trace::{Fact, Fire, Probe};
use flockwork_core::execution::{CancelReason, Ending, Outcome, Run, RunId};
use flockwork_node::Event;

/// How soon after all is healed every run ends: milliseconds.
const SOON: u64 = 3_000;

impl World {
    pub(crate) fn run_starts(&mut self, at: HostAt, run: &Run) {
        let host = &self.hosts[at];
        let probe = Probe {
            node: host.number,
            instance: host.instance.to_string(),
            job: run.job.to_string(),
            shard: run.shard,
            fire: Fire {
                due: run.fire.due.as_millis(),
                source: run.fire.source.as_str().to_owned(),
            },
            attempt: run.attempt,
            epoch: run.epoch.0,
        };
        self.recorder.write(self.now, Fact::Start(probe.clone()));
        self.counts.runs += 1;
        let mut dice = self.root.split(&probe.job, run.epoch.0 ^ (u64::from(run.shard) << 48));
        let Some(job) = self.jobs.iter().find(|job| job.config.name == run.job) else { return };
        let length = match self.is_healed {
            true => dice.between(1, 30),
            false => dice.between(job.shortest, job.longest),
        };
        let fails = !self.is_healed && dice.chance(job.fails);
        let hangs = !self.is_healed && dice.chance(job.hangs);
        let code = if !fails { "OK" } else { *dice.pick(&["ERROR", "PANIC", "EXIT"]) };
        let is_stubborn = !self.is_healed && dice.chance(job.stubborn);
        let running = Running { probe, code, end: 0, cancelled: None, is_stubborn };
        self.hosts[at].runs.insert(run.id, running);
        if self.is(Mutant::EarlyEnd) {
            let told = Event::RunEnded(run.id, Outcome::of(Ending::Succeeded));
            self.push_within(at, self.now, Within::Told(told));
        }
        if !hangs {
            self.push_within(at, self.now + length, Within::RunEnds(run.id, 0));
        }
    }

    pub(crate) fn cancel(&mut self, at: HostAt, run: RunId, reason: CancelReason) {
        let host = &mut self.hosts[at];
        let Some(running) = host.runs.get_mut(&run).filter(|run| run.cancelled.is_none()) else {
            return;
        };
        running.cancelled = Some(reason);
        running.end += 1;
        let grace = if running.is_stubborn { 15_000 } else { 300 };
        let end = running.end;
        self.counts.reach(match reason {
            CancelReason::TimedOut => "a run was cancelled by its time-out",
            CancelReason::SessionLost => "a run was stopped as its session was lost",
            CancelReason::Shutdown => "a run was stopped by a shutdown",
            CancelReason::Removed => "a run was stopped as its job was removed",
        });
        let later = self.hosts[at].dice.below(grace);
        self.push_within(at, self.now + later, Within::RunEnds(run, end));
    }

    pub(crate) fn run_ends(&mut self, at: HostAt, id: RunId, end: u64) {
        let host = &mut self.hosts[at];
        if host.runs.get(&id).is_none_or(|running| running.end != end) {
            return;
        }
        let Some(running) = host.runs.remove(&id) else { return };
        let ending = match (running.cancelled, running.code) {
            (Some(reason), _) => Ending::Cancelled(reason),
            (None, "OK") => Ending::Succeeded,
            (None, "PANIC") => Ending::Panicked("simulated".to_owned()),
            (None, "EXIT") => Ending::Exited(3),
            (None, _) => Ending::Error("simulated".to_owned()),
        };
        let code = ending.code().to_owned();
        self.recorder.write(self.now, Fact::End { probe: running.probe, code });
        self.ended += 1;
        if self.is(Mutant::EarlyEnd) {
            return; // It was told before.
        }
        let ending = if self.is(Mutant::LyingEnd) { Ending::Succeeded } else { ending };
        let told = Event::RunEnded(id, Outcome::of(ending));
        self.push_within(at, self.now, Within::Told(told));
    }

    /// Lets every run of a host end before long.
    pub(crate) fn end_runs_soon(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let mut ends = Vec::new();
        for (id, running) in &mut host.runs {
            running.end += 1;
            ends.push((*id, running.end, host.dice.below(SOON)));
        }
        for (id, end, later) in ends {
            self.push_within(at, self.now + later, Within::RunEnds(id, end));
        }
    }
}
