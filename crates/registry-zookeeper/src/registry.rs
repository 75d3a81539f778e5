//! The node's end.

use crate::desk::Desk;
use crate::interpreter::Command;
use crate::{Address, Login};
use flockwork_registry::{
    Clock, Inbox, Limits, Registry, Request, SessionId, SessionTimeout, Ticket,
};
use flockwork_zookeeper::{Config, Handle, Servers, Tls, spawn};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How addresses of this registry begin.
pub const SCHEME: &str = "zookeeper";

/// What one commit may hold. Within these no packet is above ZooKeeper's `jute.maxbuffer`: an
/// operation takes its bytes and the root's (256 at most), a check for absence all of that twice,
/// so 2 x 384 KiB and 2 x 256 x 500 bytes at the most, of 1,048,575.
pub const LIMITS: Limits =
    Limits { max_ops: 500, max_bytes: 384 * 1024, max_value: 256 * 1024, max_in_flight: 1_024 };

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
    let (desk, inbox) = Desk::open();
    let (closing, closed) = watch::channel(false);
    let config = Config {
        timeout: u32::try_from(address.session_timeout.as_millis()).unwrap_or(u32::MAX),
        digest: digest.map(|digest| digest.reveal().to_owned()),
        // Seeded by the system; two processes have different ones.
        spread: RandomState::new().build_hasher().finish(),
    };
    let interpreter = desk.interpreter(&address.root, &config, closing);
    let servers = Servers { names: address.servers.clone(), tls: credentials.tls.clone() };
    let handle = spawn(servers, config, interpreter);
    let (asked, describe) = (address.session_timeout, address.to_string());
    (Arc::new(ZooKeeper { handle, desk, closed, asked, describe }), inbox)
}

/// A connection to ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeper {
    handle: Handle<Command>,
    desk: Desk,
    closed: watch::Receiver<bool>,
    /// The time-out that sessions are asked for.
    asked: Duration,
    describe: String,
}

impl ZooKeeper {
    /// Which session is proven alive at this moment. The node learns it from its inbox, in order;
    /// this is for those who watch from outside.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.handle.live().map(|session| SessionId(session.cast_unsigned()))
    }
}

impl Registry for ZooKeeper {
    fn submit(&self, ticket: Ticket, request: Request) {
        let Some(command) = self.desk.admitted(ticket, request) else { return };
        if let Err(unsent) = self.handle.send(command) {
            self.desk.take_back(&unsent);
        }
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn clock(&self) -> Clock {
        Clock::Told
    }

    fn session_timeout(&self) -> Option<SessionTimeout> {
        let granted = self.desk.granted().unwrap_or(self.asked);
        self.session().map(|_| SessionTimeout { asked: self.asked, granted })
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
