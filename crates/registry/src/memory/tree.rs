//! Entries, their children and their watchers; every operation can be taken back.

use super::digest::ByKey;
use crate::limits::SEQUENCE_DIGITS;
use crate::{Entry, Index, Key, Lifetime, Op, Scope, SessionId, Stamp, Why};
use bytes::Bytes;
use std::collections::hash_map::Entry as At;
use std::collections::{BTreeMap, BTreeSet, btree_set};

/// An entry and what hangs on it.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// How many children were ever made under it: the next sequence number.
    made: u64,
    children: BTreeSet<Box<str>>,
    /// Its place among what lives with its session; unused without one.
    owned_at: u64,
}

impl Held {
    fn boxed(entry: Entry, made: u64, owned_at: u64) -> Box<Self> {
        Box::new(Self { entry, made, children: BTreeSet::new(), owned_at })
    }
}

/// A key that is held, or watched, or both. Watchers wait here so that a change finds them without
/// looking anywhere else.
#[derive(Debug, Default)]
struct Slot {
    /// Boxed, so that making room for a slot beside others moves little.
    held: Option<Box<Held>>,
    on_value: Vec<SessionId>,
    on_children: Vec<SessionId>,
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.held.is_none() && self.on_value.is_empty() && self.on_children.is_empty()
    }

    fn watchers(&mut self, scope: Scope) -> &mut Vec<SessionId> {
        match scope {
            Scope::Value => &mut self.on_value,
            Scope::Children => &mut self.on_children,
        }
    }
}

/// What a key held before an operation.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) key: Key,
    pub(super) entry: Option<Entry>,
    made: u64,
}

/// A commit in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) index: Index,
    pub(super) session: SessionId,
    pub(super) undo: Vec<Before>,
    pub(super) told: BTreeSet<(SessionId, Key, Scope)>,
    pub(super) sequenced: Vec<Key>,
}

impl Draft {
    pub(super) fn new(index: Index, session: SessionId) -> Self {
        Self { index, session, undo: Vec::new(), told: BTreeSet::new(), sequenced: Vec::new() }
    }

    fn tell(&mut self, watchers: &[SessionId], key: &Key, scope: Scope) {
        self.told.extend(watchers.iter().map(|session| (*session, key.clone(), scope)));
    }

    /// A child came or went: who watches the key above is told.
    fn tell_above(&mut self, watchers: &[SessionId], child: &Key) {
        if let Some(above) = (!watchers.is_empty()).then(|| child.parent()).flatten() {
            self.tell(watchers, &above, Scope::Children);
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    slots: ByKey<Slot>,
    /// Which entries live with which session, in the order in which they were made.
    owned: BTreeMap<(SessionId, u64), Key>,
    /// How many entries were ever made.
    makings: u64,
    /// Compare `version` alone, as ZooKeeper does.
    versions_only: bool,
}

impl Tree {
    pub(super) fn new(versions_only: bool) -> Self {
        let entry = Entry { value: Bytes::new(), stamp: Stamp::default(), session: None };
        let root = Slot { held: Some(Held::boxed(entry, 0, 0)), ..Slot::default() };
        let slots = [(Key::root(), root)].into_iter().collect();
        Self { slots, owned: BTreeMap::new(), makings: 0, versions_only }
    }

    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.held(key).map(|held| &held.entry)
    }

    pub(super) fn children(&self, key: &Key) -> Option<btree_set::Iter<'_, Box<str>>> {
        self.held(key).map(|held| held.children.iter())
    }

    /// Everything held, in key order.
    pub(super) fn entries(&self) -> Vec<(&Key, &Entry)> {
        let held = self.slots.iter().filter_map(|(key, slot)| Some((key, slot.held.as_ref()?)));
        let mut entries: Vec<_> = held.map(|(key, held)| (key, &held.entry)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }

    /// The entries that live with a session, in the order in which they were made.
    pub(super) fn owned_by(&self, session: SessionId) -> Vec<Key> {
        let of_session = (session, 0)..=(session, u64::MAX);
        self.owned.range(of_session).map(|(_, key)| key.clone()).collect()
    }

    fn slot_mut(&mut self, key: &Key) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    fn held(&self, key: &Key) -> Option<&Held> {
        self.slots.get(key)?.held.as_deref()
    }

    fn own(&mut self, session: Option<SessionId>, key: &Key) -> u64 {
        self.makings += 1;
        self.owned.extend(session.map(|session| ((session, self.makings), key.clone())));
        self.makings
    }

    pub(super) fn watch(&mut self, session: SessionId, key: &Key, scope: Scope) {
        let watchers = self.slots.entry(key.clone()).or_default().watchers(scope);
        if !watchers.contains(&session) {
            watchers.push(session);
        }
    }

    pub(super) fn unwatch(&mut self, session: SessionId, key: &Key, scope: Scope) {
        let At::Occupied(mut slot) = self.slots.entry(key.clone()) else {
            return;
        };
        slot.get_mut().watchers(scope).retain(|watcher| *watcher != session);
        if slot.get().is_idle() {
            slot.remove();
        }
    }

    /// Does one operation or changes nothing.
    pub(super) fn run(&mut self, draft: &mut Draft, op: Op) -> Result<(), Why> {
        match op {
            Op::Check(key, stamp) => self.check(&key, stamp),
            Op::CheckAbsent(key) => match self.held(&key) {
                None => Ok(()),
                Some(_) => Err(Why::Exists),
            },
            Op::Create { key, value, lifetime, sequence } => {
                let session = (lifetime == Lifetime::Session).then_some(draft.session);
                self.create(draft, key, (value, session), sequence)
            }
            Op::Set(key, value, stamp) => self.set(draft, &key, value, stamp),
            Op::Delete(key, stamp) => self.delete(draft, &key, stamp),
        }
    }

    fn check(&self, key: &Key, stamp: Option<Stamp>) -> Result<(), Why> {
        let held = self.held(key).ok_or(Why::Absent)?;
        compare(self.versions_only, &held.entry, stamp)
    }

    fn create(
        &mut self,
        draft: &mut Draft,
        key: Key,
        (value, session): (Bytes, Option<SessionId>),
        sequence: bool,
    ) -> Result<(), Why> {
        let Some(above) = parent_of(&key) else { return Err(Why::Exists) };
        let parent = self.slots.get_mut(above).ok_or(Why::NoParent)?;
        let under = parent.held.as_mut().ok_or(Why::NoParent)?;
        if under.entry.session.is_some() {
            return Err(Why::SessionParent);
        }
        let key = if sequence { numbered(&key, under.made) } else { key };
        if !under.children.insert(key.name().into()) {
            return Err(Why::Exists);
        }
        under.made += 1;
        draft.tell_above(&parent.on_children, &key);
        if sequence {
            draft.sequenced.push(key.clone());
        }
        let stamp = Stamp { created: draft.index, modified: draft.index, version: 0 };
        let owned_at = self.own(session, &key);
        let entry = Entry { value, stamp, session };
        let slot = self.slots.entry(key.clone()).or_default();
        slot.held = Some(Held::boxed(entry, 0, owned_at));
        tell_of_existence(draft, slot, &key);
        draft.undo.push(Before { key, entry: None, made: 0 });
        Ok(())
    }

    fn set(
        &mut self,
        draft: &mut Draft,
        key: &Key,
        value: Bytes,
        stamp: Option<Stamp>,
    ) -> Result<(), Why> {
        let versions_only = self.versions_only;
        let slot = self.slot_mut(key).ok_or(Why::Absent)?;
        let held = slot.held.as_mut().ok_or(Why::Absent)?;
        compare(versions_only, &held.entry, stamp)?;
        let Stamp { created, version, .. } = held.entry.stamp;
        let stamp = Stamp { created, modified: draft.index, version: version.wrapping_add(1) };
        let entry = Entry { value, stamp, session: held.entry.session };
        let before = std::mem::replace(&mut held.entry, entry);
        draft.tell(&slot.on_value, key, Scope::Value);
        draft.undo.push(Before { key: key.clone(), entry: Some(before), made: held.made });
        Ok(())
    }

    /// The root stays: it is the parent of all that may yet be made.
    fn delete(&mut self, draft: &mut Draft, key: &Key, stamp: Option<Stamp>) -> Result<(), Why> {
        let At::Occupied(mut slot) = self.slots.entry(key.clone()) else {
            return Err(Why::Absent);
        };
        let held = slot.get().held.as_ref().ok_or(Why::Absent)?;
        compare(self.versions_only, &held.entry, stamp)?;
        let Some(above) = parent_of(key).filter(|_| held.children.is_empty()) else {
            return Err(Why::NotEmpty);
        };
        tell_of_existence(draft, slot.get(), key);
        let held = slot.get_mut().held.take();
        if slot.get().is_idle() {
            slot.remove();
        }
        if let Some(parent) = self.slots.get_mut(above) {
            parent.held.as_mut().map(|under| under.children.remove(key.name()));
            draft.tell_above(&parent.on_children, key);
        }
        self.disown(held.as_deref());
        let made = held.as_ref().map_or(0, |held| held.made);
        let entry = held.map(|held| held.entry);
        draft.undo.push(Before { key: key.clone(), entry, made });
        Ok(())
    }

    fn disown(&mut self, gone: Option<&Held>) {
        let Some(held) = gone else { return };
        if let Some(session) = held.entry.session {
            self.owned.remove(&(session, held.owned_at));
        }
    }

    /// Takes back what a draft did.
    pub(super) fn roll_back(&mut self, draft: Draft) {
        for before in draft.undo.into_iter().rev() {
            match before.entry {
                None => self.unmake(&before.key),
                Some(entry) => self.restore(before.key, entry, before.made),
            }
        }
    }

    fn unmake(&mut self, key: &Key) {
        let At::Occupied(mut slot) = self.slots.entry(key.clone()) else {
            return;
        };
        let made = slot.get_mut().held.take();
        if slot.get().is_idle() {
            slot.remove();
        }
        self.disown(made.as_deref());
        if let Some(under) = self.above(key) {
            under.children.remove(key.name());
            under.made -= 1;
        }
    }

    fn restore(&mut self, key: Key, entry: Entry, made: u64) {
        if let Some(held) = self.slot_mut(&key).and_then(|slot| slot.held.as_mut()) {
            held.entry = entry;
            return;
        }
        let owned_at = self.own(entry.session, &key);
        self.above(&key).map(|under| under.children.insert(key.name().into()));
        let slot = self.slots.entry(key).or_default();
        slot.held = Some(Held::boxed(entry, made, owned_at));
    }

    fn above(&mut self, key: &Key) -> Option<&mut Held> {
        self.slots.get_mut(parent_of(key)?)?.held.as_deref_mut()
    }
}

/// Whoever lists the children of a key also learns that the key itself came or went: the answer
/// changes between `None` and an empty list.
fn tell_of_existence(draft: &mut Draft, slot: &Slot, key: &Key) {
    draft.tell(&slot.on_value, key, Scope::Value);
    draft.tell(&slot.on_children, key, Scope::Children);
}

fn compare(versions_only: bool, entry: &Entry, stamp: Option<Stamp>) -> Result<(), Why> {
    let same = match stamp {
        None => true,
        Some(stamp) if versions_only => entry.stamp.version == stamp.version,
        Some(stamp) => entry.stamp == stamp,
    };
    if same { Ok(()) } else { Err(Why::Changed) }
}

/// The key above, as text, so that looking it up allocates nothing.
pub(super) fn parent_of(key: &Key) -> Option<&str> {
    match key.as_str().rfind('/') {
        _ if key.as_str() == "/" => None,
        Some(0) => Some("/"),
        at => at.map(|at| &key.as_str()[..at]),
    }
}

fn numbered(key: &Key, number: u64) -> Key {
    let whole = format!("{key}{number:0digits$}", digits = SEQUENCE_DIGITS);
    Key::new(&whole).expect("a key and digits make a key; Limits::admit checked its length")
}
