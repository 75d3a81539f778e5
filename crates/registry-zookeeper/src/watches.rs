//! What the node watches.

use flockwork_registry::{Key, Scope};
use std::collections::BTreeMap;

/// The scopes watched of each key, in two bytes beside it: a node watches every key of its jobs.
#[derive(Debug, Default)]
pub(crate) struct Watches(BTreeMap<Key, Scopes>);

#[derive(Clone, Copy, Debug, Default)]
struct Scopes {
    value: bool,
    children: bool,
}

impl Scopes {
    fn has(mut self, scope: Scope) -> bool {
        *self.of(scope)
    }

    fn of(&mut self, scope: Scope) -> &mut bool {
        match scope {
            Scope::Value => &mut self.value,
            Scope::Children => &mut self.children,
        }
    }
}

impl Watches {
    /// Whether it was not watched before.
    pub(crate) fn insert(&mut self, key: &Key, scope: Scope) -> bool {
        !std::mem::replace(self.0.entry(key.clone()).or_default().of(scope), true)
    }

    /// Whether it was watched.
    pub(crate) fn remove(&mut self, key: &Key, scope: Scope) -> bool {
        let Some(scopes) = self.0.get_mut(key) else { return false };
        let was = std::mem::replace(scopes.of(scope), false);
        if !scopes.value && !scopes.children {
            self.0.remove(key);
        }
        was
    }

    pub(crate) fn contains(&self, key: &Key, scope: Scope) -> bool {
        self.0.get(key).is_some_and(|scopes| scopes.has(scope))
    }

    /// In any scope.
    pub(crate) fn is_watched(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }
}
