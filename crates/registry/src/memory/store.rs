//! The registry as a plain value: time is an argument, what it does follows from what it is told.

use super::past::Past;
use super::tree::{Draft, Tree};
use crate::{Answer, Entry, Event, Failure, Index, Key, Limits, Op, Receipt, Refusal, Request};
use crate::{Scope, SessionId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Changes that may wait to be taken by one session. Above it they are thrown away for one
/// [`Event::Resync`]: reading all again is then cheaper than reading each.
const PENDING_CHANGES: usize = 65_536;

/// How a [`Store`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What one commit may hold. The default is what ZooKeeper takes in one packet as it is
    /// delivered (1 MiB, with room for its headers), and a thousand operations.
    pub limits: Limits,
    /// Compare only `version` of a stamp, which restarts when a key is deleted and made again: as
    /// ZooKeeper does. The default compares the whole stamp.
    pub versions_restart: bool,
    /// How many commits back [`Store::read_at`] can look. Each costs what it replaced. Default 0.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits {
            max_ops: 1_000,
            max_bytes: 1_000_000,
            max_value: 512 * 1024,
            max_in_flight: 1_024,
        };
        Self { limits, versions_restart: false, history: 0 }
    }
}

#[derive(Debug)]
struct Session {
    timeout: Duration,
    ends_at: u64,
    watches: BTreeSet<(Key, Scope)>,
    events: VecDeque<(Index, Event)>,
}

impl Session {
    fn notify(&mut self, index: Index, event: Event) {
        if self.events.len() >= PENDING_CHANGES {
            self.events.clear();
            self.events.push_back((index, Event::Resync));
            return;
        }
        self.events.push_back((index, event));
    }
}

/// A whole registry in one value. Deterministic: it has no clock, and keeps all in order.
#[derive(Debug)]
pub struct Store {
    options: Options,
    index: Index,
    tree: Tree,
    past: Past,
    sessions: BTreeMap<SessionId, Session>,
    last_session: SessionId,
    /// Sessions with events not taken yet.
    notified: BTreeSet<SessionId>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Store {
    /// A registry that holds the root alone.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            index: Index(0),
            tree: Tree::new(options.versions_restart),
            past: Past::keeping(options.history),
            sessions: BTreeMap::new(),
            last_session: SessionId(0),
            notified: BTreeSet::new(),
        }
    }

    /// What one commit may hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.options.limits
    }

    /// The number of the last commit; 0 before the first.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// Opens a session that ends `timeout` after its last renewal. Times are milliseconds of any
    /// one clock.
    pub fn open(&mut self, now_ms: u64, timeout: Duration) -> SessionId {
        self.last_session.0 += 1;
        let session = Session {
            timeout,
            ends_at: later(now_ms, timeout),
            watches: BTreeSet::new(),
            events: VecDeque::new(),
        };
        self.sessions.insert(self.last_session, session);
        self.last_session
    }

    /// Renews a session and says when it will end.
    ///
    /// # Errors
    /// [`Failure::SessionEnded`].
    pub fn renew(&mut self, now_ms: u64, session: SessionId) -> Result<u64, Failure> {
        let lives = self.sessions.get_mut(&session).ok_or(Failure::SessionEnded(session))?;
        lives.ends_at = later(now_ms, lives.timeout);
        Ok(lives.ends_at)
    }

    /// Ends every session whose time-out has passed, oldest first, and names them.
    pub fn expire(&mut self, now_ms: u64) -> Vec<SessionId> {
        let due =
            |(id, session): (&SessionId, &Session)| (session.ends_at <= now_ms).then_some(*id);
        let ended: Vec<SessionId> = self.sessions.iter().filter_map(due).collect();
        for session in &ended {
            self.end(*session);
        }
        ended
    }

    /// When the next session ends if none is renewed.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.sessions.values().map(|session| session.ends_at).min()
    }

    /// Whether a session lives.
    #[must_use]
    pub fn lives(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Ends a session: its entries are deleted in one commit of their own, its watches go, events
    /// it did not take are lost. Says whether it lived.
    pub fn end(&mut self, session: SessionId) -> bool {
        let Some(ended) = self.sessions.remove(&session) else { return false };
        self.notified.remove(&session);
        for (key, scope) in &ended.watches {
            self.tree.unwatch(session, key, *scope);
        }
        let mut draft = Draft::new(Index(self.index.0 + 1), session);
        for key in self.tree.owned_by(session) {
            let gone = self.tree.run(&mut draft, Op::Delete(key, None));
            debug_assert!(gone.is_ok(), "what lives with a session exists and has no children");
        }
        self.conclude(draft);
        true
    }

    /// Answers a request of a session. What it changed is then waiting in
    /// [`take_events`](Self::take_events) of the sessions that watch it, this one's too: take those
    /// of the asking session before handing out the answer, and the watch barrier holds.
    pub fn apply(&mut self, session: SessionId, request: Request) -> Answer {
        if !self.sessions.contains_key(&session) {
            return Answer::Failed(Failure::SessionEnded(session));
        }
        match request {
            Request::Get(key) => Answer::Entry(self.get(&key).cloned()),
            Request::Children(key) => Answer::Children(self.children(&key)),
            Request::Watch(key, scope) => self.watch(session, key, scope),
            Request::Unwatch(key, scope) => self.unwatch(session, key, scope),
            Request::Commit(ops) => self.commit(session, ops),
        }
    }

    /// Answers a read as the registry stood right after the commit `at` (or as long ago as
    /// [`Options::history`] reaches); everything else as [`apply`](Self::apply) does.
    pub fn read_at(&mut self, session: SessionId, at: Index, request: Request) -> Answer {
        match self.past.read(&self.tree, at, &request) {
            Some(answer) if self.lives(session) => answer,
            Some(_) | None => self.apply(session, request),
        }
    }

    /// What a key holds now.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.tree.entry(key)
    }

    /// The names of a key's direct children now, ascending.
    #[must_use]
    pub fn children(&self, key: &Key) -> Option<Vec<String>> {
        let names = self.tree.children(key)?;
        Some(names.map(|name| String::from(&**name)).collect())
    }

    /// Everything it holds, in key order.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.tree.entries().into_iter()
    }

    /// The sessions for which events wait.
    #[must_use]
    pub fn notified(&self) -> Vec<SessionId> {
        self.notified.iter().copied().collect()
    }

    /// Takes the events waiting for a session, in the order of the commits that caused them.
    pub fn take_events(&mut self, session: SessionId) -> Vec<Event> {
        self.take_events_through(session, Index(u64::MAX))
    }

    /// Takes those that commits up to `last` caused, as a replica that is behind would tell them.
    pub fn take_events_through(&mut self, session: SessionId, last: Index) -> Vec<Event> {
        let Some(lives) = self.sessions.get_mut(&session) else { return Vec::new() };
        let count = lives.events.partition_point(|(index, _)| *index <= last);
        let taken = lives.events.drain(..count).map(|(_, event)| event).collect();
        if lives.events.is_empty() {
            self.notified.remove(&session);
        }
        taken
    }

    fn watch(&mut self, session: SessionId, key: Key, scope: Scope) -> Answer {
        if let Some(lives) = self.sessions.get_mut(&session) {
            self.tree.watch(session, &key, scope);
            lives.watches.insert((key, scope));
        }
        Answer::Done
    }

    fn unwatch(&mut self, session: SessionId, key: Key, scope: Scope) -> Answer {
        self.tree.unwatch(session, &key, scope);
        if let Some(lives) = self.sessions.get_mut(&session) {
            lives.watches.remove(&(key, scope));
        }
        Answer::Done
    }

    fn commit(&mut self, session: SessionId, ops: Vec<Op>) -> Answer {
        if let Err(failure) = self.options.limits.admit(&ops) {
            return Answer::Failed(failure);
        }
        let mut draft = Draft::new(Index(self.index.0 + 1), session);
        for (at, op) in ops.into_iter().enumerate() {
            let key = op.key().clone();
            if let Err(why) = self.tree.run(&mut draft, op) {
                self.tree.roll_back(draft);
                return Answer::Refused(Refusal { at, key, why });
            }
        }
        Answer::Committed(self.conclude(draft))
    }

    /// Makes a draft a commit: numbers it, tells who watches, remembers what it replaced.
    fn conclude(&mut self, draft: Draft) -> Receipt {
        if draft.undo.is_empty() {
            return Receipt::default();
        }
        self.index = draft.index;
        for (session, key, scope) in draft.told {
            if let Some(lives) = self.sessions.get_mut(&session) {
                lives.notify(draft.index, Event::Changed(key, scope));
                self.notified.insert(session);
            }
        }
        self.past.push(draft.index, draft.undo);
        Receipt { index: draft.index, sequenced: draft.sequenced, at: None }
    }
}

fn later(now_ms: u64, timeout: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}
