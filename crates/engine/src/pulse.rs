//! Whether the loop lives, for what must not go on without it.

use crate::clock::{Clock, SystemClock};
use flockwork_core::time::Mono;
use flockwork_worker::Trust;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

/// How long a living loop is silent at most: it turns at least once a second.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// How often a watched loop is looked after.
const LOOK: Duration = Duration::from_millis(500);

/// Beats with every turn of a loop.
///
/// The lease of a script is renewed only while it does, so a script ends when its scheduler does:
/// not only when the process is killed or stopped, but also when the loop has panicked or hangs. A
/// lost session is no reason by itself, as a job may say that its runs finish then
/// (`on_session_loss: finish`); where it says otherwise, the loop cancels them.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    /// When the last one was, in milliseconds of the monotonic clock; 0 before the first.
    last: AtomicU64,
    /// For how long a script may go on without any, in milliseconds; 0 while that is not known.
    lease: AtomicU64,
}

impl Pulse {
    pub(crate) fn beat(&self, now: Mono) {
        self.0.last.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Scripts that start from now on end two thirds of the session's time-out after their node was last
    /// heard, so before others may run the same.
    pub(crate) fn session_lasts(&self, timeout: Duration) {
        let lease = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) / 3 * 2;
        self.0.lease.store(lease.max(1), Ordering::Relaxed);
    }

    /// How long a script that starts now may go on without its node, if the session's time-out is known.
    fn lease(&self) -> Option<Duration> {
        let lease = self.0.lease.load(Ordering::Relaxed);
        (lease != 0).then(|| Duration::from_millis(lease))
    }

    /// Whether it has beaten within the last two seconds.
    #[must_use]
    pub fn is_felt(&self, now: Mono) -> bool {
        now.since(Mono::from_millis(self.0.last.load(Ordering::Relaxed))) <= LONGEST_SILENCE
    }

    /// What the worker asks before it renews a script's lease.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let (pulse, lasts) = (self.clone(), self.clone());
        Trust::new(move |_| pulse.is_felt(SystemClock.now().mono)).within(move || lasts.lease())
    }

    /// Calls `silent`, once, on a thread of its own, when a loop that has begun to turn has not
    /// beaten for longer than `limit`, until the [`Watch`] is dropped.
    ///
    /// A registry renews its session by threads of its own, and others believe that a node lives as
    /// long as it does. So a program whose loop hangs must end, or others wait for its work for
    /// ever. The time is counted in looks, not read from a clock: a process that was stopped, or a
    /// host that slept, wakes up with a loop that has had no chance to beat.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn watch(
        &self,
        limit: Duration,
        silent: impl FnOnce() + Send + 'static,
    ) -> io::Result<Watch> {
        let (watch, over) = sync_channel(0);
        let pulse = self.clone();
        thread::Builder::new().name("pulse".into()).spawn(move || {
            if pulse.falls_silent(limit, &over) {
                silent();
            }
        })?;
        Ok(Watch(watch))
    }

    /// Looks until the loop is silent (true) or the watch is over.
    fn falls_silent(&self, limit: Duration, over: &Receiver<()>) -> bool {
        let mut silence = Silence::default();
        while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if silence.look(self.0.last.load(Ordering::Relaxed)) > limit {
                return true;
            }
        }
        false
    }
}

/// A loop is looked after until this is dropped, as must be done when its node has stopped.
#[derive(Debug)]
pub struct Watch(#[expect(dead_code, reason = "its end is what counts")] SyncSender<()>);

/// For how long the same beat was seen.
#[derive(Debug, Default)]
struct Silence {
    last: u64,
    lasted: Duration,
}

impl Silence {
    fn look(&mut self, beat: u64) -> Duration {
        // None yet: the node waits for its registry, and has no session.
        let is_same = beat == self.last && beat != 0;
        self.lasted = if is_same { self.lasted + LOOK } else { Duration::ZERO };
        self.last = beat;
        self.lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loop_is_not_felt() {
        let pulse = Pulse::default();
        pulse.beat(Mono::from_millis(10_000));
        assert!(pulse.is_felt(Mono::from_millis(12_000)));
        assert!(!pulse.is_felt(Mono::from_millis(12_001)));
    }

    #[test]
    fn a_script_ends_before_a_session_that_the_servers_made_shorter() {
        let pulse = Pulse::default();
        assert_eq!(pulse.lease(), None);
        pulse.session_lasts(Duration::from_secs(9));
        assert_eq!(pulse.lease(), Some(Duration::from_secs(6)));
    }

    #[test]
    fn only_the_same_beat_again_and_again_is_silence() {
        let mut silence = Silence::default();
        let lasted: Vec<Duration> =
            [0, 0, 7, 7, 7, 9, 9].into_iter().map(|beat| silence.look(beat)).collect();
        assert_eq!(lasted, [0, 0, 0, 1, 2, 0, 1].map(|looks| LOOK * looks));
    }

    #[test]
    fn a_loop_that_falls_silent_is_told_and_one_whose_watch_is_over_is_not() {
        let pulse = Pulse::default();
        let (sender, told) = sync_channel(1);
        let over = sender.clone();
        let watch = pulse.watch(LOOK, move || over.send("over").unwrap()).unwrap();
        drop(watch);
        pulse.beat(Mono::from_millis(1));
        let watch = pulse.watch(LOOK, move || sender.send("silent").unwrap()).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok("silent"));
        // Both threads have ended, and with them what they could send by.
        assert!(told.recv_timeout(Duration::from_secs(60)).is_err());
        drop(watch);
    }
}
