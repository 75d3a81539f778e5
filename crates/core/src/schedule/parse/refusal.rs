//! What is said of a text that is not as it should be: to refuse it, or to object to it.

use super::Token;
use crate::schedule::error::CronError;
use crate::schedule::field::Field;

pub(super) fn syntax(field: Field, token: Token<'_>, what: &str) -> CronError {
    CronError::Syntax { field, offset: token.offset, what: format!("{what}: {:?}", token.shown()) }
}

pub(super) fn greatest_step(field: Field) -> Option<i32> {
    match field {
        Field::Second | Field::Minute => Some(59),
        Field::Hour => Some(23),
        Field::DayOfMonth => Some(31),
        Field::Month => Some(12),
        Field::DayOfWeek => Some(7),
        Field::Year => None,
    }
}

pub(super) fn step_error(field: Field, step: Token<'_>) -> CronError {
    let (low, high) = field.bounds();
    let high = greatest_step(field).unwrap_or(high - low);
    CronError::Step { field, offset: step.offset, step: step.shown(), high }
}

pub(super) fn range(field: Field, value: Token<'_>, (low, high): (i32, i32)) -> CronError {
    CronError::Range { field, offset: value.offset, value: value.shown(), low, high }
}
