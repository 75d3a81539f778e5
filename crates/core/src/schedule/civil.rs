//! Dates and times of day without a zone, as a wall clock shows them, and as seconds since
//! 1970-01-01T00:00:00 on that clock ("wall seconds").

/// A date and a time of day. Fields may stand outside their ranges until [`Civil::settled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i32,
    /// From 1.
    pub(super) month: i32,
    /// From 1.
    pub(super) day: i32,
    pub(super) hour: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
}

const SECONDS_OF_DAY: i64 = 86_400;

impl Civil {
    pub(super) fn from_wall(seconds: i64) -> Self {
        let (year, month, day) = date_of(seconds.div_euclid(SECONDS_OF_DAY));
        let of_day = i32::try_from(seconds.rem_euclid(SECONDS_OF_DAY)).unwrap_or(0);
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Wall seconds; fields outside their ranges carry over into the next greater ones.
    pub(super) fn wall(&self) -> i64 {
        let months = i64::from(self.year) * 12 + i64::from(self.month) - 1;
        let days = days_before(months.div_euclid(12), months.rem_euclid(12) + 1);
        (days + i64::from(self.day) - 1) * SECONDS_OF_DAY
            + i64::from(self.hour) * 3600
            + i64::from(self.minute) * 60
            + i64::from(self.second)
    }

    /// The same moment with every field in its range.
    pub(super) fn settled(mut self) -> Self {
        if self.month == 13 {
            (self.year, self.month) = (self.year + 1, 1);
        }
        let in_range = (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second)
            && (1..=12).contains(&self.month)
            && self.day >= 1
            && (self.day <= 28 || self.day <= days_of_month(self.year, self.month));
        if in_range { self } else { Self::from_wall(self.wall()) }
    }

    /// The day of the week, from 1 for Sunday to 7 for Saturday.
    pub(super) fn weekday(&self) -> i32 {
        let days = self.wall().div_euclid(SECONDS_OF_DAY);
        // 1970-01-01 was a Thursday.
        i32::try_from((days + 4).rem_euclid(7)).unwrap_or(0) + 1
    }
}

/// How many days `month` (1 to 12) of `year` has.
pub(super) fn days_of_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of `month` (1 to 12). Years are counted from March, so that
/// the leap day is the last of its year.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the day `days` after 1970-01-01, which is none before the year 0. Without signs
/// these divisions cost about half.
fn date_of(days: i64) -> (i32, i32, i32) {
    let days = u32::try_from(days + 719_468).unwrap_or(0);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    (signed(year), signed(month), signed(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_six_centuries_agrees_with_jiff() {
        let mut date = jiff::civil::date(1900, 1, 1);
        let first = Civil { year: 1900, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        for days in 0..220_000_i64 {
            let civil = Civil::from_wall(first.wall() + days * SECONDS_OF_DAY + 86_399);
            assert_eq!(
                (civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second),
                (date.year().into(), date.month().into(), date.day().into(), 23, 59, 59)
            );
            assert_eq!(civil.weekday(), i32::from(date.weekday().to_sunday_one_offset()));
            assert_eq!(days_of_month(civil.year, civil.month), i32::from(date.days_in_month()));
            assert_eq!(civil.settled(), civil);
            date = date.tomorrow().expect("far from the last date");
        }
    }

    #[test]
    fn fields_beyond_their_ranges_carry_over() {
        let odd = Civil { year: 2026, month: 13, day: 32, hour: 24, minute: 60, second: -1 };
        let even = Civil { year: 2027, month: 2, day: 2, hour: 0, minute: 59, second: 59 };
        assert_eq!(odd.settled(), even);
    }
}
