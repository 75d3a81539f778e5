//! Connections for the suite of the contract, each through a proxy of its own.

use crate::proxy::Proxy;
use flockwork_registry::conformance::{Asked, Control, Fixture, Link, Tried};
use flockwork_registry::memory::Loss;
use flockwork_registry::{Inbox, Key, Limits, Registry, Request, Ticket};
use flockwork_registry_zookeeper::{Address, Credentials, SCHEME, ZooKeeper, open};
use flockwork_trials::Kind;
pub(crate) use flockwork_trials::PATIENCE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is under trial.
pub(crate) const KIND: Kind = Kind {
    scheme: SCHEME,
    session: Duration::from_secs(2),
    open: |address| {
        let (registry, inbox) = open(address, &Credentials::default());
        (registry, inbox)
    },
};

/// A server, a root of its own on it, and by which right.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) server: SocketAddr,
    pub(crate) root: &'static str,
    pub(crate) credentials: Credentials,
}

pub(crate) fn address(servers: &[SocketAddr], root: &str, timeout: Duration) -> Address {
    KIND.address(servers, root, timeout)
}

/// Opens a registry and waits until its session is proven, without reading its inbox.
pub(crate) async fn opened(
    address: &Address,
    credentials: &Credentials,
) -> (Arc<ZooKeeper>, Inbox) {
    let (registry, inbox) = open(address, credentials);
    let deadline = Instant::now() + PATIENCE;
    while registry.session().is_none() {
        assert!(Instant::now() < deadline, "no session at {address}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (registry, inbox)
}

impl Fixture for Place {
    fn root(&self) -> Key {
        Key::root()
    }

    fn connect(&self) -> Asked<'_, Link> {
        Box::pin(async {
            let proxy = Proxy::before(self.server).await;
            let address = address(&[proxy.gate.address()], self.root, Duration::from_secs(4));
            let (registry, inbox) = opened(&address, &self.credentials).await;
            let registry = Arc::new(AfterLosses { registry, proxy: proxy.clone() });
            Link { registry, inbox, control: Box::new(Hand(proxy)) }
        })
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// A stream that has lost an answer is of no use any more, so what the suite asks next would not be
/// sent: it is asked once the connection stands again, as whoever is told to try again does.
#[derive(Debug)]
struct AfterLosses {
    registry: Arc<ZooKeeper>,
    proxy: Proxy,
}

impl Registry for AfterLosses {
    fn submit(&self, ticket: Ticket, request: Request) {
        let deadline = Instant::now() + PATIENCE;
        let stands = || !self.proxy.is_broken() && self.registry.session().is_some();
        if self.proxy.lost() > 0 {
            tokio::task::block_in_place(|| {
                while !stands() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        self.registry.submit(ticket, request);
    }

    fn limits(&self) -> Limits {
        self.registry.limits()
    }

    fn describe(&self) -> String {
        self.registry.describe()
    }

    fn close(&self) -> Asked<'_, ()> {
        self.registry.close()
    }
}

/// The power over one connection's way to the server.
#[derive(Debug)]
struct Hand(Proxy);

fn done<'a>() -> Tried<'a> {
    Box::pin(std::future::ready(Ok(())))
}

impl Control for Hand {
    fn end_session(&self) -> Tried<'_> {
        Box::pin(async {
            self.0.end_session().await.expect("the server lives");
            Ok(())
        })
    }

    fn lose_next_answer(&self, loss: Loss) -> Tried<'_> {
        self.0.lose(loss);
        done()
    }

    fn pause(&self) -> Tried<'_> {
        self.0.gate.hold(true);
        done()
    }

    fn resume(&self) -> Tried<'_> {
        self.0.gate.hold(false);
        done()
    }

    fn hold_answers(&self) -> Tried<'_> {
        self.pause()
    }

    fn release_answers(&self) -> Tried<'_> {
        self.resume()
    }

    fn cut(&self) -> Tried<'_> {
        self.0.gate.shut(true);
        self.0.gate.cut();
        done()
    }

    fn heal(&self) -> Tried<'_> {
        self.0.gate.shut(false);
        done()
    }
}
