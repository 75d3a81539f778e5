//! The servers as one: a leader that decides, followers that hear of it, sessions that end.
//!
//! Pure: bytes, hang-ups and the passing of time go in, and what is to be sent, what was committed
//! and which session ended comes out. Where it says less than ZooKeeper does: what a leader proposed
//! and no quorum took before it fell does not exist here (a request that did not arrive looks the
//! same to a client), and all servers but those that lag behind have heard of a transaction at once.

use super::packet::{Write, password};
use super::server::{Conn, Server, Word};
use super::tree::{Done, Draft, Node, Step, Touched, Tree, Who};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A connection, by its number.
pub(crate) type ConnId = u64;

/// A server's place in the list; the address a client knows it by has it for a port.
pub(crate) type ServerAt = usize;

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Out {
    /// Bytes for a client; whether they answer a multi.
    Send { conn: ConnId, bytes: Bytes, is_multi: bool },
    /// The server closes a connection.
    Close(ConnId),
    /// A transaction changed something; whose multi it was.
    Committed { zxid: i64, session: i64, touched: Vec<Touched>, multi: Option<ConnId> },
    /// A session ended, and what lived with it is gone.
    Ended { zxid: i64, session: i64, touched: Vec<Touched> },
    /// A state worth reaching.
    Reached(&'static str),
}

/// How far a server is from its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// It neither hears nor is heard.
    Apart,
    /// It is heard, and hears nothing.
    Deaf,
}

/// A session as the leader knows it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) timeout: u64,
    ends_at: u64,
    /// The server its client was last at.
    pub(super) owner: ServerAt,
}

/// What a transaction was.
#[derive(Debug)]
pub(super) enum What {
    Steps {
        steps: Vec<Step>,
        done: Result<Vec<Done>, Refused>,
    },
    Opens(i64),
    Closes {
        session: i64,
        steps: Vec<Step>,
    },
    /// Nothing: all before it has been heard of.
    Sync,
}

/// Which of how many operations was refused, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) at: usize,
    pub(super) of: usize,
    pub(super) error: i32,
}

/// A transaction on its way to the servers.
#[derive(Clone, Debug)]
pub(super) struct Txn {
    pub(super) zxid: i64,
    pub(super) time: i64,
    pub(super) what: Arc<What>,
    /// Who waits for it.
    pub(super) asker: Option<ConnId>,
}

/// How an ensemble is.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) servers: usize,
    /// Milliseconds; sessions last from two to twenty of them.
    pub(crate) tick: u64,
    /// What the leader's clock, which is right, shows at the start of the run.
    pub(crate) wall: i64,
    /// Whether events name their transaction, as of 3.9.
    pub(crate) tells_zxid: bool,
    /// Whose the nodes are; operators know it.
    pub(crate) digest: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) struct Ensemble {
    pub(super) shape: Shape,
    /// What the leader knows, and every server that does not lag.
    pub(super) truth: Tree,
    pub(super) sessions: BTreeMap<i64, Session>,
    pub(super) servers: Vec<Server>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) leader: ServerAt,
    pub(super) out: Vec<Out>,
    last_session: i64,
    pub(super) now: u64,
}

impl Ensemble {
    /// An ensemble whose last transaction is `zxid`.
    pub(crate) fn new(shape: Shape, zxid: i64) -> Self {
        let servers = (0..shape.servers).map(|_| Server::default()).collect();
        Self {
            truth: Tree::new(zxid),
            sessions: BTreeMap::new(),
            servers,
            conns: BTreeMap::new(),
            leader: 0,
            out: Vec::new(),
            last_session: 0x0100_0000_0000_0000,
            now: 0,
            shape,
        }
    }

    /// What is to be done about what happened.
    pub(crate) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn time(&self) -> i64 {
        self.shape.wall + i64::try_from(self.now).unwrap_or(i64::MAX)
    }

    /// What a node is now.
    pub(super) fn node(&self, path: &str) -> Option<&Node> {
        self.truth.get(path)
    }

    /// An operator writes something past all servers; the transaction, or what was refused.
    pub(super) fn operate(&mut self, writes: &[Write]) -> Result<i64, (usize, i32)> {
        let who = Who { session: OPERATOR, digest: self.shape.digest.clone(), is_super: true };
        self.transact(&who, writes, None).map(|()| self.truth.zxid)
    }

    /// The leader does all of it or nothing.
    pub(super) fn transact(
        &mut self,
        who: &Who,
        writes: &[Write],
        asker: Option<ConnId>,
    ) -> Result<(), (usize, i32)> {
        self.truth.time = self.time();
        let done = self.truth.transact(who, writes);
        let zxid = self.truth.zxid;
        let refused = done.as_ref().map(|_| ()).map_err(|refused| *refused);
        let what = match done {
            Ok(Draft { done, steps, touched }) => {
                if !touched.is_empty() {
                    let multi = asker.filter(|id| self.awaits_multi(*id));
                    let session = who.session;
                    self.out.push(Out::Committed { zxid, session, touched, multi });
                }
                What::Steps { steps, done: Ok(done) }
            }
            Err((at, error)) => {
                let refused = Refused { at, error, of: writes.len() };
                What::Steps { steps: Vec::new(), done: Err(refused) }
            }
        };
        self.commit(what, asker);
        refused
    }

    pub(super) fn open(&mut self, wanted: u64, asker: ConnId) -> i64 {
        self.last_session += 1;
        let session = self.last_session;
        let timeout = wanted.clamp(2 * self.shape.tick, 20 * self.shape.tick);
        let owner = self.conns.get(&asker).map_or(0, |conn| conn.server);
        self.sessions.insert(session, Session { timeout, ends_at: 0, owner });
        self.touch(session);
        self.truth.zxid += 1;
        self.commit(What::Opens(session), Some(asker));
        session
    }

    /// Ends a session: what lives with it goes as one transaction.
    pub(super) fn end(&mut self, session: i64, asker: Option<ConnId>) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        let delete = |path: Arc<str>| Write::Delete { path: path.to_string(), version: -1 };
        let owned: Vec<Write> = self.truth.owned_by(session).into_iter().map(delete).collect();
        let who = Who { session, digest: None, is_super: true };
        self.truth.time = self.time();
        let draft = self.truth.transact(&who, &owned).unwrap_or_default();
        let (zxid, touched) = (self.truth.zxid, draft.touched);
        self.out.push(Out::Ended { zxid, session, touched });
        self.commit(What::Closes { session, steps: draft.steps }, asker);
    }

    pub(super) fn sync(&mut self, asker: ConnId) {
        self.commit(What::Sync, Some(asker));
    }

    fn commit(&mut self, what: What, asker: Option<ConnId>) {
        let time = self.truth.time;
        let txn = Txn { zxid: self.truth.zxid, time, what: Arc::new(what), asker };
        for at in 0..self.servers.len() {
            match &mut self.servers[at].lag {
                Some(behind) => behind.backlog.push_back(Word::Heard(txn.clone())),
                None => self.heard_of(at, &txn),
            }
        }
    }

    /// The leader has heard of a session: it has all its time again, up to the end of a tick.
    pub(super) fn touch(&mut self, session: i64) -> bool {
        let (now, tick) = (self.now, self.shape.tick);
        let Some(lives) = self.sessions.get_mut(&session) else { return false };
        lives.ends_at = ((now + lives.timeout) / tick + 1) * tick;
        true
    }

    /// Half a tick has passed: followers say whom they have heard, and sessions end.
    pub(crate) fn beat(&mut self, now: u64, expires_first: bool) {
        self.now = now;
        if expires_first {
            self.expire();
        }
        for at in 0..self.servers.len() {
            match &mut self.servers[at].lag {
                Some(behind) => behind.backlog.push_back(Word::Asks),
                None => self.report(at),
            }
        }
        self.expire();
        self.close_idle();
        if now % REAPING < self.shape.tick / 2 {
            self.reap();
        }
    }

    /// Containers that had children and have none are taken away.
    fn reap(&mut self) {
        for path in self.truth.empty_containers() {
            // Refused if it has a child again, which is as well.
            let _ = self.operate(&[Write::Delete { path: path.to_string(), version: -1 }]);
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        let due = self.sessions.iter().filter(|(_, session)| session.ends_at <= now);
        for session in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(session, None);
        }
    }

    /// A server falls behind.
    pub(crate) fn fall_behind(&mut self, at: ServerAt, how: Lag) {
        if at != self.leader && self.servers[at].is_up && self.servers[at].lag.is_none() {
            self.servers[at].fall_behind(how, &self.truth);
        }
    }

    /// All servers close all connections; another leader is elected, and sessions have all their
    /// time again.
    pub(crate) fn restart(&mut self, now: u64) {
        self.now = now;
        for at in 0..self.servers.len() {
            self.servers[at] = Server::default();
            self.hang_up_all(at);
        }
        self.leader = (self.leader + 1) % self.servers.len();
        self.truth.zxid = ((self.truth.zxid >> 32) + 1) << 32;
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.touch(session);
        }
    }

    /// Somebody sets the ensemble up anew: nothing of what was is known.
    pub(crate) fn reset(&mut self, now: u64) {
        self.restart(now);
        self.sessions.clear();
        self.truth = Tree::new(1 << 32);
    }

    /// One server goes; the others go on, unless it was the leader.
    pub(crate) fn stop(&mut self, at: ServerAt) {
        self.servers[at] = Server { is_up: false, ..Server::default() };
        self.hang_up_all(at);
    }

    pub(crate) fn start(&mut self, at: ServerAt) {
        self.servers[at].is_up = true;
    }

    pub(crate) fn is_up(&self, at: ServerAt) -> bool {
        self.servers[at].is_up
    }

    fn hang_up_all(&mut self, at: ServerAt) {
        let gone = self.conns.iter().filter(|(_, conn)| conn.server == at).map(|(id, _)| *id);
        for conn in gone.collect::<Vec<_>>() {
            self.close(conn);
        }
    }

    /// Whether a client's word is that of the session's owner.
    pub(super) fn is_password(session: i64, told: &[u8]) -> bool {
        password(session) == *told
    }
}

/// How often a leader looks for empty containers (`znode.container.checkIntervalMs`).
const REAPING: u64 = 60_000;

/// In whose name operators write.
pub(super) const OPERATOR: i64 = 1;
