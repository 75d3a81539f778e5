//! How keys of the tree are spelled in etcd's flat space.

use bytes::Bytes;
use flockwork_registry::Key;

/// Where all of a registry's keys lie. See the crate's documentation for the spelling.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `/a/b`, or empty.
    root: String,
}

/// What a key of etcd's stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Entry(Key),
    Session(i64),
}

impl Place {
    pub(crate) fn new(root: &str) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn entry(&self, key: &Key) -> Bytes {
        format!("{}/{:03}{key}", self.root, depth(key)).into()
    }

    /// The number that the next child made with one gets.
    pub(crate) fn number(&self, key: &Key) -> Bytes {
        format!("{}/next{key}", self.root).into()
    }

    pub(crate) fn session(&self, lease: i64) -> Bytes {
        format!("{}/session/{lease:016x}", self.root).into()
    }

    /// From where to where a key's direct children lie: all keys of their depth that start with it.
    pub(crate) fn children(&self, key: &Key) -> (Bytes, Bytes) {
        let above = key.as_str().trim_end_matches('/');
        let start = format!("{}/{:03}{above}", self.root, depth(key) + 1);
        (format!("{start}/").into(), format!("{start}0").into())
    }

    /// From where to where everything lies.
    pub(crate) fn everything(&self) -> (Bytes, Bytes) {
        (format!("{}/", self.root).into(), format!("{}0", self.root).into())
    }

    /// What a key of etcd's stands for; nothing if it is none of ours.
    pub(crate) fn thing(&self, key: &[u8]) -> Option<Thing> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.root)?.strip_prefix('/')?;
        if let Some(lease) = rest.strip_prefix("session/") {
            return i64::from_str_radix(lease, 16).ok().map(Thing::Session);
        }
        let (digits, key) = rest.split_at(rest.find('/')?);
        let number: usize = digits.parse().ok()?;
        let key = Key::new(key).ok()?;
        (digits.len() == 3 && number == depth(&key)).then_some(Thing::Entry(key))
    }

    /// The most that a key takes more there than here.
    pub(crate) fn overhead(&self) -> usize {
        self.root.len() + "/next".len()
    }
}

/// How many parts a key has. A key of 1,024 bytes has 512 at the most, three digits.
fn depth(key: &Key) -> usize {
    if key.as_str() == "/" { 0 } else { key.as_str().matches('/').count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn what_is_spelled_is_read_back() {
        for root in ["", "/a/b"] {
            let place = Place::new(root);
            for text in ["/", "/x", "/x/y", "/session/1", "/001/x", "/next"] {
                assert_eq!(place.thing(&place.entry(&key(text))), Some(Thing::Entry(key(text))));
            }
            assert_eq!(place.thing(&place.session(77)), Some(Thing::Session(77)));
            assert_eq!(place.thing(&place.number(&key("/x"))), None);
            for other in ["", "/", "/c/001/x", "/a/b/1/x", "/a/b/002/x", "/a/b/001/x/"] {
                assert_eq!(Place::new("/a/b").thing(other.as_bytes()), None, "{other}");
            }
        }
    }

    #[test]
    fn direct_children_are_one_range_and_nothing_else_is_in_it() {
        let place = Place::new("/r");
        let all = ["/", "/a", "/a-b", "/a!", "/a/b", "/a/é", "/a/b/c", "/b", "/a0", "/b/a"];
        let within = |above: &str| {
            let (from, to) = place.children(&key(above));
            let inside =
                |text: &&&str| (from.clone()..to.clone()).contains(&place.entry(&key(text)));
            all.iter().filter(inside).copied().collect::<Vec<_>>()
        };
        assert_eq!(within("/"), ["/a", "/a-b", "/a!", "/b", "/a0"]);
        assert_eq!(within("/a"), ["/a/b", "/a/é"]);
        assert_eq!(within("/a/b"), ["/a/b/c"]);
        let (from, to) = place.everything();
        let inside = |one: Bytes| (from.clone()..to.clone()).contains(&one);
        assert!(all.iter().all(|text| inside(place.entry(&key(text)))));
        assert!(inside(place.session(i64::MAX)) && inside(place.number(&key("/a"))));
    }
}
