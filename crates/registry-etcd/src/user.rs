//! By which right: a user of etcd's and its password.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More no user and password have.
const MAX_BYTES: u64 = 4096;

/// `user:password`. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct User(String);

/// Why there is no user. It never holds what was found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The file cannot be read.
    #[error("{path}: cannot read user and password: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} holds no user and password")]
    Unset(String),
    /// What was found is no user and password.
    #[error(
        "{whence}: not a user and password; it reads user:password, on one line of at most 4096 bytes"
    )]
    Form {
        /// Where it was found.
        whence: String,
    },
}

impl User {
    /// Takes `user:password`; `whence` names where it is from, for the error.
    ///
    /// # Errors
    /// [`UserError::Form`].
    pub fn new(text: &str, whence: &str) -> Result<Self, UserError> {
        let stands = text.len() as u64 <= MAX_BYTES
            && !text.chars().any(char::is_control)
            && text
                .split_once(':')
                .is_some_and(|(user, word)| !user.is_empty() && !word.is_empty());
        match stands {
            true => Ok(Self(text.to_owned())),
            false => Err(UserError::Form { whence: whence.to_owned() }),
        }
    }

    /// Reads it from a file, without the line's end.
    ///
    /// # Errors
    /// [`UserError::Read`], [`UserError::Form`].
    pub fn from_file(path: &Path) -> Result<Self, UserError> {
        let unread = |cause| UserError::Read { path: path.to_owned(), cause };
        let mut text = String::new();
        let file = File::open(path).map_err(unread)?;
        file.take(MAX_BYTES + 2).read_to_string(&mut text).map_err(unread)?;
        Self::new(text.trim_end_matches(['\n', '\r']), &path.display().to_string())
    }

    /// Reads it from the environment.
    ///
    /// # Errors
    /// [`UserError::Unset`], [`UserError::Form`].
    pub fn from_env(variable: &str) -> Result<Self, UserError> {
        let text = std::env::var(variable).map_err(|_| UserError::Unset(variable.to_owned()))?;
        Self::new(&text, variable)
    }

    /// The name and the password.
    pub(crate) fn reveal(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_a_file_and_the_password_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user");
        std::fs::write(&path, "user:hunter2:\n").unwrap();
        let user = User::from_file(&path).unwrap();
        assert_eq!(user.reveal(), ("user", "hunter2:"));
        assert!(!format!("{user:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_user_is_refused_and_not_repeated() {
        let long = format!("user:{}", "x".repeat(4096));
        for bad in ["", "user", ":word", "user:", "hunter2\nx:y", &long] {
            let error = User::new(bad, "FLOCKWORK_USER").unwrap_err().to_string();
            assert!(error.starts_with("FLOCKWORK_USER") && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(User::from_file(Path::new("/nowhere")), Err(UserError::Read { .. })));
        let unset = User::from_env("FLOCKWORK_NO_SUCH_VARIABLE");
        assert!(matches!(unset, Err(UserError::Unset(_))));
    }
}
