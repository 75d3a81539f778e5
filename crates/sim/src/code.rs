//! User code, of shards and of listeners: how long it runs, how it ends, whether it stops when told to.
//! It writes its own probes into the trace.

use crate::dice::Dice;
use crate::host::{Running, Who};
use crate::manners::Manners;
use crate::mutants::Mutant;
use crate::queue::{HostAt, Within};
use crate::world::World;
use flockwork_checker::trace::{self, Call, Fact, Fire, Probe};
use flockwork_core::execution::{CancelReason, Ending, Outcome, Part, Run, RunId};
use flockwork_node::Event;

/// How soon after all is healed every run ends: milliseconds.
const SOON: u64 = 3_000;

impl World {
    pub(crate) fn run_starts(&mut self, at: HostAt, run: &Run) {
        let who = self.who(at, run);
        self.recorder.write(self.now, who.begins());
        let dice = match who {
            Who::Shard(_) => {
                self.counts.runs += 1;
                self.root.split(who.job(), run.epoch.0 ^ (u64::from(run.shard) << 48))
            }
            // One leader has one epoch for all its calls.
            Who::Listener(_) => self
                .root
                .split(who.job(), run.fire.due.as_millis().cast_unsigned())
                .split(run.part.as_str(), run.epoch.0 ^ (u64::from(run.attempt) << 48)),
        };
        let Some(manners) = self.manners(run) else { return };
        self.begin(at, run.id, who, (manners, dice));
    }

    fn who(&self, at: HostAt, run: &Run) -> Who {
        let host = &self.hosts[at];
        let (node, instance, job) = (host.number, host.instance.to_string(), run.job.to_string());
        let fire =
            Fire { due: run.fire.due.as_millis(), source: run.fire.source.as_str().to_owned() };
        let (attempt, epoch) = (run.attempt, run.epoch.0);
        let part = match run.part {
            Part::Shard => {
                let shard = run.shard;
                return Who::Shard(Probe { node, instance, job, shard, fire, attempt, epoch });
            }
            Part::Before => trace::Part::Before,
            Part::After => trace::Part::After,
        };
        Who::Listener(Call { node, instance, job, part, fire, attempt, epoch })
    }

    fn manners(&self, run: &Run) -> Option<Manners> {
        let job = self.jobs.iter().find(|job| job.config.name == run.job)?;
        Some(match run.part {
            Part::Shard => job.manners,
            Part::Before | Part::After => job.listening.manners,
        })
    }

    fn begin(&mut self, at: HostAt, id: RunId, who: Who, (manners, mut dice): (Manners, Dice)) {
        let length = match self.is_healed {
            true => dice.between(1, 30),
            false => dice.between(manners.shortest, manners.longest),
        };
        let fails = !self.is_healed && dice.chance(manners.fails);
        let hangs = !self.is_healed && dice.chance(manners.hangs);
        let code = if !fails { "OK" } else { *dice.pick(&["ERROR", "PANIC", "EXIT"]) };
        let is_startable = !who.is_shard() || !self.hosts[at].cannot_start_script_of(who.job());
        let code = if is_startable { code } else { "NOT_STARTED" };
        let is_stubborn = !self.is_healed && dice.chance(manners.stubborn);
        let is_shard = who.is_shard();
        let running = Running { who, code, end: 0, cancelled: None, is_stubborn };
        self.hosts[at].runs.insert(id, running);
        if is_shard && self.is(Mutant::EarlyEnd) {
            let told = Event::RunEnded(id, Outcome::of(Ending::Succeeded));
            self.push_within(at, self.now, Within::Told(told));
        }
        if !hangs {
            self.push_within(at, self.now + length, Within::RunEnds(id, 0));
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
        match &running.who {
            Who::Shard(_) => self.count_cancelled(reason),
            Who::Listener(call) => {
                self.recorder.write(self.now, Fact::CallStopped(call.clone()));
            }
        }
        let later = self.hosts[at].dice.below(grace);
        self.push_within(at, self.now + later, Within::RunEnds(run, end));
    }

    fn count_cancelled(&mut self, reason: CancelReason) {
        self.counts.reach(match reason {
            CancelReason::TimedOut => "a run was cancelled by its time-out",
            CancelReason::SessionLost => "a run was stopped as its session was lost",
            CancelReason::Shutdown => "a run was stopped by a shutdown",
            CancelReason::Removed => "a run was stopped as its job was removed",
        });
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
            (None, "NOT_STARTED") => Ending::NotStarted("simulated".to_owned()),
            (None, _) => Ending::Error("simulated".to_owned()),
        };
        let code = ending.code().to_owned();
        let is_shard = running.who.is_shard();
        self.recorder.write(self.now, running.who.ends(code));
        self.ended += u64::from(is_shard);
        if is_shard && self.is(Mutant::EarlyEnd) {
            return; // It was told before.
        }
        let lies = self.is(if is_shard { Mutant::LyingEnd } else { Mutant::LyingListener });
        let ending = if lies { Ending::Succeeded } else { ending };
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
