//! A host's end: the registry's own interpreter and session, and the connection they have now.

use super::ensemble::ConnId;
use flockwork_registry_zookeeper::Stepped;

/// What happens within a host's process to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// Time has passed; it asked for this instant.
    Tick(u64),
    /// The node reads what it is told.
    Told,
    /// The servers' names are resolved, or are not.
    Resolved { attempt: u64, is_known: bool },
    /// An attempt to connect comes to an end.
    Dialled { attempt: u64, server: usize },
    /// Bytes arrive.
    Bytes(ConnId),
    /// The host's own side finds that a connection is broken.
    Broken(ConnId),
}

/// The client of one process.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stepped: Stepped,
    pub(crate) conn: Option<ConnId>,
    /// Counts look-ups and attempts, so that what comes of an earlier one is told apart.
    pub(crate) attempt: u64,
    /// The instant for which a tick is planned.
    pub(crate) tick_at: Option<u64>,
    pub(crate) is_told_due: bool,
}

impl Client {
    pub(crate) fn new(stepped: Stepped) -> Self {
        Self { stepped, conn: None, attempt: 0, tick_at: None, is_told_due: false }
    }
}
