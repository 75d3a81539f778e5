//! Sessions: who lives, and who is found to be gone.
//!
//! A session ends when the lock on its file is free, because its process is gone, or when its
//! heartbeat is too old, because its process is stopped. *Old* is measured in writable time: a
//! counter that each heartbeat, of whichever session, moves on by the time since the last one, but
//! never by more than a little over the interval between heartbeats. While nobody could write (a
//! stopped process held the lock, the disk was full, the host slept) it stands still, so such a
//! time counts for nobody, and those who lived before it live after it.
//!
//! As the counter is never faster than the clock, a session whose heartbeat was written at `t` on
//! that clock cannot be found too old before `t` plus its time-out.

use crate::changes::{Changes, What};
use crate::clock;
use crate::lock::try_lock;
use crate::place::Place;
use crate::store::{SessionRow, State, Store};
use crate::trouble::Trouble;
use flockwork_registry::SessionId;
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Heartbeats in one time-out: with four, three may come late or be lost.
pub(crate) const BEATS: u64 = 4;

/// A session just made. It lives as long as its file is locked.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: u64,
    pub(crate) lock: File,
}

/// What one look at all sessions led to.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Sessions found gone; their files are yet to be removed.
    pub(crate) ended: Vec<u64>,
    /// What that changed, for each.
    pub(crate) changes: Vec<Changes>,
    /// How long until the next heartbeat is due, in milliseconds.
    pub(crate) interval: u64,
}

/// Makes a session's file and its row. If the transaction fails, [`forget`] removes the file.
pub(crate) fn open(
    place: &Place,
    store: &mut Store<'_>,
    state: &mut State,
    timeout: u64,
) -> Result<Opened, Trouble> {
    let id = state.last_session + 1;
    let (file, inode) = make_locked(place, id)
        .map_err(|cause| Trouble::io(place.session(id), "make the session's lock", cause))?;
    let pid = std::process::id();
    state.last_session = id;
    store.session_add(&SessionRow { id, pid, inode, beat: state.writable, timeout })?;
    tracing::debug!(session = %SessionId(id), "session opened");
    Ok(Opened { id, lock: file })
}

fn make_locked(place: &Place, id: u64) -> io::Result<(File, u64)> {
    let path = place.session(id);
    let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = match make() {
        // Of a process that died before its row was written.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path)?;
            make()?
        }
        other => other?,
    };
    let inode = file.metadata()?.ino();
    match try_lock(&file, FlockOperation::NonBlockingLockExclusive)? {
        true => Ok((file, inode)),
        false => Err(io::Error::other("its lock is taken, though it is new")),
    }
}

/// Removes a session's file. It is only in the way of people.
pub(crate) fn forget(place: &Place, id: u64) {
    match fs::remove_file(place.session(id)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::debug!(%error, session = %SessionId(id), "could not remove its file")
        }
    }
}

/// Moves writable time on, writes this session's heartbeat, and ends those that are gone.
pub(crate) fn beat(
    place: &Place,
    store: &mut Store<'_>,
    state: &mut State,
    mine: Option<u64>,
    timeout: u64,
) -> rusqlite::Result<Census> {
    let rows = store.sessions()?;
    let shortest = rows.iter().map(|row| row.timeout).fold(timeout, u64::min);
    let interval = (shortest / BEATS).max(1);
    count_writable(state, interval);
    let mut census = Census { interval, ..Census::default() };
    for row in rows.iter().filter(|row| Some(row.id) != mine) {
        let Some(why) = gone(place, row, state) else { continue };
        let Changed { entries, changed } = end(store, row.id)?;
        let (session, pid) = (SessionId(row.id), row.pid);
        tracing::info!(%session, pid, entries, "ended a session: {why}");
        census.ended.push(row.id);
        census.changes.push(changed);
    }
    match mine {
        Some(id) => store.session_beat(id, state.writable)?,
        // About to open one: a good time to tidy up.
        None => sweep(place, &rows),
    }
    Ok(census)
}

/// A quarter more than the interval: a beat that comes a little late still counts in full, and a
/// time without any counts for so little that all can beat again before one is too old.
fn count_writable(state: &mut State, interval: u64) {
    let now = clock::shared_millis();
    if state.clock == clock::identity() {
        let passed = now.saturating_sub(state.at);
        state.writable += passed.min(interval + interval / 4);
    } else {
        clock::identity().clone_into(&mut state.clock);
    }
    state.at = now;
}

fn gone(place: &Place, row: &SessionRow, state: &State) -> Option<&'static str> {
    if probe(place, row) == Lock::Free {
        return Some("its process is gone");
    }
    let age = state.writable.saturating_sub(row.beat);
    (age > row.timeout).then_some("its heartbeat is too old")
}

/// What a session's lock tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Held,
    Free,
    /// The file is not there, or another: that proves nothing.
    Unknown,
}

/// A shared lock, so that two who look at the same time do not take each other for the owner.
pub(crate) fn probe(place: &Place, row: &SessionRow) -> Lock {
    let Ok(file) = File::open(place.session(row.id)) else { return Lock::Unknown };
    if file.metadata().map(|found| found.ino()).ok() != Some(row.inode) {
        return Lock::Unknown;
    }
    match try_lock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(true) => Lock::Free,
        Ok(false) => Lock::Held,
        Err(_) => Lock::Unknown,
    }
}

/// What ending a session changed.
pub(crate) struct Changed {
    pub(crate) entries: usize,
    pub(crate) changed: Changes,
}

/// Deletes a session and its entries.
pub(crate) fn end(store: &mut Store<'_>, id: u64) -> rusqlite::Result<Changed> {
    let owned = store.session_delete(id)?;
    let mut changed = Changes::default();
    for key in &owned {
        changed.add(What::Existence, key);
    }
    Ok(Changed { entries: owned.len(), changed })
}

/// Removes files of sessions that no longer are, left by processes that died while closing. The
/// caller holds the writer's lock, so no session is being made.
fn sweep(place: &Place, living: &[SessionRow]) {
    let Ok(files) = fs::read_dir(place.sessions()) else { return };
    for file in files.flatten() {
        let name = file.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".lock"));
        let id = id.and_then(|id| u64::from_str_radix(id, 16).ok());
        if let Some(id) = id.filter(|id| living.iter().all(|row| row.id != *id)) {
            forget(place, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(writable: u64, at: u64) -> State {
        let clock = clock::identity().to_owned();
        State { last_index: 0, last_session: 0, pruned: 0, log_bytes: 0, writable, at, clock }
    }

    #[test]
    fn a_time_without_writes_counts_for_little_more_than_one_beat() {
        let mut long_ago = state(5_000, 0);
        count_writable(&mut long_ago, 1_000);
        assert_eq!(long_ago.writable, 6_250);
        let before = clock::shared_millis();
        let mut now = state(5_000, before);
        count_writable(&mut now, 1_000);
        assert!(now.writable - 5_000 <= clock::shared_millis() - before);
    }

    #[test]
    fn readings_of_another_clock_count_for_nothing() {
        let mut other = State { clock: "another boot".to_owned(), ..state(5_000, 0) };
        count_writable(&mut other, 1_000);
        assert_eq!((other.writable, other.clock), (5_000, clock::identity().to_owned()));
        let mut ahead = state(5_000, u64::MAX);
        count_writable(&mut ahead, 1_000);
        assert_eq!(ahead.writable, 5_000);
    }

    #[test]
    fn a_lock_is_free_once_its_holder_is_gone_and_proves_nothing_if_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let (file, inode) = make_locked(&place, 7).unwrap();
        let row = SessionRow { id: 7, pid: 1, inode, beat: 0, timeout: 1 };
        assert_eq!(probe(&place, &row), Lock::Held);
        drop(file);
        assert_eq!(probe(&place, &row), Lock::Free);
        assert_eq!(probe(&place, &SessionRow { inode: inode + 1, ..row }), Lock::Unknown);
        forget(&place, 7);
        assert_eq!(probe(&place, &row), Lock::Unknown);
    }
}
