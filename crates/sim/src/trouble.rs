//! What goes wrong, and what operators do.

use crate::asking::TOLD_WITHIN;
use crate::dice::Dice;
use crate::host::Pause;
use crate::link::Up;
use crate::queue::{Happens, HostAt, Kind, Within};
use crate::world::World;
use flockwork_checker::trace::{Fact, Fault};
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_node::{Event, TriggerId};
use flockwork_registry::{Answer, Op, Request};

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
            Kind::Jobs => rates.jobs,
            Kind::Clock => rates.clock,
            Kind::Registry => rates.registry,
            Kind::Full => rates.full,
            Kind::Rolling => rates.rolling,
            Kind::Jumble => rates.jumble,
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
        // Nothing is known yet that could be spoilt.
        if self.wire.as_ref().is_some_and(|wire| self.now < wire.ready_at()) {
            return self.strike_later(kind);
        }
        self.strikes += 1;
        if self.strikes > self.scenario.most_strikes {
            return;
        }
        let at = usize::try_from(self.faults.below(self.hosts.len() as u64)).unwrap_or(0);
        match kind {
            Kind::Crash => self.strike_dead(at),
            Kind::Restart => self.drain(at),
            Kind::Pause => self.pause(at),
            Kind::Cut if self.faults.chance(350) => self.stall(at),
            Kind::Cut => self.cut(at),
            Kind::Slow => self.slow(at),
            Kind::Operator => self.operate(),
            Kind::Jobs => self.change_jobs(),
            Kind::Clock => self.step_clock(at),
            Kind::Registry => self.take_registry_away(),
            Kind::Full if self.wire.is_some() => self.stop_server(),
            Kind::Full => self.fill_disk(),
            Kind::Rolling => self.restart_all(),
            Kind::Jumble if self.wire.is_some() => self.let_a_server_lag(),
            Kind::Jumble => self.jumble(),
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
            _ => self.faults.between(timeout, timeout + 60_000),
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

    pub(crate) fn drain(&mut self, at: HostAt) {
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
        host.node = None;
        host.deferred.clear();
        host.asked.stop();
        host.runs.clear();
        let (number, instance) = (host.number, host.instance.to_string());
        match self.wire {
            Some(_) => self.wire_leaves(at),
            None => self.close_session(at),
        }
        self.recorder.write(self.now, Fact::Exit { node: number, instance });
        self.counts.reach_if("a drain left runs behind", left > 0);
        let away = self.faults.below(10_000);
        self.queue.push(self.now + away, Happens::Start(at));
    }

    fn close_session(&mut self, at: HostAt) {
        let link = &mut self.hosts[at].link;
        let close = link.session.and_then(|session| link.send(self.now, Up::Close { session }));
        link.connection += 1;
        link.state = crate::link::State::Apart;
        link.session = None;
        link.watches.clear();
        link.in_flight.clear();
        link.down.clear();
        link.is_dead = false;
        if let Some(arrives) = close {
            self.queue.push(arrives, Happens::Arrives(at));
        }
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
        host.link.cut_until = until;
        if self.wire.is_none() {
            host.link.sever();
        }
        let (number, connection) = (host.number, host.link.connection);
        self.counts.faults += 1;
        self.recorder.write(self.now, Fact::Fault(Fault::Cut { node: number, until, in_flight }));
        let later = if notices { Some(self.faults.below(timeout / 2)) } else { None };
        if self.wire.is_some() {
            return self.cut_wire(at, later);
        }
        if let Some(later) = later {
            self.push_within(at, self.now + later, Within::Noticed(connection));
        }
    }

    /// One way is cut, the other is not; nobody notices but by silence.
    fn stall(&mut self, at: HostAt) {
        let timeout = self.scenario.timeout;
        let until = self.now + timeout * *self.faults.pick(&[3, 8, 12, 25]) / 10;
        let up = self.faults.chance(500);
        let host = &mut self.hosts[at];
        let in_flight = u32::try_from(host.link.in_flight.len()).unwrap_or(u32::MAX);
        match up {
            true => host.link.up_stalled_until = until,
            false => host.link.down_stalled_until = until,
        }
        let node = host.number;
        self.counts.faults += 1;
        self.counts.reach(if up { "requests stood still" } else { "answers stood still" });
        self.recorder.write(self.now, Fact::Fault(Fault::OneWay { node, until, up, in_flight }));
    }

    /// A wall clock is set to another time.
    fn step_clock(&mut self, at: HostAt) {
        let by = match self.faults.below(10) {
            0..=3 => self.faults.below(2_000),
            4..=7 => self.faults.between(2_000, 60_000),
            8 => self.faults.between(60_000, 200_000),
            _ => self.faults.between(200_000, 3_700_000),
        };
        let by = i64::try_from(by).unwrap_or(0);
        let forward = self.faults.chance(500);
        let back_later = self.faults.chance(800);
        self.set_clock(at, if forward { by } else { -by });
        self.counts.reach(if forward { "a clock was set forward" } else { "a clock was set back" });
        if back_later {
            let later = self.now + self.faults.between(1_000, 90_000);
            self.queue.push(later, Happens::ClockRight(at));
        }
    }

    /// Sets a host's wall clock by so much off the world's.
    pub(crate) fn set_clock(&mut self, at: HostAt, skew: i64) {
        let now = self.now;
        let host = &mut self.hosts[at];
        let by = skew - host.offset(now);
        (host.skew, host.set_at) = (skew, now);
        let fact = Fact::Clock { node: host.number, offset: skew, drift: host.drift };
        self.recorder.write(now, fact);
        if by != 0 {
            self.counts.faults += 1;
            let noticed = now + self.hosts[at].dice.below(1_000);
            self.push_within(at, noticed, Within::Told(Event::Wake));
        }
    }

    /// The registry restarts, or stands still: then sessions end that nobody let go.
    fn take_registry_away(&mut self) {
        if self.now < self.away_until {
            return;
        }
        let timeout = self.scenario.timeout;
        let restarts = self.faults.chance(600);
        let until = self.now + timeout * *self.faults.pick(&[1, 3, 7, 12, 20]) / 10;
        self.away_until = until;
        if self.wire.is_some() {
            self.take_servers_away(until, restarts);
        } else {
            self.take_store_away(until, restarts);
        }
        self.counts.faults += 1;
        let state = if restarts { "the registry restarted" } else { "the registry stood still" };
        self.counts.reach(state);
        self.recorder.write(self.now, Fact::Fault(Fault::RegistryAway { until, restarts }));
        self.queue.push(until, Happens::RegistryBack(restarts));
    }

    fn take_store_away(&mut self, until: u64, restarts: bool) {
        for at in 0..self.hosts.len() {
            let link = &mut self.hosts[at].link;
            if restarts {
                link.sever();
                link.cut_until = until;
                let (connection, later) = (link.connection, link.dice.below(50));
                self.push_within(at, self.now + later, Within::Noticed(connection));
            } else {
                link.up_stalled_until = until;
                link.down_stalled_until = until;
            }
        }
    }

    fn fill_disk(&mut self) {
        let until = self.now + self.faults.between(500, 20_000);
        self.full_until = until;
        self.counts.faults += 1;
        self.recorder.write(self.now, Fact::Fault(Fault::Full { until }));
    }

    /// Every node is restarted, one after the other, as for an upgrade.
    fn restart_all(&mut self) {
        let apart = self.faults.between(2_000, 20_000);
        self.counts.reach("all nodes were restarted in turn");
        for at in 0..self.hosts.len() {
            self.queue.push(self.now + apart * at as u64, Happens::Drain(at));
        }
    }

    fn jumble(&mut self) {
        let until = self.now + self.faults.between(2_000, 40_000);
        for at in 0..self.hosts.len() {
            if self.faults.chance(600) {
                self.hosts[at].link.jumbled_until = until;
                let node = self.hosts[at].number;
                self.counts.faults += 1;
                self.recorder.write(self.now, Fact::Fault(Fault::Jumbled { node, until }));
            }
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
        // Nothing else of a seed depends on it.
        let mut asker = self.faults.split("asker", self.now);
        if asker.chance(400) {
            self.ask_through_a_node(&name, &mut asker);
        }
        match dice.below(6) {
            0..=2 => self.trigger(&name, &mut dice),
            3 => self.switch_shard(&name, shard, false),
            4 => self.switch_shard(&name, shard, true),
            _ if dice.chance(250) => self.take_off(at, &mut dice),
            _ => self.switch_server(&name, &mut dice),
        }
    }

    /// Takes an instance off a job, as ElasticJob's `shutdown` does; its program gives it the job again,
    /// soon or some time later, or when it is told that it was left.
    fn take_off(&mut self, job: usize, dice: &mut Dice) {
        let name = self.jobs[job].config.name.clone();
        let host = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        let instance = self.hosts[host].instance.clone();
        let key = self.namespace.key(&name, &Facet::Instance(instance));
        let answer = self.ask(Request::Commit(vec![Op::Delete(key, None)]));
        if !matches!(answer, Answer::Committed(_)) {
            return;
        }
        self.hosts[host].taken_off.insert(name.clone());
        self.write_withdrawal(host, &name);
        let mut runs = self.hosts[host].runs.values();
        let is_running = runs.any(|run| run.who.job() == name.as_str());
        self.counts.reach("an operator took an instance off a job");
        self.counts.reach_if("an instance was taken off while it ran", is_running);
        if self.jobs[job].is_offered && dice.chance(500) {
            let later = self.now + dice.between(10, 30_000);
            self.define_later(host, job, false, later);
        }
    }

    fn write_withdrawal(&mut self, host: HostAt, name: &JobName) {
        let node = self.hosts[host].number;
        self.recorder.write(self.now, Fact::Withdraw { node, job: name.to_string() });
    }

    /// A node has left a job. Where an operator took it off, what it was given before it knew of that
    /// does not count.
    pub(crate) fn told_left(&mut self, host: HostAt, name: &JobName) {
        if !self.hosts[host].taken_off.remove(name) {
            return;
        }
        self.write_withdrawal(host, name);
        let job = self.jobs.iter().position(|job| job.config.name == *name);
        if let Some(job) = job.filter(|job| self.jobs[*job].is_offered) {
            let mut dice = self.faults.split("left", self.now);
            let later = self.now + dice.between(10, 30_000);
            self.define_later(host, job, false, later);
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        if self.wire.is_some() {
            return self.ask_on_wire(request);
        }
        let answer = self.recorder.apply(self.now, &mut self.store, self.client, request);
        self.spread();
        answer
    }

    /// Lets the program of a host ask for runs of a job through its node.
    fn ask_through_a_node(&mut self, job: &JobName, dice: &mut Dice) {
        let at = usize::try_from(dice.below(self.hosts.len() as u64)).unwrap_or(0);
        let host = &mut self.hosts[at];
        if !host.is_up() || host.is_draining {
            return;
        }
        self.asked += 1;
        let id = TriggerId(self.asked);
        host.asked.ask(id);
        self.push_within(at, self.now, Within::Told(Event::Trigger(id, job.clone())));
        self.push_within(at, self.now + TOLD_WITHIN, Within::AskedBy(id, 1));
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
        let state = if dice.chance(400) { "ENABLED" } else { "DISABLED" };
        self.counts.reach_if("a server was switched off", state == "DISABLED");
        let key = self.namespace.key(job, &Facet::Server(server));
        self.ask(Request::Commit(vec![Op::Set(key, state.into(), None)]));
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
