//! YAML as it was written: a bounded tree that knows where each value stands, how it was quoted and
//! which tag it had. What the values mean is decided by whoever reads them.

mod build;
mod emit;
mod text;

pub use emit::flow;
pub use text::text_of;

use flockwork_core::config::{Code, Position, Problem};
use std::ops::Range;

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep collections may stand in each other. Real documents stay below 10.
pub const MAX_DEPTH: usize = 64;
/// How many values a document may have once its aliases are expanded.
pub const MAX_NODES: usize = 200_000;
/// How much text a document may have once its aliases are expanded, in bytes.
pub const MAX_TEXT: usize = 4 << 20;

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its text.
    pub text: String,
    /// Its root; none if it is empty.
    pub root: Option<Node>,
    /// Where its content ends, in bytes of its text.
    pub end: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Where it starts.
    pub position: Position,
    /// Its place in the document's text, in bytes; for a collection in block style where it starts.
    pub range: Range<usize>,
    /// Its tag as written, unless it is one of YAML's own.
    pub tag: Option<String>,
    /// Whether it is written between brackets, or stands for what an anchor names.
    pub inline: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A single value.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Keys and values in order; a key may stand there twice.
    Map(Vec<(Node, Node)>),
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, unescaped.
    pub text: String,
    /// Whether it was written without quotes and without tag, so that it may be a number, a truth
    /// value or nothing.
    pub plain: bool,
}

impl Scalar {
    /// Whether it says that there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// The single value this is, if it is one.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether it says that there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// The keys and values of a map, by their text; none if this is no map.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`; the last one if it stands there twice, as every YAML library has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let named = |node: &Self| node.scalar().is_some_and(|scalar| scalar.text == key);
        self.entries()?.iter().rev().find(|(name, _)| named(name)).map(|(_, value)| value)
    }

    /// What kind of value it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(scalar) if scalar.plain && is_number(&scalar.text) => "a number",
            Content::Scalar(scalar) if scalar.plain && is_truth(&scalar.text) => "a truth value",
            Content::Scalar(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

fn is_truth(text: &str) -> bool {
    matches!(text, "true" | "false")
}

/// Reads one document.
///
/// # Errors
/// One problem that ends the reading: the syntax, or a limit.
pub fn parse(text: &str) -> Result<Document, Problem> {
    if text.len() > MAX_BYTES {
        let problem = Problem::error(Code::ConfigLimit, "", "the document is too long");
        return Err(problem.with_limit(format!("{MAX_BYTES} bytes")));
    }
    build::build(text)
}

#[cfg(test)]
mod tests;
