//! How a node finds its registry when it starts: patiently.

use flockwork_registry::{Inbox, Registry};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The first wait between two tries; each further one is twice as long.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// The longest wait between two tries: somebody who has just repaired the registry waits no longer.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A connection: where requests go, and where everything comes back.
#[derive(Debug)]
pub struct Link {
    /// Where requests go.
    pub registry: Arc<dyn Registry>,
    /// Where everything comes back.
    pub inbox: Inbox,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLink {
    /// Not at the moment; trying again may help.
    #[error("the registry is away: {0}")]
    Away(String),
    /// Trying again is of no use: a setting or the registry's place is wrong.
    #[error("the registry refuses: {0}")]
    Refused(String),
}

/// Opens connections to one registry.
pub trait Connect: fmt::Debug + Send + 'static {
    /// What would be connected to, for people; holds no secret.
    fn describe(&self) -> String;

    /// Tries once. It may take a while: it is called on a thread that may block.
    ///
    /// # Errors
    /// [`NoLink`], which says whether to try again.
    fn connect(&mut self) -> Result<Link, NoLink>;
}

/// A connector made of a description and a function.
pub struct Connecting<F> {
    describe: String,
    connect: F,
}

impl<F> Connecting<F>
where
    F: FnMut() -> Result<Link, NoLink> + Send + 'static,
{
    /// Connects by `connect` to what `describe` says.
    pub fn new(describe: impl Into<String>, connect: F) -> Self {
        Self { describe: describe.into(), connect }
    }
}

impl<F> fmt::Debug for Connecting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connecting({})", self.describe)
    }
}

impl<F> Connect for Connecting<F>
where
    F: FnMut() -> Result<Link, NoLink> + Send + 'static,
{
    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn connect(&mut self) -> Result<Link, NoLink> {
        (self.connect)()
    }
}

impl Connect for Box<dyn Connect> {
    fn describe(&self) -> String {
        self.as_ref().describe()
    }

    fn connect(&mut self) -> Result<Link, NoLink> {
        self.as_mut().connect()
    }
}
