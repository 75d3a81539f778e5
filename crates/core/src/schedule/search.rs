//! Finds the next instant of an expression.
//!
//! The search walks from second to year. In each field it goes to the next allowed value; where
//! that moves the clock, all lesser fields start over. It walks the civil calendar and asks the
//! zone once, for the result. Only where it comes past a change of clocks it also asks whether
//! clocks show such a time, because that is what decides which fires Quartz leaves out near a gap.

use super::civil::{Civil, days_of_month};
use super::fields::{Days, Fields};
use super::limits::LAST_YEAR;
use super::offsets::{Offsets, Stretch};

pub(super) struct Search<'a> {
    fields: &'a Fields,
    offsets: &'a Offsets,
    last_year: Option<i32>,
}

/// What a look at one field came to.
enum Step {
    /// The clock stands at a value of the field.
    Stays,
    /// The clock was moved to one; lesser fields have to be looked at again.
    Moved,
}

/// One search on the clock of a zone, or on one that is never changed.
struct Walk<'a> {
    fields: &'a Fields,
    /// The zone, if its clocks change and that matters.
    gaps: Option<&'a Offsets>,
    /// Where the clock stood when the zone was last asked.
    stretch: Stretch,
    /// The first second that may be the result: an instant with `gaps`, else a wall second.
    first: i64,
    at: Civil,
    /// The last date, by the month it is of, that a `W` rule moved the clock to. To come there again
    /// is to go in circles.
    tried: Option<(i32, i32, i32)>,
}

/// How long after a gap a search that came through it may still leave fires out: the rest of that day.
const AFTER_A_GAP: i64 = 86_400;
/// How long before a gap it may matter where a search begins. The last fires before a gap are found from
/// there; where there are none, a search from there goes through the gap as one from long before does.
const BEFORE_A_GAP: i64 = 3 * 3_600;

/// How many years a search goes on when nobody says until when. Quartz adds as many to the year in
/// which its process started.
const YEARS_AHEAD: i32 = 100;

impl<'a> Search<'a> {
    /// A search up to `last_year`, or [`YEARS_AHEAD`].
    pub(super) fn new(fields: &'a Fields, offsets: &'a Offsets, last_year: Option<i32>) -> Self {
        Self { fields, offsets, last_year }
    }

    /// The first fire at or after `second`, by the rule [`super::DstPolicy::Quartz`].
    ///
    /// Near a change of clocks Quartz's answer depends on where its search begins. Of a time that is shown
    /// twice it takes the second, unless the search begins between the two; and a search that comes through
    /// a gap may leave out a fire right after it. The fires of a schedule are to be one sequence, whoever
    /// asks for them: the one that is found by a search from before the change, as Quartz's own triggers
    /// search from the fire before.
    pub(super) fn quartz(&self, second: i64) -> Option<i64> {
        let first = bounded(second)?;
        let stretch = self.offsets.stretch_at(first);
        match is_far_from_changes(&stretch, first) {
            true => self.as_quartz_in(stretch, first),
            false => self.near_a_change(first),
        }
    }

    /// Finds the first fire where a change of clocks is near, or may be.
    fn near_a_change(&self, second: i64) -> Option<i64> {
        let first = self.offsets.past_what_is_shown_again(second);
        let found = self.as_quartz(first);
        let Some(gap) = self.offsets.gap_between(first - AFTER_A_GAP, first + BEFORE_A_GAP) else {
            return found;
        };
        if found.is_some_and(|at| at < gap) {
            return found;
        }
        self.through(gap).filter(|at| *at >= first).or(found)
    }

    /// Finds the first fire of a search that goes through a gap. The search begins at the last fire before
    /// the gap, as that of a Quartz trigger does, or else a good while before the gap.
    fn through(&self, gap: i64) -> Option<i64> {
        let is_before = |fire: &i64| *fire < gap;
        let from_afar = self.as_quartz(gap - BEFORE_A_GAP);
        if from_afar.filter(is_before).is_none() {
            return from_afar;
        }
        // Backwards in growing steps: the fires of a dense schedule lie close to the gap.
        let finds_one = |at: i64| self.as_quartz(at).filter(is_before).is_some();
        let (mut step, mut none_left) = (1, gap);
        while !finds_one(gap - step) {
            (none_left, step) = (gap - step, (2 * step).min(BEFORE_A_GAP));
        }
        let mut after_fire = gap - step;
        while none_left - after_fire > 1 {
            let middle = after_fire + (none_left - after_fire) / 2;
            match finds_one(middle) {
                true => after_fire = middle,
                false => none_left = middle,
            }
        }
        self.as_quartz(none_left)
    }

    /// What Quartz finds when it is asked from before `first`.
    fn as_quartz(&self, first: i64) -> Option<i64> {
        self.as_quartz_in(self.offsets.stretch_at(first), first)
    }

    /// As [`Search::as_quartz`], from an instant of which the stretch is known.
    fn as_quartz_in(&self, stretch: Stretch, first: i64) -> Option<i64> {
        let gaps = (!self.offsets.never_change()).then_some(self.offsets);
        let mut walk = self.walk(first, first + stretch.offset);
        walk = Walk { gaps, stretch, ..walk };
        let wall = walk.find(self.last_year(&walk.at))?;
        Some(self.offsets.later_instant_near(&walk.stretch, wall))
    }

    /// The first fire at or after `second`, by the rule [`super::DstPolicy::Sane`].
    pub(super) fn sane(&self, second: i64) -> Option<i64> {
        let first = bounded(second)?;
        if self.offsets.never_change() {
            return self.as_quartz(first);
        }
        const EVERY_HOUR: u32 = (1 << 24) - 1;
        if self.fields.hours == EVERY_HOUR {
            return self.by_elapsed_time(first);
        }
        // Wall times shown for the second time had their turn.
        let shown = self.offsets.wall_at(first);
        let from = self.offsets.end_of_repeat(first).unwrap_or(shown);
        let mut walk = self.walk(from, from);
        let wall = walk.find(self.last_year(&walk.at))?;
        Some(self.offsets.earlier_instant(wall))
    }

    /// Goes from one stretch of unchanged clocks to the next.
    fn by_elapsed_time(&self, first: i64) -> Option<i64> {
        let mut from = first;
        let last_year = self.last_year(&Civil::from_wall(self.offsets.wall_at(first)));
        loop {
            let (offset, end) = self.offsets.period_at(from);
            let wall = self.walk(from + offset, from + offset).find(last_year)?;
            if wall - offset < end {
                return Some(wall - offset);
            }
            // Nothing is due from where the search began to `wall`. So the changes of clocks up to
            // then can be passed over, unless the first one leads back behind the beginning.
            let leads_back = self.offsets.wall_at(end) < from + offset;
            let close = self.offsets.later_instant(wall - 2 * 86_400);
            from = if leads_back { end } else { end.max(close) };
        }
    }

    /// A walk from `wall` on a clock that is never changed.
    fn walk(&self, first: i64, wall: i64) -> Walk<'a> {
        let at = Civil::from_wall(wall);
        let stretch = Stretch { offset: 0, walls: 0..0 };
        Walk { fields: self.fields, gaps: None, stretch, first, at, tried: None }
    }

    fn last_year(&self, start: &Civil) -> i32 {
        self.last_year.unwrap_or(start.year + YEARS_AHEAD).min(LAST_YEAR)
    }
}

/// Two days before 1970: no clock shows 1970 earlier.
const EARLIEST: i64 = -2 * 86_400;
/// 2300-01-03: every clock shows a year after the last one.
const LATEST: i64 = 10_413_964_800;

/// Whether what clocks show at `second` is shown once only, and no gap is near. All but a few searches begin
/// so, and need not look at the changes of clocks around them.
fn is_far_from_changes(stretch: &Stretch, second: i64) -> bool {
    let wall = second + stretch.offset;
    stretch.walls.start <= wall - AFTER_A_GAP && wall + BEFORE_A_GAP < stretch.walls.end
}

fn bounded(second: i64) -> Option<i64> {
    (second < LATEST).then_some(second.max(EARLIEST))
}

impl Walk<'_> {
    /// Ends: months never go back, within a month only a `W` rule does so, once, and years are
    /// bounded.
    fn find(&mut self, last_year: i32) -> Option<i64> {
        if self.fields.days == Days::Never {
            return None;
        }
        loop {
            self.settle();
            if self.at.year > last_year {
                return None;
            }
            self.second();
            let looks = [Self::minute, Self::hour, Self::day, Self::month];
            if looks.iter().any(|look| matches!(look(self), Step::Moved)) {
                continue;
            }
            match self.fields.years.first_from(self.at.year) {
                None => return None,
                Some(year) if year == self.at.year => return Some(self.at.wall()),
                Some(year) => self.go_to_date(year, 1, 1),
            }
        }
    }

    /// Brings fields into their ranges, and the clock to a time that it shows.
    fn settle(&mut self) {
        self.at = self.at.settled();
        let Some(zone) = self.gaps else { return };
        let wall = self.at.wall();
        if self.stretch.walls.contains(&wall) {
            return;
        }
        let shown = zone.shown(wall);
        self.stretch = zone.stretch_at(zone.later_instant(shown));
        if shown != wall {
            self.at = Civil::from_wall(shown);
        }
    }

    fn second(&mut self) {
        match first_from(self.fields.seconds, self.at.second) {
            Some(second) => self.at.second = second,
            None => {
                self.at.second = least(self.fields.seconds);
                self.at.minute += 1;
                self.settle();
            }
        }
    }

    fn minute(&mut self) -> Step {
        let (minute, hour) = match first_from(self.fields.minutes, self.at.minute) {
            Some(minute) if minute == self.at.minute => return Step::Stays,
            Some(minute) => (minute, self.at.hour),
            None => (least(self.fields.minutes), self.at.hour + 1),
        };
        (self.at.minute, self.at.second) = (minute, 0);
        self.go_to_hour(hour)
    }

    fn hour(&mut self) -> Step {
        let hours = u64::from(self.fields.hours);
        let hour = match first_from(hours, self.at.hour) {
            Some(hour) if hour == self.at.hour => return Step::Stays,
            Some(hour) => hour,
            None => {
                self.at.day += 1;
                least(hours)
            }
        };
        (self.at.minute, self.at.second) = (0, 0);
        self.go_to_hour(hour)
    }

    /// An hour that clocks skip is left for the next one, which in a gap of several hours leads
    /// past the first one after the gap.
    fn go_to_hour(&mut self, hour: i32) -> Step {
        self.at.hour = hour;
        self.settle();
        if self.at.hour != hour && hour != 24 {
            self.at.hour = hour + 1;
            self.settle();
        }
        Step::Moved
    }

    fn day(&mut self) -> Step {
        match self.fields.days {
            Days::Dates(dates) => self.date(dates),
            Days::BeforeLast(before) => self.before_last(before),
            Days::WeekdayBeforeLast(before) => {
                let last = days_of_month(self.at.year, self.at.month);
                self.nearest_weekday(last - before, 1)
            }
            Days::NearestWeekday(date) => self.nearest_weekday(date, date),
            Days::Weekdays(weekdays) => self.weekday(weekdays),
            Days::LastWeekday(weekday) => self.last_weekday(weekday),
            Days::NthWeekday { weekday, nth } => self.nth_weekday(weekday, nth),
            Days::Never => Step::Stays,
        }
    }

    fn date(&mut self, dates: u32) -> Step {
        let dates = u64::from(dates);
        let last = days_of_month(self.at.year, self.at.month);
        match first_from(dates, self.at.day) {
            Some(day) if day == self.at.day => Step::Stays,
            Some(day) if day <= last => self.move_to_day(day),
            _ => self.move_to(self.at.month + 1, least(dates)),
        }
    }

    fn before_last(&mut self, before: i32) -> Step {
        let day = days_of_month(self.at.year, self.at.month) - before;
        match day - self.at.day {
            0 => Step::Stays,
            1.. => self.move_to_day(day),
            _ => self.move_to(self.at.month + 1, 1),
        }
    }

    /// The weekday nearest to `date` of this month. Where that is over, the search goes on at
    /// `restart` of the next month.
    ///
    /// A date that the month does not have is one of a neighbouring month, and so is then the day
    /// of the week that decides: `31W` means April 30th in a year whose May 1st is a Saturday.
    fn nearest_weekday(&mut self, date: i32, restart: i32) -> Step {
        let last = days_of_month(self.at.year, self.at.month);
        let mut fire = Civil { day: date, ..self.at };
        fire.day += match fire.weekday() {
            SATURDAY if date == 1 => 2,
            SATURDAY => -1,
            SUNDAY if date == last => -2,
            SUNDAY => 1,
            _ => 0,
        };
        let wall = fire.wall();
        let second = self.gaps.map_or(wall, |zone| zone.later_instant_near(&self.stretch, wall));
        if fire.day == self.at.day && second >= self.first {
            return Step::Stays;
        }
        let place = Some((fire.year, fire.month, fire.day));
        // Before its own month, or back where it was in vain: Quartz would go in circles.
        if second < self.first || fire.day < 1 || self.tried == place {
            return self.move_to(self.at.month + 1, restart);
        }
        self.tried = place;
        self.move_to_day(fire.day)
    }

    fn weekday(&mut self, weekdays: u32) -> Step {
        let today = self.at.weekday();
        let weekdays = u64::from(weekdays);
        let weekday = first_from(weekdays, today).unwrap_or_else(|| least(weekdays));
        let ahead = (weekday - today).rem_euclid(7);
        self.ahead_in_month(ahead)
    }

    fn last_weekday(&mut self, weekday: i32) -> Step {
        let ahead = (weekday - self.at.weekday()).rem_euclid(7);
        let left = days_of_month(self.at.year, self.at.month) - self.at.day;
        if ahead > left {
            return self.move_to(self.at.month + 1, 1);
        }
        self.ahead_in_month(ahead + (left - ahead) / 7 * 7)
    }

    fn nth_weekday(&mut self, weekday: i32, nth: i32) -> Step {
        let ahead = (weekday - self.at.weekday()).rem_euclid(7);
        let day = self.at.day + ahead;
        let found_nth = (day + 6) / 7;
        if found_nth > nth {
            return self.move_to(self.at.month + 1, 1);
        }
        self.ahead_in_month(ahead + (nth - found_nth) * 7)
    }

    fn ahead_in_month(&mut self, days: i32) -> Step {
        let day = self.at.day + days;
        if day > days_of_month(self.at.year, self.at.month) {
            self.move_to(self.at.month + 1, 1)
        } else if days > 0 {
            self.move_to_day(day)
        } else {
            Step::Stays
        }
    }

    fn month(&mut self) -> Step {
        let months = u64::from(self.fields.months);
        match first_from(months, self.at.month) {
            Some(month) if month == self.at.month => return Step::Stays,
            Some(month) => self.go_to_date(self.at.year, month, 1),
            None => self.go_to_date(self.at.year + 1, least(months), 1),
        }
        Step::Moved
    }

    fn move_to_day(&mut self, day: i32) -> Step {
        self.move_to(self.at.month, day)
    }

    fn move_to(&mut self, month: i32, day: i32) -> Step {
        self.go_to_date(self.at.year, month, day);
        Step::Moved
    }

    fn go_to_date(&mut self, year: i32, month: i32, day: i32) {
        self.at = Civil { year, month, day, hour: 0, minute: 0, second: 0 };
    }
}

const SUNDAY: i32 = 1;
const SATURDAY: i32 = 7;

/// The least value of `set` that is not below `from`.
fn first_from(set: u64, from: i32) -> Option<i32> {
    let rest = set.checked_shr(from.unsigned_abs()).filter(|rest| *rest != 0)?;
    i32::try_from(rest.trailing_zeros()).ok().map(|ahead| from + ahead)
}

fn least(set: u64) -> i32 {
    i32::try_from(set.trailing_zeros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Zone, parse};

    /// The seconds around a change of clocks at which a search may be told to be near it or far from it.
    fn around(change: i64) -> impl Iterator<Item = i64> {
        let hours = (-96..=96).map(|half| half * 1_800);
        let edges = [-BEFORE_A_GAP, AFTER_A_GAP].into_iter();
        hours.chain(edges).flat_map(move |at| (-1..=1).map(move |by| change + at + by))
    }

    #[test]
    fn far_from_a_change_of_clocks_a_search_finds_what_it_finds_by_looking_at_the_change() {
        let expressions =
            ["0/5 * * * * ?", "0 30 * * * ?", "0 0/30 3 * * ?", "0 15 2/7 * * ?", "0 0 3 1W * ?"];
        // 2026-01-01T00:00:00Z and a year later.
        let (start, end) = (1_767_225_600, 1_798_761_600);
        for zone in ["America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"] {
            let zone = Zone::parse(zone).unwrap();
            let next = |at: &i64| Some(zone.offsets().period_at(*at).1);
            let changes = std::iter::successors(Some(start), next).skip(1);
            for change in changes.take_while(|at| *at < end) {
                for expression in expressions {
                    let fields = parse::fields(expression, None).unwrap().fields;
                    let search = Search::new(&fields, zone.offsets(), None);
                    for at in around(change) {
                        let what = format!("{expression} in {zone} from {at}");
                        assert_eq!(search.quartz(at), search.near_a_change(at), "{what}");
                    }
                }
            }
        }
    }
}
