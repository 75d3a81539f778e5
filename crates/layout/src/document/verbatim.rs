//! Keeps a part of a document exactly as it was written.

use crate::yaml::{Document, Node, flow, parse};

/// What follows the colon of the entry `(key, value)` of the document's root, without its last line
/// break; where that would not mean the same elsewhere (it names anchors of other entries, or the
/// root stands between brackets), `value` written anew on one line, tags included.
pub(super) fn verbatim(document: &Document, root: &Node, key: &Node, value: &Node) -> String {
    let anew = || format!(" {}", flow(value));
    if root.inline {
        return anew();
    }
    let Some(text) = chunk(document, root, key) else { return anew() };
    let again = parse(&format!("k:{text}\n")).ok().and_then(|document| document.root);
    match again.as_ref().and_then(|root| root.get("k")) {
        Some(read) if flow(read) == flow(value) => text.to_owned(),
        _ => anew(),
    }
}

fn chunk<'a>(document: &'a Document, root: &Node, key: &Node) -> Option<&'a str> {
    let starts = root.entries()?.iter().map(|(key, _)| key.range.start);
    let next = starts.filter(|start| *start > key.range.start).min().unwrap_or(document.end);
    let text = document.text.get(key.range.end..next)?;
    let text = text.trim_start_matches([' ', '\t']).strip_prefix(':')?;
    Some(text.strip_suffix('\n').unwrap_or(text))
}
