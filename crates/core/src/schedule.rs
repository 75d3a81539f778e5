//! When a job is due.

use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;

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

/// A Quartz cron expression in a zone, under a rule for clock changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {}

/// A fixed rate: due at `anchor + k * period`, so that every node computes the same instants.
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
        let _ = (after, from);
        None
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
