//! The store shared by several nodes of one process.

use super::faults::Faults;
use super::line::Line;
use super::store::{Options, Store};
use crate::{Clock, Inbox, Limits, Registry, Request, Ticket, inbox};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A registry that lives in this process and ends with it.
///
/// Sessions never expire by themselves; they end with their connection, or when [`Faults`] say so.
#[derive(Clone, Debug, Default)]
pub struct MemoryRegistry(Arc<Hub>);

/// A connection with all its ends.
#[derive(Debug)]
pub struct Connected {
    /// Where requests go.
    pub registry: Arc<dyn Registry>,
    /// Where all comes back.
    pub inbox: Inbox,
    /// Who makes it suffer.
    pub faults: Faults,
}

impl MemoryRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let shared = Shared { store: Store::new(options), ..Shared::default() };
        Self(Arc::new(Hub(Mutex::new(shared))))
    }

    /// A new connection, with a session of its own. Dropping it ends the session.
    #[must_use]
    pub fn connect(&self) -> (Arc<dyn Registry>, Inbox) {
        let Connected { registry, inbox, .. } = self.connect_faulty();
        (registry, inbox)
    }

    /// A new connection, with a hand on what goes wrong.
    #[must_use]
    pub fn connect_faulty(&self) -> Connected {
        let (sender, inbox) = inbox::channel();
        let mut shared = self.0.lock();
        let line = Line::open(&mut shared.store, sender);
        let id = shared.next_line;
        shared.next_line += 1;
        shared.by_session.insert(line.session.0, id);
        shared.lines.insert(id, line);
        drop(shared);
        let registry = Arc::new(Connection { hub: Arc::clone(&self.0), line: id });
        Connected { registry, inbox, faults: Faults::of(Arc::clone(&self.0), id) }
    }

    /// Looks at what it holds.
    pub fn inspect<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.0.lock().store)
    }
}

#[derive(Debug, Default)]
struct Shared {
    store: Store,
    lines: BTreeMap<u64, Line>,
    by_session: BTreeMap<u64, u64>,
    next_line: u64,
}

/// The store and its connections.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<Shared>);

impl Hub {
    /// A panic elsewhere leaves the store whole: commits are taken back or complete.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to a connection, if it still is, and lets what that changed reach the others.
    pub(super) fn with_line(&self, id: u64, act: impl FnOnce(&mut Store, &mut Line)) {
        let mut shared = self.lock();
        let Shared { store, lines, by_session, .. } = &mut *shared;
        let Some(line) = lines.get_mut(&id) else { return };
        let session = line.session;
        act(store, line);
        if line.session != session {
            by_session.remove(&session.0);
            by_session.insert(line.session.0, id);
        }
        for session in store.notified() {
            let line = by_session.get(&session.0).and_then(|id| lines.get_mut(id));
            if let Some(line) = line {
                line.flow(store);
            }
        }
    }

    fn remove(&self, id: u64) {
        self.with_line(id, |store, line| line.close(store));
        let mut shared = self.lock();
        let gone = shared.lines.remove(&id);
        if let Some(line) = gone {
            shared.by_session.remove(&line.session.0);
        }
    }
}

#[derive(Debug)]
struct Connection {
    hub: Arc<Hub>,
    line: u64,
}

impl Registry for Connection {
    fn submit(&self, ticket: Ticket, request: Request) {
        self.hub.with_line(self.line, |store, line| line.submit(store, ticket, request));
    }

    fn limits(&self) -> Limits {
        self.hub.lock().store.limits()
    }

    fn clock(&self) -> Clock {
        Clock::OfThisHost
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.hub.with_line(self.line, |store, line| line.close(store));
        Box::pin(std::future::ready(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.remove(self.line);
    }
}
