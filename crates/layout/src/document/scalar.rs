//! What the YAML library of ElasticJob makes of a single value, which is YAML 1.1: `yes` is a truth
//! value, `010` is eight, `1:30` is ninety.

use crate::yaml::Scalar;

/// A truth value, in any case.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number in Java's 32 bits: decimal, `0x`, `0b`, octal after `0`, base 60 with colons, and
/// underscores anywhere.
pub(super) fn int(text: &str) -> Option<i32> {
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = magnitude(digits)?;
    i32::try_from(if negative { -value } else { value }).ok()
}

fn magnitude(digits: &str) -> Option<i64> {
    if digits == "0" {
        return Some(0);
    }
    if let Some(binary) = digits.strip_prefix("0b") {
        return unsigned(binary, 2);
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return unsigned(hexadecimal, 16);
    }
    if let Some(octal) = digits.strip_prefix('0') {
        return unsigned(octal, 8);
    }
    let sixtieths = |sum: i64, part| sum.checked_mul(60)?.checked_add(unsigned(part, 10)?);
    digits.split(':').try_fold(0, sixtieths)
}

fn unsigned(digits: &str, radix: u32) -> Option<i64> {
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}

/// A property's value as Java's `toString` gives it back: a plain `010` is the number 8 by then.
pub(super) fn property(scalar: &Scalar) -> String {
    let text = scalar.text.as_str();
    if !scalar.plain {
        return text.to_owned();
    }
    if let Some(truth) = truth(text).filter(|_| is_truth_spelling(text)) {
        return truth.to_string();
    }
    match int(text).filter(|_| is_number_spelling(text)) {
        Some(number) => number.to_string(),
        None => text.to_owned(),
    }
}

/// The spellings that the library takes for a whole number where any type may stand.
fn is_number_spelling(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let inner = |c: char| c.is_ascii_hexdigit() || matches!(c, '_' | 'x' | 'b');
    match digits.split_once(':') {
        None => digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(inner),
        Some((first, rest)) => {
            let sixtieth =
                |part: &str| matches!(part.len(), 1 | 2) && part < "6" || part.len() == 1;
            first.starts_with(|c: char| matches!(c, '1'..='9')) && rest.split(':').all(sixtieth)
        }
    }
}

/// YAML 1.1 knows three spellings of each truth value.
fn is_truth_spelling(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let mut letters = lower.chars();
    let capital: String =
        letters.next().iter().map(char::to_ascii_uppercase).chain(letters).collect();
    text == lower || text == capital || text == lower.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_yaml_1_1() {
        for (text, expected) in [
            ("10", Some(10)),
            ("-1", Some(-1)),
            ("+3", Some(3)),
            ("010", Some(8)),
            ("0x10", Some(16)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("1:30", Some(90)),
            ("2147483648", None),
            ("1.5", None),
            ("--1", None),
            ("08", None),
            ("08:30", None),
            ("", None),
            ("NaN", None),
        ] {
            assert_eq!(int(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_property_is_what_java_makes_of_it() {
        let plain = |text: &str| property(&Scalar { text: text.to_owned(), plain: true });
        for (text, expected) in [
            ("010", "8"),
            ("12:30:45", "45045"),
            ("08:30", "08:30"),
            ("1:75", "1:75"),
            ("08", "08"),
            ("1_000", "1000"),
            ("_1", "_1"),
            ("yes", "true"),
            ("Off", "false"),
            ("yEs", "yEs"),
            ("a", "a"),
        ] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(property(&Scalar { text: "010".to_owned(), plain: false }), "010");
    }
}
