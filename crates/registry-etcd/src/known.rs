//! What is believed of entries, so that most commits need no look first. A commit checks all of it:
//! a belief that is wrong costs another round, never a wrong commit.

use flockwork_registry::{Entry, Key, SessionId, Stamp};
use std::collections::BTreeMap;

/// Beliefs kept. Each is a key of some ten to a thousand bytes and 64 more; where there are more,
/// all are forgotten, which costs one look.
const KEPT: usize = 16_384;

/// An entry that exists, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct There {
    pub(crate) stamp: Stamp,
    pub(crate) session: Option<SessionId>,
}

impl From<&Entry> for There {
    fn from(entry: &Entry) -> Self {
        Self { stamp: entry.stamp, session: entry.session }
    }
}

impl There {
    /// The revision that etcd says it was put at.
    pub(crate) fn revision(&self) -> i64 {
        (self.stamp.modified.0 >> 8).cast_signed()
    }
}

#[derive(Debug)]
struct Belief {
    there: Option<There>,
    as_of: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<Key, Belief>);

impl Known {
    /// What is believed of a key: that it is not there, or how it is.
    #[expect(clippy::option_option, reason = "not known, known to be absent, known to be there")]
    pub(crate) fn get(&self, key: &Key) -> Option<Option<There>> {
        self.0.get(key).map(|belief| belief.there)
    }

    /// Believes what was seen at a revision, unless something later was.
    pub(crate) fn learn(&mut self, key: &Key, there: Option<There>, as_of: i64) {
        if let Some(belief) = self.0.get_mut(key) {
            if belief.as_of <= as_of {
                *belief = Belief { there, as_of };
            }
            return;
        }
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        self.0.insert(key.clone(), Belief { there, as_of });
    }

    /// Believes what a look saw, even if something later was seen of single keys: what a look saw
    /// is of one time.
    pub(crate) fn set(&mut self, key: &Key, there: Option<There>, as_of: i64) {
        self.forget(key);
        self.learn(key, there, as_of);
    }

    /// As [`learn`](Self::learn), of what somebody was interested in before.
    pub(crate) fn update(&mut self, key: &Key, there: Option<There>, as_of: i64) {
        if self.0.contains_key(key) {
            self.learn(key, there, as_of);
        }
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_registry::Index;

    fn there(at: u64) -> Option<There> {
        let stamp = Stamp { created: Index(at), modified: Index(at << 8), version: 0 };
        Some(There { stamp, session: None })
    }

    #[test]
    fn the_later_sight_counts_whichever_comes_first() {
        let (mut known, key) = (Known::default(), Key::new("/a").unwrap());
        known.update(&key, there(1), 1);
        assert_eq!(known.get(&key), None, "nobody asked for it");
        known.learn(&key, there(5), 5);
        known.learn(&key, None, 4);
        assert_eq!(known.get(&key), Some(there(5)));
        known.update(&key, None, 6);
        assert_eq!(known.get(&key), Some(None));
        known.forget(&key);
        assert_eq!(known.get(&key), None);
    }

    #[test]
    fn beliefs_are_bounded() {
        let mut known = Known::default();
        for n in 0..=KEPT {
            known.learn(&Key::new(&format!("/{n}")).unwrap(), None, 1);
        }
        assert_eq!(known.0.len(), 1);
    }
}
