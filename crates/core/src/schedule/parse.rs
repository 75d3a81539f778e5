//! Reads expressions by the rules of Quartz 2.3.2, its leniencies included.

mod draft;
mod item;
mod refusal;

use super::error::CronError;
use super::field::Field;
use super::fields::Fields;
use super::limits::MAX_BYTES;
use draft::Draft;
use refusal::syntax;

/// What the strict level refuses although Quartz accepts it, collected on the way.
pub(super) type Objections = Vec<CronError>;

/// What an expression means.
pub(super) struct Parsed {
    pub(super) fields: Fields,
    /// Whether there are any [`Objections`] to it.
    pub(super) objected: bool,
}

/// Reads an expression. With `objections`, also collects what is accepted and should not be.
pub(super) fn fields(
    expression: &str,
    objections: Option<&mut Objections>,
) -> Result<Parsed, CronError> {
    if expression.len() > MAX_BYTES {
        return Err(CronError::TooLong { bytes: expression.len() });
    }
    if expression.is_ascii() {
        let mut folded = [0; MAX_BYTES];
        let folded = &mut folded[..expression.len()];
        folded.copy_from_slice(expression.as_bytes());
        folded.make_ascii_uppercase();
        return folded_fields(folded, objections);
    }
    let folded = fold(expression);
    let unfolded = |error: CronError| error.with_offset(|offset| unfold(expression, offset));
    let mut found = Objections::new();
    let fields = folded_fields(&folded, objections.is_some().then_some(&mut found));
    if let Some(objections) = objections {
        objections.extend(found.into_iter().map(unfolded));
    }
    fields.map_err(unfolded)
}

/// Stands for a unit of UTF-16 beyond ASCII: Quartz counts those, and none of them means anything.
const FOREIGN: u8 = 0xFF;

/// The text in capitals, one byte for each unit of UTF-16.
fn fold(expression: &str) -> Vec<u8> {
    let capitals = expression.chars().flat_map(char::to_uppercase);
    capitals.flat_map(folded_char).collect()
}

fn folded_char(char: char) -> impl Iterator<Item = u8> {
    let byte = u8::try_from(char).ok().filter(u8::is_ascii).unwrap_or(FOREIGN);
    std::iter::repeat_n(byte, char.len_utf16())
}

/// Where the text stands from which the byte at `offset` of the folded one came.
fn unfold(expression: &str, offset: usize) -> usize {
    let mut folded = 0;
    for (at, char) in expression.char_indices() {
        folded += char.to_uppercase().map(char::len_utf16).sum::<usize>();
        if folded > offset {
            return at;
        }
    }
    expression.len()
}

fn folded_fields(text: &[u8], objections: Option<&mut Objections>) -> Result<Parsed, CronError> {
    let got = tokens(text).count();
    if got < Field::DayOfWeek as usize + 1 {
        let blank = text.iter().all(u8::is_ascii_whitespace);
        return Err(if blank { CronError::Empty } else { CronError::Fields { got } });
    }
    let mut draft = Draft::new(objections);
    for (field, token) in Field::ALL.into_iter().zip(tokens(text)) {
        field_items(&mut draft, field, token)?;
    }
    if got == Field::Year as usize {
        draft.every_year();
    } else if got > Field::ALL.len() {
        draft.object(|| CronError::Fields { got });
    }
    draft.finish()
}

/// A part of the text, and where it stands.
#[derive(Clone, Copy)]
struct Token<'t> {
    text: &'t [u8],
    offset: usize,
}

impl<'t> Token<'t> {
    fn part(self, start: usize, end: usize) -> Self {
        Self { text: &self.text[start..end], offset: self.offset + start }
    }

    fn rest(self, start: usize) -> Self {
        self.part(start.min(self.text.len()), self.text.len())
    }

    fn shown(self) -> String {
        self.text
            .iter()
            .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{FFFD}' })
            .collect()
    }
}

/// Fields stand between spaces and tabs; other control characters at their ends do not count.
fn tokens(text: &[u8]) -> impl Iterator<Item = Token<'_>> {
    pieces(Token { text, offset: 0 }, |byte| matches!(byte, b' ' | b'\t')).map(|token| {
        let start = token.text.iter().position(|byte| *byte > b' ').unwrap_or(token.text.len());
        let end = token.text.iter().rposition(|byte| *byte > b' ').map_or(start, |last| last + 1);
        token.part(start, end)
    })
}

/// The pieces of `token` that stand between bytes that part it, without the empty ones.
fn pieces<'t>(token: Token<'t>, parts: fn(u8) -> bool) -> impl Iterator<Item = Token<'t>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &token.text[at..];
        let start = at + rest.iter().position(|byte| !parts(*byte))?;
        let length = token.text[start..].iter().position(|byte| parts(*byte));
        at = length.map_or(token.text.len(), |length| start + length);
        Some(token.part(start, at))
    })
}

fn field_items(draft: &mut Draft<'_>, field: Field, token: Token<'_>) -> Result<(), CronError> {
    let is_list = token.text.contains(&b',');
    if is_list
        && matches!(field, Field::DayOfMonth | Field::DayOfWeek)
        && token.text.contains(&b'L')
    {
        return Err(syntax(field, token, "L cannot stand in a list"));
    }
    let hashes = token.text.iter().filter(|byte| **byte == b'#').count();
    if hashes > 1 && field == Field::DayOfWeek {
        return Err(syntax(field, token, "only one # can be given"));
    }
    let mut items = 0;
    draft.begin(field, token.offset);
    for item in pieces(token, |byte| byte == b',') {
        item::read(draft, field, item)?;
        items += 1;
    }
    let commas = token.text.iter().filter(|byte| **byte == b',').count();
    if items != commas + 1 {
        draft.object(|| syntax(field, token, "a value is missing"));
    }
    Ok(())
}
