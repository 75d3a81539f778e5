//! What is written down of fires: which they were, what became of them and why.

use crate::time::Timestamp;
use std::time::Duration;

/// Fires that met another fate than a plain run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Their fate.
    pub fate: Fate,
    /// Why.
    pub reason: Reason,
    /// Which.
    pub span: Span,
}

/// What became of fires. Each due fire is accounted exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// A run was claimed for it.
    Ran,
    /// It could not run on time; one later run makes up for it.
    Misfired,
    /// It was not run, on purpose.
    Skipped,
    /// It was due while no node lived, and is not run.
    Missed,
    /// A clock that was ahead had accounted it, and it had not run: that was taken back, and it is due again.
    Withdrawn,
}

impl Fate {
    /// The word for people, metrics and stored forms.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Misfired => "misfired",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// All of them, for reading stored forms.
    pub const ALL: [Self; 5] =
        [Self::Ran, Self::Misfired, Self::Skipped, Self::Missed, Self::Withdrawn];
}

/// Why fires met their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Due, and run.
    Due,
    /// An earlier run of the shard was still under way.
    Overlap,
    /// The shard was on its way from one instance to another.
    Resharding,
    /// The node could not prove its session.
    NoRegistry,
    /// The node's clock differed from the registry's by more than the job tolerates.
    ClockDiffers,
    /// The node was late: stopped for a while, or its pool was full.
    Late,
    /// The shard, its server or the job was switched off.
    Disabled,
    /// No node lived.
    NoNode,
    /// More fires waited than a queue takes.
    QueueFull,
    /// The listener's `before` failed, or did not end in time.
    BeforeFailed,
    /// The schedule by which they were due was replaced before they could run.
    ScheduleChanged,
    /// The clock of whoever accounted them was ahead.
    ClockWasAhead,
}

impl Reason {
    /// The stable code for people, metrics and stored forms.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Due => "DUE",
            Self::Overlap => "OVERLAP",
            Self::Resharding => "RESHARDING",
            Self::NoRegistry => "NO_REGISTRY",
            Self::ClockDiffers => "CLOCK_DIFFERS",
            Self::Late => "LATE",
            Self::Disabled => "DISABLED",
            Self::NoNode => "NO_NODE",
            Self::QueueFull => "QUEUE_FULL",
            Self::BeforeFailed => "BEFORE_FAILED",
            Self::ScheduleChanged => "SCHEDULE_CHANGED",
            Self::ClockWasAhead => "CLOCK_WAS_AHEAD",
        }
    }

    /// All of them, for reading stored forms.
    pub const ALL: [Self; 12] = [
        Self::Due,
        Self::Overlap,
        Self::Resharding,
        Self::NoRegistry,
        Self::ClockDiffers,
        Self::Late,
        Self::Disabled,
        Self::NoNode,
        Self::QueueFull,
        Self::BeforeFailed,
        Self::ScheduleChanged,
        Self::ClockWasAhead,
    ];
}

/// Consecutive fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first one's due instant.
    pub first: Timestamp,
    /// The last one's.
    pub last: Timestamp,
    /// How many.
    pub fires: u64,
}

impl Span {
    /// The time from the first of them to the last.
    pub(super) fn time(&self) -> Duration {
        self.last.since(self.first)
    }
}

impl Note {
    /// How much is lost if the note is dropped: the time over which its fires did not run. What was withdrawn
    /// is due again, so nothing rests on its note.
    pub(super) fn weight(&self) -> Duration {
        match self.fate {
            Fate::Withdrawn => Duration::ZERO,
            _ => self.span.time(),
        }
    }
}
