//! Asks and tells: the queries and commands that command line and pages share.
//!
//! An [`Operator`] speaks to one namespace of one registry, through a connection of its own: it needs
//! no node to answer. In reading order: what can go wrong ([`error`]), what is shown ([`view`]), the
//! questions ([`query`]), the orders ([`trigger`], [`switch`], [`remove`]).

pub mod error;
mod nearest;
pub mod query;
mod read;
pub mod remove;
pub mod switch;
pub mod trigger;
pub mod view;

pub use error::AdminError;
pub use remove::{Removal, Removed, Stopped};
pub use switch::{Switch, Switched};
pub use trigger::Triggered;
pub use view::{
    ClockRow, Health, IneligibleRow, JobDetail, JobRow, ServerRow, ShardHealth, ShardRow,
};

use flockwork_core::id::JobName;
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_registry::Key;
use flockwork_registry::client::Client;

/// Speaks to one namespace of one registry.
#[derive(Debug)]
pub struct Operator {
    client: Client,
    namespace: Namespace,
}

impl Operator {
    /// Takes over a connection.
    #[must_use]
    pub fn new(client: Client, namespace: Namespace) -> Self {
        Self { client, namespace }
    }

    /// The namespace it speaks to.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Ends the connection's session.
    pub async fn close(self) {
        self.client.close().await;
    }

    fn key(&self, job: &JobName, facet: &Facet) -> Key {
        self.namespace.key(job, facet)
    }
}
