//! Connections for the suite of the contract, each through a proxy of its own.

use crate::proxy::Proxy;
use crate::server::{etcdctl, put, revision};
use flockwork_registry::conformance::{Asked, Control, Fixture, Link, NotApplicable, Tried};
use flockwork_registry::memory::Loss;
use flockwork_registry::{Inbox, Key, Limits, Registry, Request, Ticket};
use flockwork_registry_etcd::{Address, Credentials, Etcd, SCHEME, open};
use flockwork_trials::Kind;
pub(crate) use flockwork_trials::PATIENCE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The room that a small server is given, in bytes, and how much of it is taken at once.
pub(crate) const QUOTA: usize = 16 * 1024 * 1024;
const BALLAST: usize = 1024 * 1024;

/// What is under trial.
pub(crate) const KIND: Kind = Kind {
    scheme: SCHEME,
    session: Duration::from_secs(3),
    open: |address| {
        let (registry, inbox) = open(address, &Credentials::default());
        (registry, inbox)
    },
};

/// A server and a root of its own on it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) server: SocketAddr,
    pub(crate) root: &'static str,
    /// Whether its room is [`QUOTA`].
    pub(crate) is_small: bool,
}

pub(crate) fn address(servers: &[SocketAddr], root: &str, timeout: Duration) -> Address {
    KIND.address(servers, root, timeout)
}

/// Opens a registry and waits until its session is proven, without reading its inbox.
pub(crate) async fn opened(address: &Address) -> (Arc<Etcd>, Inbox) {
    let (registry, mut inbox) = open(address, &Credentials::default());
    let deadline = Instant::now() + PATIENCE;
    while registry.session().is_none() {
        let mut told = || std::iter::from_fn(|| inbox.try_recv()).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "no session at {address}: {:?}", told());
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
            let address = address(&[proxy.gate.address()], self.root, Duration::from_secs(8));
            let (registry, inbox) = opened(&address).await;
            let (server, proxy) = (self.server, proxy.clone());
            let hand = Hand {
                server,
                is_small: self.is_small,
                proxy: proxy.clone(),
                registry: Arc::clone(&registry),
            };
            let registry = Arc::new(AfterLosses { registry, proxy });
            Link { registry, inbox, control: Box::new(hand) }
        })
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// A connection that has lost an answer is of no use any more, so what the suite asks next would not
/// be sent: it is asked once one stands again, as whoever is told to try again does.
#[derive(Debug)]
struct AfterLosses {
    registry: Arc<Etcd>,
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
struct Hand {
    server: SocketAddr,
    is_small: bool,
    proxy: Proxy,
    registry: Arc<Etcd>,
}

/// As an operator does it: what is deleted takes its room until its revisions are compacted.
fn make_room(server: SocketAddr) {
    let step = |step: &[&str]| etcdctl(server, step).unwrap_or_else(|| panic!("{step:?}"));
    step(&["del", "--prefix", "/ballast/"]);
    step(&["compact", "--physical", &revision(server)]);
    step(&["defrag"]);
    step(&["alarm", "disarm"]);
}

fn done<'a>() -> Tried<'a> {
    Box::pin(std::future::ready(Ok(())))
}

impl Control for Hand {
    fn end_session(&self) -> Tried<'_> {
        let session = self.registry.session().expect("it is proven alive");
        let lease = format!("{:x}", session.0);
        let revoked =
            tokio::task::block_in_place(|| etcdctl(self.server, &["lease", "revoke", &lease]));
        assert!(revoked.is_some(), "the server lives");
        done()
    }

    fn lose_next_answer(&self, loss: Loss) -> Tried<'_> {
        self.proxy.lose(loss);
        done()
    }

    fn pause(&self) -> Tried<'_> {
        self.proxy.gate.hold(true);
        done()
    }

    fn resume(&self) -> Tried<'_> {
        self.proxy.gate.hold(false);
        done()
    }

    fn hold_answers(&self) -> Tried<'_> {
        self.pause()
    }

    fn release_answers(&self) -> Tried<'_> {
        self.resume()
    }

    fn cut(&self) -> Tried<'_> {
        self.proxy.gate.shut(true);
        self.proxy.gate.cut();
        done()
    }

    fn heal(&self) -> Tried<'_> {
        self.proxy.gate.shut(false);
        done()
    }

    /// With values as large as etcd takes, until it takes no more.
    fn fill(&self) -> Tried<'_> {
        if !self.is_small {
            let why = "this server has more room than a test should take".to_owned();
            return Box::pin(std::future::ready(Err(NotApplicable(why))));
        }
        let put = |n: usize| {
            let key = format!("/ballast/{n}");
            tokio::task::block_in_place(|| put(self.server, &key, &[b'x'; BALLAST]))
        };
        let taken = (0..QUOTA / BALLAST).take_while(|n| put(*n)).count();
        assert!(taken < QUOTA / BALLAST, "it is never full");
        done()
    }

    fn make_room(&self) -> Tried<'_> {
        tokio::task::block_in_place(|| make_room(self.server));
        done()
    }
}
