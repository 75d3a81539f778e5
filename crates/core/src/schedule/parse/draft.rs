//! What has been read of an expression so far.

use super::refusal::{greatest_step, range, step_error};
use super::{Objections, Parsed, Token};
use crate::schedule::error::CronError;
use crate::schedule::field::Field;
use crate::schedule::fields::{Days, Fields, Years};

/// From `start` to `end` (the last value of the field, if none) in steps.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: i32,
    pub(super) end: Option<i32>,
    pub(super) step: i32,
}

/// As values, Quartz's own markers: 99 reads as `*`, 98 as `?`.
const EVERY: i32 = 99;
const UNSPECIFIED: i32 = 98;

pub(super) struct Draft<'o> {
    objections: Option<&'o mut Objections>,
    objected: bool,
    /// Bit `n` stands for the value `n`; years are apart.
    sets: [u64; 6],
    years: [u64; Years::WORDS],
    offsets: [usize; 7],
    unspecified: [bool; 7],
    last_day: Option<i32>,
    to_weekday: bool,
    last_weekday: bool,
    nth: Option<i32>,
    /// The least weekday given that is none.
    strange_weekday: Option<i32>,
}

impl<'o> Draft<'o> {
    pub(super) fn new(objections: Option<&'o mut Objections>) -> Self {
        Self {
            objections,
            objected: false,
            sets: [0; 6],
            years: [0; Years::WORDS],
            offsets: [0; 7],
            unspecified: [false; 7],
            last_day: None,
            to_weekday: false,
            last_weekday: false,
            nth: None,
            strange_weekday: None,
        }
    }

    pub(super) fn begin(&mut self, field: Field, offset: usize) {
        self.offsets[field as usize] = offset;
    }

    pub(super) fn object(&mut self, objection: impl FnOnce() -> CronError) {
        self.objected = true;
        if let Some(objections) = &mut self.objections {
            objections.push(objection());
        }
    }

    /// Quartz lets a step lead past the end of its range, where it does nothing.
    pub(super) fn object_to_long_step(&mut self, field: Field, step: Token<'_>, by: i32) {
        let greatest = greatest_step(field).unwrap_or(Years::COUNT);
        if by == 0 || by > greatest {
            self.object(|| step_error(field, step));
        }
    }

    pub(super) fn unspecified(&mut self, field: Field) {
        self.unspecified[field as usize] = true;
    }

    pub(super) fn last_day(&mut self, before: i32, to_weekday: bool) {
        self.last_day = Some(before);
        self.to_weekday |= to_weekday;
    }

    pub(super) fn nearest_weekday(&mut self) {
        self.to_weekday = true;
    }

    pub(super) fn last_weekday(&mut self) {
        self.last_weekday = true;
    }

    pub(super) fn nth_weekday(&mut self, nth: i32) {
        self.nth = Some(nth);
    }

    pub(super) fn strange_weekday(&mut self, weekday: i32) {
        self.strange_weekday =
            Some(self.strange_weekday.map_or(weekday, |least| least.min(weekday)));
    }

    pub(super) fn every_year(&mut self) {
        self.years = [u64::MAX; Years::WORDS];
    }

    pub(super) fn add_every(&mut self, field: Field) {
        let (low, high) = field.bounds();
        match self.sets.get_mut(field as usize) {
            Some(set) => *set |= (u64::MAX >> (63 - high)) & (u64::MAX << low),
            None => self.every_year(),
        }
    }

    pub(super) fn add_single(
        &mut self,
        field: Field,
        token: Token<'_>,
        value: i32,
    ) -> Result<(), CronError> {
        let (low, high) = field.bounds();
        match (field, value) {
            (_, EVERY) => {
                self.object(|| range(field, token, (low, high)));
                self.add_every(field);
            }
            (Field::DayOfMonth | Field::DayOfWeek, UNSPECIFIED) => {
                self.object(|| range(field, token, (low, high)));
                self.unspecified(field);
            }
            (Field::Year, year) => self.insert(field, year),
            _ if (low..=high).contains(&value) => self.insert(field, value),
            _ => return Err(range(field, token, (low, high))),
        }
        Ok(())
    }

    pub(super) fn add(
        &mut self,
        field: Field,
        token: Token<'_>,
        span: Span,
    ) -> Result<(), CronError> {
        let (low, high) = field.bounds();
        let refused = || range(field, token, (low, high));
        if field != Field::Year && span.end.is_some_and(|end| end > high) {
            return Err(refused());
        }
        if span.step == 0 {
            return self.add_single(field, token, span.start);
        }
        let start = if span.start == EVERY { low } else { span.start };
        if start != span.start {
            self.object(refused);
        }
        if field != Field::Year && !(low..=high).contains(&start) {
            return Err(refused());
        }
        let end = span.end.unwrap_or(high);
        let wraps = end < start;
        if field == Field::Year && wraps {
            return Err(refused());
        }
        let values = if field == Field::Second || field == Field::Minute || field == Field::Hour {
            high + 1
        } else {
            high
        };
        let stop = if wraps { end + values } else { end.min(high) };
        let mut value = start;
        while value <= stop {
            self.insert(field, if value > high { value - values } else { value });
            // Quartz's own sum would wrap around near 2^31, to values that are none.
            value = value.checked_add(span.step).ok_or_else(refused)?;
        }
        Ok(())
    }

    fn insert(&mut self, field: Field, value: i32) {
        let Some(set) = self.sets.get_mut(field as usize) else {
            let index = usize::try_from(value - field.bounds().0).unwrap_or(usize::MAX);
            if let Some(word) = self.years.get_mut(index / 64) {
                *word |= 1 << (index % 64);
            }
            return;
        };
        *set |= 1 << value;
    }

    pub(super) fn finish(mut self) -> Result<Parsed, CronError> {
        let days = self.days()?;
        for field in [Field::Second, Field::Minute, Field::Hour, Field::Month] {
            if self.set(field) == 0 {
                return Err(self.no_value(field));
            }
        }
        let narrow = |set: u64| u32::try_from(set).unwrap_or(u32::MAX);
        let fields = Fields {
            seconds: self.set(Field::Second),
            minutes: self.set(Field::Minute),
            hours: narrow(self.set(Field::Hour)),
            days,
            months: u16::try_from(self.set(Field::Month)).unwrap_or(u16::MAX),
            years: Years::of(self.years),
        };
        Ok(Parsed { fields, objected: self.objected })
    }

    fn set(&self, field: Field) -> u64 {
        self.sets.get(field as usize).copied().unwrap_or(0)
    }

    fn no_value(&self, field: Field) -> CronError {
        let offset = self.offsets[field as usize];
        CronError::Syntax { field, offset, what: "no value is given".to_owned() }
    }

    fn days(&mut self) -> Result<Days, CronError> {
        let offset = self.offsets[Field::DayOfWeek as usize];
        let open = |field: Field| self.unspecified[field as usize];
        match (open(Field::DayOfMonth), open(Field::DayOfWeek)) {
            (true, true) => Err(CronError::DomDow { offset, got: "both are" }),
            (false, false) => Err(CronError::DomDow { offset, got: "neither is" }),
            (false, true) => self.days_of_month(),
            (true, false) => self.days_of_week(),
        }
    }

    fn days_of_month(&mut self) -> Result<Days, CronError> {
        let dates = self.set(Field::DayOfMonth);
        let least = i32::try_from(dates.trailing_zeros()).unwrap_or(0);
        self.object_to_ignored_values(Field::DayOfWeek, 0);
        match (self.last_day, self.to_weekday) {
            (Some(before), false) => Ok(Days::BeforeLast(before)),
            (Some(before), true) => Ok(Days::WeekdayBeforeLast(before)),
            (None, _) if dates == 0 => Err(self.no_value(Field::DayOfMonth)),
            (None, true) => {
                self.object_to_ignored_values(Field::DayOfMonth, 1);
                Ok(Days::NearestWeekday(least))
            }
            (None, false) => Ok(Days::Dates(u32::try_from(dates).unwrap_or(u32::MAX))),
        }
    }

    fn days_of_week(&mut self) -> Result<Days, CronError> {
        let weekdays = self.set(Field::DayOfWeek);
        let least = i32::try_from(weekdays.trailing_zeros()).unwrap_or(0);
        self.object_to_ignored_values(Field::DayOfMonth, 0);
        if weekdays == 0 && self.strange_weekday.is_none() {
            return Err(self.no_value(Field::DayOfWeek));
        }
        if let Some(nth) = self.nth {
            self.object_to_ignored_values(Field::DayOfWeek, 1);
            return Ok(match self.strange_weekday {
                // Quartz counts weekdays in circles, in which 0 is Saturday.
                Some(0) => Days::NthWeekday { weekday: 7, nth },
                Some(_) if weekdays == 0 => Days::Never,
                _ => Days::NthWeekday { weekday: least, nth },
            });
        }
        if self.last_weekday {
            return Ok(Days::LastWeekday(least));
        }
        Ok(Days::Weekdays(u32::try_from(weekdays).unwrap_or(u32::MAX)))
    }

    fn object_to_ignored_values(&mut self, field: Field, counted: u32) {
        if self.set(field).count_ones() > counted {
            let what = "only one of these days counts".to_owned();
            let offset = self.offsets[field as usize];
            self.object(|| CronError::Syntax { field, offset, what });
        }
    }
}
