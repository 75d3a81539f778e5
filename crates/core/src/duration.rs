//! Durations as people write them: `250ms`, `10s`, `5m`, `1h30m`, `7d`.

use std::time::Duration;

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// Nothing.
    #[error("a duration may not be empty")]
    Empty,
    /// A number without its unit.
    #[error("the unit is missing")]
    UnitMissing,
    /// A sign.
    #[error("a duration may not be negative")]
    Negative,
    /// Another unit, or a number that is none.
    #[error("not a duration")]
    Syntax,
    /// A unit twice, or a longer one after a shorter one.
    #[error("the units of a duration go from long to short, each once")]
    Order,
    /// More than can be counted.
    #[error("too long a duration")]
    TooLong,
}

/// Reads whole numbers with their units, from long to short: `d`, `h`, `m`, `s`, `ms`.
///
/// # Errors
/// [`BadDuration`], if it is anything else: a unit is never guessed.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(BadDuration::Empty);
    }
    if rest.starts_with('-') {
        return Err(BadDuration::Negative);
    }
    let (mut millis, mut longest) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(BadDuration::Syntax);
        }
        if unit.is_empty() && tail.is_empty() {
            return Err(BadDuration::UnitMissing);
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or(BadDuration::Syntax)?.1;
        if scale >= longest {
            return Err(BadDuration::Order);
        }
        let number: u64 = number.parse().map_err(|_| BadDuration::TooLong)?;
        let part = number.checked_mul(scale).ok_or(BadDuration::TooLong)?;
        millis = millis.checked_add(part).ok_or(BadDuration::TooLong)?;
        (rest, longest) = (tail, scale);
    }
    Ok(Duration::from_millis(millis))
}

/// Writes `duration` so that [`parse`] reads the same, to the millisecond.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, scale) in UNITS {
        if millis >= scale {
            out.push_str(&(millis / scale).to_string());
            out.push_str(unit);
            millis %= scale;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in
            [("10s", 10_000), ("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
    }

    #[test]
    fn what_is_no_duration_is_refused_by_its_reason() {
        for (text, why) in [
            ("", BadDuration::Empty),
            ("10", BadDuration::UnitMissing),
            ("5m5", BadDuration::UnitMissing),
            ("-5s", BadDuration::Negative),
            ("1e9s", BadDuration::Syntax),
            ("5 minutes", BadDuration::Syntax),
            ("1.5h", BadDuration::Syntax),
            ("∞", BadDuration::Syntax),
            ("5S", BadDuration::Syntax),
            ("5s5m", BadDuration::Order),
            ("5s5s", BadDuration::Order),
            ("99999999999999999999s", BadDuration::TooLong),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for millis in [0, 1, 999, 1000, 61_001, 3_600_000, 90_061_001, u64::MAX] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration), "{millis}");
        }
    }
}
