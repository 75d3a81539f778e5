//! The directory: which may be used, and the names of the files in it.

use crate::OpenError;
use rustix::fs::{Access, access, statfs};
use rustix::process::geteuid;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The names of the files that the tree and the right to change it are in.
pub(crate) const DATABASE: &str = "registry.db";
pub(crate) const LOCK: &str = "registry.lock";

/// A directory fit for a registry.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Without links.
    dir: PathBuf,
    /// As it was named, from the root on.
    named: PathBuf,
}

impl Place {
    /// Makes the directory if need be and refuses those that cannot hold a registry.
    pub(crate) fn prepare(dir: &Path) -> Result<Self, OpenError> {
        match dir.metadata() {
            Ok(found) if !found.is_dir() => return Err(OpenError::NotADirectory(dir.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_dir(dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(OpenError::NotADirectory(dir.into()));
            }
            Err(cause) => return Err(OpenError::io(dir, "look at it", cause)),
        }
        let unresolved = |cause| OpenError::io(dir, "resolve it", cause);
        let named = std::path::absolute(dir).map_err(unresolved)?;
        let dir = named.canonicalize().map_err(unresolved)?;
        refuse_network(&dir)?;
        access(&dir, Access::WRITE_OK | Access::EXEC_OK | Access::READ_OK)
            .map_err(|cause| OpenError::io(&dir, "write in it", cause))?;
        let place = Self { dir, named };
        place.refuse_other_owner()?;
        let sessions = place.sessions();
        if !sessions.exists() {
            make_dir(&sessions)?;
        }
        Ok(place)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn named(&self) -> &Path {
        &self.named
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// Whoever writes holds this file's lock.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join(LOCK)
    }

    /// Whoever waits for the lock shares this one's.
    pub(crate) fn queue(&self) -> PathBuf {
        self.dir.join("registry.queue")
    }

    /// Written after each commit.
    pub(crate) fn bell(&self) -> PathBuf {
        self.dir.join("registry.bell")
    }

    /// Holds a locked file for each session.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.dir.join("sessions")
    }

    pub(crate) fn session(&self, id: u64) -> PathBuf {
        self.sessions().join(format!("{id:016x}.lock"))
    }

    /// Makes the directory's name outlast a loss of power, and those of all above it, whoever made
    /// them: a name lasts only once the directory it stands in is synced.
    ///
    /// Those that this user cannot open were there before, and some file systems keep names in order
    /// without being asked, and refuse to be.
    pub(crate) fn make_lasting(&self) -> Result<(), OpenError> {
        for dir in self.dir.ancestors() {
            let Ok(opened) = File::open(dir) else { continue };
            match opened.sync_all() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(cause) => return Err(OpenError::io(dir, "sync it", cause)),
            }
        }
        Ok(())
    }

    fn refuse_other_owner(&self) -> Result<(), OpenError> {
        let path = self.database();
        let us = geteuid().as_raw();
        match path.symlink_metadata() {
            Ok(found) if found.uid() != us => {
                Err(OpenError::Owner { path, owner: found.uid(), us })
            }
            Ok(found) if !found.is_file() => {
                Err(OpenError::Foreign { path, what: "not a plain file".to_owned() })
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(OpenError::io(path, "look at it", cause)),
        }
    }
}

/// Opens a file of ours, made if need be, that no one else can read. Rust opens with `O_CLOEXEC`,
/// so no child inherits the lock on it.
pub(crate) fn open_private(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|cause| OpenError::io(path, "open it", cause))
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| dir.metadata())
        .and_then(|made| match made.permissions().mode() & 0o077 {
            0 => Ok(()),
            _ => std::fs::set_permissions(dir, Permissions::from_mode(0o700)),
        })
        .map_err(|cause| OpenError::io(dir, "make it", cause))
}

/// File systems whose files other hosts (or the host of this virtual machine) can change: their
/// locks, shared memory and change notices do not reach there. FUSE cannot be told apart: behind it
/// may be a disk or `sshfs`, and it keeps locks to one mount.
const NETWORK: [(u64, &str); 19] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB2"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564C, "NCP"),
    (0x786F_4256, "a VirtualBox shared folder"),
    (0xBACB_ACBC, "a VMware shared folder"),
    (0x7C7C_6673, "a Parallels shared folder"),
];

fn refuse_network(dir: &Path) -> Result<(), OpenError> {
    let found = statfs(dir).map_err(|cause| OpenError::io(dir, "see its file system", cause))?;
    match network_kind(found.f_type.cast_unsigned()) {
        Some(kind) => Err(OpenError::NetworkFileSystem { path: dir.into(), kind }),
        None => Ok(()),
    }
}

/// The kernel's magic is 32 bits; some ports widen it with its sign.
fn network_kind(magic: u64) -> Option<&'static str> {
    let magic = magic & 0xFFFF_FFFF;
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_hosts_are_named() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xFFFF_FFFF_FF53_4D42), Some("CIFS"));
        let local = [(0xEF53, "ext4"), (0x0102_1994, "tmpfs"), (0x794C_7630, "overlay")];
        for (magic, name) in local {
            assert_eq!(network_kind(magic), None, "{name}");
        }
    }

    #[test]
    fn what_it_makes_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::prepare(&parent.path().join("a/b")).unwrap();
        let file = open_private(&place.lock()).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        for dir in [place.dir().to_owned(), place.sessions()] {
            assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
        }
    }
}
