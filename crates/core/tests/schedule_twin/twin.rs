//! Schedules told apart from their spelling, and judged one second at a time.

use crate::rng::Rng;
use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Weekday};
use std::collections::BTreeSet;

pub(crate) type Values = BTreeSet<i64>;

#[derive(Debug)]
pub(crate) struct Twin {
    seconds: Values,
    minutes: Values,
    hours: Values,
    days: Days,
    months: Values,
    years: Option<Values>,
}

#[derive(Debug)]
enum Days {
    Dates(Values),
    BeforeLast(i64),
    WeekdayBeforeLast(i64),
    WeekdayNearest(i64),
    Weekdays(Values),
    Last(i64),
    Nth(i64, i64),
}

impl Twin {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        Self {
            seconds: values(rng, 0, 59),
            minutes: values(rng, 0, 59),
            hours: if rng.one_in(3) { (0..=23).collect() } else { values(rng, 0, 23) },
            days: days(rng),
            months: if rng.one_in(2) { (1..=12).collect() } else { values(rng, 1, 12) },
            years: rng.one_in(4).then(|| values(rng, 2018, 2028)),
        }
    }

    /// One that is due on every day.
    pub(crate) fn daily(rng: &mut Rng) -> Self {
        let days = Days::Weekdays((1..=7).collect());
        Self { days, months: (1..=12).collect(), years: None, ..Self::any(rng) }
    }

    /// How a cron expression says it.
    pub(crate) fn spelt(&self) -> String {
        let (date, weekday) = match &self.days {
            Days::Dates(dates) => (listed(dates), "?".to_owned()),
            Days::BeforeLast(0) => ("L".to_owned(), "?".to_owned()),
            Days::BeforeLast(n) => (format!("L-{n}"), "?".to_owned()),
            Days::WeekdayBeforeLast(0) => ("LW".to_owned(), "?".to_owned()),
            Days::WeekdayBeforeLast(n) => (format!("L-{n}W"), "?".to_owned()),
            Days::WeekdayNearest(date) => (format!("{date}W"), "?".to_owned()),
            Days::Weekdays(weekdays) => ("?".to_owned(), listed(weekdays)),
            Days::Last(weekday) => ("?".to_owned(), format!("{weekday}L")),
            Days::Nth(weekday, nth) => ("?".to_owned(), format!("{weekday}#{nth}")),
        };
        let time = [listed(&self.seconds), listed(&self.minutes), listed(&self.hours)].join(" ");
        let years = self.years.as_ref().map_or_else(|| "*".to_owned(), listed);
        format!("{time} {date} {} {weekday} {years}", listed(&self.months))
    }

    pub(crate) fn every_hour(&self) -> bool {
        self.hours.len() == 24
    }

    pub(crate) fn is_due(&self, at: DateTime) -> bool {
        self.seconds.contains(&at.second().into())
            && self.minutes.contains(&at.minute().into())
            && self.hours.contains(&at.hour().into())
            && self.is_due_on(at.date())
    }

    pub(crate) fn is_due_on(&self, date: Date) -> bool {
        self.months.contains(&date.month().into())
            && self.years.as_ref().is_none_or(|years| years.contains(&date.year().into()))
            && self.days.contain(date)
    }
}

impl Days {
    fn contain(&self, date: Date) -> bool {
        let last = date.last_of_month();
        let weekday = i64::from(date.weekday().to_sunday_one_offset());
        match self {
            Self::Dates(dates) => dates.contains(&date.day().into()),
            Self::BeforeLast(n) => date + n.days() == last,
            Self::WeekdayBeforeLast(n) => nearest_weekday(last - n.days()) == date,
            Self::WeekdayNearest(day) => {
                let same_month = date.first_of_month() + (day - 1).days();
                same_month.month() == date.month() && nearest_weekday(same_month) == date
            }
            Self::Weekdays(weekdays) => weekdays.contains(&weekday),
            Self::Last(wanted) => weekday == *wanted && (date + 7.days()).month() != date.month(),
            Self::Nth(wanted, nth) => {
                let earlier =
                    (0..).take_while(|weeks| (date - (*weeks * 7).days()).month() == date.month());
                weekday == *wanted && earlier.count() == usize::try_from(*nth).expect("small")
            }
        }
    }
}

/// The day from Monday to Friday that is nearest to `date` in its month.
fn nearest_weekday(date: Date) -> Date {
    let in_month = |day: &Date| day.month() == date.month();
    let works = |day: &Date| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    [0, -1, 1, -2, 2]
        .map(|days: i64| date + days.days())
        .into_iter()
        .find(|day| in_month(day) && works(day))
        .expect("no weekend has three days")
}

fn values(rng: &mut Rng, low: i64, high: i64) -> Values {
    match rng.between(0, 3) {
        0 => (low..=high).collect(),
        1 => {
            let step = usize::try_from(rng.between(1, 20)).expect("not negative");
            (rng.between(low, high)..=high).step_by(step).collect()
        }
        _ => (0..rng.between(1, 3)).map(|_| rng.between(low, high)).collect(),
    }
}

fn days(rng: &mut Rng) -> Days {
    match rng.between(0, 9) {
        0 => Days::BeforeLast(rng.between(0, 30)),
        1 => Days::WeekdayBeforeLast(rng.between(0, 25)),
        // Beyond the 28th, February's would lie in March, where Quartz has a meaning of its own.
        2 => Days::WeekdayNearest(rng.between(1, 28)),
        3 => Days::Last(rng.between(1, 7)),
        4 => Days::Nth(rng.between(1, 7), rng.between(1, 5)),
        5 | 6 => Days::Weekdays(values(rng, 1, 7)),
        _ => Days::Dates(values(rng, 1, 31)),
    }
}

fn listed(values: &Values) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
