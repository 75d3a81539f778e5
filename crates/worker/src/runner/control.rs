//! What guard and runner are told over their standard input, and the lease that is measured by it.

use super::message::{CANCEL, RENEW, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The longest order, in bytes: arguments of the kernel's greatest size, escaped.
const MAX_SPEC: usize = 8 << 20;

/// What the pipe said since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) renewed: bool,
    pub(super) cancel: bool,
    pub(super) ended: bool,
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Control {
    pipe: OwnedFd,
    ahead: Vec<u8>,
}

impl Control {
    pub(super) fn stdin() -> io::Result<Self> {
        let pipe = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { pipe, ahead: Vec::new() })
    }

    pub(super) fn pipe(&self) -> &OwnedFd {
        &self.pipe
    }

    /// Waits for the order, at most `bound`.
    pub(super) fn read_spec(&mut self, bound: Duration) -> io::Result<Spec> {
        let until = boot_now() + bound;
        let end = loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                break end;
            }
            if self.ahead.len() > MAX_SPEC {
                return Err(io::Error::other("the order is too long"));
            }
            if !wait_readable(&self.pipe, until.saturating_sub(boot_now()))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let line: Vec<u8> = self.ahead.drain(..=end).collect();
        serde_json::from_slice(&line).map_err(io::Error::other)
    }

    /// Reads what is there; to be called when the pipe is readable.
    pub(super) fn hear(&mut self) -> Heard {
        // An error other than an interruption means that nothing will ever be heard again.
        let ended = matches!(self.fill(), Ok(0) | Err(_));
        let told: Vec<u8> = self.ahead.drain(..).collect();
        Heard { renewed: told.contains(&RENEW), cancel: told.contains(&CANCEL), ended }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0_u8; 16 << 10];
        loop {
            match rustix::io::read(&self.pipe, &mut chunk) {
                Ok(n) => {
                    self.ahead.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long a script may go on unless renewed. Measured on a clock that counts suspend, as the
/// registry's session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    length: Duration,
    ends: Duration,
}

impl Lease {
    /// It begins when the node began the run, however late the order arrives: a node that stood
    /// still in between may have lost its shard to another meanwhile.
    pub(super) fn of(spec: &Spec) -> Self {
        let length = Duration::from_millis(spec.lease_ms);
        Self { length, ends: Duration::from_millis(spec.begun_ms) + length }
    }

    pub(super) fn renew(&mut self) {
        self.ends = boot_now() + self.length;
    }

    pub(super) fn left(&self) -> Duration {
        self.ends.saturating_sub(boot_now())
    }

    pub(super) fn has_lapsed(&self) -> bool {
        self.left().is_zero()
    }

    /// How long after a lapse all is killed: within the last third of the session, of which the
    /// lease is two thirds, so that nothing runs when the shard is taken elsewhere.
    pub(super) fn last_grace(&self, grace: Duration) -> Duration {
        grace.min(self.length / 4)
    }
}

/// Now, since boot, suspend counted.
pub(crate) fn boot_now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A wait of `duration` for `poll`, a day at most.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let bounded = duration.min(Duration::from_secs(86_400));
    Timespec::try_from(bounded).expect("a day is a representable wait")
}

fn wait_readable(fd: &OwnedFd, bound: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    match poll(&mut fds, Some(&timespec(bound))) {
        Ok(0) => Ok(false),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
