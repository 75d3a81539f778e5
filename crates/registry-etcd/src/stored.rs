//! What an entry's value is stored as: its own history in front, then the value.
//!
//! etcd numbers transactions, and several commits may share one; so a commit's index is the
//! transaction's revision and its turn in it, and the header says what etcd cannot.

use crate::wire::KeyValue;
use bytes::{BufMut, Bytes, BytesMut};
use flockwork_registry::{Entry, Index, SessionId, Stamp};

/// The first byte of what is stored. Another one is another release's.
const FORM: u8 = 1;

/// Form, turn of the last set, turn of the making, version, revision of the making.
pub(crate) const HEADER: usize = 1 + 1 + 1 + 4 + 8;

/// The index of the commit at this turn of a transaction.
pub(crate) fn index(revision: i64, turn: u8) -> Index {
    Index((revision.unsigned_abs() << 8) | u64::from(turn))
}

/// A commit as known before its transaction has a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Index),
    /// In the transaction that is being made, at this turn.
    Here(u8),
}

impl When {
    /// Which it was, once the transaction has a revision.
    pub(crate) fn at(self, revision: i64) -> Index {
        match self {
            Self::At(at) => at,
            Self::Here(turn) => index(revision, turn),
        }
    }
}

/// Puts the header in front. A revision of 0 means the transaction's own.
pub(crate) fn encode(created: When, turn: u8, version: u32, value: &[u8]) -> Bytes {
    let (revision, made) = match created {
        When::At(Index(at)) => (at >> 8, at.to_be_bytes()[7]),
        When::Here(turn) => (0, turn),
    };
    let mut stored = BytesMut::with_capacity(HEADER + value.len());
    stored.put_slice(&[FORM, turn, made]);
    stored.put_u32(version);
    stored.put_u64(revision);
    stored.put_slice(value);
    stored.freeze()
}

/// Something stored that this release cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} holds what this release did not write")]
pub(crate) struct Foreign {
    key: String,
}

/// An entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    /// The transaction that put it made it, too.
    pub(crate) is_new: bool,
}

/// With a copy of the value: whoever keeps that shall not keep all that arrived with it.
pub(crate) fn decode(stored: &KeyValue) -> Result<Stored, Foreign> {
    let foreign = || Foreign { key: String::from_utf8_lossy(&stored.key).into_owned() };
    let (header, _) = stored.value.split_first_chunk::<HEADER>().ok_or_else(foreign)?;
    let [FORM, turn, made, version @ .., _, _, _, _, _, _, _, _] = header else {
        return Err(foreign());
    };
    let version = u32::from_be_bytes(*version);
    let revision = header.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
    let created = match i64::try_from(revision) {
        Ok(0) => index(stored.modified, *made),
        Ok(revision) => index(revision, *made),
        Err(_) => return Err(foreign()),
    };
    let stamp = Stamp { created, modified: index(stored.modified, *turn), version };
    let entry = Entry {
        value: Bytes::copy_from_slice(stored.value.get(HEADER..).unwrap_or_default()),
        stamp,
        session: (stored.lease != 0).then(|| SessionId(stored.lease.cast_unsigned())),
    };
    Ok(Stored { entry, is_new: revision == 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: Bytes, modified: i64, lease: i64) -> KeyValue {
        KeyValue { key: "/k".into(), value, modified, lease, ..KeyValue::default() }
    }

    #[test]
    fn a_stamp_comes_back_whole() {
        let new = decode(&stored(encode(When::Here(3), 7, 2, b"v"), 9, 5)).unwrap();
        let stamp = Stamp { created: index(9, 3), modified: index(9, 7), version: 2 };
        let entry = Entry { value: "v".into(), stamp, session: Some(SessionId(5)) };
        assert_eq!((&new.entry, new.is_new), (&entry, true));
        let set = encode(When::At(stamp.created), 255, 3, b"");
        let set = decode(&stored(set, 12, 0)).unwrap();
        let stamp = Stamp { created: stamp.created, modified: index(12, 255), version: 3 };
        assert_eq!(set.entry, Entry { value: "".into(), stamp, session: None });
        assert!(!set.is_new);
    }

    #[test]
    fn indices_grow_with_the_revision_then_with_the_turn() {
        assert!(index(1, 255) < index(2, 0) && index(2, 0) < index(2, 1));
    }

    #[test]
    fn what_others_wrote_is_not_taken_for_ours() {
        for value in [&b""[..], b"\x01\0\0", &[2; 40]] {
            let found = decode(&stored(Bytes::copy_from_slice(value), 1, 0));
            assert!(found.unwrap_err().to_string().starts_with("/k holds"));
        }
    }
}
