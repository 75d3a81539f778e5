//! A registry on etcd 3.4 or later, one server or several. Experimental.
//!
//! In reading order: where it is ([`Address`]), by which right ([`Credentials`], [`Login`]), how keys and
//! values are stored (`place`, `stored`), what commits become (`draft`, `batch`, `look`), what is
//! asked and told (`interpreter`, `told`), sessions (`session`), the servers' messages (`wire`,
//! `server`), the task that holds the connection (`edge`), the node's end ([`Etcd`]).
//!
//! # What is stored
//! Below the address's root, all of it text but the values:
//! * `/002/a/b` is the entry `/a/b`. The number is how many parts the key has, so that the direct
//!   children of a key are one range, by name: those of `/a` are all that starts with `/002/a/`.
//!   A value has 15 bytes in front: see `stored`. An entry that lives with a session has its lease.
//! * `/next/a` is the number that the next child of `/a` made with one gets. It goes with `/a`.
//! * `/session/0123456789abcdef` is a session's mark, under its lease.
//!
//! # Commits
//! etcd orders nothing between questions under way at once, so a node asks one at a time, and the
//! commits that wait meanwhile go together as one transaction: their net effect, on the condition
//! that all it rests on is as believed. Where it is not, all that the commits rest on is looked at,
//! at one revision, and they are tried again; a commit is refused only by such a look. An index is
//! the transaction's revision and the commit's turn in it, 256 to a revision.
//!
//! Each transaction wants the session's mark as the last one left it, and puts it anew. So one of a
//! session that has ended, or that was lost on the way before the session was taken up again, never
//! happens.
//!
//! # Watches
//! One watch of everything below the root, from which what the node watches is picked: etcd keeps
//! the order of revisions within a watch, but not between the watches of a connection. An answer to
//! a commit waits until the watch has come through its revision. The cost is that every node is
//! sent every change: clusters where that is too much are better off on ZooKeeper.
//!
//! # Sessions
//! A session is a lease. It is trusted from the moment its renewal was *sent*, and only if the raft
//! term shows that the leader that renewed it was not deposed before: see `session`.
//!
//! # What the servers need
//! etcd keeps every revision until it is told to compact: without `--auto-compaction-retention` its
//! room runs out, and commits are answered [`Full`](flockwork_registry::Failure::Full). Nothing here
//! reads old revisions. `--max-txn-ops` and `--max-request-bytes` must not be below their defaults.
//!
//! An ensemble's leader that stood still, for want of a processor or a disk, and was deposed
//! meanwhile, may for a moment after it goes on still count leases by its own time, and have those
//! revoked that were renewed with its successor (etcd issues 12528 and 15247). A session then ends
//! while it is trusted. None of its commits happens after that, and its node is told by the watch;
//! but until it is, others may already have taken over what lived with it. Nothing on this side can
//! hinder that. One server alone is not affected. Ensembles should run a release with the
//! mitigation, by which a leader makes sure that it leads before it has leases revoked: etcd pull
//! request 16822, backported to 3.4 by 17465 and to 3.5 by 17425.
//!
//! etcd's client crate is not used: it needs a protobuf compiler to build. The dozen messages that
//! are needed are written out in `wire`.

mod batch;
mod clock;
mod credentials;
mod draft;
mod edge;
mod interpreter;
mod known;
mod look;
mod place;
mod registry;
mod server;
mod session;
mod stored;
mod told;
mod wire;

pub use credentials::Credentials;
#[cfg(feature = "tls")]
pub use credentials::Tls;
pub use flockwork_registry::{Address, Login};
pub use registry::{Etcd, LIMITS, SCHEME, open, open_url};
