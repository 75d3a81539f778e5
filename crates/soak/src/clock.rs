//! The two clocks of a run: the wall's, which registries and jobs write down, and the host's, which
//! never steps and shows whether the wall's did.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock: milliseconds since 1970.
#[must_use]
pub fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the host started.
#[must_use]
pub fn boot_millis() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// Milliseconds of a span.
#[must_use]
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// How far the wall clock has moved against the host's since a first look.
#[derive(Clone, Copy, Debug)]
pub struct Steadiness(i64);

impl Steadiness {
    /// The first look.
    #[must_use]
    pub fn now() -> Self {
        Self(wall_millis() - boot_millis())
    }

    /// By how many milliseconds the wall clock was set since.
    #[must_use]
    pub fn moved(self) -> i64 {
        (wall_millis() - boot_millis() - self.0).abs()
    }
}
