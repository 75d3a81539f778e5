//! One server: its connections, whom it told what, and how far it is behind.

use super::ensemble::{ConnId, Ensemble, Lag, Out, Refused, ServerAt, Txn, What};
use super::packet::{self, Asked, Call, Form, Garbled, Packet, Write, code};
use super::tree::{Done, Node, Step, Tree, Who, parent};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a lagging server knows, and what it has not heard of yet.
#[derive(Debug)]
pub(super) struct Behind {
    how: Lag,
    tree: Tree,
    pub(super) backlog: VecDeque<Word>,
    /// It was asked whom it has heard, and its answer has not come through.
    owes_report: bool,
}

/// What a leader says to a follower; in order.
#[derive(Debug)]
pub(super) enum Word {
    Heard(Txn),
    /// Whom has it heard?
    Asks,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) is_up: bool,
    /// None if it knows what the leader knows.
    pub(super) lag: Option<Box<Behind>>,
    /// Sessions heard from since it last told its leader.
    pub(super) heard: BTreeSet<i64>,
    pub(super) watches: BTreeMap<String, BTreeSet<ConnId>>,
}

impl Default for Server {
    fn default() -> Self {
        Self { is_up: true, lag: None, heard: BTreeSet::new(), watches: BTreeMap::new() }
    }
}

impl Server {
    pub(super) fn fall_behind(&mut self, how: Lag, truth: &Tree) {
        let (tree, backlog) = (truth.clone(), VecDeque::new());
        self.lag = Some(Box::new(Behind { how, tree, backlog, owes_report: false }));
    }
}

/// A client's connection as its server sees it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) server: ServerAt,
    session: Option<i64>,
    digest: Option<Bytes>,
    arrived: BytesMut,
    /// When anything last arrived.
    heard: u64,
    is_greeted: bool,
    asked: VecDeque<Asked>,
    /// The first one asked, while its answer is on its way through the ensemble.
    waits: Option<(i32, Form)>,
    /// A first packet that the leader must hear of and does not.
    hello: Option<packet::Hello>,
}

impl Ensemble {
    /// A client's connection is made.
    pub(crate) fn accept(&mut self, now: u64, conn: ConnId, server: ServerAt) {
        let accepted = Conn {
            server,
            session: None,
            digest: None,
            arrived: BytesMut::new(),
            heard: now,
            is_greeted: false,
            asked: VecDeque::new(),
            waits: None,
            hello: None,
        };
        self.conns.insert(conn, accepted);
    }

    /// A client's bytes arrive.
    pub(crate) fn receive(&mut self, now: u64, id: ConnId, bytes: &[u8]) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.arrived.extend_from_slice(bytes);
        conn.heard = now;
        if let Some(session) = conn.session {
            self.hears(id, session);
        }
        if self.take_packets(id).is_err() {
            self.out.push(Out::Reached("a server could not read what a client sent"));
            return self.close(id);
        }
        self.work(id);
    }

    /// Clients of the leader are heard by it at once, others when their server says so.
    fn hears(&mut self, id: ConnId, session: i64) {
        let Some(server) = self.conns.get(&id).map(|conn| conn.server) else { return };
        if server == self.leader {
            self.touch(session);
        } else {
            self.servers[server].heard.insert(session);
        }
    }

    fn take_packets(&mut self, id: ConnId) -> Result<(), Garbled> {
        while let Some(conn) = self.conns.get_mut(&id) {
            let Some(packet) = packet::next(&mut conn.arrived)? else { break };
            if conn.is_greeted {
                conn.asked.push_back(packet::asked(packet)?);
            } else {
                conn.is_greeted = true;
                conn.hello = Some(packet::hello(packet)?);
            }
        }
        Ok(())
    }

    /// A client hung up.
    pub(crate) fn hang_up(&mut self, id: ConnId) {
        if self.conns.contains_key(&id) {
            self.close(id);
        }
    }

    pub(super) fn close(&mut self, id: ConnId) {
        let Some(conn) = self.conns.remove(&id) else { return };
        for watching in self.servers[conn.server].watches.values_mut() {
            watching.remove(&id);
        }
        self.out.push(Out::Close(id));
    }

    /// A server closes connections on which nothing comes for as long as a session lasts.
    pub(super) fn close_idle(&mut self) {
        let idle = |conn: &Conn| {
            let timeout = conn.session.and_then(|id| self.sessions.get(&id)).map(|s| s.timeout);
            conn.heard + timeout.unwrap_or(20 * self.shape.tick) < self.now
        };
        let idle = self.conns.iter().filter(|(_, conn)| idle(conn)).map(|(id, _)| *id);
        for conn in idle.collect::<Vec<_>>() {
            self.close(conn);
        }
    }

    /// Answers what was asked, in order, as far as that goes now.
    fn work(&mut self, id: ConnId) {
        self.greet(id);
        while let Some(conn) = self.conns.get_mut(&id) {
            if conn.waits.is_some() || conn.hello.is_some() {
                return;
            }
            let Some(Asked { xid, call }) = conn.asked.front() else { return };
            let is_apart =
                self.servers[conn.server].lag.as_ref().is_some_and(|lag| lag.how == Lag::Apart);
            let leads = matches!(call, Call::Write(..) | Call::Sync(_) | Call::Close);
            if leads && is_apart {
                return;
            }
            let (xid, call) = (*xid, call.clone());
            conn.asked.pop_front();
            if leads {
                self.forward(id, xid, call);
            } else {
                self.answer(id, xid, call);
            }
        }
    }

    /// The first packet.
    fn greet(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(hello) = &conn.hello else { return };
        let server = conn.server;
        let lag = self.servers[server].lag.as_ref();
        let known = lag.map_or(self.truth.zxid, |behind| behind.tree.zxid);
        if hello.seen > known {
            let is_reset = hello.seen > self.truth.zxid;
            self.out.push(Out::Reached(match is_reset {
                true => "a session was refused after a reset of the ensemble",
                false => "a server behind what was seen was left",
            }));
            return self.close(id);
        }
        // Who is new may be told later; that a session lives only the leader knows.
        let waits = lag.is_some_and(|behind| behind.how == Lag::Apart || hello.session != 0);
        if waits {
            return;
        }
        let Some(hello) = conn.hello.take() else { return };
        if hello.session == 0 {
            conn.waits = Some((0, Form::Nothing));
            let wanted = u64::try_from(hello.timeout).unwrap_or(0);
            let session = Some(self.open(wanted, id));
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.session = session;
            }
            return;
        }
        self.take_up(id, &hello);
    }

    /// A session goes on here, if it lives.
    fn take_up(&mut self, id: ConnId, hello: &packet::Hello) {
        let session = hello.session;
        if !Self::is_password(session, &hello.password) || !self.touch(session) {
            self.send(id, Packet::welcome(None));
            return self.close(id);
        }
        let Some(server) = self.conns.get(&id).map(|conn| conn.server) else { return };
        let older = self.conns.iter().filter(|(other, conn)| {
            **other != id && conn.server == server && conn.session == Some(session)
        });
        for older in older.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.close(older);
        }
        let Some(lives) = self.sessions.get_mut(&session) else { return };
        let moved = std::mem::replace(&mut lives.owner, server) != server;
        let timeout = i32::try_from(lives.timeout).unwrap_or(i32::MAX);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session = Some(session);
        }
        if moved {
            self.out.push(Out::Reached("a session moved to another server"));
        }
        self.send(id, Packet::welcome(Some((session, timeout))));
    }

    /// Hands to the leader what only it decides.
    fn forward(&mut self, id: ConnId, xid: i32, call: Call) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (server, digest) = (conn.server, conn.digest.clone());
        let Some(session) = conn.session else { return self.close(id) };
        match self.sessions.get(&session) {
            None => {
                let zxid = self.zxid_at(server);
                return self.send(id, Packet::reply(xid, zxid, code::EXPIRED));
            }
            Some(lives) if lives.owner != server => {
                self.out.push(Out::Reached("a request came after its session had moved"));
                return self.close(id);
            }
            Some(_) => {}
        }
        let form = if let Call::Write(_, form) = &call { *form } else { Form::Nothing };
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.waits = Some((xid, form));
        }
        match call {
            Call::Write(writes, _) => {
                let who = Who { session, digest, is_super: false };
                // Whoever asked is told in turn.
                let _ = self.transact(&who, &writes, Some(id));
            }
            Call::Close => self.end(session, Some(id)),
            _ => self.sync(id),
        }
    }

    fn zxid_at(&self, server: ServerAt) -> i64 {
        self.tree_at(server).zxid
    }

    fn tree_at(&self, server: ServerAt) -> &Tree {
        self.servers[server].lag.as_ref().map_or(&self.truth, |behind| &behind.tree)
    }

    /// Answers from what this server knows.
    fn answer(&mut self, id: ConnId, xid: i32, call: Call) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (server, zxid) = (conn.server, self.servers[conn.server].lag.as_ref());
        let zxid = zxid.map_or(self.truth.zxid, |behind| behind.tree.zxid);
        let done = |packet: fn(Packet) -> Packet| packet(Packet::reply(xid, zxid, code::OK));
        let packet = match call {
            Call::Auth(digest) => {
                conn.digest = Some(digest);
                done(|packet| packet)
            }
            Call::SetWatches(paths) => {
                for path in paths {
                    self.servers[server].watches.entry(path).or_default().insert(id);
                }
                done(|packet| packet)
            }
            Call::AddWatch(path) => {
                self.servers[server].watches.entry(path).or_default().insert(id);
                done(|packet| packet.int(0))
            }
            Call::RemoveWatches(path) => {
                let watching = self.servers[server].watches.get_mut(&path);
                let was = watching.is_some_and(|watching| watching.remove(&id));
                Packet::reply(xid, zxid, if was { code::OK } else { code::NO_WATCHER })
            }
            Call::Ping => done(|packet| packet),
            Call::Exists(path) | Call::Data(path) | Call::Children(path)
                if self.denied(id, &path) =>
            {
                Packet::reply(xid, zxid, code::NO_AUTH)
            }
            Call::Exists(path) => self.read(server, xid, &path, |packet, node| packet.stat(node)),
            Call::Data(path) => {
                self.read(server, xid, &path, |packet, node| packet.buffer(&node.data).stat(node))
            }
            Call::Children(path) => self.read(server, xid, &path, |packet, node| {
                packet.names(node.children.iter().map(|name| &**name)).stat(node)
            }),
            Call::Write(..) | Call::Sync(_) | Call::Close | Call::Unknown => {
                Packet::reply(xid, zxid, code::UNIMPLEMENTED)
            }
        };
        self.send(id, packet);
    }

    fn denied(&self, id: ConnId, path: &str) -> bool {
        let Some(conn) = self.conns.get(&id) else { return true };
        let who = Who { session: 0, digest: conn.digest.clone(), is_super: false };
        self.tree_at(conn.server).get(path).is_some_and(|node| !who.may(node))
    }

    fn read(
        &self,
        server: ServerAt,
        xid: i32,
        path: &str,
        write: impl FnOnce(Packet, &Node) -> Packet,
    ) -> Packet {
        let tree = self.tree_at(server);
        match tree.get(path) {
            Some(node) => write(Packet::reply(xid, tree.zxid, code::OK), node),
            None => Packet::reply(xid, tree.zxid, code::NO_NODE),
        }
    }

    fn send(&mut self, conn: ConnId, packet: Packet) {
        self.out.push(Out::Send { conn, bytes: packet.finish(), is_multi: false });
    }

    /// A server hears of a transaction: who watches is told, then who asked for it is answered.
    pub(super) fn heard_of(&mut self, at: ServerAt, txn: &Txn) {
        if let Some(behind) = &mut self.servers[at].lag {
            match &*txn.what {
                What::Steps { steps, .. } | What::Closes { steps, .. } => {
                    behind.tree.replay(txn.zxid, txn.time, steps)
                }
                What::Opens(_) => behind.tree.replay(txn.zxid, txn.time, &[]),
                What::Sync => {}
            }
        }
        if let What::Steps { steps, .. } | What::Closes { steps, .. } = &*txn.what {
            steps.iter().for_each(|step| self.tell_watchers(at, txn.zxid, step));
        }
        let asker = txn.asker.filter(|id| self.conns.get(id).is_some_and(|conn| conn.server == at));
        if let Some(id) = asker {
            self.reply(id, txn);
        }
        if let What::Closes { session, .. } = &*txn.what {
            let of_session = |conn: &Conn| conn.server == at && conn.session == Some(*session);
            let gone = self.conns.iter().filter(|(_, conn)| of_session(conn)).map(|(id, _)| *id);
            for conn in gone.collect::<Vec<_>>() {
                self.close(conn);
            }
        }
    }

    fn tell_watchers(&mut self, at: ServerAt, zxid: i64, step: &Step) {
        const CREATED: i32 = 1;
        const DELETED: i32 = 2;
        const DATA: i32 = 3;
        const CHILDREN: i32 = 4;
        let path = step.path();
        let events = match step {
            Step::Create { .. } => [Some((CREATED, &**path)), Some((CHILDREN, parent(path)))],
            Step::Delete { .. } => [Some((DELETED, &**path)), Some((CHILDREN, parent(path)))],
            Step::Set { .. } => [Some((DATA, &**path)), None],
        };
        let zxid = if self.shape.tells_zxid { zxid } else { -1 };
        for (kind, path) in events.into_iter().flatten() {
            let Some(watching) = self.servers[at].watches.get(path) else { continue };
            let bytes = Packet::event(zxid, kind, path).finish();
            let told = watching.iter().map(|conn| Out::Send {
                conn: *conn,
                bytes: bytes.clone(),
                is_multi: false,
            });
            self.out.extend(told);
        }
    }

    pub(super) fn awaits_multi(&self, id: ConnId) -> bool {
        let waits = self.conns.get(&id).and_then(|conn| conn.waits);
        waits.is_some_and(|(_, form)| form == Form::Multi)
    }

    fn reply(&mut self, id: ConnId, txn: &Txn) {
        let Some((xid, form)) = self.conns.get_mut(&id).and_then(|conn| conn.waits.take()) else {
            return;
        };
        match &*txn.what {
            What::Opens(session) => {
                let timeout = self.sessions.get(session).map_or(0, |lives| lives.timeout);
                let timeout = i32::try_from(timeout).unwrap_or(i32::MAX);
                // It may have ended before this server heard of its beginning.
                let session = (timeout > 0).then_some((*session, timeout));
                self.send(id, Packet::welcome(session));
            }
            What::Sync => self.send(id, Packet::reply(xid, txn.zxid, code::OK).buffer(b"/")),
            What::Closes { .. } => self.send(id, Packet::reply(xid, txn.zxid, code::OK)),
            What::Steps { done, .. } => {
                let packet = written(xid, txn.zxid, form, done);
                let is_multi = form == Form::Multi;
                self.out.push(Out::Send { conn: id, bytes: packet.finish(), is_multi });
            }
        }
    }

    /// A lagging server hears of the next transactions.
    pub(crate) fn advance(&mut self, now: u64, at: ServerAt, most: usize) {
        self.now = now;
        for _ in 0..most {
            let Some(behind) = &mut self.servers[at].lag else { return };
            match behind.backlog.pop_front() {
                None => return,
                Some(Word::Heard(txn)) => self.heard_of(at, &txn),
                Some(Word::Asks) if behind.how == Lag::Apart => behind.owes_report = true,
                Some(Word::Asks) => self.report(at),
            }
        }
    }

    /// A follower tells its leader whom it has heard since it last did.
    pub(super) fn report(&mut self, at: ServerAt) {
        for session in std::mem::take(&mut self.servers[at].heard) {
            self.touch(session);
        }
    }

    /// How many transactions a server has not heard of.
    pub(crate) fn backlog(&self, at: ServerAt) -> usize {
        self.servers[at].lag.as_ref().map_or(0, |behind| behind.backlog.len())
    }

    /// A server knows what the leader knows again, and goes on with what it was asked.
    pub(crate) fn catch_up(&mut self, now: u64, at: ServerAt) {
        self.advance(now, at, usize::MAX);
        let lag = self.servers[at].lag.take();
        if lag.is_some_and(|behind| behind.owes_report) {
            self.report(at);
        }
        let of_server = self.conns.iter().filter(|(_, conn)| conn.server == at).map(|(id, _)| *id);
        for conn in of_server.collect::<Vec<_>>() {
            self.work(conn);
        }
    }
}

/// The answer to a write.
fn written(xid: i32, zxid: i64, form: Form, done: &Result<Vec<Done>, Refused>) -> Packet {
    let header = |error| Packet::reply(xid, zxid, error);
    match (form, done) {
        (Form::Multi, Ok(done)) => end(done.iter().fold(header(code::OK), one)),
        (Form::Multi, Err(Refused { at, of: count, error })) => {
            let of = |n: usize| match n.cmp(at) {
                std::cmp::Ordering::Less => code::OK,
                std::cmp::Ordering::Equal => *error,
                std::cmp::Ordering::Greater => code::AFTER_ANOTHER,
            };
            let refused = |packet: Packet, n| packet.int(-1).flag(false).int(of(n)).int(of(n));
            end((0..*count).fold(header(code::OK), refused))
        }
        (_, Err(refused)) => header(refused.error),
        (_, Ok(done)) => match &done[..] {
            [Done::Created(path, node)] => header(code::OK).buffer(path.as_bytes()).stat(node),
            [Done::Set(node)] => header(code::OK).stat(node),
            _ => header(code::OK),
        },
    }
}

/// The result of an operation of a multi that was done.
fn one(packet: Packet, done: &Done) -> Packet {
    let of = |packet: Packet, opcode| packet.int(opcode).flag(false).int(0);
    match done {
        Done::Created(path, _) => of(packet, 1).buffer(path.as_bytes()),
        Done::Set(node) => of(packet, 5).stat(node),
        Done::Deleted => of(packet, 2),
        Done::Checked => of(packet, 13),
    }
}

fn end(packet: Packet) -> Packet {
    packet.int(-1).flag(true).int(-1)
}

/// What a multi holds, as it was sent; for whoever writes down what became of it.
pub(super) fn writes_of(packet: &Bytes) -> Vec<Write> {
    match packet::asked(packet.slice(4..)) {
        Ok(Asked { call: Call::Write(writes, Form::Multi), .. }) => writes,
        _ => Vec::new(),
    }
}
