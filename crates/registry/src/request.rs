//! What can be asked of a registry.

use crate::{Key, Stamp};
use bytes::Bytes;

/// Names a request, so that its answer can be told from others. Chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read one entry: [`Answer::Entry`](crate::Answer::Entry).
    Get(Key),
    /// List the direct children of a key, by name: [`Answer::Children`](crate::Answer::Children).
    Children(Key),
    /// Tell of every change from now on: [`Answer::Done`](crate::Answer::Done).
    Watch(Key, Scope),
    /// Stop telling: [`Answer::Done`](crate::Answer::Done).
    Unwatch(Key, Scope),
    /// Change all or nothing: [`Answer::Committed`](crate::Answer::Committed) or
    /// [`Answer::Refused`](crate::Answer::Refused).
    Commit(Vec<Op>),
}

/// What of a key a watch tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The entry is made, gets a value or is deleted.
    Value,
    /// A direct child is made or deleted (not: gets a value).
    Children,
}

/// How long an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Lasting,
    /// Until it is deleted or the session that made it ends. It can have no children.
    Session,
}

/// One operation of a commit. Operations take effect in their order, each seeing those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Refuse the commit unless the key exists and, with a stamp, is unchanged since.
    Check(Key, Option<Stamp>),
    /// Refuse the commit if the key exists.
    CheckAbsent(Key),
    /// Make an entry; refused if the key exists.
    Create {
        /// Where; with `sequence`, the start of its name.
        key: Key,
        /// What it holds.
        value: Bytes,
        /// How long it lives.
        lifetime: Lifetime,
        /// Append ten digits that grow with each child ever made under this parent; the receipt
        /// has the whole key.
        sequence: bool,
    },
    /// Give an existing entry a value; with a stamp, only if unchanged since.
    Set(Key, Bytes, Option<Stamp>),
    /// Delete an existing entry; with a stamp, only if unchanged since.
    Delete(Key, Option<Stamp>),
}

impl Op {
    /// A plain lasting entry.
    #[must_use]
    pub fn create(key: Key, value: impl Into<Bytes>) -> Self {
        Self::Create { key, value: value.into(), lifetime: Lifetime::Lasting, sequence: false }
    }

    /// An entry that lives with this session.
    #[must_use]
    pub fn create_for_session(key: Key, value: impl Into<Bytes>) -> Self {
        Self::Create { key, value: value.into(), lifetime: Lifetime::Session, sequence: false }
    }

    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Check(key, _) | Self::CheckAbsent(key) | Self::Set(key, ..) => key,
            Self::Create { key, .. } | Self::Delete(key, _) => key,
        }
    }

    /// What it counts for against [`Limits::max_bytes`](crate::Limits::max_bytes): its key, its
    /// value and 48 bytes, ZooKeeper's overhead for an operation of a multi.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match self {
            Self::Create { value, .. } | Self::Set(_, value, _) => value.len(),
            Self::Check(..) | Self::CheckAbsent(_) | Self::Delete(..) => 0,
        };
        48 + self.key().as_str().len() + value
    }
}
