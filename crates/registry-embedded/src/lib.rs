//! A registry for one host: several processes over one directory, no server.
//!
//! The tree is a SQLite database in WAL mode. One thread in each process groups the requests that
//! wait into one transaction (`writer`), which it begins by reading what others changed from a
//! log (`round`), so that the order of answers and changes holds. Whoever writes holds a lock of
//! the kernel (`lock`); a byte written to a file wakes the others (`bell`); a lock on a file
//! and a heartbeat keep a session alive (`session`).
//!
//! # What it promises, beyond the contract
//! * An acknowledged commit is on the disk (`synchronous=FULL`).
//! * A killed process is noticed by its lock, within milliseconds; a stopped one by its heartbeat,
//!   after its session's time-out. Time in which nobody could write counts for nobody.
//! * Once its path names another file, or none, nothing more is committed, and it is said so
//!   ([`Event::Replaced`](flockwork_registry::Event::Replaced); `footing`).
//! * While a stopped process holds the lock, others say so and wait; they go on when it does, or
//!   dies.
//!
//! # What it does not
//! * It is not for directories that other hosts can reach ([`OpenError::NetworkFileSystem`]).
//! * A process stopped in the midst of a read keeps the write-ahead log from being used anew, so the
//!   log grows until that process goes on or dies.
//! * A file that is written over in place (`cp` onto the database) is the same file to it: a copy is put
//!   back while no process is at work.

mod bell;
mod changes;
mod clock;
mod embedded;
mod error;
mod footing;
mod lock;
mod options;
mod place;
mod queue;
mod round;
mod schema;
mod session;
mod shared;
mod standing;
mod store;
mod tree;
mod trouble;
mod watchman;
mod writer;

pub use embedded::Embedded;
pub use error::OpenError;
pub use options::{LONGEST_TIMEOUT, Options, SHORTEST_TIMEOUT};
