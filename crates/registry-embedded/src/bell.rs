//! How a waiting process learns that there is something to do: a request of its own, another
//! process's commit, or another session's end.
//!
//! A commit in WAL mode becomes visible through shared memory, of which the kernel tells nobody; a
//! byte written to a file after the commit is told by inotify within a millisecond. Polling is the
//! safety net, not the way.

use crate::OpenError;
use crate::place::{Place, open_private};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// What ended a wait. Several may be true, or none: the time was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Somebody rang.
    pub(crate) rung: bool,
    /// A session's file was closed: its process died or left.
    pub(crate) session_closed: bool,
}

/// Wakes the thread that waits at the bell of this process.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> Result<Self, OpenError> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(|cause| OpenError::io("eventfd", "make one", cause))
    }

    pub(crate) fn wake(&self) {
        // The one possible failure is a full counter, and then the thread is awake already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

#[derive(Debug)]
pub(crate) struct Bell {
    file: File,
    /// None if the host grants no more of them; then changes are seen by polling.
    notices: Option<Notices>,
}

#[derive(Debug)]
struct Notices {
    queue: OwnedFd,
    bell: i32,
}

impl Bell {
    pub(crate) fn open(place: &Place) -> Result<Self, OpenError> {
        let file = open_private(&place.bell())?;
        let notices = match Notices::open(place) {
            Ok(notices) => Some(notices),
            Err(error) => {
                let dir = place.dir().display();
                tracing::warn!(%error, %dir, "no inotify: changes of other processes are polled");
                None
            }
        };
        let bell = Self { file, notices };
        bell.ring();
        Ok(bell)
    }

    /// Tells all processes, this one too.
    pub(crate) fn ring(&self) {
        if let Err(error) = self.file.write_all_at(b"\n", 0) {
            tracing::debug!(%error, "could not ring; others will see the change by polling");
        }
    }

    /// Waits until something happens or the time is over.
    pub(crate) fn wait(&self, waker: &Waker, patience: Duration) -> Woken {
        let patience = Timespec::try_from(patience).unwrap_or_default();
        let mut fds = vec![PollFd::new(&waker.0, PollFlags::IN)];
        fds.extend(self.notices.as_ref().map(|it| PollFd::new(&it.queue, PollFlags::IN)));
        // An interrupted wait is a short one.
        let ready = poll(&mut fds, Some(&patience)).unwrap_or(0);
        if ready == 0 {
            return Woken::default();
        }
        waker.clear();
        self.notices.as_ref().map(Notices::drain).unwrap_or_default()
    }
}

impl Notices {
    fn open(place: &Place) -> rustix::io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let bell = inotify::add_watch(&queue, place.bell(), WatchFlags::MODIFY)?;
        inotify::add_watch(&queue, place.sessions(), WatchFlags::CLOSE_WRITE)?;
        Ok(Self { queue, bell })
    }

    /// Reads what waits. The kernel merges equal notices in a row, so it is little.
    fn drain(&self) -> Woken {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut woken = Woken::default();
        while let Ok(notice) = reader.next() {
            match notice.wd() == self.bell {
                true => woken.rung = true,
                // Also the queue's overflow, after which both may have happened.
                false => woken.session_closed = true,
            }
        }
        woken.rung |= woken.session_closed;
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_a_wake_and_a_closed_session_each_end_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(dir.path()).unwrap();
        let (one, other) = (Bell::open(&place).unwrap(), Bell::open(&place).unwrap());
        let waker = Waker::new().unwrap();
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(20));
        one.wait(&waker, short);
        assert_eq!(one.wait(&waker, short), Woken::default());

        other.ring();
        assert_eq!(one.wait(&waker, long), Woken { rung: true, session_closed: false });
        drop(open_private(&place.session(1)).unwrap());
        assert_eq!(one.wait(&waker, long), Woken { rung: true, session_closed: true });
        waker.wake();
        assert_eq!(one.wait(&waker, long), Woken::default());
    }
}
