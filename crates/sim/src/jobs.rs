//! Jobs that come, change and go while all runs.

use crate::dice::Dice;
use crate::listening::has_one;
use crate::queue::{Happens, JobAt, Within};
use crate::release::of_a_newer_schema;
use crate::scenario::{another, schedule};
use crate::world::World;
use flockwork_core::config::JobConfig;
use flockwork_layout::keys::Facet;
use flockwork_node::{Define, Event};
use flockwork_registry::{Answer, Key, Op, Request, Stamp};

/// The most jobs a world comes to have.
const MOST_JOBS: usize = 40;
/// How often what is left of a removed job is swept away: nodes that are leaving it make entries anew.
const SWEEPS: u8 = 4;

impl World {
    pub(crate) fn change_jobs(&mut self) {
        let mut dice = self.faults.split("jobs", self.now);
        let at = usize::try_from(dice.below(self.jobs.len() as u64)).unwrap_or(0);
        match dice.below(9) {
            0 | 1 => self.add_job(&mut dice),
            2 | 3 => self.change_by_a_node(at, &mut dice),
            4 => self.change_by_hand(at, &mut dice),
            5 | 6 => self.remove_job(at, &mut dice),
            7 => self.withdraw(at, &mut dice),
            _ => self.write_newer_schema(at, &mut dice),
        }
    }

    fn add_job(&mut self, dice: &mut Dice) {
        if self.jobs.len() >= MOST_JOBS {
            return;
        }
        let job = another(dice, self.jobs.len() as u64, self.scenario.wall);
        self.jobs.push(job);
        self.counts.reach("a job was added while others ran");
        let everywhere = dice.chance(800);
        self.offer(self.jobs.len() - 1, everywhere, dice);
    }

    /// Lets nodes offer a job within seconds of each other.
    pub(crate) fn offer(&mut self, job: JobAt, everywhere: bool, dice: &mut Dice) {
        for host in 0..self.hosts.len() {
            if everywhere || host == 0 || dice.chance(500) {
                let later = self.now + dice.below(4_000);
                self.define_later(host, job, false, later);
            }
        }
    }

    pub(crate) fn define_later(&mut self, host: usize, job: JobAt, apply: bool, when: u64) {
        if self.hosts[host].is_up() && !self.hosts[host].is_draining {
            let config = self.jobs[job].config.clone();
            self.push_within(host, when, Within::Told(Event::Define(Define { config, apply })));
        }
    }

    fn changed(&self, at: JobAt, dice: &mut Dice) -> JobConfig {
        let mut config = (*self.jobs[at].config).clone();
        // Drawn apart, so that what else happens to jobs is the same with and without listeners.
        if has_one(&mut dice.split("listener", self.now), at as u64) {
            match config.listener.take() {
                Some(_) => {}
                None => self.jobs[at].listening.put_on(&mut config),
            }
            return config;
        }
        match dice.below(4) {
            0 | 1 => {
                config.schedule = schedule(dice, self.jobs[at].period, self.scenario.wall);
            }
            2 => config.shards = u32::try_from(dice.between(1, 6)).unwrap_or(1),
            _ => config.job_parameter = format!("since {}", self.now),
        }
        config
    }

    /// One node applies a new definition; the others come to offer the same.
    fn change_by_a_node(&mut self, at: JobAt, dice: &mut Dice) {
        let config = self.changed(at, dice);
        self.jobs[at].redefine(config);
        self.jobs[at].is_offered = true;
        let first = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        for host in 0..self.hosts.len() {
            let later = self.now + if host == first { 0 } else { dice.below(20_000) };
            self.define_later(host, at, host == first, later);
        }
    }

    fn config_key(&self, at: JobAt) -> Key {
        self.namespace.key(&self.jobs[at].config.name, &Facet::Config)
    }

    /// Someone edits the definition in the registry, as consoles do.
    fn change_by_hand(&mut self, at: JobAt, dice: &mut Dice) {
        let config = self.changed(at, dice);
        let key = self.config_key(at);
        let Answer::Entry(Some(entry)) = self.ask(Request::Get(key.clone())) else { return };
        self.jobs[at].redefine(config);
        self.write_definition(at, key, entry.stamp);
        self.counts.reach("a definition was edited in the registry");
    }

    /// The definition goes first, or only after the instances, as ElasticJob's console has no order; then
    /// all the rest. Nodes see each step.
    fn remove_job(&mut self, at: JobAt, dice: &mut Dice) {
        if at == 0 {
            // The first job stays: a seed must have enough to do.
            return;
        }
        let key = self.config_key(at);
        if !matches!(self.ask(Request::Get(key.clone())), Answer::Entry(Some(_))) {
            return;
        }
        if dice.chance(300) {
            self.delete_instances(at);
        }
        let answer = self.ask(Request::Commit(vec![Op::Delete(key, None)]));
        if !matches!(answer, Answer::Committed(_)) {
            return;
        }
        let running = self.hosts.iter().flat_map(|host| host.runs.values());
        let name = self.jobs[at].config.name.as_str();
        let is_running = running.into_iter().any(|run| run.who.job() == name);
        self.counts.reach_if("a job was removed while it ran", is_running);
        self.jobs[at].is_offered = dice.chance(600);
        self.queue.push(self.now + dice.below(50), Happens::Sweep(at, SWEEPS));
    }

    fn delete_instances(&mut self, at: JobAt) {
        let name = self.jobs[at].config.name.clone();
        let root = self.namespace.key(&name, &Facet::Instances);
        let Answer::Children(Some(names)) = self.ask(Request::Children(root.clone())) else {
            return;
        };
        for key in names.iter().filter_map(|name| Key::new(&format!("{root}/{name}")).ok()) {
            self.ask(Request::Commit(vec![Op::Delete(key, None)]));
        }
        self.counts.reach("a job's instances were removed before its definition");
    }

    pub(crate) fn sweep(&mut self, at: JobAt, left: u8) {
        let key = self.config_key(at);
        if !matches!(self.ask(Request::Get(key)), Answer::Entry(None)) {
            return; // It was made anew.
        }
        let name = self.jobs[at].config.name.clone();
        for root in [Facet::Job, Facet::OwnJob] {
            let root = self.namespace.key(&name, &root);
            self.delete_below(&root);
        }
        if left > 0 {
            self.queue.push(self.now + 150, Happens::Sweep(at, left - 1));
        } else if self.jobs[at].is_offered {
            let mut dice = self.faults.split("again", self.now);
            self.counts.reach("a removed job was made anew");
            self.offer(at, true, &mut dice);
        }
    }

    fn delete_below(&mut self, key: &Key) {
        let Answer::Children(Some(names)) = self.ask(Request::Children(key.clone())) else {
            return;
        };
        for name in names {
            if let Ok(child) = Key::new(&format!("{key}/{name}")) {
                self.delete_below(&child);
            }
        }
        self.ask(Request::Commit(vec![Op::Delete(key.clone(), None)]));
    }

    fn withdraw(&mut self, at: JobAt, dice: &mut Dice) {
        let host = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        let name = self.jobs[at].config.name.clone();
        self.push_within(host, self.now, Within::Told(Event::Withdraw(name)));
        self.counts.reach("a node withdrew a job");
        if self.jobs[at].is_offered && dice.chance(500) {
            let later = self.now + dice.between(10, 30_000);
            self.define_later(host, at, false, later);
        }
    }

    /// Someone writes a definition that this release cannot read.
    fn write_newer_schema(&mut self, at: JobAt, dice: &mut Dice) {
        let key = self.config_key(at);
        let Answer::Entry(Some(entry)) = self.ask(Request::Get(key.clone())) else { return };
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        let Some(newer) = of_a_newer_schema(&text).filter(|_| at > 0) else { return };
        self.ask(Request::Commit(vec![Op::Set(key, newer.into(), Some(entry.stamp))]));
        self.counts.reach("a definition was of a newer release");
        self.queue.push(self.now + dice.between(5_000, 120_000), Happens::PutBack(at));
    }

    /// The definition is one that this release can read, again.
    pub(crate) fn put_back(&mut self, at: JobAt) {
        let key = self.config_key(at);
        let Answer::Entry(Some(entry)) = self.ask(Request::Get(key.clone())) else { return };
        if entry.value != self.jobs[at].document.as_bytes() {
            self.write_definition(at, key, entry.stamp);
        }
    }

    fn write_definition(&mut self, at: JobAt, key: Key, stamp: Stamp) {
        let config = self.jobs[at].config.clone();
        self.define_in_trace(None, &config, true);
        let document = self.jobs[at].document.as_bytes().to_vec();
        self.ask(Request::Commit(vec![Op::Set(key, document.into(), Some(stamp))]));
    }

    /// All jobs that are to be there are offered by all, as this release knows them.
    pub(crate) fn offer_everything(&mut self) {
        let mut dice = self.faults.split("healed", 0);
        for at in 0..self.jobs.len() {
            if self.jobs[at].is_offered {
                self.put_back(at);
                self.offer(at, true, &mut dice);
            }
        }
    }
}
