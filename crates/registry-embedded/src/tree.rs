//! A transaction's view of the tree: reads each entry once, checks whole commits in memory, and
//! writes each changed entry once. So a refused commit needs no savepoint, and commits that meet in
//! one transaction share their reads and writes.

use crate::changes::{Changes, What};
use crate::store::{Store, Stored};
use bytes::Bytes;
use flockwork_registry::limits::SEQUENCE_DIGITS;
use flockwork_registry::{Entry, Index, Key, Lifetime, Op, Refusal, SessionId, Stamp, Why};
use std::collections::btree_map::{self, BTreeMap};
use std::ops::Bound;

#[derive(Debug)]
struct Slot {
    /// Whether the database has it.
    stored: bool,
    now: Option<Stored>,
    changed: bool,
}

/// A commit in the making: in whose name, and its number if it changes something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) index: u64,
    pub(crate) session: u64,
}

/// What a commit did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) changes: Changes,
    pub(crate) sequenced: Vec<Key>,
}

/// Why an operation did not happen.
enum Stop {
    Why(Why),
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Why> for Stop {
    fn from(why: Why) -> Self {
        Self::Why(why)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    slots: BTreeMap<Key, Slot>,
    /// What the commit in the making replaced, in order.
    undo: Vec<(Key, Option<Stored>)>,
}

impl Tree {
    /// Does all operations or none.
    pub(crate) fn commit(
        &mut self,
        store: &mut Store<'_>,
        draft: Draft,
        ops: &[Op],
    ) -> rusqlite::Result<Result<Done, Refusal>> {
        let mut done = Done::default();
        for (at, op) in ops.iter().enumerate() {
            match self.run(store, draft, op, &mut done) {
                Ok(()) => {}
                Err(Stop::Broken(error)) => return Err(error),
                Err(Stop::Why(why)) => {
                    self.roll_back();
                    return Ok(Err(Refusal { at, key: op.key().clone(), why }));
                }
            }
        }
        self.undo.clear();
        Ok(Ok(done))
    }

    pub(crate) fn entry(
        &mut self,
        store: &mut Store<'_>,
        key: &Key,
    ) -> rusqlite::Result<Option<Entry>> {
        let row = &self.slot(store, key)?.now;
        Ok(row.as_ref().map(|row| Entry {
            value: row.value.clone(),
            stamp: stamp(row),
            session: row.session.map(SessionId),
        }))
    }

    /// The names of a key's children, in order; `None` if it does not exist.
    pub(crate) fn children(
        &mut self,
        store: &mut Store<'_>,
        key: &Key,
    ) -> rusqlite::Result<Option<Vec<String>>> {
        if self.slot(store, key)?.now.is_none() {
            return Ok(None);
        }
        self.flush(store)?;
        let mut names = Vec::new();
        store.each_child(key.as_str(), |name| {
            names.push(name.to_owned());
            true
        })?;
        Ok(Some(names))
    }

    /// Writes what changed.
    pub(crate) fn flush(&mut self, store: &mut Store<'_>) -> rusqlite::Result<()> {
        for (key, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.changed) {
            match (&slot.now, slot.stored) {
                (Some(row), false) => store.insert(key.as_str(), row)?,
                (Some(row), true) => store.update(key.as_str(), row)?,
                (None, true) => store.delete(key.as_str())?,
                (None, false) => {}
            }
            slot.stored = slot.now.is_some();
            slot.changed = false;
        }
        Ok(())
    }

    fn run(
        &mut self,
        store: &mut Store<'_>,
        draft: Draft,
        op: &Op,
        done: &mut Done,
    ) -> Result<(), Stop> {
        match op {
            Op::Check(key, expected) => self.expect(store, key, *expected).map(|_| ()),
            Op::CheckAbsent(key) => match self.slot(store, key)?.now {
                None => Ok(()),
                Some(_) => Err(Why::Exists.into()),
            },
            Op::Create { key, value, lifetime, sequence } => {
                let session = (*lifetime == Lifetime::Session).then_some(draft.session);
                let key = self.place_for(store, key, *sequence)?;
                let row = fresh(value, draft.index, session);
                done.changes.add(What::Existence, key.as_str());
                done.sequenced.extend(sequence.then(|| key.clone()));
                self.replace(store, &key, Some(row))
            }
            Op::Set(key, value, expected) => {
                let before = self.expect(store, key, *expected)?;
                let row = Stored {
                    value: value.clone(),
                    modified: draft.index,
                    version: before.version.wrapping_add(1),
                    ..before
                };
                done.changes.add(What::Value, key.as_str());
                self.replace(store, key, Some(row))
            }
            Op::Delete(key, expected) => {
                self.expect(store, key, *expected)?;
                if *key == Key::root() || self.has_children(store, key)? {
                    return Err(Why::NotEmpty.into());
                }
                done.changes.add(What::Existence, key.as_str());
                self.replace(store, key, None)
            }
        }
    }

    /// The entry, if it is as expected.
    fn expect(
        &mut self,
        store: &mut Store<'_>,
        key: &Key,
        expected: Option<Stamp>,
    ) -> Result<Stored, Stop> {
        let row = self.slot(store, key)?.now.as_ref().ok_or(Why::Absent)?;
        match expected {
            Some(expected) if expected != stamp(row) => Err(Why::Changed.into()),
            _ => Ok(row.clone()),
        }
    }

    /// The free key at which an entry may be made.
    fn place_for(&mut self, store: &mut Store<'_>, key: &Key, sequence: bool) -> Result<Key, Stop> {
        let above = key.parent().ok_or(Why::Exists)?;
        let Some(parent) = &self.slot(store, &above)?.now else { return Err(Why::NoParent.into()) };
        if parent.session.is_some() {
            return Err(Why::SessionParent.into());
        }
        if !sequence {
            return match self.slot(store, key)?.now {
                None => Ok(key.clone()),
                Some(_) => Err(Why::Exists.into()),
            };
        }
        let mut parent = parent.clone();
        // Numbers taken by entries made without a sequence are passed over.
        loop {
            let name = format!("{key}{:0width$}", parent.made, width = SEQUENCE_DIGITS);
            let numbered = Key::new(&name).expect("the limits left room for the digits of a key");
            parent.made += 1;
            if self.slot(store, &numbered)?.now.is_none() {
                self.replace(store, &above, Some(parent))?;
                return Ok(numbered);
            }
        }
    }

    /// Asks memory first: what this transaction made or deleted is not yet in the database.
    fn has_children(&mut self, store: &mut Store<'_>, key: &Key) -> rusqlite::Result<bool> {
        let prefix = format!("{key}/");
        let below =
            self.slots.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let mut below = below.take_while(|(below, _)| below.as_str().starts_with(&prefix));
        if below.any(|(_, slot)| slot.now.is_some()) {
            return Ok(true);
        }
        let mut found = false;
        store.each_child(key.as_str(), |name| {
            // What is in memory here is deleted.
            found = !self.slots.contains_key(format!("{prefix}{name}").as_str());
            !found
        })?;
        Ok(found)
    }

    fn slot(&mut self, store: &mut Store<'_>, key: &Key) -> rusqlite::Result<&mut Slot> {
        match self.slots.entry(key.clone()) {
            btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            btree_map::Entry::Vacant(unknown) => {
                let now = store.get(key.as_str())?;
                Ok(unknown.insert(Slot { stored: now.is_some(), now, changed: false }))
            }
        }
    }

    fn replace(
        &mut self,
        store: &mut Store<'_>,
        key: &Key,
        now: Option<Stored>,
    ) -> Result<(), Stop> {
        let slot = self.slot(store, key)?;
        let before = std::mem::replace(&mut slot.now, now);
        slot.changed = true;
        self.undo.push((key.clone(), before));
        Ok(())
    }

    fn roll_back(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.now = before;
            }
        }
    }
}

fn fresh(value: &Bytes, index: u64, session: Option<u64>) -> Stored {
    let value = value.clone();
    Stored { value, created: index, modified: index, version: 0, session, made: 0 }
}

fn stamp(row: &Stored) -> Stamp {
    let (created, modified) = (Index(row.created), Index(row.modified));
    Stamp { created, modified, version: row.version }
}
