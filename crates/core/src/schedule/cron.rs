use super::error::CronError;
use super::fields::Fields;
use super::search::Search;
use super::zone::Zone;
use super::{limits, parse, strict};
use crate::time::Timestamp;
use std::fmt;

/// A Quartz cron expression in a zone, under a rule for clock changes.
///
/// It accepts what Quartz 2.3.2 accepts and fires when Quartz fires, in all its forms: `L`, `L-3`,
/// `LW`, `L-3W`, `15W`, `6L`, `FRIL`, `2#1`, ranges that wrap (`22-4`), `0/5`, `/5`, names in any
/// case, years. What differs, and why:
///
/// * More than [`Cron::MAX_BYTES`] bytes are refused.
/// * What Quartz accepts and then fails or never returns on is refused: a field without any value
///   (`,`, `L` as a month), `0W`, values carried past a field's end by its internal markers
///   (`99-70`, `98-3`) or by steps near 2^31. So are digits outside ASCII in steps.
/// * Quartz gives up a hundred years after the year its process started. [`Cron::next_after`]
///   gives up a hundred years after the instant it searches from, at the latest after
///   [`Cron::LAST_YEAR`]. `2127/2`, refused by a Quartz of 2026 and accepted by one of 2027, is
///   accepted and never fires before it is in reach.
/// * Nothing fires before 1970 (on the clock of its zone).
/// * Where a `W` day has its only fire in a gap of the clock, or lies before its own month
///   (`L-30W`), Quartz can loop forever; here that month has no fire.
///
/// [`Cron::strict_objections`] tells what of all this a careful reader would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    fields: Fields,
    /// Whether the strict level has anything to say about how it is written.
    objected: bool,
    expression: Box<str>,
    zone: Zone,
    dst: DstPolicy,
}

/// What happens to fires when clocks are put forward or back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DstPolicy {
    /// As Quartz does. A fire in the gap is left out. Where clocks show a time twice only the
    /// second one counts, so an hourly job pauses for two hours.
    #[default]
    Quartz,
    /// What most people expect.
    ///
    /// If the hour field covers every hour (`*`, `0/1`), fires follow the passing of time: they
    /// come wherever the clock shows a time of the expression, in both passes of a repeated hour
    /// and not in a gap.
    ///
    /// Otherwise each wall time is due once: in a gap at the first instant after it (several such
    /// fires are one), in a repeated hour at the first pass.
    Sane,
}

impl DstPolicy {
    /// Its name in configuration: `quartz` or `sane`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quartz => "quartz",
            Self::Sane => "sane",
        }
    }
}

impl Cron {
    /// The longest expression that is read.
    pub const MAX_BYTES: usize = limits::MAX_BYTES;

    /// The last year in which anything fires.
    pub const LAST_YEAR: i32 = limits::LAST_YEAR;

    /// Reads an expression as Quartz 2.3.2 does.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to write instead.
    pub fn parse(expression: &str, zone: &Zone, dst: DstPolicy) -> Result<Self, CronError> {
        let parse::Parsed { fields, objected } = parse::fields(expression, None)?;
        let expression = expression.into();
        Ok(Self { fields, objected, expression, zone: zone.clone(), dst })
    }

    /// The first instant strictly after `after` at which it fires: a whole second. None if there
    /// is none within the hundred years after `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.find(after, None)
    }

    /// As [`Cron::next_after`], up to the end of `last_year` (in the zone of the expression; at
    /// most [`Cron::LAST_YEAR`]).
    #[must_use]
    pub fn next_within(&self, after: Timestamp, last_year: i32) -> Option<Timestamp> {
        self.find(after, Some(last_year))
    }

    fn find(&self, after: Timestamp, last_year: Option<i32>) -> Option<Timestamp> {
        let second = after.as_millis().div_euclid(1000).checked_add(1)?;
        let search = Search::new(&self.fields, self.zone.offsets(), last_year);
        let found = match self.dst {
            DstPolicy::Quartz => search.quartz(second),
            DstPolicy::Sane => search.sane(second),
        };
        found.map(|second| Timestamp::from_millis(second * 1000))
    }

    /// What the strict level refuses although Quartz accepts it, all of it, at the time `now`:
    /// steps of 0 or beyond the field, text that Quartz ignores, values with a hidden meaning, and
    /// expressions that never fire again.
    #[must_use]
    pub fn strict_objections(&self, now: Timestamp) -> Vec<CronError> {
        let mut found = strict::objections(&self.expression, self.objected);
        if self.next_after(now).is_none() {
            found.push(CronError::Never { after: now });
        }
        found
    }

    /// The expression as it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone of the clock it is read on.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Its rule for clock changes.
    #[must_use]
    pub fn dst(&self) -> DstPolicy {
        self.dst
    }
}

impl fmt::Display for Cron {
    /// `cron 0 30 2 * * ? in America/New_York, clock changes: quartz`: the fields in capitals,
    /// with one space between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cron")?;
        for field in self.expression.split_whitespace() {
            write!(f, " {}", field.to_uppercase())?;
        }
        write!(f, " in {}, clock changes: {}", self.zone, self.dst.name())
    }
}
