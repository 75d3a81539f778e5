//! What goes wrong on the wire.

use super::client::Within;
use super::ensemble::{ConnId, Lag, ServerAt};
use super::line::Sent;
use super::packet::Write;
use super::server::writes_of;
use super::side::Happens;
use crate::queue::{Happens as Any, HostAt, Within as AnyWithin};
use crate::world::World;
use bytes::Bytes;
use flockwork_checker::trace::{Fact, Fault};
use flockwork_layout::keys::Facet;
use flockwork_registry::Key;
use flockwork_zookeeper::Input;

impl World {
    fn conn_of(&self, at: HostAt) -> Option<ConnId> {
        self.hosts[at].client.as_ref()?.conn
    }

    /// Now and then a connection does not outlive a commit: it breaks on the way there, or on the way
    /// back. A lost answer costs a connection, so that there are fewer than where it costs nothing.
    pub(super) fn harm_a_commit(&mut self, at: HostAt) {
        let rate = if self.is_healed { 0 } else { self.scenario.rates.lost_answer };
        let dice = &mut self.hosts[at].link.dice;
        if !dice.chance(rate) || !dice.chance(200) {
            return;
        }
        let there = dice.chance(400);
        let Some(conn) = self.conn_of(at) else { return };
        let Some(wire) = &mut self.wire else { return };
        let Some(line) = wire.lines.get_mut(&conn) else { return };
        if there {
            let in_flight = self.in_flight(at);
            self.sever_line(at);
            self.record_cut(at, in_flight);
            self.notice_later(at, conn);
        } else {
            line.is_doomed = true;
        }
    }

    /// An answer to a multi breaks off anywhere, and the connection with it.
    pub(super) fn cut_an_answer(&mut self, conn: ConnId, bytes: &Bytes) {
        let Some(line) = self.wire.as_mut().and_then(|wire| wire.lines.get_mut(&conn)) else {
            return;
        };
        let (at, done) = (line.host, line.multis.iter().rev().any(|sent| sent.done.is_some()));
        let dice = &mut self.hosts[at].link.dice;
        let kept = usize::try_from(dice.below(bytes.len() as u64)).unwrap_or(0);
        let in_flight = self.in_flight(at);
        if kept > 0 {
            self.send_down(conn, bytes.slice(..kept));
            self.counts.reach("a reply was cut in the middle");
        }
        self.counts.reach_if("a multi was done and its answer lost on the wire", done);
        if let Some(line) = self.wire.as_mut().and_then(|wire| wire.lines.get_mut(&conn)) {
            line.shut();
        }
        self.record_cut(at, in_flight);
        self.notice_later(at, conn);
    }

    fn in_flight(&self, at: HostAt) -> u32 {
        u32::try_from(self.hosts[at].link.in_flight.len()).unwrap_or(u32::MAX)
    }

    fn record_cut(&mut self, at: HostAt, in_flight: u32) {
        let node = self.hosts[at].number;
        self.counts.faults += 1;
        let fault = Fault::Cut { node, until: self.now, in_flight };
        self.recorder.write(self.now, Fact::Fault(fault));
    }

    /// The host's own side finds soon, or by silence, that its connection is broken.
    fn notice_later(&mut self, at: HostAt, conn: ConnId) {
        let timeout = self.scenario.timeout;
        let dice = &mut self.hosts[at].link.dice;
        if dice.chance(800) {
            let later = dice.below(timeout / 20);
            self.push_within(at, self.now + later, AnyWithin::Wire(Within::Broken(conn)));
        }
    }

    /// Cuts the connection a host has, anywhere in what is under way.
    pub(crate) fn sever_line(&mut self, at: HostAt) -> Option<ConnId> {
        let conn = self.conn_of(at)?;
        let line = self.wire.as_mut()?.lines.get_mut(&conn)?;
        let whole = line.up.sent();
        line.sever(&mut self.hosts[at].link.dice);
        self.counts.reach_if("a request was cut in the middle", line.up.sent() < whole);
        Some(conn)
    }

    /// A process dies: what it had under way may arrive.
    pub(crate) fn wire_dies(&mut self, at: HostAt) {
        if self.hosts[at].link.dice.chance(500) {
            self.sever_line(at);
        }
        let conn = self.conn_of(at);
        self.hosts[at].client = None;
        self.hosts[at].link.in_flight.clear();
        conn.into_iter().for_each(|conn| self.leave(conn));
    }

    /// A process leaves in order: it closes its session.
    pub(crate) fn wire_leaves(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let mono = host.mono(self.now);
        if let Some(client) = &mut host.client {
            let outputs = client.stepped.step(mono, Input::Close);
            self.carry(at, outputs);
        }
        let conn = self.conn_of(at);
        self.hosts[at].client = None;
        self.hosts[at].link.in_flight.clear();
        conn.into_iter().for_each(|conn| self.leave(conn));
    }

    /// A network is cut.
    pub(crate) fn cut_wire(&mut self, at: HostAt, noticed: Option<u64>) {
        if let (Some(conn), Some(later)) = (self.sever_line(at), noticed) {
            self.push_within(at, self.now + later, AnyWithin::Wire(Within::Broken(conn)));
        }
    }

    /// All servers restart, or stand still, until then.
    pub(crate) fn take_servers_away(&mut self, until: u64, restarts: bool) {
        let now = self.now;
        let Some(wire) = &mut self.wire else { return };
        match restarts {
            true => {
                wire.refuses_until = until;
                wire.ensemble.restart(now);
            }
            false => wire.still_until = until,
        }
        self.settle();
    }

    /// The servers are there again.
    pub(crate) fn servers_back(&mut self, restarted: bool) {
        let now = self.now;
        let Some(wire) = &mut self.wire else { return };
        if restarted {
            wire.ensemble.restart(now);
        }
        self.settle();
    }

    /// One server goes and comes again; with the leader all restart.
    pub(crate) fn stop_server(&mut self) {
        let until = self.now + self.faults.between(100, self.scenario.timeout);
        let Some(wire) = &mut self.wire else { return };
        let server = usize::try_from(self.faults.below(wire.setup.servers as u64)).unwrap_or(0);
        let leads = wire.ensemble.leader == server;
        if leads && self.now < self.away_until {
            return;
        }
        self.counts.faults += 1;
        self.recorder.write(self.now, Fact::Fault(Fault::RegistryAway { until, restarts: true }));
        if leads {
            self.away_until = until;
            self.take_servers_away(until, true);
            self.queue.push(until, Any::RegistryBack(true));
            return;
        }
        self.counts.reach("a server was killed");
        wire.ensemble.stop(server);
        self.queue.push(until, Any::Wire(Happens::Starts(server)));
        self.settle();
    }

    /// A follower hears no more from its leader, or neither from the other: for five ticks at most, as
    /// it gives itself up then (`syncLimit`).
    pub(crate) fn let_a_server_lag(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let (tick, servers) = (wire.setup.tick, wire.setup.servers as u64);
        let server = usize::try_from(self.faults.below(servers)).unwrap_or(0);
        let how = if self.faults.chance(500) { Lag::Apart } else { Lag::Deaf };
        let lasts = self.faults.between(tick / 4, tick * 5);
        let restarts = self.faults.chance(300);
        wire.ensemble.fall_behind(server, how);
        let half = self.now + lasts / 2;
        self.queue.push(half, Any::Wire(Happens::Advances(server)));
        let over = Happens::CatchesUp { server, restarts };
        self.queue.push(self.now + lasts, Any::Wire(over));
        for at in self.hosts_at(server) {
            let fault = Fault::Jumbled { node: self.hosts[at].number, until: self.now + lasts };
            self.counts.faults += 1;
            self.recorder.write(self.now, Fact::Fault(fault));
        }
    }

    fn hosts_at(&self, server: ServerAt) -> Vec<HostAt> {
        let Some(wire) = &self.wire else { return Vec::new() };
        let is_there = |at: &HostAt| {
            let line = self.conn_of(*at).and_then(|conn| wire.lines.get(&conn));
            line.is_some_and(|line| line.server == server)
        };
        (0..self.hosts.len()).filter(is_there).collect()
    }

    /// Nobody knows what was; sessions are refused until their clients find that out.
    pub(super) fn reset_ensemble(&mut self) {
        let now = self.now;
        let Some(wire) = &mut self.wire else { return };
        wire.ensemble.reset(now);
        let until = now + 3 * self.scenario.timeout;
        self.counts.faults += 1;
        self.counts.reach("the ensemble was set up anew");
        self.recorder.write(now, Fact::Fault(Fault::RegistryAway { until, restarts: true }));
        for at in 0..self.hosts.len() {
            if self.hosts[at].is_up() {
                self.define_all(at);
            }
        }
    }

    /// Nothing goes wrong on the wire from here on.
    pub(crate) fn heal_wire(&mut self) {
        let now = self.now;
        let Some(wire) = &mut self.wire else { return };
        (wire.refuses_until, wire.still_until) = (now, now);
        for server in 0..wire.setup.servers {
            wire.ensemble.start(server);
            wire.ensemble.catch_up(now, server);
        }
        for line in wire.lines.values_mut() {
            line.is_doomed = false;
        }
        self.settle();
    }

    /// Both ends have left a connection: what was not answered on it never will be.
    pub(super) fn bury(&mut self, conn: ConnId) {
        let Some(wire) = &mut self.wire else { return };
        if wire.lines.get(&conn).is_none_or(|line| !line.client_left || !line.server_left) {
            return;
        }
        let Some(line) = wire.lines.remove(&conn) else { return };
        let node = self.hosts[line.host].number;
        for sent in line.multis {
            let index = sent.done.map(i64::cast_unsigned);
            let is_claim = self.makes_a_claim(&sent);
            self.counts.faults += 1;
            self.counts.lost_answer(is_claim, index.is_some());
            self.recorder.write(self.now, Fact::Fault(Fault::LostAnswer { node, index }));
        }
    }

    fn makes_a_claim(&self, sent: &Sent) -> bool {
        let root = self.wire.as_ref().map_or("", |wire| wire.setup.root.as_str());
        writes_of(&sent.packet).iter().any(|write| {
            let Write::Create { path, .. } = write else { return false };
            let key = path.strip_prefix(root).and_then(|key| Key::new(key).ok());
            let facet = key.and_then(|key| self.namespace.parse(&key));
            matches!(facet, Some((_, Facet::Running(_))))
        })
    }
}
