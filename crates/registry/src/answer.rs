//! What comes back from a registry.

use crate::{Key, Scope, Ticket};
use bytes::Bytes;
use std::fmt;

/// A commit's number: ZooKeeper's zxid, etcd's revision, SQLite's sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// Names a session for as long as the registry's data live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// Which state of an entry was read.
///
/// A registry checks of it what it can. ZooKeeper checks `version` alone, which starts again when
/// a key is deleted and made anew: where that can happen, the watch barrier must catch it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The commit that made the entry.
    pub created: Index,
    /// The commit that last gave it a value.
    pub modified: Index,
    /// How often it was given a value since it was made.
    pub version: u32,
}

/// One entry as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub value: Bytes,
    /// Which state of it this is.
    pub stamp: Stamp,
    /// The session it lives with, if any.
    pub session: Option<SessionId>,
}

/// The name of a direct child.
pub type Child = String;

/// What comes back, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to a request.
    Answer(Ticket, Answer),
    /// A watched key changed; read it again.
    Changed(Key, Scope),
    /// Changes may have been missed: read everything again that matters.
    Resync,
    /// The session's state, at each change and each renewal.
    Session(SessionState),
    /// The servers know less than this connection has seen there: they were set up anew, or from an older
    /// copy, as the text says. The session has ended or is about to; what is read under the next one is
    /// what is left.
    SetBack(String),
    /// What this connection opened is the registry no more: it was deleted, moved or replaced, as the text
    /// says. The session is over and none follows. What has no answer yet counts for nobody, and nothing is
    /// told any more but that. Told at most once.
    Replaced(String),
}

/// The state of a node's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Proven alive.
    Live {
        /// Which one.
        session: SessionId,
        /// Until when nobody else can believe it ended: milliseconds of `CLOCK_BOOTTIME`.
        trusted_until: u64,
    },
    /// Not proven at the moment; it may live or not. Nothing new may start.
    Suspended {
        /// What stands in the way, for people.
        why: String,
    },
    /// Ended for good: its entries are gone or going, its commits are refused. A new session
    /// follows as [`SessionState::Live`] with another id, after an [`Event::Resync`].
    Ended(SessionId),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the key holds; `None` if it does not exist.
    Entry(Option<Entry>),
    /// Its children's names in ascending order; `None` if it does not exist.
    Children(Option<Vec<Child>>),
    /// A watch was set or taken away.
    Done,
    /// The commit happened.
    Committed(Receipt),
    /// The commit did not happen, by its own conditions.
    Refused(Refusal),
    /// No answer to the question.
    Failed(Failure),
}

/// Proof of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Its number: the `modified` of every entry it gave a value. Zero if it only checked.
    pub index: Index,
    /// The whole keys of entries made with `sequence`, in the order of their operations.
    pub sequenced: Vec<Key>,
    /// What the registry's own clock showed when it made the commit, in milliseconds since
    /// 1970-01-01T00:00:00Z; none where it did not say ([`Clock`]).
    pub at: Option<i64>,
}

/// With which clock of the registry's a node's own can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// With none: the registry tells no time.
    #[default]
    Untold,
    /// With the one of the host that all its nodes run on: it is the same.
    OfThisHost,
    /// With the registry's, which [`Receipt::at`] tells of commits that give an entry a value.
    Told,
}

/// Why a commit was refused: its first refused operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {at} refused: {why} ({key})")]
pub struct Refusal {
    /// Which operation, from 0.
    pub at: usize,
    /// Its key.
    pub key: Key,
    /// Why.
    pub why: Why,
}

/// What an operation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The key exists already.
    #[error("it exists")]
    Exists,
    /// The key does not exist.
    #[error("it does not exist")]
    Absent,
    /// It is not as the stamp says.
    #[error("it has changed")]
    Changed,
    /// Its parent does not exist.
    #[error("its parent does not exist")]
    NoParent,
    /// It has children.
    #[error("it has children")]
    NotEmpty,
    /// Its parent lives with a session and can have no children.
    #[error("its parent lives with a session")]
    SessionParent,
}

/// Why a question has no answer. Only [`Failure::Unknown`] leaves open whether a commit happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The answer was lost. A commit may have happened, or may yet.
    #[error("the registry's answer was lost: {0}")]
    Unknown(String),
    /// It was not sent, or the registry could not take it: it has not happened. Try again later.
    #[error("the registry is unavailable: {0}")]
    NotSent(String),
    /// The session has ended; the commit did not happen.
    #[error("session {0} has ended")]
    SessionEnded(SessionId),
    /// Above a limit; trying again is of no use.
    #[error("{what} is {actual}, the registry takes {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The registry has no room left. Nothing was lost; try again when there is.
    #[error("the registry has no room: {0}")]
    Full(String),
    /// The registry does not let this node.
    #[error("the registry denies it: {0}")]
    Denied(String),
}

impl Failure {
    /// Whether a commit answered with this may have happened.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}
