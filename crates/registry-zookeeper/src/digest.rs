//! By which right: `user:password` of ZooKeeper's scheme `digest`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More no digest has.
const MAX_BYTES: u64 = 4096;

/// `user:password`. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(String);

/// Why there is no digest. It never holds what was found.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The file cannot be read.
    #[error("{path}: cannot read the digest: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} holds no digest")]
    Unset(String),
    /// What was found is no digest.
    #[error("{whence}: not a digest; it reads user:password, on one line of at most 4096 bytes")]
    Form {
        /// Where it was found.
        whence: String,
    },
}

impl Digest {
    /// Takes `user:password`; `whence` names where it is from, for the error.
    ///
    /// # Errors
    /// [`DigestError::Form`].
    pub fn new(text: &str, whence: &str) -> Result<Self, DigestError> {
        let stands = text.len() as u64 <= MAX_BYTES
            && !text.chars().any(char::is_control)
            && text
                .split_once(':')
                .is_some_and(|(user, word)| !user.is_empty() && !word.is_empty());
        match stands {
            true => Ok(Self(text.to_owned())),
            false => Err(DigestError::Form { whence: whence.to_owned() }),
        }
    }

    /// Reads it from a file, without the line's end.
    ///
    /// # Errors
    /// [`DigestError::Read`], [`DigestError::Form`].
    pub fn from_file(path: &Path) -> Result<Self, DigestError> {
        let unread = |cause| DigestError::Read { path: path.to_owned(), cause };
        let mut text = String::new();
        let file = File::open(path).map_err(unread)?;
        file.take(MAX_BYTES + 2).read_to_string(&mut text).map_err(unread)?;
        Self::new(text.trim_end_matches(['\n', '\r']), &path.display().to_string())
    }

    /// Reads it from the environment.
    ///
    /// # Errors
    /// [`DigestError::Unset`], [`DigestError::Form`].
    pub fn from_env(variable: &str) -> Result<Self, DigestError> {
        let text = std::env::var(variable).map_err(|_| DigestError::Unset(variable.to_owned()))?;
        Self::new(&text, variable)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_from_a_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digest");
        std::fs::write(&path, "user:hunter2\n").unwrap();
        let digest = Digest::from_file(&path).unwrap();
        assert_eq!(digest.reveal(), "user:hunter2");
        assert!(!format!("{digest:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_digest_is_refused_and_not_repeated() {
        let long = format!("user:{}", "x".repeat(4096));
        for bad in ["", "user", ":word", "user:", "hunter2\nx:y", &long] {
            let error = Digest::new(bad, "FLOCKWORK_DIGEST").unwrap_err().to_string();
            assert!(error.starts_with("FLOCKWORK_DIGEST") && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(Digest::from_file(Path::new("/nowhere")), Err(DigestError::Read { .. })));
        let unset = Digest::from_env("FLOCKWORK_NO_SUCH_VARIABLE");
        assert!(matches!(unset, Err(DigestError::Unset(_))));
    }
}
