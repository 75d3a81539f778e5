//! The node's end.

use crate::commit::Place;
use crate::interpreter::{Command, Interpreter, UnderWay};
use crate::{Address, Login};
use flockwork_registry::inbox::{self, Sender};
use flockwork_registry::{
    Answer, Clock, Event, Failure, Inbox, Limits, Op, Registry, Request, SessionId, Ticket,
};
use flockwork_zookeeper::{Acl, Config, Handle, Servers, Tls, spawn};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How addresses of this registry begin.
pub const SCHEME: &str = "zookeeper";

/// What one commit may hold. Within these no packet is above ZooKeeper's `jute.maxbuffer`: an
/// operation takes its bytes and the root's (256 at most), a check for absence all of that twice,
/// so 2 x 384 KiB and 2 x 256 x 500 bytes at the most, of 1,048,575.
pub const LIMITS: Limits =
    Limits { max_ops: 500, max_bytes: 384 * 1024, max_value: 256 * 1024, max_in_flight: 1_024 };

/// Bytes of requests without an answer yet: what one node keeps at most for a slow server.
const BYTES_UNDER_WAY: usize = 16 * 1024 * 1024;

/// How long a closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// By which right and how securely the servers are talked to. By default: by none, in the clear.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Whose nodes they are: with it every node belongs to it alone.
    pub digest: Option<Login>,
    /// Whom to believe; to be had with the feature `tls`.
    pub tls: Option<Tls>,
}

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
pub fn open(address: &Address, credentials: &Credentials) -> (Arc<ZooKeeper>, Inbox) {
    let digest = credentials.digest.as_ref();
    let (sender, inbox) = inbox::channel();
    let (sender, under_way) = (Arc::new(sender), Arc::new(UnderWay::default()));
    let acl = if digest.is_some() { Acl::Creator } else { Acl::Open };
    let place = Place { root: address.root.clone(), acl };
    let (closing, closed) = watch::channel(false);
    let interpreter = Interpreter::new(place, Arc::clone(&sender), Arc::clone(&under_way), closing);
    let config = Config {
        timeout: u32::try_from(address.session_timeout.as_millis()).unwrap_or(u32::MAX),
        digest: digest.map(|digest| digest.reveal().to_owned()),
        // Seeded by the system; two processes have different ones.
        spread: RandomState::new().build_hasher().finish(),
    };
    let servers = Servers { names: address.servers.clone(), tls: credentials.tls.clone() };
    let handle = spawn(servers, config, interpreter);
    let describe = address.to_string();
    (Arc::new(ZooKeeper { handle, sender, under_way, closed, describe }), inbox)
}

/// A connection to ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeper {
    handle: Handle<Command>,
    sender: Arc<Sender>,
    under_way: Arc<UnderWay>,
    closed: watch::Receiver<bool>,
    describe: String,
}

impl ZooKeeper {
    /// Which session is proven alive at this moment. The node learns it from its inbox, in order;
    /// this is for those who watch from outside.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.handle.live().map(|session| SessionId(session.cast_unsigned()))
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

impl Registry for ZooKeeper {
    fn submit(&self, ticket: Ticket, request: Request) {
        let heard = self.sender.heard();
        let bytes = match self.admit(&request) {
            Ok(bytes) => bytes,
            Err(failure) => return self.refuse(ticket, failure),
        };
        if self.handle.send(Command { ticket, request, heard, bytes }).is_err() {
            self.give_back(bytes);
            let closed = || Failure::NotSent("the connection was closed".to_owned());
            self.refuse(ticket, heard.map_or_else(closed, Failure::SessionEnded));
        }
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn clock(&self) -> Clock {
        Clock::Told
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.handle.close();
            let mut closed = self.closed.clone();
            // An error means that the task is gone, and the session with it.
            let _ = tokio::time::timeout(CLOSING, closed.wait_for(|closed| *closed)).await;
        })
    }
}
