//! Scripts, as far as a node sees anything of them: whether its host can start what a job names. That comes and
//! goes by the seed, and the edge tells the node of it some time later, as it does in earnest.

use crate::dice::Dice;
use crate::mutants::Mutant;
use crate::queue::{Happens, HostAt, JobAt, Within};
use crate::world::World;
use flockwork_checker::trace::Fact;
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::Hindrance;
use flockwork_core::execution::{Script, Work};
use flockwork_core::id::JobName;
use flockwork_node::{Event, Looked};
use std::sync::Arc;

/// How many jobs of a seed that has any run a script, of a thousand. The first one, which is to have much to do,
/// runs none.
const WITH_SCRIPT: u64 = 400;

/// How long the edge takes at most until it looks again, and until it answers when it is asked: milliseconds.
const LOOKS_WITHIN: u64 = 3_000;
const ANSWERS_WITHIN: u64 = 60;

/// The shortest spells are over within the grace.
const LENGTHS: [u64; 6] = [1_000, 4_000, 12_000, 60_000, 200_000, 900_000];

/// As long may nobody be able to start a script: much less than a crashed run may wait for somebody.
const NOBODY: [u64; 3] = [1_000, 4_000, 15_000];

/// How often a host cannot start a script, of a seed: mean milliseconds between two spells; 0 for never.
pub(crate) fn rate(dice: &mut Dice) -> u64 {
    *dice.pick(&[0, 0, 0, 300_000, 900_000])
}

/// Lets a job run a script, if the dice say so.
pub(crate) fn put_on(config: &mut JobConfig, dice: &mut Dice, number: u64) {
    if number > 0 && dice.chance(WITH_SCRIPT) {
        let argv = vec![format!("/scripts/{}", config.name)];
        config.work = Arc::new(Work::Script(Script { argv }));
        config.implementation = "SCRIPT".to_owned();
    }
}

impl World {
    /// Plans when which host cannot start the script of which job. The first host nearly always can.
    pub(crate) fn plan_spells(&mut self) {
        let mean = self.scenario.rates.scripts;
        if mean == 0 {
            return;
        }
        for job in 0..self.jobs.len() {
            if !matches!(*self.jobs[job].config.work, Work::Script(_)) {
                continue;
            }
            for host in 0..self.hosts.len() {
                let dice = self.root.split("spells", host as u64).split("job", job as u64);
                self.plan_spells_of(host, job, mean, dice);
            }
        }
    }

    fn plan_spells_of(&mut self, host: HostAt, job: JobAt, mean: u64, mut dice: Dice) {
        let lengths = if host == 0 { &NOBODY[..] } else { &LENGTHS };
        let starts_able = host == 0 || dice.chance(700);
        let mut at = if starts_able { dice.between(mean / 4, mean * 7 / 4) } else { 0 };
        while at < self.scenario.heal_at {
            let until = at + *dice.pick(lengths);
            self.queue.push(at, Happens::Script(host, job, false));
            self.queue.push(until, Happens::Script(host, job, true));
            at = until + dice.between(mean / 4, mean * 7 / 4);
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
        let later = self.scripts_dice(host).below(LOOKS_WITHIN);
        self.push_within(host, self.now + later, Within::Looks(name));
    }

    /// Every host can start every script.
    pub(crate) fn put_scripts_right(&mut self) {
        for host in 0..self.hosts.len() {
            for name in self.hosts[host].cannot_start.clone() {
                let job = self.jobs.iter().position(|job| job.config.name == name);
                if let Some(job) = job {
                    self.script_changes(host, job, true);
                }
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
        let mut dice = self.scripts_dice(at);
        let within = if dice.chance(50) { LOOKS_WITHIN } else { ANSWERS_WITHIN };
        self.push_within(at, self.now + dice.below(within), Within::Looks(job));
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
