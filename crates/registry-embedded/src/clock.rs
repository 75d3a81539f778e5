//! The clock heartbeats are measured on: `CLOCK_BOOTTIME`, one for all processes of a host, which
//! never steps and counts suspends.
//!
//! In a time namespace it is ahead or behind, by an offset that the kernel tells: what is compared
//! with other processes is counted without it, what this process is told, with it.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::sync::OnceLock;

/// The name of the namespace in which a host starts (`PROC_TIME_INIT_INO` in the kernel's
/// `proc_ns.h`).
const FIRST_NAMESPACE: &str = "time:[4026531834]";

/// Milliseconds since the host started, as this process counts them.
pub(crate) fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
    seconds * 1_000 + millis
}

/// The same as the processes of the clock named [`identity`] count them.
pub(crate) fn shared_millis() -> u64 {
    boot_millis().saturating_add_signed(-origin().offset)
}

/// When a moment of that clock is, as this process counts.
pub(crate) fn to_own(shared: u64) -> u64 {
    shared.saturating_add_signed(origin().offset)
}

/// Names the clock of [`shared_millis`]: readings of clocks with different names cannot be compared.
/// It changes with each start of the host, and a time namespace whose offset is not told has one of
/// its own.
pub(crate) fn identity() -> &'static str {
    &origin().identity
}

struct Origin {
    identity: String,
    /// By how many milliseconds this process is ahead of the shared clock.
    offset: i64,
}

fn origin() -> &'static Origin {
    static ORIGIN: OnceLock<Origin> = OnceLock::new();
    ORIGIN.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let of = |link: &str| fs::read_link(link).unwrap_or_default().display().to_string();
        let (ours, childrens) = (of("/proc/self/ns/time"), of("/proc/self/ns/time_for_children"));
        // The kernel tells the offset of the namespace that children would be in.
        let told = (ours == childrens)
            .then(|| fs::read_to_string("/proc/self/timens_offsets").ok())
            .flatten();
        let (namespace, offset) = match told.as_deref().and_then(boot_offset) {
            Some(offset) => (FIRST_NAMESPACE.to_owned(), offset),
            None => (ours, 0),
        };
        Origin { identity: format!("{} {namespace}", boot.trim()), offset }
    })
}

/// A line reads `boottime   3600   500000000`: seconds, and nanoseconds to add.
fn boot_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(seconds * 1_000 + nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_namespace_is_read_in_milliseconds() {
        let offsets = |text: &str| boot_offset(&format!("monotonic  7  1\nboottime  {text}\n"));
        assert_eq!(offsets("3600         0"), Some(3_600_000));
        assert_eq!(offsets("-2   500000000"), Some(-1_500));
        assert_eq!(offsets("x 0"), None);
        assert_eq!(boot_offset(""), None);
    }

    #[test]
    fn a_moment_there_and_back_is_the_same() {
        let before = boot_millis();
        let there = shared_millis();
        assert!((before..=boot_millis()).contains(&to_own(there)));
    }
}
