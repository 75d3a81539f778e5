//! By which right: a user of the registry's and its password.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More no user and password have.
const MAX_BYTES: u64 = 4096;

/// `user:password`. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(String);

/// Why there is none. It never holds what was found.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
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

impl Login {
    /// Takes `user:password`; `whence` names where it is from, for the error.
    ///
    /// # Errors
    /// [`LoginError::Form`].
    pub fn new(text: &str, whence: &str) -> Result<Self, LoginError> {
        let stands = text.len() as u64 <= MAX_BYTES
            && !text.chars().any(char::is_control)
            && text
                .split_once(':')
                .is_some_and(|(user, word)| !user.is_empty() && !word.is_empty());
        match stands {
            true => Ok(Self(text.to_owned())),
            false => Err(LoginError::Form { whence: whence.to_owned() }),
        }
    }

    /// Reads it from a file, without the line's end.
    ///
    /// # Errors
    /// [`LoginError::Read`], [`LoginError::Form`].
    pub fn from_file(path: &Path) -> Result<Self, LoginError> {
        let unread = |cause| LoginError::Read { path: path.to_owned(), cause };
        let mut text = String::new();
        let file = File::open(path).map_err(unread)?;
        file.take(MAX_BYTES + 2).read_to_string(&mut text).map_err(unread)?;
        Self::new(text.trim_end_matches(['\n', '\r']), &path.display().to_string())
    }

    /// Reads it from the environment.
    ///
    /// # Errors
    /// [`LoginError::Unset`], [`LoginError::Form`].
    pub fn from_env(variable: &str) -> Result<Self, LoginError> {
        let text = std::env::var(variable).map_err(|_| LoginError::Unset(variable.to_owned()))?;
        Self::new(&text, variable)
    }

    /// `user:password` itself, for the registry alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_from_a_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login");
        std::fs::write(&path, "user:hunter2\n").unwrap();
        let login = Login::from_file(&path).unwrap();
        assert_eq!(login.reveal(), "user:hunter2");
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_login_is_refused_and_not_repeated() {
        let long = format!("user:{}", "x".repeat(4096));
        for bad in ["", "user", ":word", "user:", "hunter2\nx:y", &long] {
            let error = Login::new(bad, "FLOCKWORK_LOGIN").unwrap_err().to_string();
            assert!(error.starts_with("FLOCKWORK_LOGIN") && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(Login::from_file(Path::new("/nowhere")), Err(LoginError::Read { .. })));
        let unset = Login::from_env("FLOCKWORK_NO_SUCH_VARIABLE");
        assert!(matches!(unset, Err(LoginError::Unset(_))));
    }
}
