//! A draft as one transaction, and what it means once it has a revision.

use crate::draft::{Childless, Draft, Slot, State};
use crate::known::{Known, There};
use crate::place::Place;
use crate::stored::encode;
use crate::wire::{Compare, Delete, Does, Op, Put, Relation, Target, Txn, With};
use bytes::Bytes;
use flockwork_registry::{SessionId, Stamp};

/// A session's key: it lives with the lease, and each transaction of the session must find it as
/// the last one left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) lease: i64,
    /// The revision it was last put at.
    pub(crate) revision: i64,
}

impl Mark {
    pub(crate) fn session(self) -> SessionId {
        SessionId(self.lease.cast_unsigned())
    }

    pub(crate) fn put(self, place: &Place) -> Op {
        does_put(Put { key: place.session(self.lease), lease: self.lease, ..Put::default() })
    }
}

fn does_put(put: Put) -> Op {
    Op { does: Some(Does::Put(put)) }
}

fn deletes(key: Bytes) -> Op {
    Op { does: Some(Does::Delete(Delete { key })) }
}

pub(crate) fn modified_at(key: Bytes, revision: i64) -> Compare {
    compare(key, Relation::Equal, Target::Modified, With::Modified(revision))
}

fn compare(key: Bytes, relation: Relation, target: Target, with: With) -> Compare {
    let (relation, target) = (relation as i32, target as i32);
    Compare { relation, target, key, with: Some(with), end: Bytes::new() }
}

/// The transaction that makes a draft so.
pub(crate) fn txn(draft: &Draft, mark: Mark, place: &Place) -> Txn {
    let sheet = &draft.sheet;
    let mut compares = vec![modified_at(place.session(mark.lease), mark.revision)];
    let mut then = Vec::new();
    for (key, slot) in &sheet.slots {
        let key = place.entry(key);
        compares.push(modified_at(key.clone(), slot.fence));
        then.extend(changed(key, slot, mark));
    }
    for (key, number) in &sheet.numbers {
        let key = place.number(key);
        compares.extend(number.fence.map(|fence| modified_at(key.clone(), fence)));
        then.push(match number.now {
            Some(next) => does_put(Put { key, value: next.to_string().into(), ..Put::default() }),
            None => deletes(key),
        });
    }
    for (key, childless) in &sheet.childless {
        let (key, end) = place.children(key);
        let compare = match childless {
            // A range that is empty compares as a key that is not there.
            Childless::None => compare(key, Relation::Equal, Target::Created, With::Created(0)),
            Childless::NoneAfter(revision) => {
                compare(key, Relation::Less, Target::Modified, With::Modified(revision + 1))
            }
        };
        compares.push(Compare { end, ..compare });
    }
    then.push(mark.put(place));
    Txn { compares, then }
}

fn changed(key: Bytes, slot: &Slot, mark: Mark) -> Option<Op> {
    match &slot.now {
        _ if !slot.is_changed => None,
        None => (slot.fence != 0).then(|| deletes(key)),
        Some(state) => {
            let value = stored(state)?;
            let lease = match state.session {
                Some(session) if session == mark.session() => mark.lease,
                // Another's entry lives on with its session.
                Some(_) => return Some(does_put(Put { key, value, lease: 0, ignore_lease: true })),
                None => 0,
            };
            Some(does_put(Put { key, value, lease, ignore_lease: false }))
        }
    }
}

fn stored(state: &State) -> Option<Bytes> {
    let crate::stored::When::Here(turn) = state.modified else { return None };
    Some(encode(state.created, turn, state.version, state.value.as_deref().unwrap_or_default()))
}

/// Believes what a draft made at a revision, and what it rested on.
pub(crate) fn learn(draft: &Draft, known: &mut Known, revision: i64) {
    for (key, slot) in &draft.sheet.slots {
        let there = slot.now.as_ref().map(|state| There {
            stamp: Stamp {
                created: state.created.at(revision),
                modified: state.modified.at(revision),
                version: state.version,
            },
            session: state.session,
        });
        known.learn(key, there, revision);
    }
}
