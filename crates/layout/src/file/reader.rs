//! Reads values strictly: a text is a text and a number a number, as they were written.

use crate::yaml::{Content, Node};
use flockwork_core::config::{Code, Position, Problem, nearest};
use std::collections::BTreeMap;

/// Collects what is wrong with types and keys.
pub(super) struct Reader {
    place: String,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// A reader whose problems are placed under `place`, which may be empty.
    pub(super) fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), problems: Vec::new() }
    }

    pub(super) fn report(&mut self, name: &str, position: Position, problem: Problem) {
        let place = match (self.place.as_str(), name) {
            ("", name) => name.to_owned(),
            (place, "") => place.to_owned(),
            (place, name) => format!("{place}.{name}"),
        };
        self.problems.push(Problem { place, ..problem.at(Some(position)) });
    }

    fn wrong_type(&mut self, name: &str, value: &Node, expected: &str) {
        let message = format!("takes {expected}, this is {}", value.kind());
        let shown = value.scalar().map_or("", |scalar| scalar.text.as_str());
        let problem = Problem::error(Code::Type, "", message).with_value(shown);
        let problem = match expected {
            "true or false" => problem.with_hint("write true or false, without quotes"),
            "a whole number" => problem.with_hint("write decimal digits, without quotes"),
            _ if value.is_null() => {
                problem.with_hint("remove the key, or write '' for an empty text")
            }
            _ => problem,
        };
        self.report(name, value.position, problem);
    }

    /// Reports a tag of a programming language; whether there is none.
    fn untagged(&mut self, name: &str, value: &Node) -> bool {
        let Some(tag) = &value.tag else { return true };
        let problem = Problem::error(
            Code::TagForbidden,
            "",
            "a tag asks for a type of a programming language",
        );
        self.report(name, value.position, problem.with_value(tag).with_hint("remove the tag"));
        false
    }

    /// The entries of a map: where the key stands, its text, the value. A key that stands there
    /// twice is reported.
    pub(super) fn map<'a>(
        &mut self,
        name: &str,
        value: &'a Node,
    ) -> Option<Vec<(&'a Node, String, &'a Node)>> {
        if !self.untagged(name, value) {
            return None;
        }
        let Some(entries) = value.entries() else {
            self.wrong_type(name, value, "a map");
            return None;
        };
        let mut seen: BTreeMap<String, Position> = BTreeMap::new();
        let mut list = Vec::new();
        for (key, value) in entries {
            let Some(text) = key.scalar().map(|scalar| scalar.text.clone()) else {
                self.wrong_type(name, key, "text as a key");
                continue;
            };
            if let Some(first) = seen.insert(text.clone(), key.position) {
                let message = format!("written twice: at {first} and at {}", key.position);
                let problem =
                    Problem::error(Code::DuplicateKey, "", message).with_hint("remove one of them");
                let inner = if name.is_empty() { text.clone() } else { format!("{name}.{text}") };
                self.report(&inner, key.position, problem);
            }
            list.push((key, text, value));
        }
        Some(list)
    }

    /// Pairs of texts, in their order; a key may stand there twice.
    pub(super) fn pairs(&mut self, name: &str, value: &Node) -> Option<Vec<(String, String)>> {
        if !self.untagged(name, value) {
            return None;
        }
        let Some(entries) = value.entries() else {
            self.wrong_type(name, value, "a map of texts");
            return None;
        };
        let mut pairs = Vec::new();
        for (key, value) in entries {
            let key = self.text(name, key)?;
            pairs.push((key, self.text(name, value)?));
        }
        Some(pairs)
    }

    /// A text as it was written, whatever else it could be.
    pub(super) fn text(&mut self, name: &str, value: &Node) -> Option<String> {
        if !self.untagged(name, value) {
            return None;
        }
        match value.scalar() {
            Some(scalar) if !scalar.is_null() => Some(scalar.text.clone()),
            _ => {
                self.wrong_type(name, value, "text");
                None
            }
        }
    }

    pub(super) fn truth(&mut self, name: &str, value: &Node) -> Option<bool> {
        if !self.untagged(name, value) {
            return None;
        }
        match value.scalar().filter(|scalar| scalar.plain).map(|scalar| scalar.text.as_str()) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                self.wrong_type(name, value, "true or false");
                None
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, value: &Node) -> Option<i64> {
        if !self.untagged(name, value) {
            return None;
        }
        let plain = value.scalar().filter(|scalar| scalar.plain).map(|scalar| scalar.text.as_str());
        let read = plain.filter(|text| is_decimal(text)).and_then(|text| text.parse().ok());
        if read.is_none() {
            self.wrong_type(name, value, "a whole number");
        }
        read
    }

    pub(super) fn list(&mut self, name: &str, value: &Node) -> Option<Vec<String>> {
        if !self.untagged(name, value) {
            return None;
        }
        let Content::List(items) = &value.content else {
            self.wrong_type(name, value, "a list of texts");
            return None;
        };
        items.iter().map(|item| self.text(name, item)).collect()
    }

    /// Reports a key that is none of `known`.
    pub(super) fn unknown(&mut self, name: &str, key: &Node, known: &[&str]) {
        let problem = Problem::error(Code::UnknownKey, "", "not a known key").with_value(name);
        let last = name.rsplit('.').next().unwrap_or(name);
        let problem = match nearest(last, known.iter().copied()) {
            Some(word) => problem.with_hint(format!("did you mean {word}?")),
            None => problem.with_hint(format!("known are {}", known.join(", "))),
        };
        self.report(name, key.position, problem);
    }
}

/// Without underscores, base prefixes and leading zeros, which mean different numbers to different
/// readers.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}
