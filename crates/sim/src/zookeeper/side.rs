//! What happens between hosts and the simulated servers.

use super::client::{Client, Within};
use super::ensemble::{ConnId, Ensemble, Out, ServerAt, Shape};
use super::line::{Line, Sent};
use crate::queue::{Happens as Any, HostAt, Within as AnyWithin};
use crate::scenario::OnTheWire;
use crate::world::World;
use bytes::{Bytes, BytesMut};
use flockwork_checker::trace::Fact;
use flockwork_registry::{Event, Request, SessionState, Ticket};
use flockwork_registry_zookeeper::Stepped;
use flockwork_zookeeper::{Config, Input, Output};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What happens to the servers and on the way to them.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    /// Bytes arrive at a server.
    Up(ConnId),
    /// Half a tick has passed.
    Beat,
    /// A server that lags behind hears of some of what it missed.
    Advances(ServerAt),
    /// It hears of all; or is given up, and starts again.
    CatchesUp { server: ServerAt, restarts: bool },
    /// A server is there again.
    Starts(ServerAt),
    /// The ensemble is set up anew.
    Resets,
}

/// The servers and the connections to them.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(super) setup: OnTheWire,
    pub(super) ensemble: Ensemble,
    pub(super) lines: BTreeMap<ConnId, Line>,
    last_conn: ConnId,
    /// Until when no server takes a connection.
    pub(super) refuses_until: u64,
    /// Until when all servers stand still.
    pub(super) still_until: u64,
}

impl Wire {
    /// `wall` is what the leader's clock shows at the start.
    pub(crate) fn new(setup: OnTheWire, wall: i64) -> Self {
        let OnTheWire { servers, tick, tells_zxid, .. } = setup;
        let digest = setup.digest.clone().map(Bytes::from);
        // One that is to be set up anew has known much.
        let zxid = if setup.resets_at.is_some() { 7_000 << 32 } else { 1 << 32 };
        Self {
            ensemble: Ensemble::new(Shape { servers, tick, wall, tells_zxid, digest }, zxid),
            lines: BTreeMap::new(),
            last_conn: 0,
            refuses_until: 0,
            still_until: 0,
            setup,
        }
    }

    /// From when on jobs are given to nodes: not before an ensemble that is to be set up anew is, as
    /// what it knew would be asked for afterwards.
    pub(crate) fn ready_at(&self) -> u64 {
        self.setup.resets_at.unwrap_or(0)
    }
}

impl World {
    /// Lets the servers begin.
    pub(crate) fn begin_wire(&mut self) {
        let Some(wire) = &self.wire else { return };
        let resets_at = wire.setup.resets_at;
        self.queue.push(wire.setup.tick / 2, Any::Wire(Happens::Beat));
        if let Some(at) = resets_at {
            self.queue.push(at, Any::Wire(Happens::Resets));
        }
    }

    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("only seeds on the wire come here")
    }

    /// A process opens its registry.
    pub(crate) fn wire_start(&mut self, at: HostAt) {
        let setup = self.wire().setup.clone();
        let host = &mut self.hosts[at];
        let config = Config {
            timeout: u32::try_from(self.scenario.timeout).unwrap_or(u32::MAX),
            digest: setup.digest,
            spread: host.dice.bits(),
        };
        let stepped = Stepped::new(host.mono(self.now), &setup.root, config);
        host.client = Some(Client::new(stepped));
        self.wire_step(at, Input::Tick);
    }

    /// A node asks.
    pub(crate) fn wire_submit(&mut self, at: HostAt, ticket: Ticket, request: Request) {
        let request = self.as_its_release_writes(at, request);
        let is_commit = matches!(request, Request::Commit(_));
        let host = &mut self.hosts[at];
        let mono = host.mono(self.now);
        let Some(client) = &mut host.client else { return };
        host.link.in_flight.push_back(ticket);
        let outputs = client.stepped.submit(mono, ticket, request);
        let is_answered = outputs.is_empty();
        self.carry(at, outputs);
        if is_answered {
            self.tell_later(at);
        } else if is_commit {
            self.harm_a_commit(at);
        }
    }

    fn tell_later(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let Some(client) = &mut host.client else { return };
        if !std::mem::replace(&mut client.is_told_due, true) {
            let later = host.dice.below(2);
            self.push_within(at, self.now + later, AnyWithin::Wire(Within::Told));
        }
    }

    /// Something happens within a process.
    pub(crate) fn wire_within(&mut self, at: HostAt, within: Within) {
        let Some(client) = &mut self.hosts[at].client else { return };
        match within {
            Within::Tick(planned) if client.tick_at == Some(planned) => {
                client.tick_at = None;
                // What has arrived goes before the clock.
                if let Some(conn) = client.conn {
                    self.wire_bytes(at, conn);
                }
                self.wire_step(at, Input::Tick);
            }
            Within::Tick(_) => {}
            Within::Told => {
                client.is_told_due = false;
                self.wire_told(at);
            }
            Within::Resolved { attempt, is_known } if attempt == client.attempt => {
                let input = match is_known {
                    true => Input::Resolved(self.addresses()),
                    false => Input::NotResolved("no name server answers".to_owned()),
                };
                self.wire_step(at, input);
            }
            Within::Dialled { attempt, server } if attempt == client.attempt => {
                self.dialled(at, server);
            }
            Within::Resolved { .. } | Within::Dialled { .. } => {}
            Within::Bytes(conn) => self.wire_bytes(at, conn),
            Within::Broken(conn) => self.wire_broken(at, conn, "the connection was reset"),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let servers = self.wire.as_ref().map_or(0, |wire| wire.setup.servers);
        (0..servers)
            .filter_map(|at| Some(([10, 1, 0, 1], u16::try_from(at).ok()?).into()))
            .collect()
    }

    fn dialled(&mut self, at: HostAt, server: ServerAt) {
        let now = self.now;
        let wire = self.wire();
        if now < wire.refuses_until || !wire.ensemble.is_up(server) {
            return self.wire_step(at, Input::Broken("connection refused".to_owned()));
        }
        wire.last_conn += 1;
        let conn = wire.last_conn;
        wire.lines.insert(conn, Line::new(at, server));
        wire.ensemble.accept(now, conn, server);
        if let Some(client) = &mut self.hosts[at].client {
            client.conn = Some(conn);
        }
        self.wire_step(at, Input::Connected);
    }

    fn wire_bytes(&mut self, at: HostAt, conn: ConnId) {
        let now = self.now;
        if self.hosts[at].client.as_ref().is_none_or(|client| client.conn != Some(conn)) {
            return;
        }
        let Some(line) = self.wire().lines.get_mut(&conn) else { return };
        let (bytes, is_end) = line.down.receive(now);
        line.forget_answered();
        if !bytes.is_empty() {
            self.wire_step(at, Input::Received(bytes));
        }
        if is_end {
            self.wire_broken(at, conn, "the server closed the connection");
        }
    }

    fn wire_broken(&mut self, at: HostAt, conn: ConnId, why: &str) {
        let host = &mut self.hosts[at];
        let Some(client) = &mut host.client else { return };
        if client.conn == Some(conn) {
            client.conn = None;
            let under_way = !host.link.in_flight.is_empty();
            self.counts.reach_if("a connection broke with requests under way", under_way);
            self.leave(conn);
            self.wire_step(at, Input::Broken(why.to_owned()));
        }
    }

    /// Steps a client, and carries out what it wants.
    fn wire_step(&mut self, at: HostAt, input: Input) {
        let host = &mut self.hosts[at];
        let mono = host.mono(self.now);
        let Some(client) = &mut host.client else { return };
        let outputs = client.stepped.step(mono, input);
        let is_later = host.dice.chance(200);
        self.carry(at, outputs);
        match is_later {
            true => self.tell_later(at),
            false => self.wire_told(at),
        }
    }

    /// The node reads what there is for it.
    fn wire_told(&mut self, at: HostAt) {
        while let Some(event) =
            self.hosts[at].client.as_mut().and_then(|client| client.stepped.take())
        {
            if let Event::Session(SessionState::Live { session, trusted_until }) = &event {
                let host = &self.hosts[at];
                let until = host.when_it_showed(*trusted_until);
                let fact = Fact::Trust { node: host.number, session: session.0, until };
                self.recorder.write(self.now, fact);
            }
            self.hear(at, event);
        }
    }

    pub(super) fn carry(&mut self, at: HostAt, outputs: Vec<Output>) {
        let mut unsent = BytesMut::new();
        for output in outputs {
            match output {
                Output::Write(packet) => {
                    self.note_multi(at, &packet);
                    unsent.extend_from_slice(&packet);
                }
                Output::Resolve => {
                    let host = &mut self.hosts[at];
                    let (later, is_known) = (host.dice.below(20), !host.dice.chance(20));
                    self.attempt_later(at, later, |attempt| Within::Resolved { attempt, is_known });
                }
                Output::Connect(address) => {
                    let server = usize::from(address.port());
                    let delay = self.hosts[at].link.delay(self.now);
                    let is_heard = self.hosts[at].link.cut_until <= self.now;
                    if is_heard {
                        self.attempt_later(at, delay, |attempt| Within::Dialled {
                            attempt,
                            server,
                        });
                    }
                }
                Output::Disconnect => {
                    self.send_up(at, unsent.split().freeze());
                    let client = self.hosts[at].client.as_mut();
                    let left = client.and_then(|client| {
                        client.attempt += 1;
                        client.conn.take()
                    });
                    left.into_iter().for_each(|conn| self.leave(conn));
                }
                Output::Tell(_) => {}
            }
        }
        self.send_up(at, unsent.freeze());
        self.arm_tick(at);
    }

    fn attempt_later(&mut self, at: HostAt, later: u64, within: impl FnOnce(u64) -> Within) {
        let Some(client) = &mut self.hosts[at].client else { return };
        client.attempt += 1;
        let within = within(client.attempt);
        self.push_within(at, self.now + later, AnyWithin::Wire(within));
    }

    fn note_multi(&mut self, at: HostAt, packet: &Bytes) {
        const MULTI: [u8; 4] = [0, 0, 0, 14];
        let conn = self.hosts[at].client.as_ref().and_then(|client| client.conn);
        let Some(line) = conn.and_then(|conn| self.wire().lines.get_mut(&conn)) else { return };
        // The length, the xid, the operation; a first packet has its zxid there.
        if packet.get(8..12) == Some(&MULTI) && packet.get(4..8) != Some(&[0; 4]) {
            line.multis.push_back(Sent { packet: packet.clone(), done: None, answered: None });
        }
    }

    fn send_up(&mut self, at: HostAt, bytes: Bytes) {
        let conn = self.hosts[at].client.as_ref().and_then(|client| client.conn);
        let Some(conn) = conn.filter(|_| !bytes.is_empty()) else { return };
        let link = &mut self.hosts[at].link;
        let delay = link.delay(self.now);
        let arrives = (self.now + delay).max(link.up_stalled_until);
        let (first, rest) = split(bytes, &mut link.dice);
        let rest_at = arrives + link.dice.below(link.latency + 1);
        let line = self.wire().lines.get_mut(&conn);
        let Some(line) = line else { return };
        let told =
            [line.up.send(arrives, first), rest.and_then(|rest| line.up.send(rest_at, rest))];
        for arrives in told.into_iter().flatten() {
            self.queue.push(arrives, Any::Wire(Happens::Up(conn)));
        }
    }

    pub(super) fn send_down(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(at) = self.wire().lines.get(&conn).map(|line| line.host) else { return };
        let link = &mut self.hosts[at].link;
        let delay = link.delay(self.now);
        let arrives = (self.now + delay).max(link.down_stalled_until);
        let (first, rest) = split(bytes, &mut link.dice);
        let rest_at = arrives + link.dice.below(link.latency + 1);
        let Some(line) = self.wire().lines.get_mut(&conn) else { return };
        let told =
            [line.down.send(arrives, first), rest.and_then(|rest| line.down.send(rest_at, rest))];
        for arrives in told.into_iter().flatten() {
            self.push_within(at, arrives, AnyWithin::Wire(Within::Bytes(conn)));
        }
    }

    /// The client's end of a connection is closed.
    pub(super) fn leave(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(line) = self.wire().lines.get_mut(&conn) else { return };
        line.client_left = true;
        if let Some(arrives) = line.up.send(now, Bytes::new()) {
            self.queue.push(arrives.max(now), Any::Wire(Happens::Up(conn)));
        }
        self.bury(conn);
    }

    fn arm_tick(&mut self, at: HostAt) {
        let host = &mut self.hosts[at];
        let Some(deadline) = host.client.as_ref().map(|client| client.stepped.deadline()) else {
            return;
        };
        if deadline == u64::MAX {
            return;
        }
        let late = if host.dice.chance(50) { host.dice.below(20) } else { 0 };
        let wanted = host.when_it_shows(deadline).max(self.now + 1) + late;
        let Some(client) = &mut host.client else { return };
        if client.tick_at.is_none_or(|planned| wanted < planned) {
            client.tick_at = Some(wanted);
            self.push_within(at, wanted, AnyWithin::Wire(Within::Tick(wanted)));
        }
    }

    /// Something happens to the servers.
    pub(crate) fn wire_happens(&mut self, happens: Happens) {
        let now = self.now;
        let wire = self.wire();
        if now < wire.still_until {
            let until = wire.still_until;
            return self.queue.push(until, Any::Wire(happens));
        }
        match happens {
            Happens::Up(conn) => {
                let Some(line) = wire.lines.get_mut(&conn) else { return };
                let (bytes, is_end) = line.up.receive(now);
                if !bytes.is_empty() {
                    wire.ensemble.receive(now, conn, &bytes);
                }
                if is_end {
                    wire.ensemble.hang_up(conn);
                }
            }
            Happens::Beat => self.beat_of_leader(),
            Happens::Advances(server) => {
                let most = wire.ensemble.backlog(server) / 2;
                wire.ensemble.advance(now, server, most);
            }
            Happens::CatchesUp { server, restarts: true } => {
                wire.ensemble.stop(server);
                wire.ensemble.start(server);
            }
            Happens::CatchesUp { server, restarts: false } => wire.ensemble.catch_up(now, server),
            Happens::Starts(server) => wire.ensemble.start(server),
            Happens::Resets => self.reset_ensemble(),
        }
        self.settle();
    }

    fn beat_of_leader(&mut self) {
        let now = self.now;
        let expires_first = self.faults.chance(500);
        let wire = self.wire();
        let next = now + wire.setup.tick / 2;
        // Nobody leads while all start again.
        if now >= wire.refuses_until {
            wire.ensemble.beat(now, expires_first);
        }
        self.queue.push(next, Any::Wire(Happens::Beat));
    }

    /// Does what the servers want done.
    pub(crate) fn settle(&mut self) {
        for out in self.wire().ensemble.take_out() {
            match out {
                Out::Send { conn, bytes, is_multi } => self.send_answer(conn, bytes, is_multi),
                Out::Close(conn) => {
                    let Some(line) = self.wire().lines.get_mut(&conn) else { continue };
                    line.server_left = true;
                    self.send_down(conn, Bytes::new());
                    self.bury(conn);
                }
                Out::Committed { zxid, session, touched, multi } => {
                    self.commit_on_wire(zxid, session, &touched);
                    multi.into_iter().for_each(|conn| self.note_done(conn, zxid));
                }
                Out::Ended { zxid, session, touched } => {
                    self.commit_on_wire(zxid, session, &touched)
                }
                Out::Reached(state) => self.counts.reach(state),
            }
        }
    }

    fn send_answer(&mut self, conn: ConnId, bytes: Bytes, is_multi: bool) {
        let Some(line) = self.wire().lines.get_mut(&conn) else { return };
        if is_multi && let Some(sent) = line.multis.iter_mut().find(|sent| sent.answered.is_none())
        {
            sent.answered = Some(line.down.sent() + bytes.len() as u64);
        }
        match is_multi && line.is_doomed {
            true => self.cut_an_answer(conn, &bytes),
            false => self.send_down(conn, bytes),
        }
    }

    fn note_done(&mut self, conn: ConnId, zxid: i64) {
        let Some(line) = self.wire().lines.get_mut(&conn) else { return };
        let is_late = line.client_left;
        if let Some(sent) = line.multis.iter_mut().find(|sent| sent.answered.is_none()) {
            sent.done = Some(zxid);
        }
        self.counts.reach_if("a commit arrived after its connection broke", is_late);
    }
}

/// Splits bytes anywhere, now and then.
fn split(bytes: Bytes, dice: &mut crate::dice::Dice) -> (Bytes, Option<Bytes>) {
    if bytes.len() < 2 || !dice.chance(30) {
        return (bytes, None);
    }
    let at = usize::try_from(dice.between(1, bytes.len() as u64 - 1)).unwrap_or(1);
    (bytes.slice(..at), Some(bytes.slice(at..)))
}
