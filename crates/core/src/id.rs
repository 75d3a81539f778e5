//! What things are called. Each name is checked once, where it is made.

use std::fmt;
use std::sync::Arc;

/// The longest job name, in bytes of UTF-8.
pub const JOB_NAME_BYTES: usize = 128;

/// A job's name: also the name of its node in the registry, so it holds what every registry takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(Arc<str>);

/// Why a text is no job name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing, or white space only.
    #[error("a job name may not be empty")]
    Empty,
    /// Longer than [`JOB_NAME_BYTES`].
    #[error("a job name may have {JOB_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// `.` and `..` are paths, `zookeeper` is the registry's own.
    #[error("{0:?} is a reserved name")]
    Reserved(String),
    /// A character no registry takes everywhere, with its byte offset.
    #[error("{found:?} at byte {at} may not stand in a job name")]
    Character {
        /// The character.
        found: char,
        /// Where it stands, in bytes from the start.
        at: usize,
    },
}

impl JobName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// [`BadName`], with the place.
    pub fn new(text: &str) -> Result<Self, BadName> {
        if text.trim().is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > JOB_NAME_BYTES {
            return Err(BadName::TooLong(text.len()));
        }
        if matches!(text, "." | ".." | "zookeeper") {
            return Err(BadName::Reserved(text.to_owned()));
        }
        match text.char_indices().find(|(_, c)| forbidden(*c)) {
            Some((at, found)) => Err(BadName::Character { found, at }),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// ZooKeeper's path rules (control characters, surrogates and the private range up to U+F8FF,
/// U+FFF0 to U+FFFF; Java sees a character beyond U+FFFF as two surrogates), and what reads like
/// something else: direction marks, zero-width and full-width forms.
fn forbidden(c: char) -> bool {
    matches!(c,
        '/' | '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{ff01}'..='\u{ff5e}' | '\u{fff0}'..)
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One process serving jobs: `{ip}@-@{suffix}`, as ElasticJob writes it; our suffix is
/// `{pid}-{nonce}`, so that a restarted process is never taken for its forerunner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    text: Arc<str>,
    /// How many bytes of it are the address.
    server: usize,
}

/// What stands between an instance's address and its suffix.
pub const INSTANCE_DELIMITER: &str = "@-@";

/// A text that names no instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an instance id: {0:?}; it reads ADDRESS@-@SUFFIX")]
pub struct BadInstanceId(pub String);

impl InstanceId {
    /// Checks and keeps an id.
    ///
    /// # Errors
    /// [`BadInstanceId`] without exactly one delimiter, with an empty half, or with a `/`.
    pub fn new(text: &str) -> Result<Self, BadInstanceId> {
        let bad = || BadInstanceId(text.chars().take(120).collect());
        let (ip, suffix) = text.split_once(INSTANCE_DELIMITER).ok_or_else(bad)?;
        let halves_stand = !ip.is_empty() && !suffix.is_empty();
        if !halves_stand || suffix.contains(INSTANCE_DELIMITER) || text.contains('/') {
            return Err(bad());
        }
        Ok(Self { text: text.into(), server: ip.len() })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address before the delimiter: the server the instance runs on.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.text[..self.server]
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A shard's number, from 0; ElasticJob calls it the sharding item.
pub type ShardIndex = u32;

/// A claim's fencing token: the registry's commit index at which the claim was made. What a later
/// holder writes always carries a greater one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_registry_takes_are_kept() {
        for name in ["settle-orders", "a..b", "中文作业", "Job 1", &"x".repeat(128)] {
            assert_eq!(JobName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn other_names_are_refused_with_their_place() {
        assert_eq!(JobName::new("  "), Err(BadName::Empty));
        assert_eq!(JobName::new(&"x".repeat(129)), Err(BadName::TooLong(129)));
        assert_eq!(JobName::new(".."), Err(BadName::Reserved("..".to_owned())));
        for (name, found, at) in [("a/b", '/', 1), ("ab\u{202e}", '\u{202e}', 2), ("😀", '😀', 0)]
        {
            assert_eq!(JobName::new(name), Err(BadName::Character { found, at }));
        }
    }

    #[test]
    fn an_instance_knows_its_server() {
        let id = InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap();
        assert_eq!(id.server(), "10.0.0.1");
        for bad in ["", "10.0.0.1", "@-@1", "a@-@", "a@-@b@-@c", "a/b@-@c"] {
            assert!(InstanceId::new(bad).is_err(), "{bad}");
        }
    }
}
