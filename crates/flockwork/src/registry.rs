//! Where nodes meet.

use flockwork_engine::{Connect, Connecting, Link};
use flockwork_registry::memory::MemoryRegistry;
use std::time::Duration;

/// The registry a node uses: all nodes that share one, and a namespace in it, share their jobs.
#[derive(Debug)]
pub struct Registry {
    connect: Box<dyn Connect>,
    reach: Reach,
    lease: Option<Duration>,
}

/// Whom a registry connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nodes of one host.
    Host,
    /// Nodes of several hosts, who must know each other's addresses.
    Hosts,
}

impl Registry {
    /// One of its own in memory: the node is alone, and what it knows ends with the program.
    #[must_use]
    pub fn memory() -> Self {
        Self::shared(&MemoryRegistry::default())
    }

    /// One in memory that several nodes of this program share.
    #[must_use]
    pub fn shared(registry: &MemoryRegistry) -> Self {
        let registry = registry.clone();
        let connect = Connecting::new("memory:", move || {
            let (registry, inbox) = registry.connect();
            Ok(Link { registry, inbox })
        });
        Self { connect: Box::new(connect), reach: Reach::Host, lease: None }
    }

    /// One in a directory on a local disk, made if it is not there: all programs of this host that
    /// name it share their jobs, and what they know outlives them. Needs the feature `embedded`.
    ///
    /// While another process keeps it locked, or the disk is full, a node waits and says so; a
    /// directory that can never be one (on a network file system, another user's) ends it.
    #[cfg(feature = "embedded")]
    #[must_use]
    pub fn embedded(directory: impl Into<std::path::PathBuf>) -> Self {
        Self::embedded_with(directory, flockwork_registry_embedded::Options::default())
    }

    /// As [`Registry::embedded`], with other settings than the usual ones.
    #[cfg(feature = "embedded")]
    #[must_use]
    pub fn embedded_with(
        directory: impl Into<std::path::PathBuf>,
        options: flockwork_registry_embedded::Options,
    ) -> Self {
        use flockwork_engine::NoLink;
        use flockwork_registry_embedded::Embedded;
        let directory = directory.into();
        // A script has ended when the session of the node that ran it has.
        let lease = Some(options.session_timeout * 2 / 3);
        let describe = format!("embedded:{}", directory.display());
        let connect =
            Connecting::new(describe, move || match Embedded::open(&directory, &options) {
                Ok((registry, inbox)) => Ok(Link { registry, inbox }),
                Err(error) if error.is_temporary() => Err(NoLink::Away(error.to_string())),
                Err(error) => Err(NoLink::Refused(error.to_string())),
            });
        Self { connect: Box::new(connect), reach: Reach::Host, lease }
    }

    /// One of your own, that may connect several hosts.
    #[must_use]
    pub fn custom(connect: impl Connect) -> Self {
        Self { connect: Box::new(connect), reach: Reach::Hosts, lease: None }
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// How long a script may go on without its node, if this registry has a say in it.
    pub(crate) fn lease(&self) -> Option<Duration> {
        self.lease
    }

    pub(crate) fn into_connect(self) -> Box<dyn Connect> {
        self.connect
    }
}
