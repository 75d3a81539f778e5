//! What can go wrong in a transaction, and what it means for those who asked.

use crate::footing::{Met, Missed};
use crate::place::Place;
use crate::schema::VERSION;
use flockwork_registry::Failure;
use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;

/// A transaction that failed. It is rolled back by whoever gets this.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// The commit itself failed: what was written may yet be found and replayed after a crash.
    #[error("{0}")]
    AtCommit(rusqlite::Error),
    /// A later release changed the form of the database while this one was at work.
    #[error("it has form {0} now, this release knows {VERSION}; run the newer release")]
    Form(i64),
    /// The path names what was opened no more. Nothing was committed.
    #[error("{0}")]
    Replaced(Met),
    /// The same, found right after the commit.
    #[error("{0}")]
    ReplacedAtCommit(Met),
    #[error("{path}: cannot {what}: {cause}")]
    Io { path: PathBuf, what: &'static str, cause: io::Error },
}

impl Trouble {
    pub(crate) fn io(path: PathBuf, what: &'static str, cause: impl Into<io::Error>) -> Self {
        Self::Io { path, what, cause: cause.into() }
    }

    /// What became of the path, if it names another file, or none.
    pub(crate) fn replaced(&self) -> Option<&Met> {
        match self {
            Self::Replaced(met) | Self::ReplacedAtCommit(met) => Some(met),
            _ => None,
        }
    }

    /// What the commits of the transaction are answered.
    ///
    /// A full disk is found while pages are written, before the page that makes a commit whole, so
    /// nothing has happened. A failed sync leaves whole commits in the log that readers never see,
    /// but a crash before the next write might bring them back: that is unknown.
    pub(crate) fn failure(&self, place: &Place) -> Failure {
        let why = format!("{}: {self}", place.dir().display());
        match self {
            Self::Sql(error) | Self::AtCommit(error) if is_full(error) => Failure::Full(why),
            Self::Io { cause, .. } if cause.kind() == io::ErrorKind::StorageFull => {
                Failure::Full(why)
            }
            Self::Form(_) => Failure::Denied(why),
            Self::AtCommit(error) if !is_busy(error) => Failure::Unknown(why),
            Self::ReplacedAtCommit(_) => Failure::Unknown(why),
            Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
                Failure::Denied(why)
            }
            _ => Failure::NotSent(why),
        }
    }
}

impl From<Missed> for Trouble {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Replaced(met) => Self::Replaced(met),
            Missed::Unseen(path, cause) => Self::io(path, "look at it", cause),
        }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Busy at a commit: it was not begun to be written.
fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_a_failed_sync_leaves_the_outcome_open() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let open = |trouble: Trouble| trouble.failure(&place).may_have_happened();
        assert!(open(Trouble::AtCommit(sqlite(ffi::SQLITE_IOERR_FSYNC))));
        assert!(!open(Trouble::AtCommit(sqlite(ffi::SQLITE_FULL))));
        assert!(!open(Trouble::AtCommit(sqlite(ffi::SQLITE_BUSY))));
        assert!(!open(Trouble::Sql(sqlite(ffi::SQLITE_IOERR_WRITE))));
    }

    #[test]
    fn no_room_is_said_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let full = Trouble::io(dir.path().into(), "make it", full);
        assert!(matches!(full.failure(&place), Failure::Full(_)));
        let full = Trouble::Sql(sqlite(ffi::SQLITE_FULL)).failure(&place);
        assert!(matches!(full, Failure::Full(why) if why.contains("full")));
    }
}
