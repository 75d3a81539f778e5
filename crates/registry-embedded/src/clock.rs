//! The clock heartbeats are measured on: `CLOCK_BOOTTIME`, one for all processes of a host, which
//! never steps and counts suspends.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::sync::OnceLock;

/// Milliseconds since the host started.
pub(crate) fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
    seconds * 1_000 + millis
}

/// Names the clock: readings of clocks with different names cannot be compared. It changes with
/// each start of the host, and a time namespace has one of its own.
pub(crate) fn identity() -> &'static str {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
        format!("{} {}", boot.trim(), namespace.display())
    })
}
