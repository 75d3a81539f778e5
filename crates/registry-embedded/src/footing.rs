//! Whether the path still names what was opened.
//!
//! An open file lives on without its name. A process whose directory was deleted, moved or replaced
//! would go on where nobody else looks, while the next one makes a registry anew at the same path: both
//! would run everything. So the path is asked in each writing transaction, right before its commit and
//! once more after it, before anything is told of it; and between them from time to time.
//!
//! * What was told to be committed was in the file that the path named when the commit was done. A claim
//!   that is told is older than the registry that follows, whose jobs have no fires before it was made.
//! * What remains: a claim that was told stands until the next look, 200 ms at most. A run that was
//!   claimed ahead of its instant may begin within them.
//! * A look compares devices and inodes. All files are held open, so that no new one gets their numbers.
//!   A file that is written over in place is the same file to a look.
//! * Unknown is not no: a path that cannot be looked at, for want of a right or through a fault of the
//!   disk, is trouble as other faults of the disk are, and nothing is committed meanwhile. Only a name
//!   that is not there, or not below a directory, is gone.

use crate::OpenError;
use crate::lock::WriterLock;
use crate::place::{DATABASE, LOCK, Place};
use rustix::fs::{AtFlags, Stat, fstat, stat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::path::PathBuf;

/// SQLite's own, which it makes when the first connection opens the database, and removes when the
/// last one closes it.
const LOG: &str = "registry.db-wal";
const LOG_INDEX: &str = "registry.db-shm";

/// One file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl From<&Stat> for Identity {
    fn from(found: &Stat) -> Self {
        Self { device: found.st_dev, inode: found.st_ino }
    }
}

/// The directory and the files that were opened.
#[derive(Debug)]
pub(crate) struct Footing {
    /// The directory as it was named, made absolute: a link in it may be turned elsewhere.
    named: PathBuf,
    directory: File,
    is: Identity,
    files: [(&'static str, Identity); 4],
}

/// What a name stands for instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Met {
    #[error("{0} was deleted or moved away")]
    Gone(PathBuf),
    #[error("{0} was replaced by another")]
    Another(PathBuf),
}

/// Why a look does not find all as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missed {
    #[error("{0}")]
    Replaced(Met),
    /// There is no telling.
    #[error("{0}: cannot look at it: {1}")]
    Unseen(PathBuf, Errno),
}

/// The directory, opened before anything in it is.
#[derive(Debug)]
pub(crate) struct Ground {
    directory: File,
    is: Identity,
}

impl Ground {
    pub(crate) fn open(place: &Place) -> Result<Self, OpenError> {
        let dir = place.dir();
        let opened = File::open(dir).map_err(|cause| OpenError::io(dir, "open it", cause))?;
        let found = fstat(&opened).map_err(|cause| OpenError::io(dir, "look at it", cause))?;
        Ok(Self { directory: opened, is: Identity::from(&found) })
    }

    /// Which file the database's name stands for; `None` if for none.
    pub(crate) fn database(&self, place: &Place) -> Result<Option<Identity>, OpenError> {
        match statat(&self.directory, DATABASE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Identity::from(&found))),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(OpenError::io(place.database(), "look at it", cause)),
        }
    }

    /// Takes down what was opened: `database` is what its name stood for before that. The log and its
    /// index are what their names stand for now that the database has been read.
    pub(crate) fn hold(
        self,
        place: &Place,
        lock: &WriterLock,
        database: Identity,
    ) -> Result<Footing, OpenError> {
        let failed = |name: &str, cause| OpenError::io(place.dir().join(name), "look at it", cause);
        let lock = lock.stat().map_err(|cause| failed(LOCK, cause))?;
        let named =
            |name: &'static str| match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => Ok((name, Identity::from(&found))),
                Err(Errno::NOENT | Errno::NOTDIR) => Err(OpenError::Moved(place.dir().join(name))),
                Err(cause) => Err(failed(name, cause)),
            };
        let files =
            [(DATABASE, database), named(LOG)?, named(LOG_INDEX)?, (LOCK, Identity::from(&lock))];
        let named = place.named().to_owned();
        let footing = Footing { named, directory: self.directory, is: self.is, files };
        match footing.look() {
            Ok(()) => Ok(footing),
            Err(Missed::Replaced(Met::Gone(path) | Met::Another(path))) => {
                Err(OpenError::Moved(path))
            }
            Err(Missed::Unseen(path, cause)) => Err(OpenError::io(path, "look at it", cause)),
        }
    }
}

impl Footing {
    /// Whether all that was opened still has its name.
    ///
    /// # Errors
    /// [`Missed`]: the first name that stands for something else, or that cannot be looked at.
    pub(crate) fn look(&self) -> Result<(), Missed> {
        self.compare("", stat(&self.named), self.is)?;
        for (name, is) in self.files {
            self.compare(name, statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW), is)?;
        }
        Ok(())
    }

    fn compare(&self, name: &str, found: Result<Stat, Errno>, is: Identity) -> Result<(), Missed> {
        let path = || if name.is_empty() { self.named.clone() } else { self.named.join(name) };
        match found {
            Ok(found) if Identity::from(&found) == is => Ok(()),
            Ok(_) => Err(Missed::Replaced(Met::Another(path()))),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Missed::Replaced(Met::Gone(path()))),
            Err(cause) => Err(Missed::Unseen(path(), cause)),
        }
    }
}
