//! What an expression means, field by field.

/// When clocks show a time of the expression. Bit `n` of a set stands for the value `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u32,
    pub(super) days: Days,
    pub(super) months: u16,
    pub(super) years: Years,
}

/// On which days of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// These dates.
    Dates(u32),
    /// The last one, or so many before it.
    BeforeLast(i32),
    /// The weekday (Monday to Friday) nearest to [`Days::BeforeLast`], in the same month.
    WeekdayBeforeLast(i32),
    /// The weekday nearest to a date, in the same month.
    NearestWeekday(i32),
    /// These days of the week, 1 being Sunday.
    Weekdays(u32),
    /// The last one of this day of the week.
    LastWeekday(i32),
    /// The n-th one of a day of the week.
    NthWeekday {
        /// 1 being Sunday.
        weekday: i32,
        /// From 1 to 5.
        nth: i32,
    },
    /// None (`9#2`).
    Never,
}

/// In which years. Most expressions name none, and that takes no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Years {
    /// From 1970 on.
    All,
    /// Bit `n` stands for `1970 + n`.
    Some(Box<[u64; Years::WORDS]>),
}

impl Years {
    pub(super) const WORDS: usize = 6;

    /// How many years there are from the first to the last.
    pub(super) const COUNT: i32 = 330;

    pub(super) fn of(words: [u64; Self::WORDS]) -> Self {
        if words == [u64::MAX; Self::WORDS] { Self::All } else { Self::Some(Box::new(words)) }
    }

    /// The first year of the set that is not before `year`.
    pub(super) fn first_from(&self, year: i32) -> Option<i32> {
        let from = usize::try_from(year.max(1970) - 1970).unwrap_or(0);
        let Self::Some(words) = self else { return Some(year.max(1970)) };
        let mut word = from / 64;
        let mut rest = words.get(word)? >> (from % 64) << (from % 64);
        while rest == 0 {
            word += 1;
            rest = *words.get(word)?;
        }
        let found = word * 64 + usize::try_from(rest.trailing_zeros()).unwrap_or(0);
        i32::try_from(found).ok().map(|found| found + 1970)
    }
}
