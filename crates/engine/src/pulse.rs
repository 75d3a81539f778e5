//! Whether the loop lives, for what must not go on without it.

use crate::clock::{Clock, SystemClock};
use flockwork_core::time::Mono;
use flockwork_worker::Trust;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a living loop is silent at most: it turns at least once a second.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// Beats with every turn of a loop.
///
/// The lease of a script is renewed only while it does, so a script ends when its scheduler does:
/// not only when the process is killed or stopped, but also when the loop has panicked or hangs. A
/// lost session is no reason by itself, as a job may say that its runs finish then
/// (`on_session_loss: finish`); where it says otherwise, the loop cancels them.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(crate) fn beat(&self, now: Mono) {
        self.0.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether it has beaten within the last two seconds.
    #[must_use]
    pub fn is_felt(&self, now: Mono) -> bool {
        now.since(Mono::from_millis(self.0.load(Ordering::Relaxed))) <= LONGEST_SILENCE
    }

    /// What the worker asks before it renews a script's lease.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let pulse = self.clone();
        Trust::new(move |_| pulse.is_felt(SystemClock.now().mono))
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
}
