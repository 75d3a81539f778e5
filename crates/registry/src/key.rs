//! Keys: absolute paths in the registry's tree.

use std::fmt;
use std::sync::Arc;

/// The longest key, in bytes.
pub const KEY_BYTES: usize = 1024;

/// A path in the tree: `/a/b`, or `/` for the root. Parts are not empty, not `.` or `..`, and hold
/// no control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a registry key: {0:?}; it reads /part/part, at most {KEY_BYTES} bytes")]
pub struct BadKey(pub String);

impl Key {
    /// The root of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Checks and keeps a key.
    ///
    /// # Errors
    /// [`BadKey`] with the start of the text.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        match text == "/" || is_well_formed(text) {
            true => Ok(Self(text.into())),
            false => Err(BadKey(text.chars().take(120).collect())),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key one level up; none above the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            _ if &*self.0 == "/" => None,
            Some(0) => Some(Self::root()),
            Some(at) => Some(Self(self.0[..at].into())),
            None => None,
        }
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rfind('/').map_or("", |at| &self.0[at + 1..])
    }
}

/// Looks at the slashes and at nothing else that is not needed: keys are made for every request.
fn is_well_formed(text: &str) -> bool {
    if !text.starts_with('/') || text.len() > KEY_BYTES || has_control(text) {
        return false;
    }
    let mut rest = &text[1..];
    loop {
        let at = rest.bytes().position(|byte| byte == b'/');
        if matches!(&rest[..at.unwrap_or(rest.len())], "" | "." | "..") {
            return false;
        }
        let Some(at) = at else { return true };
        rest = &rest[at + 1..];
    }
}

/// Nearly all keys are ASCII. A fold, as a loop that may stop early looks at one byte at a time.
fn has_control(text: &str) -> bool {
    match text.is_ascii() {
        true => text.bytes().fold(false, |found, byte| found | byte.is_ascii_control()),
        false => text.chars().any(char::is_control),
    }
}

/// A key orders and compares as its text, so maps of keys can be asked with text.
impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_its_parent_and_name() {
        let key = Key::new("/a/b").unwrap();
        assert_eq!((key.name(), key.parent()), ("b", Key::new("/a").ok()));
        assert_eq!(Key::new("/a").unwrap().parent(), Some(Key::root()));
        assert_eq!(Key::root().parent(), None);
    }

    #[test]
    fn names_of_dots_are_fine_from_three_on_and_with_others() {
        for good in ["/...", "/.a", "/a.", "/..a/b", "/a/.b./c", "/é"] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "a",
            "/a/",
            "//",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a/..",
            "/.",
            "/a\u{1}",
            "/\u{7f}",
            "/é\u{85}",
        ] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
        assert!(Key::new(&format!("/{}", "x".repeat(KEY_BYTES))).is_err());
    }
}
