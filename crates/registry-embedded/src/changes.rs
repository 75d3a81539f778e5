//! What a commit changed: as written into the log, and as told to those who watch.

use flockwork_registry::{Event, Key, Scope};
use std::collections::HashMap;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Made or deleted: its parent's children changed too.
    Existence,
    /// Given a value.
    Value,
}

/// The changes of one commit, packed: for each a byte for what, two for the key's length (little
/// endian, as a key has at most 1,024 bytes), and the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(Vec<u8>);

impl Changes {
    pub(crate) fn add(&mut self, what: What, key: &str) {
        let length = u16::try_from(key.len()).expect("a key has at most 1024 bytes");
        self.0.push(match what {
            What::Existence => b'e',
            What::Value => b'v',
        });
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(key.as_bytes());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The changes in a row of the log; ends with `Err` at bytes that mean nothing.
pub(crate) fn unpack(mut bytes: &[u8]) -> impl Iterator<Item = Result<(What, &str), Garbled>> {
    std::iter::from_fn(move || match bytes {
        [] => None,
        _ => Some(unpack_one(&mut bytes)),
    })
}

/// A row of the log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

fn unpack_one<'a>(bytes: &mut &'a [u8]) -> Result<(What, &'a str), Garbled> {
    let [what, low, high, rest @ ..] = std::mem::take(bytes) else { return Err(Garbled) };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let (key, rest) = rest.split_at_checked(length).ok_or(Garbled)?;
    let key = std::str::from_utf8(key).map_err(|_| Garbled)?;
    let what = match what {
        b'e' => What::Existence,
        b'v' => What::Value,
        _ => return Err(Garbled),
    };
    *bytes = rest;
    Ok((what, key))
}

/// What one connection watches.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    values: HashMap<Box<str>, Key>,
    children: HashMap<Box<str>, Key>,
}

impl Watches {
    pub(crate) fn set(&mut self, key: &Key, scope: Scope) {
        self.of(scope).insert(key.as_str().into(), key.clone());
    }

    pub(crate) fn unset(&mut self, key: &Key, scope: Scope) {
        self.of(scope).remove(key.as_str());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.children.is_empty()
    }

    /// Adds what a change means to those who watch. Whoever lists a key's children also learns that
    /// the key itself came or went.
    pub(crate) fn tell(&self, what: What, key: &str, events: &mut Vec<Event>) {
        let mut changed = |watched: Option<&Key>, scope| {
            events.extend(watched.map(|key| Event::Changed(key.clone(), scope)));
        };
        changed(self.values.get(key), Scope::Value);
        if what == What::Existence && !self.children.is_empty() {
            changed(self.children.get(key), Scope::Children);
            changed(self.children.get(split(key).0), Scope::Children);
        }
    }

    /// Adds what a row of the log means to those who watch.
    pub(crate) fn tell_all(&self, row: &[u8], events: &mut Vec<Event>) -> Result<(), Garbled> {
        if self.is_empty() {
            return Ok(());
        }
        for change in unpack(row) {
            let (what, key) = change?;
            self.tell(what, key, events);
        }
        Ok(())
    }

    fn of(&mut self, scope: Scope) -> &mut HashMap<Box<str>, Key> {
        match scope {
            Scope::Value => &mut self.values,
            Scope::Children => &mut self.children,
        }
    }
}

/// A key's parent and name. The root has the parent "", which no key has.
pub(crate) fn split(key: &str) -> (&str, &str) {
    match key.rfind('/') {
        _ if key == "/" => ("", "/"),
        Some(0) => ("/", &key[1..]),
        Some(at) => (&key[..at], &key[at + 1..]),
        None => ("", key),
    }
}

/// The key with this parent and name.
pub(crate) fn join(parent: &str, name: &str) -> String {
    match parent {
        "/" => format!("/{name}"),
        _ => format!("{parent}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut changes = Changes::default();
        changes.add(What::Existence, "/a");
        changes.add(What::Value, "/a/ü");
        let all: Vec<_> = unpack(changes.as_bytes()).collect();
        assert_eq!(all, [Ok((What::Existence, "/a")), Ok((What::Value, "/a/ü"))]);
    }

    #[test]
    fn a_garbled_row_ends_with_an_error() {
        for bad in [&b"e"[..], b"e\x05\0/a", b"x\x02\0/a", b"e\x02\0\xff\xff"] {
            assert_eq!(unpack(bad).collect::<Vec<_>>(), [Err(Garbled)], "{bad:?}");
        }
    }

    #[test]
    fn watchers_of_children_hear_of_existence_only() {
        let mut watches = Watches::default();
        let key = Key::new("/a").unwrap();
        watches.set(&key, Scope::Children);
        let mut events = Vec::new();
        watches.tell(What::Value, "/a/b", &mut events);
        watches.tell(What::Value, "/a", &mut events);
        assert_eq!(events, []);
        watches.tell(What::Existence, "/a/b", &mut events);
        watches.tell(What::Existence, "/a/b/c", &mut events);
        assert_eq!(events, [Event::Changed(key.clone(), Scope::Children)]);
        watches.unset(&key, Scope::Children);
        watches.tell(What::Existence, "/a/b", &mut events);
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_key_is_its_parent_and_name() {
        for key in ["/a", "/a/b", "/a/b/c"] {
            let (parent, name) = split(key);
            assert_eq!(join(parent, name), key);
        }
        assert_eq!(split("/"), ("", "/"));
    }
}
