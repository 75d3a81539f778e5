//! What goes wrong, and what operators do.

use crate::dice::Dice;
use crate::host::Pause;
use crate::link::Up;
use crate::queue::{Happens, HostAt, Kind, Within};
use crate::scenario::schedule;
use crate::world::World;
use flockwork_checker::trace::{Fact, Fault};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_node::Event;
use flockwork_registry::{Answer, Op, Request};
use std::sync::Arc;

/// How long a drain may take before it is forced.
const DRAIN: u64 = 25_000;

impl World {
    /// Plans the next trouble of a kind.
    pub(crate) fn strike_later(&mut self, kind: Kind) {
        let rates = self.scenario.rates;
        let mean = match kind {
            Kind::Crash => rates.crash,
            Kind::Restart => rates.restart,
            Kind::Pause => rates.pause,
            Kind::Cut => rates.cut,
            Kind::Slow => rates.slow,
            Kind::Operator => rates.operator,
        };
        if mean > 0 {
            let after = self.faults.between(mean / 4, mean * 7 / 4);
            self.queue.push(self.now + after, Happens::Strike(kind));
        }
    }

    pub(crate) fn strike(&mut self, kind: Kind) {
        if self.is_healed {
            return;
        }
        let at = usize::try_from(self.faults.below(self.hosts.len() as u64)).unwrap_or(0);
        match kind {
            Kind::Crash => self.strike_dead(at),
            Kind::Restart => self.drain(at),
            Kind::Pause => self.pause(at),
            Kind::Cut => self.cut(at),
            Kind::Slow => self.slow(at),
            Kind::Operator => self.operate(),
        }
        self.strike_later(kind);
    }

    fn strike_dead(&mut self, at: HostAt) {
        let all = self.faults.chance(100);
        let hosts = if all { 0..self.hosts.len() } else { at..at + 1 };
        let timeout = self.scenario.timeout;
        let away = match self.faults.below(3) {
            0 => self.faults.below(timeout / 2),
            1 => self.faults.between(timeout, timeout * 2),
            _ => self.faults.between(timeout, 60_000),
        };
        for at in hosts {
            if self.hosts[at].is_up() {
                self.crash(at);
                let later = self.faults.below(1_000);
                self.queue.push(self.now + away + later, Happens::Start(at));
            }
        }
        let none = self.hosts.iter().all(|host| !host.is_up());
        self.counts.reach_if("no node lived", none);
    }

    fn drain(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        if !host.is_up() || host.pause.is_some() || std::mem::replace(&mut host.is_draining, true) {
            return;
        }
        self.push_within(at, self.now, Within::Told(Event::Drain));
        self.push_within(at, self.now + DRAIN, Within::DrainOver);
    }

    /// The node has left everything in order: its session is closed and the process exits.
    pub(crate) fn drained(&mut self, at: HostAt) {
        self.counts.reach("a node drained and left");
        let host = &mut self.hosts[at];
        let left = host.runs.len();
        let session = host.link.session;
        host.node = None;
        host.deferred.clear();
        host.runs.clear();
        let close = session.and_then(|session| host.link.send(self.now, Up::Close { session }));
        host.link.connection += 1;
        host.link.state = crate::link::State::Apart;
        host.link.session = None;
        host.link.watches.clear();
        host.link.in_flight.clear();
        host.link.down.clear();
        host.link.is_dead = false;
        if let Some(arrives) = close {
            self.queue.push(arrives, Happens::Arrives(at));
        }
        self.counts.reach_if("a drain left runs behind", left > 0);
        let away = self.faults.below(10_000);
        self.queue.push(self.now + away, Happens::Start(at));
    }

    fn pause(&mut self, at: HostAt) {
        let timeout = self.scenario.timeout;
        let tenths = *self.faults.pick(&[3, 5, 9, 11, 15, 30]);
        let runs_too = self.faults.chance(500);
        let host = &mut self.hosts[at];
        if !host.is_up() || host.pause.is_some() {
            return;
        }
        host.pause = Some(Pause { since: self.now, runs_too });
        let until = self.now + timeout * tenths / 10;
        let fault = Fault::Pause { node: host.number, until, runs_too };
        self.counts.faults += 1;
        self.recorder.write(self.now, Fact::Fault(fault));
        self.queue.push(until, Happens::Resume(at));
    }

    fn cut(&mut self, at: HostAt) {
        let timeout = self.scenario.timeout;
        let tenths = *self.faults.pick(&[0, 1, 5, 9, 10, 11, 20, 40]);
        let notices = self.faults.chance(600);
        let host = &mut self.hosts[at];
        if !host.is_up() {
            return;
        }
        let until = self.now + timeout * tenths / 10;
        let in_flight = u32::try_from(host.link.in_flight.len()).unwrap_or(u32::MAX);
        host.link.sever();
        host.link.cut_until = until;
        let (number, connection) = (host.number, host.link.connection);
        self.counts.faults += 1;
        self.recorder.write(self.now, Fact::Fault(Fault::Cut { node: number, until, in_flight }));
        if notices {
            let later = self.faults.below(timeout / 2);
            self.push_within(at, self.now + later, Within::Noticed(connection));
        }
    }

    fn slow(&mut self, at: HostAt) {
        let until = self.now + self.faults.between(1_000, 15_000);
        let host = &mut self.hosts[at];
        host.link.slow_until = until;
        self.counts.faults += 1;
        let fault = Fault::Slow { node: host.number, until };
        self.recorder.write(self.now, Fact::Fault(fault));
    }

    fn operate(&mut self) {
        let mut dice = self.faults.split("operator", self.now);
        let at = usize::try_from(dice.below(self.jobs.len() as u64)).unwrap_or(0);
        let name = self.jobs[at].config.name.clone();
        let shards = self.jobs[at].config.shards;
        let shard = u32::try_from(dice.below(u64::from(shards))).unwrap_or(0);
        match dice.below(7) {
            0..=2 => self.trigger(&name, &mut dice),
            3 => self.switch_shard(&name, shard, false),
            4 => self.switch_shard(&name, shard, true),
            5 => self.switch_server(&name, &mut dice),
            _ => self.redefine(at, &mut dice),
        }
    }

    fn ask(&mut self, request: Request) -> Answer {
        let answer = self.recorder.apply(self.now, &mut self.store, self.client, request);
        self.spread();
        answer
    }

    /// Asks the instances of a job to run their shards now.
    fn trigger(&mut self, job: &JobName, dice: &mut Dice) {
        let listed = self.ask(Request::Children(self.namespace.key(job, &Facet::Instances)));
        let Answer::Children(Some(names)) = listed else { return };
        let root = self.namespace.key(job, &Facet::Triggers);
        self.ask(Request::Commit(vec![Op::create(root, "")]));
        let all = dice.chance(600);
        for name in names {
            let Ok(instance) = InstanceId::new(&name) else { continue };
            if all || dice.chance(500) {
                let key = self.namespace.key(job, &Facet::Trigger(instance));
                self.ask(Request::Commit(vec![Op::create(key, "")]));
            }
        }
    }

    fn switch_shard(&mut self, job: &JobName, shard: ShardIndex, on: bool) {
        let key = self.namespace.key(job, &Facet::Disabled(shard));
        let op = if on { Op::Delete(key, None) } else { Op::create(key, "") };
        self.ask(Request::Commit(vec![op]));
    }

    fn switch_server(&mut self, job: &JobName, dice: &mut Dice) {
        let server = format!("10.0.0.{}", dice.below(self.hosts.len() as u64));
        let state = if dice.chance(500) { "ENABLED" } else { "DISABLED" };
        let key = self.namespace.key(job, &Facet::Server(server));
        self.ask(Request::Commit(vec![Op::Set(key, state.into(), None)]));
    }

    /// A new definition: the next process that starts makes it count; one is started for it.
    fn redefine(&mut self, at: usize, dice: &mut Dice) {
        let mut config = (*self.jobs[at].config).clone();
        if dice.chance(500) {
            config.schedule = schedule(dice, self.scenario.wall);
        } else {
            config.shards = u32::try_from(dice.between(1, 6)).unwrap_or(1);
        }
        self.jobs[at].config = Arc::new(config);
        self.to_apply[at] = true;
        let host = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        self.drain(host);
    }

    /// Switches all shards and servers of all jobs on.
    pub(crate) fn switch_everything_on(&mut self) {
        let names: Vec<JobName> = self.jobs.iter().map(|job| job.config.name.clone()).collect();
        for job in names {
            for shard in 0..6 {
                self.switch_shard(&job, shard, true);
            }
            for host in 0..self.hosts.len() {
                let key = self.namespace.key(&job, &Facet::Server(format!("10.0.0.{host}")));
                self.ask(Request::Commit(vec![Op::Set(key, "ENABLED".into(), None)]));
            }
        }
    }
}
