//! Writes a tree in one line, with its tags.

use super::{Content, Node};

/// `node` between brackets on one line, so that it means the same to every YAML library: texts in
/// double quotes, other values as they were written.
#[must_use]
pub fn flow(node: &Node) -> String {
    let mut out = String::new();
    write(node, &mut out);
    out
}

fn write(node: &Node, out: &mut String) {
    if let Some(tag) = &node.tag {
        out.push_str(tag);
        out.push(' ');
    }
    match &node.content {
        Content::Scalar(scalar) if scalar.plain && is_simple(&scalar.text) => {
            out.push_str(&scalar.text)
        }
        Content::Scalar(scalar) => quote(&scalar.text, out),
        Content::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                separate(index, out);
                write(item, out);
            }
            out.push(']');
        }
        Content::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                separate(index, out);
                write(key, out);
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push_str(", ");
    }
}

/// Numbers, truth values, dates and names: what may be something else than text, and holds nothing
/// that brackets give a meaning to.
fn is_simple(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+'))
        && text.chars().all(inner)
        || text == "~"
        || text.strip_prefix('-').is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(inner)
        })
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{a0}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'..='\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
