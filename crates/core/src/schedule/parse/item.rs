//! One item of a list: `5`, `0/5`, `MON-FRI`, `L-3W`, `2#1`.

use super::Token;
use super::draft::{Draft, Span};
use super::refusal::{greatest_step, range, step_error, syntax};
use crate::schedule::error::CronError;
use crate::schedule::field::Field;

pub(super) fn read(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    match item.text {
        [b'L', rest @ ..] if is_last(rest) => last(draft, field, item),
        [b'A'..=b'Z', ..] => name(draft, field, item),
        [b'?', ..] => unspecified(draft, field, item),
        [b'*' | b'/', ..] => every(draft, field, item),
        [b'0'..=b'9', ..] => number(draft, field, item),
        _ => Err(syntax(field, item, "not a value")),
    }
}

/// What may follow an `L` that is no name: nothing, `W`, or `-3` with or without `W`.
fn is_last(rest: &[u8]) -> bool {
    match rest {
        [] | [b'W'] => true,
        [b'-', offset @ ..] => {
            let digits = offset.strip_suffix(b"W").unwrap_or(offset);
            digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

fn last(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    match field {
        Field::DayOfMonth => last_day(draft, item),
        Field::DayOfWeek => {
            ignored(draft, field, item.rest(1));
            draft.add_single(field, item.part(0, 1), 7)
        }
        _ => {
            ignored(draft, field, item);
            Ok(())
        }
    }
}

fn last_day(draft: &mut Draft<'_>, item: Token<'_>) -> Result<(), CronError> {
    let field = Field::DayOfMonth;
    let mut offset = 0;
    if let [_, b'-', digits @ ..] = item.text {
        if digits.is_empty() {
            return Err(syntax(field, item, "days before the last are missing"));
        }
        if digits == b"W" {
            draft.object(|| syntax(field, item, "days before the last are missing"));
        }
        offset = value(field, item.rest(2))?.0;
        if offset > 30 {
            return Err(range(field, item.rest(2), (0, 30)));
        }
    }
    draft.last_day(offset, item.text.ends_with(b"W"));
    Ok(())
}

fn name(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    let first = named(field, item)?;
    match (field, item.text.get(3)) {
        (_, Some(b'-')) => {
            let last = named(field, item.rest(4))?;
            ignored(draft, field, item.rest(7));
            draft.add(field, item, Span { start: first, end: Some(last), step: 1 })
        }
        (Field::DayOfWeek, Some(b'#')) => {
            draft.nth_weekday(nth(item.rest(4))?);
            draft.add_single(field, item, first)
        }
        (Field::DayOfWeek, Some(b'L')) => {
            ignored(draft, field, item.rest(4));
            draft.last_weekday();
            draft.add_single(field, item, first)
        }
        _ => {
            ignored(draft, field, item.rest(3));
            draft.add_single(field, item, first)
        }
    }
}

const MONTHS: &[u8] = b"JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC";
const WEEKDAYS: &[u8] = b"SUNMONTUEWEDTHUFRISAT";

/// The number of the name whose three letters `item` starts with.
fn named(field: Field, item: Token<'_>) -> Result<i32, CronError> {
    let names = match field {
        Field::Month => MONTHS,
        Field::DayOfWeek => WEEKDAYS,
        _ => return Err(syntax(field, item, "no names here")),
    };
    let number =
        item.text.get(..3).and_then(|name| names.chunks(3).position(|known| known == name));
    number
        .and_then(|number| i32::try_from(number + 1).ok())
        .ok_or_else(|| syntax(field, item, "not a name"))
}

fn unspecified(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    if !matches!(field, Field::DayOfMonth | Field::DayOfWeek) {
        return Err(syntax(field, item, "? stands only for a day"));
    }
    if item.text.len() > 2 {
        return Err(syntax(field, item.rest(1), "text after ?"));
    }
    ignored(draft, field, item.rest(1));
    draft.unspecified(field);
    Ok(())
}

fn every(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    let step = match item.text {
        [b'/', ..] => item.rest(1),
        [b'*', b'/', ..] => item.rest(2),
        _ => {
            ignored(draft, field, item.rest(1));
            draft.add_every(field);
            return Ok(());
        }
    };
    let by = signed(step).ok_or_else(|| syntax(field, item, "not a step"))?;
    check_step(field, step, by)?;
    if by <= 0 {
        draft.object(|| step_error(field, step));
        draft.add_every(field);
        return Ok(());
    }
    draft.object_to_long_step(field, step, by);
    draft.add(field, item, Span { start: field.bounds().0, end: None, step: by })
}

fn number(draft: &mut Draft<'_>, field: Field, item: Token<'_>) -> Result<(), CronError> {
    let (start, length) = value(field, item)?;
    let rest = item.rest(length);
    let own = item.part(0, length);
    match rest.text {
        [] => draft.add_single(field, own, start),
        [b'L', ..] => last_numbered_weekday(draft, field, own, start, rest),
        [b'W', ..] => nearest_weekday(draft, field, own, start, rest),
        [b'#', ..] => nth_numbered_weekday(draft, field, own, start, rest),
        [b'-', ..] => range_from(draft, field, item, start, rest.rest(1)),
        [b'/', ..] => steps_from(draft, field, item, start, rest.rest(1)),
        _ => {
            ignored(draft, field, rest);
            draft.add_single(field, own, start)
        }
    }
}

fn last_numbered_weekday(
    draft: &mut Draft<'_>,
    field: Field,
    own: Token<'_>,
    weekday: i32,
    rest: Token<'_>,
) -> Result<(), CronError> {
    if field != Field::DayOfWeek {
        return Err(syntax(field, rest, "L after a number stands only for a day of the week"));
    }
    if !(1..=7).contains(&weekday) {
        return Err(range(field, own, (1, 7)));
    }
    ignored(draft, field, rest.rest(1));
    draft.last_weekday();
    draft.add_single(field, own, weekday)
}

fn nearest_weekday(
    draft: &mut Draft<'_>,
    field: Field,
    own: Token<'_>,
    date: i32,
    rest: Token<'_>,
) -> Result<(), CronError> {
    if field != Field::DayOfMonth {
        return Err(syntax(field, rest, "W stands only for a day of the month"));
    }
    if !(1..=31).contains(&date) {
        return Err(range(field, own, (1, 31)));
    }
    ignored(draft, field, rest.rest(1));
    draft.nearest_weekday();
    draft.add_single(field, own, date)
}

fn nth_numbered_weekday(
    draft: &mut Draft<'_>,
    field: Field,
    own: Token<'_>,
    weekday: i32,
    rest: Token<'_>,
) -> Result<(), CronError> {
    if field != Field::DayOfWeek {
        return Err(syntax(field, rest, "# stands only for a day of the week"));
    }
    draft.nth_weekday(nth(rest.rest(1))?);
    if (1..=7).contains(&weekday) {
        return draft.add_single(field, own, weekday);
    }
    draft.object(|| range(field, own, (1, 7)));
    draft.strange_weekday(weekday);
    Ok(())
}

fn nth(text: Token<'_>) -> Result<i32, CronError> {
    let nth = signed(text).filter(|nth| (1..=5).contains(nth));
    nth.ok_or_else(|| range(Field::DayOfWeek, text, (1, 5)))
}

fn range_from(
    draft: &mut Draft<'_>,
    field: Field,
    item: Token<'_>,
    start: i32,
    rest: Token<'_>,
) -> Result<(), CronError> {
    let (end, length) = digits(field, rest, "the end of the range is missing")?;
    let after = rest.rest(length);
    let [b'/', ..] = after.text else {
        ignored(draft, field, after);
        return draft.add(field, item, Span { start, end: Some(end), step: 1 });
    };
    let step = after.rest(1);
    let (by, length) = digits(field, step, "the step is missing")?;
    ignored(draft, field, step.rest(length));
    draft.object_to_long_step(field, step.part(0, length), by);
    draft.add(field, item, Span { start, end: Some(end), step: by })
}

fn steps_from(
    draft: &mut Draft<'_>,
    field: Field,
    item: Token<'_>,
    start: i32,
    step: Token<'_>,
) -> Result<(), CronError> {
    let (by, length) = digits(field, step, "the step is missing")?;
    // Quartz looks at what follows a step of one digit, and not at what follows a longer one.
    if length == 1 && step.text.len() > 1 {
        return Err(syntax(field, step.rest(1), "text after the step"));
    }
    ignored(draft, field, step.rest(length));
    let step = step.part(0, length);
    check_step(field, step, by)?;
    draft.object_to_long_step(field, step, by);
    draft.add(field, item, Span { start, end: None, step: by })
}

fn check_step(field: Field, step: Token<'_>, by: i32) -> Result<(), CronError> {
    match greatest_step(field) {
        Some(greatest) if by > greatest => Err(step_error(field, step)),
        _ => Ok(()),
    }
}

/// Quartz reads a value and lets be what follows it.
fn ignored(draft: &mut Draft<'_>, field: Field, rest: Token<'_>) {
    if !rest.text.is_empty() {
        draft.object(|| syntax(field, rest, "text that is ignored"));
    }
}

/// The digits at the start of `token` as a number, and how many they are; at least one.
fn digits(field: Field, token: Token<'_>, missing: &str) -> Result<(i32, usize), CronError> {
    match token.text.first() {
        Some(b'0'..=b'9') => value(field, token),
        _ => Err(syntax(field, token, missing)),
    }
}

/// The digits at the start of `token` as a number, and how many they are; none are 0.
fn value(field: Field, token: Token<'_>) -> Result<(i32, usize), CronError> {
    let digits = token.text.iter().take_while(|byte| byte.is_ascii_digit());
    let read = digits.clone().try_fold(0_i32, |value, digit| {
        value.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    });
    let length = digits.count();
    read.map(|value| (value, length))
        .ok_or_else(|| range(field, token.part(0, length), field.bounds()))
}

/// All of `token` as a number with or without a sign.
fn signed(token: Token<'_>) -> Option<i32> {
    std::str::from_utf8(token.text).ok()?.parse().ok()
}
