//! A registry on ZooKeeper 3.6 or later, one server or an ensemble.
//!
//! A key is a path, below the address's root if it has one; a commit is one `multi`; an index is a
//! zxid; a watch is a persistent, not recursive one. In reading order: where it is ([`Address`]), by
//! which right ([`Login`]), what a commit becomes (`commit`), what is asked and told
//! (`interpreter`), the node's end (`desk`, [`ZooKeeper`]), and the same stepped by somebody else
//! ([`Stepped`]).
//!
//! # What it does beyond the contract
//! * Missing parts of the root are made as containers, as ElasticJob's clients make them.
//! * With a digest every node it makes belongs to that digest alone.
//! * An ensemble that has lost what a session saw is noticed and joined with a new session.
//!
//! # What ZooKeeper cannot
//! * Compare more of a stamp than its version: see [`Stamp`](flockwork_registry::Stamp).
//! * Check that a key is absent: the key is made and deleted in the same commit instead, which those
//!   who watch it see, and no other request is under way meanwhile.

mod commit;
mod desk;
mod interpreter;
mod registry;
mod stepped;
mod watches;

pub use flockwork_registry::{Address, Login};
pub use flockwork_zookeeper::Tls;
#[cfg(feature = "tls")]
pub use flockwork_zookeeper::TlsError;
pub use registry::{Credentials, LIMITS, SCHEME, ZooKeeper, open, open_url};
pub use stepped::Stepped;
