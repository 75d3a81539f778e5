//! What registries on real servers are put through, whichever servers they are: for tests.
//!
//! Four writers commit at full speed while servers are killed, stopped, cut off and slowed, and what
//! they were told is judged by [`Writers`]. Each trial has a few rounds, or as many as
//! `FLOCKWORK_ROUNDS` asks for, and tells in words what it met. Whatever is wrong ends the test.
//!
//! In reading order: a registry under trial ([`Kind`]), its servers ([`server`]) and a way to them that can
//! be cut and held up ([`gate`]); the trials of commits ([`faults`], [`slow`]) and of sessions ([`trust`]);
//! and how fast it all is, and what a mirror takes ([`speed`], [`mirror`]). What a test of processes needs
//! besides: [`clock`], [`disk`], [`ports`].
#![allow(clippy::missing_panics_doc, reason = "whatever is wrong ends the test, by a panic")]

pub mod clock;
pub mod disk;
pub mod faults;
pub mod gate;
pub mod mirror;
pub mod ports;
pub mod server;
pub mod slow;
pub mod speed;
pub mod trust;

use flockwork_registry::client::Client;
use flockwork_registry::conformance::Asked;
use flockwork_registry::conformance::history::{Judged, Writers};
use flockwork_registry::{Address, Inbox, Key, Registry};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A bound on each wait for an answer: far above what any takes on a loaded host.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How many writers there are.
pub const WRITERS: usize = 4;

/// A registry under trial.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// By which its addresses are known.
    pub scheme: &'static str,
    /// The shortest time-out of a session that its servers keep to under load.
    pub session: Duration,
    /// Opens a connection.
    pub open: fn(&Address) -> (Arc<dyn Registry>, Inbox),
}

impl Kind {
    /// Where to find servers, below a root: `/x`, or nothing.
    #[must_use]
    pub fn address(self, servers: &[SocketAddr], root: &str, session: Duration) -> Address {
        let list = servers.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let session = session.as_millis();
        let text = format!("{}://{list}{root}?session_timeout={session}ms", self.scheme);
        Address::parse(self.scheme, &text).expect("it is well-formed")
    }

    /// A connection whose session is proven.
    pub async fn client(self, address: &Address) -> Client {
        let mut client = self.connect(address);
        client.session().await.expect("a server answers");
        client
    }

    /// A connection.
    #[must_use]
    pub fn connect(self, address: &Address) -> Client {
        let (registry, inbox) = (self.open)(address);
        Client::new(registry, inbox, PATIENCE)
    }

    /// Writers at work, each with a connection of its own.
    pub async fn writers(self, address: &Address) -> Writers {
        let address = address.clone();
        let open = move || {
            let client = self.connect(&address);
            Box::pin(std::future::ready(client)) as Asked<'static, Client>
        };
        Writers::start(open, WRITERS).await
    }
}

/// Rounds of each trial; `FLOCKWORK_ROUNDS` asks for more.
#[must_use]
pub fn rounds() -> usize {
    let asked = std::env::var("FLOCKWORK_ROUNDS").ok();
    asked.map_or(3, |text| text.parse().expect("FLOCKWORK_ROUNDS is a number"))
}

/// What came of a trial of commits, in words.
fn told(fault: &str, Judged { done, unknown, sessions }: Judged) -> String {
    let rounds = rounds();
    // Fewer show nothing.
    assert!(done > rounds * 10, "{fault}: only {done} commits in {rounds} rounds");
    format!(
        "{fault}: {rounds} rounds, {done} commits confirmed, {unknown} unknown, {sessions} sessions; \
         linearizable"
    )
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key of these trials is short")
}
