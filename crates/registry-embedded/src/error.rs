//! Why a directory cannot be a registry.

use crate::options::{LONGEST_TIMEOUT, SHORTEST_TIMEOUT};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a registry could not be opened: where, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is taken by something else.
    #[error("{0} is not a directory; name a directory, which may be new, for the registry")]
    NotADirectory(PathBuf),
    /// The directory or a file in it cannot be made, read or written.
    #[error("{path}: cannot {what}: {cause}; give this user a writable directory on a local disk")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Locks and shared memory do not reach across hosts.
    #[error(
        "{path} is on {kind}; locks and shared memory do not work across hosts there; use a \
         directory on a local disk, or a registry server"
    )]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// The database belongs to another user.
    #[error(
        "{path} belongs to user {owner}, this is user {us}; run as that user, or use another directory"
    )]
    Owner {
        /// The database.
        path: PathBuf,
        /// The id of the user it belongs to.
        owner: u32,
        /// The id of this process's user.
        us: u32,
    },
    /// The file is no registry.
    #[error("{path} is not a flockwork registry ({what}); move it away or use another directory")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// The database is damaged.
    #[error("{path} is damaged ({what}); restore it from a backup, or move it away to start anew")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// The first damage found.
        what: String,
    },
    /// A later release made it.
    #[error("{path} has form {found}, this release knows {known}; run the newer release")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its form.
        found: i64,
        /// The newest version this release knows.
        known: i64,
    },
    /// It was deleted, moved or replaced while it was being opened. Trying again may help.
    #[error("{0} was deleted, moved or replaced while it was being opened; try again")]
    Moved(PathBuf),
    /// Another process keeps it locked. Trying again later may help.
    #[error("{path} is {holder}; continue or end that process")]
    Held {
        /// The lock.
        path: PathBuf,
        /// Who holds it, as far as can be seen: `held by pid 12 (stopped)`.
        holder: String,
    },
    /// An option is out of range.
    #[error(
        "session time-out {0:?} is out of range; it is from {SHORTEST_TIMEOUT:?} to \
         {LONGEST_TIMEOUT:?}"
    )]
    Timeout(Duration),
    /// SQLite refused for a reason of its own.
    #[error("{path}: {what}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
}

impl OpenError {
    /// Whether waiting may help: what stands in the way is another process or a full disk, not the
    /// directory. A name that is gone though it was just there is somebody's doing too.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Held { .. } | Self::Moved(_) => true,
            Self::Io { cause, .. } => {
                matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::NotFound)
            }
            _ => false,
        }
    }

    pub(crate) fn io(
        path: impl Into<PathBuf>,
        what: &'static str,
        cause: impl Into<io::Error>,
    ) -> Self {
        Self::Io { path: path.into(), what, cause: cause.into() }
    }
}
