//! The boundary: what a registry promises, in prose and as a suite that each one passes.
//!
//! In reading order: the words ([`key`], [`request`], [`answer`]), the contract ([`Registry`]),
//! the queue in which everything comes back ([`inbox`]).

pub mod address;
pub mod answer;
pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod inbox;
pub mod key;
pub mod limits;
pub mod login;
pub mod memory;
pub mod request;

pub use address::{Address, AddressError};
pub use answer::{Answer, Child, Clock, Entry, Event, Failure, Index, Receipt, Refusal, SessionId};
pub use answer::{SessionState, Stamp, Why};
pub use inbox::Inbox;
pub use key::Key;
pub use login::{Login, LoginError};
pub use request::{Lifetime, Op, Request, Scope, Ticket};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What one commit may hold, and how much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations in one commit.
    pub max_ops: usize,
    /// Bytes of keys and values in one commit, by [`Op::bytes`].
    pub max_bytes: usize,
    /// Bytes of one value.
    pub max_value: usize,
    /// Requests without an answer yet; one more is answered [`Failure::NotSent`].
    pub max_in_flight: usize,
}

/// How long a session outlives the last sign of life, where servers have the last word on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimeout {
    /// What they were asked for.
    pub asked: Duration,
    /// What they gave.
    pub granted: Duration,
}

/// One node's connection to the registry: a linearizable tree of small values with watches and
/// sessions. Requests go in; all that comes back arrives in one ordered [`Inbox`].
///
/// # Contract
///
/// **Tree.** A key's parent must exist before it ([`Why::NoParent`]); a key with children cannot be
/// deleted ([`Why::NotEmpty`]); an entry that lives with its session has no children.
///
/// **Commits** are all or nothing, linearizable, and numbered: every commit that changes something
/// has an [`Index`] greater than that of all commits before it, for as long as the registry's data
/// live, whatever is deleted and created again. A refused commit names its first refused operation
/// and changes nothing. A commit is made in the name of a session and is refused once that session
/// has ended, even if the process that sends it has not heard of it yet.
///
/// **Unknown is not no.** An answer may be lost: [`Failure::Unknown`] means that the commit may have
/// happened or may yet happen, until the registry answers a later request of the same session.
/// Everything else in [`Failure`] means that it has not happened and will not.
///
/// **Reads** are monotone within a session and may be stale; what matters is re-checked in a
/// commit. Absence is an answer ([`Answer::Entry`] with `None`), never a failure.
///
/// **Order.** Answers arrive in the order of their requests. Requests of one session take effect in
/// the order in which they were submitted.
///
/// **Watches** tell that a key changed, not how: the reader gets it again. They outlive single
/// changes, reconnects and sessions, until [`Request::Unwatch`]; they may be set on a key that does
/// not exist. Changes may be merged. After any gap, and at each new session, [`Event::Resync`] says
/// that everything must be read again. With all of them thrown away, polling still converges.
///
/// **The watch barrier.** When the answer to a commit at index *i* is delivered, every change below
/// *i* of the keys watched since before the commit was submitted has been delivered before it. (The
/// one promise watches make; with it a claim can be undone before user code starts if what it was
/// based on changed on the way.)
///
/// **Sessions.** The registry opens one by itself, renews it, and opens a new one when it has
/// ended. [`SessionState::Live`] carries `trusted_until`, on the clock of
/// [`monotonic_millis`](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)
/// (`CLOCK_BOOTTIME`): until then no one else can believe the session ended. After it a node starts
/// nothing new. Entries with [`Lifetime::Session`] vanish with the session that made them, never
/// before, and not much later than its time-out.
///
/// **Set back.** Servers that come back with less than a connection saw there end its session and are
/// told of ([`Event::SetBack`]) before the next one lives: indices begin anew, and what is absent then was
/// not deleted by anybody.
///
/// **Replaced.** A registry in files of its own may lose its place: whoever opens that place next has
/// another one. A connection that notices says so ([`Event::Replaced`]), acknowledges no commit from
/// then on, and is of no more use.
///
/// **Bounds.** `submit` never blocks: a request above [`Limits`] is answered at once with a
/// [`Failure`] that names the limit.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Sends a request; its answer arrives as [`Event::Answer`] with the same ticket.
    fn submit(&self, ticket: Ticket, request: Request);

    /// What one commit may hold.
    fn limits(&self) -> Limits;

    /// With which clock of the registry's a node's can be compared: with none, if it does not say.
    fn clock(&self) -> Clock {
        Clock::Untold
    }

    /// The time-out of the last session that servers opened; none before the first one, and where nobody
    /// but the node decides on it. It is known when [`SessionState::Live`] is delivered.
    fn session_timeout(&self) -> Option<SessionTimeout> {
        None
    }

    /// What this registry is and where, for people: `embedded:./flockwork-data`. Holds no secret.
    fn describe(&self) -> String;

    /// Ends the session, so that its entries vanish now, and drops what was not sent yet.
    ///
    /// Returns once the registry has confirmed it, or after a bound of its own (at most 5 s).
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
