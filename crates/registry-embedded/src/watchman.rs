//! Watches over the writing thread, which may be stuck in the kernel: behind another process's
//! lock, or a disk that does not answer. It says why, and bounds the waits of others. It also looks
//! whether the path still names what was opened, at each beat.

use crate::clock;
use crate::footing::Missed;
use crate::lock::holder;
use crate::shared::{Phase, Shared};
use std::sync::PoisonError;
use std::time::Duration;

/// How often it looks.
const TICK: Duration = Duration::from_millis(200);

/// After how many milliseconds a wait for the lock is told: far above what any transaction takes,
/// well below what lets a session end.
const TELL_WAIT: u64 = 400;

/// After how many a write is told: a disk may have its second.
const TELL_WRITE: u64 = 1_000;

/// How long closing may take: the contract's 5 s, less two ticks.
const CLOSING: u64 = 4_600;

/// Runs until the registry is closed.
pub(crate) fn watch_over(shared: &Shared) {
    let finished = shared.finished();
    loop {
        let phase = shared.phase();
        if *finished.borrow() {
            return;
        }
        let waited = shared.ended().wait_timeout(phase, TICK);
        // Held on to, so that what is told is true when it is told.
        let (phase, _) = waited.unwrap_or_else(PoisonError::into_inner);
        look(shared, *phase);
        drop(phase);
        look_where_it_stands(shared);
        let closing = shared.queue().closing();
        if closing.is_some_and(|since| passed(since) > CLOSING) {
            tracing::warn!("the session could not be ended in time; its freed lock will end it");
            shared.finish();
        }
    }
}

fn look(shared: &Shared, phase: Phase) {
    match phase {
        Phase::Waiting(since) if passed(since) >= TELL_WAIT => {
            let lock = shared.place.lock();
            let why = format!("{} is {}", lock.display(), holder(&lock));
            shared.suspend(&why);
            if passed(since) >= shared.timeout {
                shared.expire(&why);
            }
        }
        Phase::Writing(since) if passed(since) >= TELL_WRITE => {
            let dir = shared.place.dir().display();
            shared.suspend(&format!("{dir}: a write takes more than {TELL_WRITE} ms"));
        }
        Phase::Idle | Phase::Waiting(_) | Phase::Writing(_) => {}
    }
}

/// Whether the path still names what was opened, also while nobody writes.
fn look_where_it_stands(shared: &Shared) {
    match shared.footing.look() {
        Ok(()) => {}
        // Asked after the look: whoever closes last removes the log.
        Err(_) if shared.queue().closing().is_some() => {}
        Err(Missed::Replaced(met)) => shared.replaced(&met.to_string()),
        Err(unseen) => shared.suspend(&unseen.to_string()),
    }
}

fn passed(since: u64) -> u64 {
    clock::boot_millis().saturating_sub(since)
}
