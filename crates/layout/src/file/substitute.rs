//! Puts environment variables in their places.

use crate::yaml::{Content, Node, Scalar};
use flockwork_core::config::{Code, Position, Problem, shown};
use std::collections::BTreeMap;

/// Replaces `${NAME}` in every value below `root`, ElasticJob's documents aside, and reports what is
/// missing. What was replaced is returned as it was written, by its place: the values of variables
/// are not for messages.
pub(super) fn substitute(
    root: &mut Node,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Position, Replaced> {
    let mut walk = Walk { environment, problems, replaced: BTreeMap::new() };
    walk.node(root, "");
    walk.replaced
}

/// A value that held variables.
pub(super) struct Replaced {
    written: String,
    by: String,
}

impl Replaced {
    /// `problem` with the value as it was written.
    pub(super) fn hide(&self, problem: &mut Problem) {
        problem.value = problem.value.is_some().then(|| shown(&self.written).into());
        if !self.by.is_empty() {
            problem.message = problem.message.replace(&self.by, &self.written);
        }
    }
}

struct Walk<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
    replaced: BTreeMap<Position, Replaced>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, place: &str) {
        if node.get("format").is_some() {
            return;
        }
        let position = node.position;
        match &mut node.content {
            Content::Scalar(scalar) => self.scalar(scalar, position, place),
            Content::List(list) => list.iter_mut().for_each(|item| self.node(item, place)),
            Content::Map(entries) => {
                for (key, value) in entries {
                    let key = key.scalar().map_or("", |scalar| scalar.text.as_str());
                    let inner =
                        if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
                    self.node(value, &inner);
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, position: Position, place: &str) {
        if !scalar.text.contains("${") {
            return;
        }
        match expand(&scalar.text, self.environment) {
            Ok(text) => {
                let written = std::mem::replace(&mut scalar.text, text.clone());
                self.replaced.insert(position, Replaced { written, by: text });
                scalar.plain &= !scalar.is_null();
            }
            Err(problem) => self
                .problems
                .push(Problem { place: place.to_owned(), ..problem.at(Some(position)) }),
        }
    }
}

/// A variable's value is not looked into again.
fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
            let problem =
                Problem::error(Code::EnvMissing, "", "not the name of an environment variable");
            return Err(problem
                .with_value(text)
                .with_hint("write ${NAME}, or $${ for the characters ${"));
        };
        let Some(value) = environment(name) else {
            let message = format!("the environment variable {name} is not set, or not text");
            return Err(Problem::error(Code::EnvMissing, "", message).with_value(text));
        };
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "B" => Some("${A}".to_owned()),
            _ => None,
        };
        expand(text, &environment).map_err(|problem| problem.message)
    }

    #[test]
    fn variables_are_put_in_their_places_once() {
        for (text, expected) in
            [("x${A}y${A}", "x1y1"), ("${B}", "${A}"), ("$${A} $A", "${A} $A"), ("$$${A}", "$${A}")]
        {
            assert_eq!(expanded(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(expanded("${A}${NOBODY}").unwrap_err().contains("NOBODY"));
        for text in ["${", "${}", "${A", "${A${A}}", "${1}", "${a-b}"] {
            assert!(expanded(text).is_err(), "{text}");
        }
    }
}
