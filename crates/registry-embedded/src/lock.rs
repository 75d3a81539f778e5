//! Who may write: the kernel's lock on a file, which dies with its holder.
//!
//! SQLite's own waiting starves processes: its sleeps grow while others take the lock again within
//! microseconds. Here waiters sleep in the kernel, and whoever releases lets them go first.

use crate::place::{Place, open_private};
use crate::{OpenError, clock};
use rustix::fs::{FlockOperation, Stat, flock, fstat, major, minor};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// How long a releaser stays away when others wait: enough for the kernel to wake one.
const GIVE_WAY: Duration = Duration::from_micros(100);

/// What the holder writes into the file: its id, in a fixed width so that one write replaces it.
const HOLDER_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct WriterLock {
    file: File,
    queue: File,
}

impl WriterLock {
    pub(crate) fn open(place: &Place) -> Result<Self, OpenError> {
        Ok(Self { file: open_private(&place.lock())?, queue: open_private(&place.queue())? })
    }

    /// Waits for the lock, however long: whoever holds it will release it or die.
    pub(crate) fn take(&self) -> io::Result<()> {
        if !try_lock(&self.file, FlockOperation::NonBlockingLockExclusive)? {
            // Announced so that releasers give way. Not waited for: its holder may be stopped.
            let announced = try_lock(&self.queue, FlockOperation::NonBlockingLockShared)?;
            let taken = retrying(|| flock(&self.file, FlockOperation::LockExclusive));
            if announced {
                flock(&self.queue, FlockOperation::Unlock)?;
            }
            taken?;
        }
        self.sign();
        Ok(())
    }

    /// Waits at most this long.
    pub(crate) fn take_within(&self, patience: Duration) -> io::Result<bool> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let until = clock::boot_millis().saturating_add(patience);
        while !try_lock(&self.file, FlockOperation::NonBlockingLockExclusive)? {
            if clock::boot_millis() >= until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.sign();
        Ok(true)
    }

    /// Lets go, and lets those who wait go first.
    pub(crate) fn release(&self) {
        let released = flock(&self.file, FlockOperation::Unlock);
        released.expect("a lock on an open file of ours can be released");
    }

    /// Stays away for a moment if others wait.
    pub(crate) fn give_way(&self) {
        match try_lock(&self.queue, FlockOperation::NonBlockingLockExclusive) {
            Ok(true) => {
                let released = flock(&self.queue, FlockOperation::Unlock);
                released.expect("a lock on an open file of ours can be released");
            }
            Ok(false) | Err(_) => std::thread::sleep(GIVE_WAY),
        }
    }

    /// Which file it is on.
    pub(crate) fn stat(&self) -> rustix::io::Result<Stat> {
        fstat(&self.file)
    }

    /// For people only, and only where the kernel's table does not tell them.
    fn sign(&self) {
        let text = format!("{:<width$}", std::process::id(), width = HOLDER_BYTES);
        if let Err(error) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%error, "could not sign the writer's lock");
        }
    }
}

/// Who holds the lock, as far as can be seen from here.
pub(crate) fn holder(path: &Path) -> String {
    let Some(pid) = holding_pid(path) else {
        return "held by another process".to_owned();
    };
    match state_of(pid) {
        Some('T' | 't') => format!("held by pid {pid} (stopped)"),
        Some('D') => format!("held by pid {pid} (waiting for the disk)"),
        Some(_) => format!("held by pid {pid}"),
        None => format!("held by a process not seen from here, last pid {pid}"),
    }
}

/// How often the kernel's table is read before it counts as silent.
const READINGS: usize = 5;

/// From the kernel's table; else, as that is silent about processes of other containers and names
/// some file systems otherwise, from what the holder wrote, unless that is still our own name.
fn holding_pid(path: &Path) -> Option<u32> {
    let file = path.metadata().ok()?;
    let in_table = |_| pid_in_table(&kernels_table().ok()?, file.dev(), file.ino());
    if let Some(pid) = (0..READINGS).find_map(in_table) {
        return Some(pid);
    }
    let signed = fs::read_to_string(path).ok()?;
    signed.trim().parse().ok().filter(|pid| *pid != std::process::id())
}

/// In large pieces: between two of them the kernel only remembers how many lines it gave, and leaves
/// one out for each lock before it that was released meanwhile.
fn kernels_table() -> io::Result<String> {
    let mut file = File::open("/proc/locks")?;
    let (mut table, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(String::from_utf8_lossy(&table).into_owned()),
            read => table.extend_from_slice(&piece[..read]),
        }
    }
}

/// A line reads `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; before those that wait is an
/// arrow instead of `FLOCK`.
fn pid_in_table(table: &str, device: u64, inode: u64) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, _, mode) = (fields.next()?, fields.next()?, fields.next()?);
        let (pid, of) = (fields.next()?, fields.next()?);
        ((kind, mode) == ("FLOCK", "WRITE") && of == file).then(|| pid.parse().ok())?
    })
}

/// The state letter in `/proc/PID/stat`, which follows the name in parentheses.
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether the lock was free. Interrupted calls are made again.
pub(crate) fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match retrying(|| flock(file, how)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn retrying(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named_and_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let (one, other) = (WriterLock::open(&place).unwrap(), WriterLock::open(&place).unwrap());
        one.take().unwrap();
        assert!(!other.take_within(Duration::from_millis(20)).unwrap());
        assert_eq!(holder(&place.lock()), format!("held by pid {}", std::process::id()));
        one.release();
        assert!(other.take_within(Duration::from_secs(5)).unwrap());
    }

    #[test]
    fn the_kernels_table_tells_the_holder_from_those_who_wait() {
        let table = "1: POSIX  ADVISORY  WRITE 11 fe:00:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:00:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fe:00:7 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 14 fe:00:8 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 15 fe:00:9 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 0);
        assert_eq!(pid_in_table(table, device, 7), Some(12));
        for inode in [8, 9, 10] {
            assert_eq!(pid_in_table(table, device, inode), None, "{inode}");
        }
    }

    /// A table read in small pieces lacks it in one of some thousand looks.
    #[test]
    fn the_holder_is_named_while_others_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let one = WriterLock::open(&place).unwrap();
        one.take().unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let other = tempfile::tempfile().unwrap();
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        try_lock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
                        flock(&other, FlockOperation::Unlock).unwrap();
                    }
                });
            }
            let told: std::collections::BTreeSet<String> =
                (0..3000).map(|_| holder(&place.lock())).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(told, [format!("held by pid {}", std::process::id())].into());
        });
    }

    #[test]
    fn a_waiter_gets_the_lock_as_soon_as_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let (one, other) = (WriterLock::open(&place).unwrap(), WriterLock::open(&place).unwrap());
        one.take().unwrap();
        let waiter = std::thread::spawn(move || other.take().map(|()| other.release()));
        std::thread::sleep(Duration::from_millis(20));
        one.release();
        one.give_way();
        waiter.join().unwrap().unwrap();
    }
}
