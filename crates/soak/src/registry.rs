//! What a soak asks of a registry: to be there, to fail on request, and to tell what it committed.
//! Another one is one more file like [`embedded`](crate::embedded).

use crate::history::History;
use anyhow::Result;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// A registry that nodes share, with all that is needed to trouble it.
pub trait Registry: fmt::Debug {
    /// What it is called in figures.
    fn name(&self) -> &'static str;

    /// The flags by which a node uses it; each node may have a way of its own.
    fn flags(&self, node: u32) -> Vec<String>;

    /// The troubles it can have.
    fn troubles(&self) -> &'static [Trouble];

    /// Begins a trouble and proves it, or says why not. `node` is whose way is meant, where it is
    /// about one.
    ///
    /// # Errors
    /// If it could not be made.
    fn trouble(&mut self, trouble: Trouble, node: u32) -> Result<Begun>;

    /// Ends a trouble; all works again when this returns. Says what more was seen of it.
    ///
    /// # Errors
    /// If it does not end.
    fn relieve(&mut self, trouble: Trouble, node: u32) -> Result<String>;

    /// What it committed since it was made. Asked once, when all nodes are gone.
    ///
    /// # Errors
    /// If that cannot be read.
    fn history(&mut self) -> Result<History>;

    /// Keys that live with sessions, at this moment.
    ///
    /// # Errors
    /// If they cannot be read.
    fn mortal_keys(&mut self) -> Result<usize>;
}

/// What can go wrong with a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Its server is killed, and comes back.
    Killed,
    /// It stands still.
    Still,
    /// One node's connections are dropped, and no new one is let through.
    Cut,
    /// One node's requests do not arrive.
    NoRequests,
    /// One node gets no answers.
    NoAnswers,
}

/// A trouble that has begun.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    /// How many requests had no answer yet, where that is known.
    pub in_flight: u32,
    /// What was seen of it.
    pub proof: String,
}

/// A registry by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A ZooKeeper server of its own.
    ZooKeeper,
    /// An etcd server of its own.
    Etcd,
    /// A directory of this host.
    Embedded,
}

impl Which {
    /// Reads a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "zookeeper" => Some(Self::ZooKeeper),
            "etcd" => Some(Self::Etcd),
            "embedded" => Some(Self::Embedded),
            _ => None,
        }
    }

    /// Makes one, with its files in a directory, for as many nodes, numbered from 1, and sessions
    /// of this time-out.
    ///
    /// # Errors
    /// If it does not start.
    pub fn make(self, at: &Path, nodes: u32, session: Duration) -> Result<Box<dyn Registry>> {
        Ok(match self {
            Self::ZooKeeper => Box::new(crate::zookeeper::ZooKeeper::start(at, nodes, session)?),
            Self::Etcd => Box::new(crate::etcd::Etcd::start(at, session)?),
            Self::Embedded => Box::new(crate::embedded::InDirectory::make(at, session)?),
        })
    }
}
