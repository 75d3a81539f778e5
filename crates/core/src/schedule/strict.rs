//! What the strict level refuses of how an expression is written, on top of what Quartz refuses.

use super::error::CronError;
use super::parse;

/// All that it refuses in `expression`. `objected` says whether the first reading met any of it,
/// since most expressions need no second one.
pub(super) fn objections(expression: &str, objected: bool) -> Vec<CronError> {
    let mut found = parse::Objections::new();
    // It was read once, so it can be read again; a refusal is an objection all the same.
    if objected && let Err(error) = parse::fields(expression, Some(&mut found)) {
        found.push(error);
    }
    let unprintable = |char: char| char != ' ' && char != '\t' && !char.is_ascii_graphic();
    let foreign = expression.char_indices().find(|(_, char)| unprintable(*char));
    if let Some((offset, _)) = foreign {
        found.push(CronError::Foreign { offset });
    }
    found
}
