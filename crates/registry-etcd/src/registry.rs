//! The node's end.

use crate::edge::{Edge, Way};
use crate::interpreter::{Command, Interpreter};
use crate::place::Place;
use crate::told::{Told, UnderWay};
use crate::{Address, Credentials};
use flockwork_registry::inbox::{self, Sender};
use flockwork_registry::{
    Answer, Event, Failure, Inbox, Limits, Op, Registry, Request, SessionId, SessionTimeout, Ticket,
};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How addresses of this registry begin.
pub const SCHEME: &str = "etcd";

/// What one commit may hold.
///
/// etcd takes 128 comparisons and 128 operations in a transaction. The session's mark takes one of
/// each; an operation of ours takes three comparisons at the most (making an entry with a number:
/// the entry, its parent, the number) and two operations, so 42 of them fit always. Keys stand in
/// it up to four times, so what is made of `max_bytes` stays below 512 KiB and 42 x 4 x 1,350 bytes:
/// half of the 1.5 MiB that etcd takes.
pub const LIMITS: Limits =
    Limits { max_ops: 42, max_bytes: 512 * 1024, max_value: 256 * 1024, max_in_flight: 1_024 };

/// Bytes of requests without an answer yet: what one node keeps at most for a slow server.
const BYTES_UNDER_WAY: usize = 16 * 1024 * 1024;

/// How long a closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// Opens a registry at an address; see [`open`].
///
/// # Errors
/// [`AddressError`](flockwork_registry::AddressError), which says how an address is written.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub fn open_url(
    url: &str,
    credentials: &Credentials,
) -> Result<(Arc<dyn Registry>, Inbox), flockwork_registry::AddressError> {
    let (registry, inbox) = open(&Address::parse(SCHEME, url)?, credentials);
    Ok((registry, inbox))
}

/// Opens a registry. It does not wait for a server:
/// [`SessionState`](flockwork_registry::SessionState) tells when one answers, and why none does.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
#[must_use]
pub fn open(address: &Address, credentials: &Credentials) -> (Arc<Etcd>, Inbox) {
    let (sender, inbox) = inbox::channel();
    let (sender, under_way) = (Arc::new(sender), Arc::new(UnderWay::default()));
    let told = Told::new(Arc::clone(&sender), Arc::clone(&under_way));
    let (commands, taken) = mpsc::unbounded_channel();
    let (closing, closed) = (watch::Sender::new(false), watch::Sender::new(false));
    let (proven, granted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let asked = address.session_timeout;
    let edge = Edge {
        way: Way {
            servers: address.servers.clone(),
            credentials: credentials.clone(),
            timeout: Duration::from_secs(address.session_timeout.as_millis().div_ceil(1_000) as u64),
            // Seeded by the system; two processes have different ones.
            first: RandomState::new().build_hasher().finish() as usize,
        },
        interpreter: Interpreter::new(Place::new(&address.root), told),
        commands: taken,
        closing: closing.subscribe(),
        proven: Arc::clone(&proven),
        granted: Arc::clone(&granted),
        cluster: None,
        said: None,
    };
    let ends = closed.clone();
    tokio::spawn(async move {
        edge.run().await;
        ends.send_replace(true);
    });
    let (closed, describe) = (closed.subscribe(), address.to_string());
    let timeout = (asked, granted);
    let etcd = Etcd { commands, sender, under_way, closing, closed, proven, timeout, describe };
    (Arc::new(etcd), inbox)
}

/// A connection to etcd.
#[derive(Debug)]
pub struct Etcd {
    /// Bounded by what may be under way.
    commands: mpsc::UnboundedSender<Command>,
    sender: Arc<Sender>,
    under_way: Arc<UnderWay>,
    closing: watch::Sender<bool>,
    closed: watch::Receiver<bool>,
    proven: Arc<AtomicU64>,
    /// The session's time-out as it was asked for, and what the servers gave, in milliseconds; 0 before.
    timeout: (Duration, Arc<AtomicU64>),
    describe: String,
}

impl Etcd {
    /// Which session is proven alive at this moment. The node learns it from its inbox, in order;
    /// this is for those who watch from outside.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        let proven = self.proven.load(Ordering::Relaxed);
        (proven != 0).then_some(SessionId(proven))
    }

    fn admit(&self, request: &Request) -> Result<usize, Failure> {
        let bytes = match request {
            Request::Commit(ops) => {
                LIMITS.admit(ops)?;
                ops.iter().map(Op::bytes).sum()
            }
            _ => 0,
        };
        let most = LIMITS.max_in_flight;
        let requests = &self.under_way.requests;
        let one_more = |count: usize| (count < most).then_some(count + 1);
        requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map_err(|_| {
            Failure::NotSent(format!(
                "{most} requests have no answer yet (max_in_flight is {most})"
            ))
        })?;
        let before = self.under_way.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > BYTES_UNDER_WAY {
            self.give_back(bytes);
            let why = format!("{before} bytes have no answer yet, at most {BYTES_UNDER_WAY} may");
            return Err(Failure::NotSent(why));
        }
        Ok(bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.under_way.requests.fetch_sub(1, Ordering::Relaxed);
        self.under_way.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn refuse(&self, ticket: Ticket, failure: Failure) {
        self.sender.push(Event::Answer(ticket, Answer::Failed(failure)));
    }
}

impl Registry for Etcd {
    fn submit(&self, ticket: Ticket, request: Request) {
        let heard = self.sender.heard();
        let bytes = match self.admit(&request) {
            Ok(bytes) => bytes,
            Err(failure) => return self.refuse(ticket, failure),
        };
        if self.commands.send(Command { ticket, request, heard, bytes, tries: 0 }).is_err() {
            self.give_back(bytes);
            let closed = || Failure::NotSent("the connection was closed".to_owned());
            self.refuse(ticket, heard.map_or_else(closed, Failure::SessionEnded));
        }
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn session_timeout(&self) -> Option<SessionTimeout> {
        let (asked, granted) = &self.timeout;
        let granted = granted.load(Ordering::Acquire);
        let granted = (granted != 0).then(|| Duration::from_millis(granted))?;
        Some(SessionTimeout { asked: *asked, granted })
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.closing.send_replace(true);
            let mut closed = self.closed.clone();
            // An error means that the task is gone, and the session with it.
            let _ = tokio::time::timeout(CLOSING, closed.wait_for(|closed| *closed)).await;
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}
