//! A node's belief about one key. Unknown is not absent: a slot that was not read, or whose key has changed
//! since, says nothing.

use flockwork_registry::{SessionId, Stamp};

/// A value, and the state of its key that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    pub(crate) stamp: Stamp,
    pub(crate) session: Option<SessionId>,
}

/// The slot of one key: the key as it was last read.
#[derive(Clone, Debug)]
pub(crate) struct Slot<T> {
    held: Option<Held<T>>,
    is_fresh: bool,
    is_reading: bool,
    is_changed_since: bool,
    /// Whether the value that was last read makes no sense to this release.
    is_unreadable: bool,
}

/// Actions on a slot that do not depend on its value.
pub(crate) trait Any {
    /// Notes that the belief no longer stands. Returns whether a read must be sent.
    fn doubt(&mut self) -> bool;

    /// Notes that a read failed: the slot stays unknown.
    fn read_failed(&mut self);

    /// Notes that what was read makes no sense to this release: the slot stays unknown. Returns whether that
    /// is new.
    fn not_understood(&mut self) -> bool;

    /// Believes nothing of the key until it is read. The value is then understood anew, even if it looks like
    /// the one that was read before: the registry may have lost its data, and its numbers start again.
    fn forget_state(&mut self);
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            held: None,
            is_fresh: false,
            is_reading: false,
            is_changed_since: false,
            is_unreadable: false,
        }
    }
}

impl<T> Slot<T> {
    /// Returns what the key holds, or that it does not exist; `None` while that is not known.
    pub(crate) fn known(&self) -> Option<Option<&Held<T>>> {
        self.is_fresh.then_some(self.held.as_ref())
    }

    /// Returns what the key holds, if that is known and the key exists.
    pub(crate) fn held(&self) -> Option<&Held<T>> {
        self.known().flatten()
    }

    /// Returns whether the key is neither known nor being read, and reading it may help.
    pub(crate) fn is_unread(&self) -> bool {
        !self.is_fresh && !self.is_reading && !self.is_unreadable
    }

    /// Returns whether a read of the key is under way.
    pub(crate) fn is_being_read(&self) -> bool {
        self.is_reading
    }

    /// Returns whether the value that was last read makes no sense to this release.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Returns the value, if it is known and the key exists.
    pub(crate) fn value(&self) -> Option<&T> {
        self.held().map(|held| &held.value)
    }

    /// Returns whether the key is known not to exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.known(), Some(None))
    }

    /// Returns the value that was last read, whether or not it still stands.
    pub(crate) fn last_seen(&self) -> Option<&T> {
        self.held.as_ref().map(|held| &held.value)
    }

    /// Replaces the value by another one that says the same.
    pub(crate) fn revise(&mut self, keep: impl FnOnce(T) -> T) {
        self.held = self.held.take().map(|held| Held { value: keep(held.value), ..held });
    }

    /// Takes in the answer to a read. Returns whether the key must be read again, because it changed
    /// meanwhile.
    pub(crate) fn read(&mut self, held: Option<Held<T>>) -> bool {
        self.held = held;
        self.is_unreadable = false;
        let again = std::mem::take(&mut self.is_changed_since);
        self.is_fresh = !again;
        self.is_reading = again;
        again
    }

    /// Takes in the answer to a read if the key is in the state that was last read: its value is then not
    /// understood anew. Returns the same as [`read`](Self::read), or `None` if the state is another one.
    pub(crate) fn read_same(&mut self, stamp: Stamp) -> Option<bool> {
        let held = self.held.take_if(|held| held.stamp == stamp)?;
        Some(self.read(Some(held)))
    }

    /// Takes in what a commit of this node has made of the key. A change that was reported since still
    /// counts.
    pub(crate) fn wrote(&mut self, held: Option<Held<T>>) {
        self.held = held;
        self.is_fresh = !self.is_reading;
    }
}

impl<T> Slot<T> {
    /// Notes that the belief no longer stands, and that the key is read later.
    pub(crate) fn doubt_unread(&mut self) {
        self.is_fresh = false;
        self.is_changed_since = self.is_reading;
    }
}

impl<T> Any for Slot<T> {
    fn doubt(&mut self) -> bool {
        self.doubt_unread();
        !std::mem::replace(&mut self.is_reading, true)
    }

    fn read_failed(&mut self) {
        self.is_fresh = false;
        self.is_reading = false;
        self.is_changed_since = false;
    }

    fn not_understood(&mut self) -> bool {
        self.read_failed();
        !std::mem::replace(&mut self.is_unreadable, true)
    }

    fn forget_state(&mut self) {
        self.is_fresh = false;
        if let Some(held) = &mut self.held {
            held.stamp = Stamp::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(value: u8) -> Held<u8> {
        Held { value, stamp: Stamp::default(), session: None }
    }

    #[test]
    fn a_key_not_read_is_not_absent() {
        let mut slot = Slot::<u8>::default();
        assert!(!slot.is_absent());
        assert!(slot.doubt());
        assert!(!slot.read(None));
        assert!(slot.is_absent());
    }

    #[test]
    fn a_change_during_a_read_is_read_again() {
        let mut slot = Slot::default();
        assert!(slot.doubt());
        assert!(!slot.doubt(), "one read at a time");
        assert!(slot.read(Some(held(1))));
        assert_eq!(slot.value(), None);
        assert!(!slot.read(Some(held(2))));
        assert_eq!(slot.value(), Some(&2));
    }

    #[test]
    fn a_state_that_is_read_again_is_kept_unless_it_was_forgotten() {
        let stamp = Stamp { version: 3, ..Stamp::default() };
        let mut slot = Slot::default();
        assert_eq!(slot.read_same(stamp), None);
        slot.read(Some(Held { value: 1, stamp, session: None }));
        slot.doubt();
        assert_eq!(slot.read_same(Stamp { version: 4, ..stamp }), None);
        assert_eq!(slot.read_same(stamp), Some(false));
        assert_eq!(slot.value(), Some(&1));
        slot.doubt();
        slot.forget_state();
        assert_eq!(slot.read_same(stamp), None);
    }
}
