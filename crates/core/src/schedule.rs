//! When a job is due.
//!
//! In reading order: the fields of a cron expression ([`Field`]), what they mean (`fields`), how it
//! is read (`parse`) and kept ([`Cron`]), how the next instant is found (`search`), where clocks
//! change ([`Zone`]), what can be wrong with all this ([`CronError`]).

mod civil;
mod cron;
mod error;
mod field;
mod fields;
mod limits;
mod memo;
mod offsets;
mod parse;
mod search;
mod strict;
mod zone;

pub use cron::{Cron, DstPolicy};
pub use error::CronError;
pub use field::Field;
pub use memo::Memo;
pub use zone::Zone;

use crate::duration;
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When a job is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// By a Quartz cron expression.
    Cron(Arc<Cron>),
    /// At a fixed rate.
    Every(Every),
    /// Once.
    Once(Once),
    /// Only when someone asks for it.
    OnTrigger,
}

/// A fixed rate: due at `anchor + k * period` for every whole `k`, so that every node computes the
/// same instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// The period in milliseconds, at least 1.
    pub period_ms: u64,
    /// One due instant; all others follow from it.
    pub anchor: Timestamp,
}

/// A single fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// As soon as the job exists.
    Now,
    /// At an instant.
    At(Timestamp),
}

impl Schedule {
    /// The first due instant strictly after `after`, for a schedule in force since `from` (no fire
    /// is due at or before `from`; [`Once::Now`] is due one millisecond after it).
    #[must_use]
    pub fn next_after(&self, after: Timestamp, from: Timestamp) -> Option<Timestamp> {
        let after = after.max(from);
        match self {
            Self::Cron(cron) => cron.next_after(after),
            Self::Every(every) => every.next_after(after),
            Self::Once(once) => once.due(from).filter(|due| *due > after),
            Self::OnTrigger => None,
        }
    }
}

impl Every {
    /// The first due instant strictly after `after`; none if it cannot be represented.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let period = i128::from(self.period_ms);
        let since_anchor = i128::from(after.as_millis()) - i128::from(self.anchor.as_millis());
        let elapsed = since_anchor.checked_rem_euclid(period)?;
        let due = i128::from(after.as_millis()) + period - elapsed;
        i64::try_from(due).ok().map(Timestamp::from_millis)
    }
}

impl Once {
    fn due(self, from: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => from.as_millis().checked_add(1).map(Timestamp::from_millis),
            Self::At(instant) => Some(instant),
        }
    }
}

impl Schedule {
    /// Reads the canonical text of a schedule; `None` if it is none that this release writes.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "cron" => {
                let (fields, rest) = rest.split_once(" in ")?;
                let (zone, dst) = rest.split_once(", clock changes: ")?;
                let dst =
                    [DstPolicy::Quartz, DstPolicy::Sane].into_iter().find(|it| it.name() == dst)?;
                Some(Self::Cron(Cron::parse(fields, &Zone::parse(zone).ok()?, dst).ok()?.into()))
            }
            "every" => {
                let (period, anchor) =
                    rest.split_once(" through ").unwrap_or((rest, "1970-01-01T00:00:00Z"));
                let period_ms = u64::try_from(duration::parse(period).ok()?.as_millis()).ok()?;
                Some(Self::Every(Every { period_ms, anchor: anchor.parse().ok()? }))
            }
            "once" if rest == "now" => Some(Self::Once(Once::Now)),
            "once" => Some(Self::Once(Once::At(rest.strip_prefix("at ")?.parse().ok()?))),
            "on" if rest == "trigger" => Some(Self::OnTrigger),
            _ => None,
        }
    }
}

impl fmt::Display for Schedule {
    /// A canonical text: two schedules with the same text are due at the same instants.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => cron.fmt(f),
            Self::Every(every) => {
                let period = Duration::from_millis(every.period_ms);
                write!(f, "every {}", duration::format(period))?;
                match every.anchor.as_millis() {
                    0 => Ok(()),
                    _ => write!(f, " through {}", every.anchor),
                }
            }
            Self::Once(Once::Now) => f.write_str("once now"),
            Self::Once(Once::At(instant)) => write!(f, "once at {instant}"),
            Self::OnTrigger => f.write_str("on trigger"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_text_of_a_schedule_is_read_as_that_schedule() {
        let cron = |expression, zone, dst| {
            let zone = Zone::parse(zone).unwrap();
            Schedule::Cron(Cron::parse(expression, &zone, dst).unwrap().into())
        };
        let instant = Timestamp::from_millis(1_795_305_600_123);
        let schedules = [
            cron("0 0/5 2 ? * mon-fri", "America/New_York", DstPolicy::Quartz),
            cron("*/10 * * * * ? 2030", "GMT+08:30", DstPolicy::Sane),
            cron("0 0 0 L * ?", "UTC", DstPolicy::Quartz),
            Schedule::Every(Every { period_ms: 90_010, anchor: Timestamp::default() }),
            Schedule::Every(Every { period_ms: 1_000, anchor: instant }),
            Schedule::Once(Once::Now),
            Schedule::Once(Once::At(instant)),
            Schedule::OnTrigger,
        ];
        for schedule in schedules {
            let text = schedule.to_string();
            let read = Schedule::from_text(&text);
            assert_eq!(read.as_ref().map(ToString::to_string), Some(text));
            let from = Timestamp::from_millis(1_700_000_000_000);
            let next = |it: &Schedule| it.next_after(from, from);
            assert_eq!(read.as_ref().map(next), Some(next(&schedule)), "{schedule}");
        }
        for text in ["", "cron", "cron * in UTC", "every", "every x", "once at noon", "later on"] {
            assert_eq!(Schedule::from_text(text), None, "{text:?}");
        }
    }
}
