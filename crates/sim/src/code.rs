//! User code, of shards and of listeners: how long it runs, how it ends, whether it stops when told to; and
//! whether a host can start the script that a job names, which its edge tells the node some time later.
//! It writes its own probes into the trace.

use crate::dice::Dice;
use crate::host::{Running, Who};
use crate::manners::Manners;
use crate::mutants::Mutant;
use crate::queue::{Happens, HostAt, JobAt, Within};
use crate::scripts;
use crate::world::World;
use flockwork_checker::trace::{self, Call, Fact, Fire, Probe};
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{CancelReason, Ending, Outcome, Part, Run, RunId, Work};
use flockwork_core::id::JobName;
use flockwork_node::{Event, Looked};
use std::sync::Arc;

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

    /// Plans when which host cannot start the script of which job.
    pub(crate) fn plan_spells(&mut self) {
        let (mean, end) = (self.scenario.rates.scripts, self.scenario.heal_at);
        let runs_one = |job: &usize| matches!(*self.jobs[*job].config.work, Work::Script(_));
        let jobs: Vec<usize> =
            (0..self.jobs.len()).filter(|job| mean > 0 && runs_one(job)).collect();
        for job in jobs {
            for host in 0..self.hosts.len() {
                let mut dice = self.root.split("spells", host as u64).split("job", job as u64);
                for spell in scripts::spells(&mut dice, host == 0, mean, end) {
                    self.queue.push(spell.start, Happens::Script(host, job, false));
                    self.queue.push(spell.end, Happens::Script(host, job, true));
                }
            }
        }
    }

    /// A host can start a job's script from now on, or no more.
    pub(crate) fn script_changes(&mut self, host: HostAt, job: JobAt, can: bool) {
        let name = self.jobs[job].config.name.clone();
        let at = &mut self.hosts[host];
        let has_changed = match can {
            true => at.cannot_start.remove(&name),
            false => at.cannot_start.insert(name.clone()),
        };
        if !has_changed {
            return;
        }
        let (node, job) = (at.number, name.to_string());
        self.recorder.write(self.now, Fact::Script { node, job, can });
        let later = self.scripts_dice(host).below(scripts::LOOKS_WITHIN);
        self.push_within(host, self.now + later, Within::Looks(name));
    }

    /// Every host can start every script.
    pub(crate) fn put_scripts_right(&mut self) {
        for host in 0..self.hosts.len() {
            for job in 0..self.jobs.len() {
                self.script_changes(host, job, true);
            }
        }
    }

    /// A node asks its edge to look at a script.
    pub(crate) fn look_at_script(
        &mut self,
        at: HostAt,
        job: JobName,
        definition: Option<Arc<JobConfig>>,
    ) {
        let Some(definition) = definition else {
            self.hosts[at].looks_at.remove(&job);
            return;
        };
        self.hosts[at].looks_at.insert(job.clone(), definition);
        let later = scripts::answers_after(&mut self.scripts_dice(at));
        self.push_within(at, self.now + later, Within::Looks(job));
    }

    /// The edge looks at a script, and tells the node what it finds.
    pub(crate) fn looks_at_script(&mut self, at: HostAt, job: JobName) {
        let Some(definition) = self.hosts[at].looks_at.get(&job).cloned() else { return };
        let is_deaf = self.is(Mutant::DeafToScripts);
        let found = match self.hosts[at].cannot_start.contains(&job) && !is_deaf {
            false => Ok(()),
            true => {
                let text = format!("{job} is not there");
                Err(Hindrance::Script { code: "PROGRAM_MISSING", text })
            }
        };
        self.step(at, Event::Looked(Looked { job, definition, found }));
    }

    /// Drawn apart, so that what else a seed holds is the same with and without scripts.
    fn scripts_dice(&self, host: HostAt) -> Dice {
        self.root.split("scripts of", host as u64).split("at", self.now)
    }
}
