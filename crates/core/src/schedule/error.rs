use super::field::Field;
use super::limits::MAX_BYTES;

/// What is wrong with a cron expression or its zone.
///
/// Offsets count bytes from the start of the expression as it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Nothing was written.
    #[error("the cron expression is empty")]
    Empty,
    /// More than [`super::Cron::MAX_BYTES`] bytes.
    #[error("the cron expression has {bytes} bytes, the limit is {MAX_BYTES}")]
    TooLong {
        /// How many there were.
        bytes: usize,
    },
    /// Too few fields, or (at the strict level) too many.
    #[error("expected 6 or 7, got {got} fields in the cron expression")]
    Fields {
        /// How many there were.
        got: usize,
    },
    /// A value the field does not have.
    #[error("{field}: {value} at byte {offset} is not between {low} and {high}")]
    Range {
        /// In which field.
        field: Field,
        /// Where.
        offset: usize,
        /// The value as it was written.
        value: String,
        /// The least value allowed there.
        low: i32,
        /// The greatest value allowed there.
        high: i32,
    },
    /// A step of 0, or one greater than what it steps through.
    #[error("{field}: the step {step} at byte {offset} is not between 1 and {high}")]
    Step {
        /// In which field.
        field: Field,
        /// Where.
        offset: usize,
        /// The step as it was written.
        step: String,
        /// The greatest step allowed there.
        high: i32,
    },
    /// A text that is no value of the field.
    #[error("{field}: {what} at byte {offset}")]
    Syntax {
        /// In which field.
        field: Field,
        /// Where.
        offset: usize,
        /// What is wrong there.
        what: String,
    },
    /// Day-of-month and day-of-week both given, or both left open.
    #[error("one of day-of-month and day-of-week must be ?, and {got} at byte {offset}")]
    DomDow {
        /// Where the day-of-week stands.
        offset: usize,
        /// Which of the two mistakes it is.
        got: &'static str,
    },
    /// No fire is due after a given instant.
    #[error("the cron expression never fires in the hundred years after {after}")]
    Never {
        /// After which instant none is due.
        after: crate::time::Timestamp,
    },
    /// A control character or one outside ASCII, which Quartz ignores in some places.
    #[error("a character that is no part of a cron expression at byte {offset}")]
    Foreign {
        /// Where.
        offset: usize,
    },
    /// A zone that does not exist or could mean several.
    #[error("unknown time zone {name:?}")]
    UnknownZone {
        /// What was written, at most 64 characters of it.
        name: String,
        /// What to write instead.
        hint: String,
    },
}

impl CronError {
    /// The code by which programs know this error; it never changes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "CRON_EMPTY",
            Self::TooLong { .. } => "TOO_LONG",
            Self::Fields { .. } => "CRON_FIELDS",
            Self::Range { .. } => "CRON_RANGE",
            Self::Step { .. } => "CRON_STEP",
            Self::Syntax { .. } | Self::Foreign { .. } => "CRON_SYNTAX",
            Self::DomDow { .. } => "CRON_DOM_DOW",
            Self::Never { .. } => "CRON_NEVER",
            Self::UnknownZone { .. } => "TZ_UNKNOWN",
        }
    }

    /// The field it is in, if it is in one.
    #[must_use]
    pub const fn field(&self) -> Option<Field> {
        match self {
            Self::Range { field, .. } | Self::Step { field, .. } | Self::Syntax { field, .. } => {
                Some(*field)
            }
            Self::DomDow { .. } => Some(Field::DayOfWeek),
            Self::Empty
            | Self::TooLong { .. }
            | Self::Fields { .. }
            | Self::Foreign { .. }
            | Self::Never { .. }
            | Self::UnknownZone { .. } => None,
        }
    }

    /// Where it is, in bytes from the start of the expression; 0 if nowhere in particular.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::Range { offset, .. }
            | Self::Step { offset, .. }
            | Self::Syntax { offset, .. }
            | Self::Foreign { offset }
            | Self::DomDow { offset, .. } => *offset,
            Self::Empty
            | Self::TooLong { .. }
            | Self::Fields { .. }
            | Self::Never { .. }
            | Self::UnknownZone { .. } => 0,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "leave the cron out for a job that runs only when triggered".to_owned(),
            Self::TooLong { .. } => "split the job, or use ranges and steps".to_owned(),
            Self::Fields { got: 5 } => {
                "add seconds: a 0 in front, and ? for one of the two days, e.g. 0 30 2 * * ?"
                    .to_owned()
            }
            Self::Fields { .. } => {
                "write: second minute hour day-of-month month day-of-week [year]".to_owned()
            }
            Self::Range { low, high, .. } => format!("write a value from {low} to {high}"),
            Self::Step { high, .. } => format!("write a step from 1 to {high}"),
            Self::Syntax { field, .. } => forms(*field).to_owned(),
            Self::Foreign { .. } => "take it out".to_owned(),
            Self::DomDow { .. } => "write ? for the one that does not matter".to_owned(),
            Self::Never { .. } => {
                "check that the day exists in the month and that the years are not past".to_owned()
            }
            Self::UnknownZone { hint, .. } => hint.clone(),
        }
    }

    /// The same error, with its offset counted anew by `map`.
    pub(super) fn with_offset(mut self, map: impl Fn(usize) -> usize) -> Self {
        match &mut self {
            Self::Range { offset, .. }
            | Self::Step { offset, .. }
            | Self::Syntax { offset, .. }
            | Self::Foreign { offset }
            | Self::DomDow { offset, .. } => *offset = map(*offset),
            Self::Empty
            | Self::TooLong { .. }
            | Self::Fields { .. }
            | Self::Never { .. }
            | Self::UnknownZone { .. } => {}
        }
        self
    }
}

fn forms(field: Field) -> &'static str {
    match field {
        Field::Second | Field::Minute => "write *, 5, 5-20, 50-10, 0/5, */5 or a list of these",
        Field::Hour => "write *, 8, 8-18, 22-4, 0/2, */2 or a list of these",
        Field::DayOfMonth => {
            "write ?, *, 15, 1-7, 1/5, a list of these, or one of L, L-3, LW, L-3W, 15W"
        }
        Field::Month => "write *, 3, MAR, 3-5, NOV-FEB, 1/3 or a list of these",
        Field::DayOfWeek => {
            "write ?, *, 2, MON, MON-FRI, 2/2, a list of these, or one of L, 6L, FRIL, 2#1, MON#1"
        }
        Field::Year => "write *, 2027, 2027-2030, 2027/2 or a list of these",
    }
}
