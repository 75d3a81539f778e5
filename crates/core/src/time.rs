//! The two clocks of a node, as values: the wall, by which jobs are due, and a monotonic one, by
//! which waits and trust are measured.

use std::fmt;
use std::time::Duration;

/// An instant on the wall clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// Shown and parsed as RFC 3339 in UTC, e.g. `2026-11-22T02:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch (before it, if negative).
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `duration` later; the latest representable one where that would overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(clamp_millis(duration)))
    }

    /// The instant `duration` earlier; the earliest representable one where that would overflow.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(clamp_millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{} ms after the epoch", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = NotAnInstant;

    /// Reads RFC 3339 with a zone offset (`Z`, `+08:00`).
    ///
    /// # Errors
    /// [`NotAnInstant`] with the text, if it is not one.
    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        text.parse::<jiff::Timestamp>()
            .map(|instant| Self(instant.as_millisecond()))
            .map_err(|_| NotAnInstant(text.chars().take(120).collect()))
    }
}

/// A text that should have been an instant and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an instant: {0:?}; write it as RFC 3339, e.g. 2026-11-22T02:00:00Z")]
pub struct NotAnInstant(pub String);

/// An instant on a monotonic clock that also counts while the host is suspended
/// (`CLOCK_BOOTTIME`): milliseconds since an origin of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// The instant `millis` milliseconds after the clock's origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock's origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The instant `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What both clocks of a node show at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, which may step.
    pub wall: Timestamp,
    /// The monotonic clock, which never does.
    pub mono: Mono,
}

fn clamp_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_and_read_as_rfc_3339() {
        let instant = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(instant.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!("2026-01-01T08:00:00+08:00".parse(), Ok(instant));
    }

    #[test]
    fn an_instant_without_a_zone_is_refused() {
        assert!("2026-01-01T00:00:00".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.plus(Duration::MAX), last);
        assert_eq!(Timestamp::from_millis(5).since(last), Duration::ZERO);
    }
}
