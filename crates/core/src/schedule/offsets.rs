//! By how much a zone's clocks differ from UTC, and when: a table of all its clock changes, so
//! that finding a fire needs no call into a time zone library.

use super::civil::Civil;
use super::limits::LAST_YEAR;
use jiff::tz::TimeZone;
use std::ops::Range;

/// The offsets of one zone, from the first instants a fire can have to the last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    /// In order of time; never empty.
    periods: Box<[Period]>,
}

/// A stretch of time with one offset. It ends where the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    /// When it starts, in seconds since the epoch.
    start: i64,
    /// What clocks show when it starts, in wall seconds.
    wall: i64,
    /// Clocks show this many seconds more than UTC.
    offset: i64,
}

/// A period as far as walls tell it from its neighbours: at each wall second of `walls` clocks show
/// it, for the last time, at that second less the offset.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) offset: i64,
    pub(super) walls: Range<i64>,
}

/// Fires before 1970 or after [`super::Cron::LAST_YEAR`] do not exist; a day more on either side
/// holds every offset there is.
const FIRST: i64 = -2 * 86_400;

impl Offsets {
    pub(super) fn fixed(offset_seconds: i32) -> Self {
        let beginning = Period { start: i64::MIN, wall: i64::MIN, offset: offset_seconds.into() };
        Self { periods: Box::new([beginning]) }
    }

    pub(super) fn of(zone: &TimeZone) -> Self {
        let first = jiff::Timestamp::from_second(FIRST).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let after_last =
            Civil { year: LAST_YEAR + 1, month: 1, day: 3, hour: 0, minute: 0, second: 0 };
        let mut periods = vec![Period {
            start: i64::MIN,
            wall: i64::MIN,
            offset: zone.to_offset(first).seconds().into(),
        }];
        let changes = zone
            .following(first)
            .take_while(|change| change.timestamp().as_second() < after_last.wall());
        for change in changes {
            let offset = i64::from(change.offset().seconds());
            let start = change.timestamp().as_second();
            // Names of offsets change too; only clocks matter here.
            if periods.last().is_none_or(|last| last.offset != offset) {
                periods.push(Period { start, wall: start + offset, offset });
            }
        }
        Self { periods: periods.into_boxed_slice() }
    }

    /// Whether clocks never change.
    pub(super) fn never_change(&self) -> bool {
        self.periods.len() == 1
    }

    /// What clocks show at `instant`, in wall seconds.
    pub(super) fn wall_at(&self, instant: i64) -> i64 {
        instant + self.periods[self.index_at(instant)].offset
    }

    /// The instant at which clocks show `wall`: the later one where they show it twice. Where they
    /// skip it, the instant at which they would, had they not been put forward.
    ///
    /// This is how `java.util.GregorianCalendar` reads a wall time.
    pub(super) fn later_instant(&self, wall: i64) -> i64 {
        wall - self.periods[self.index_showing(wall)].offset
    }

    /// As [`Offsets::later_instant`], without a look-up where `stretch` tells it.
    pub(super) fn later_instant_near(&self, stretch: &Stretch, wall: i64) -> i64 {
        if stretch.walls.contains(&wall) { wall - stretch.offset } else { self.later_instant(wall) }
    }

    /// The stretch of the period that holds `instant`.
    pub(super) fn stretch_at(&self, instant: i64) -> Stretch {
        let index = self.index_at(instant);
        let period = self.periods[index];
        let end = match self.periods.get(index + 1) {
            // Where clocks go forward the gap starts at the first, where they go back the part
            // that is shown again starts at the second.
            Some(next) => next.wall.min(next.start + period.offset),
            None => i64::MAX,
        };
        Stretch { offset: period.offset, walls: period.wall..end }
    }

    /// The instant at which clocks show `wall`: the earlier one where they show it twice. Where
    /// they skip it, the first instant after the gap.
    pub(super) fn earlier_instant(&self, wall: i64) -> i64 {
        let index = self.index_showing(wall);
        let later = wall - self.periods[index].offset;
        if let Some(next) = self.periods.get(index + 1)
            && later >= next.start
        {
            return next.start;
        }
        let before = index.checked_sub(1).map(|before| wall - self.periods[before].offset);
        before.filter(|instant| *instant < self.periods[index].start).unwrap_or(later)
    }

    /// `wall` where clocks show it; where they skip it, what they show instead, as much later as
    /// the gap is long.
    pub(super) fn shown(&self, wall: i64) -> i64 {
        let index = self.index_showing(wall);
        let period = self.periods[index];
        match self.periods.get(index + 1) {
            Some(next) if wall - period.offset >= next.start => wall + next.offset - period.offset,
            _ => wall,
        }
    }

    /// If clocks were put back not long before `instant` and still show what they showed once
    /// before, the wall second at which that ends.
    pub(super) fn end_of_repeat(&self, instant: i64) -> Option<i64> {
        let index = self.index_at(instant);
        let period = self.periods[index];
        let before = self.periods.get(index.checked_sub(1)?)?;
        let end = period.start + before.offset;
        (instant + period.offset < end).then_some(end)
    }

    /// `instant`, or, where clocks will show again what they show then, the instant at which they begin to.
    pub(super) fn past_what_is_shown_again(&self, instant: i64) -> i64 {
        let index = self.index_at(instant);
        let offset = self.periods[index].offset;
        match self.periods.get(index + 1) {
            Some(next) if instant + offset >= next.start + next.offset => next.start,
            _ => instant,
        }
    }

    /// When clocks are put forward between two instants, the last time if that is done more than once.
    pub(super) fn gap_between(&self, from: i64, until: i64) -> Option<i64> {
        let last = self.index_at(until);
        let changes = (1..=last).rev().map(|at| (&self.periods[at - 1], &self.periods[at]));
        let recent = changes.take_while(|(_, period)| period.start > from);
        let mut forward = recent.filter(|(before, period)| period.offset > before.offset);
        forward.next().map(|(_, period)| period.start)
    }

    /// The offset at `instant`, and when it next changes (`i64::MAX` for never).
    pub(super) fn period_at(&self, instant: i64) -> (i64, i64) {
        let index = self.index_at(instant);
        let end = self.periods.get(index + 1).map_or(i64::MAX, |next| next.start);
        (self.periods[index].offset, end)
    }

    fn index_at(&self, instant: i64) -> usize {
        self.periods.partition_point(|period| period.start <= instant).saturating_sub(1)
    }

    /// The last period whose clocks had come to `wall` or beyond it when they started.
    fn index_showing(&self, wall: i64) -> usize {
        self.periods.partition_point(|period| period.wall <= wall).saturating_sub(1)
    }
}
