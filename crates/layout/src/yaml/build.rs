//! From the parser's events to a tree, within limits.

use super::{Content, Document, MAX_DEPTH, MAX_NODES, MAX_TEXT, Node, Scalar};
use flockwork_core::config::{Code, Position, Problem};
use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag, options,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn build(text: &str) -> Result<Document, Problem> {
    let options = options! { emit_comments: false };
    let mut builder = Builder { text, ..Builder::default() };
    let mut end = text.len();
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|why| syntax(&why))?;
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    let problem =
                        Problem::error(Code::ConfigSyntax, "", "a second document starts");
                    return Err(problem
                        .at(Some(position(&span.start)))
                        .with_hint("write one per file"));
                }
            }
            Event::DocumentEnd => end = span.start.byte_offset().unwrap_or(end),
            other => builder.take(other, &span)?,
        }
    }
    Ok(Document { text: text.to_owned(), root: builder.root, end })
}

#[derive(Default)]
struct Builder<'a> {
    text: &'a str,
    root: Option<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

/// A collection that is not complete yet.
struct Open {
    node: Node,
    key: Option<Node>,
    anchor: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(text.into_owned(), style, tag.as_deref(), span)?;
                self.account(&node)?;
                self.put(node, anchor)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.open(Content::List(Vec::new()), (style, anchor), tag.as_deref(), span)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.open(Content::Map(Vec::new()), (style, anchor), tag.as_deref(), span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        content: Content,
        (style, anchor): (StructureStyle, usize),
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_much(
                "collections stand too deep in each other",
                MAX_DEPTH.to_string(),
                span,
            ));
        }
        let mut node = node(content, tag, span);
        node.inline = style == StructureStyle::Flow;
        self.account(&node)?;
        self.open.push(Open { node, key: None, anchor });
        Ok(())
    }

    fn close(&mut self, span: &Span) -> Result<(), Problem> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let (true, Some(end)) = (open.node.inline, span.end.byte_offset()) {
            open.node.range.end = end.min(self.text.len());
        }
        merge(&mut open.node);
        self.put(open.node, open.anchor)
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<(), Problem> {
        let Some(found) = self.anchors.get(&anchor) else {
            return Err(too_much("an alias stands within what it names", "no recursion", span));
        };
        let mut copy = found.clone();
        copy.position = position(&span.start);
        copy.inline = true;
        self.account(&copy).map_err(|problem| problem.at(Some(position(&span.start))))?;
        let depth = self.open.len() + depth(&copy);
        if depth > MAX_DEPTH {
            return Err(too_much(
                "collections stand too deep in each other",
                MAX_DEPTH.to_string(),
                span,
            ));
        }
        self.put(copy, 0)
    }

    /// Counts `node` and what is in it, before it is kept: once where it stands, once more if it is
    /// anchored, and once for each alias, so that what is copied is bounded too.
    fn account(&mut self, node: &Node) -> Result<(), Problem> {
        let (nodes, bytes) = size(node);
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes <= MAX_NODES && self.bytes <= MAX_TEXT {
            return Ok(());
        }
        let limit = format!("{MAX_NODES} values, {MAX_TEXT} bytes of text");
        let problem = Problem::error(
            Code::ConfigLimit,
            "",
            "the document holds too much once its aliases are expanded",
        );
        Err(problem.with_limit(limit).at(Some(node.position)))
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.account(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.content, open.key.take()) {
            (Content::Map(entries), Some(key)) => entries.push((key, node)),
            (Content::Map(_), None) => open.key = Some(node),
            (Content::List(list), _) => list.push(node),
            (Content::Scalar(_), _) => {}
        }
        Ok(())
    }
}

fn scalar(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Node, Problem> {
    let core = tag.and_then(Tag::core_suffix);
    let plain = style == ScalarStyle::Plain && !matches!(core, Some("str"));
    let binary = tag.is_some_and(|tag| tag.original() == "!!binary");
    let text = if binary { binary_text(&text, span)? } else { text };
    let mut node = node(Content::Scalar(Scalar { text, plain: plain && !binary }), tag, span);
    if binary {
        node.tag = None;
    }
    Ok(node)
}

/// SnakeYAML writes text with control characters as base64.
fn binary_text(text: &str, span: &Span) -> Result<String, Problem> {
    serde_saphyr::from_str::<String>(&format!("!!binary {text:?}")).map_err(|_| {
        let problem = Problem::error(Code::Type, "", "not base64 of UTF-8 text");
        problem.with_value(text).at(Some(position(&span.start)))
    })
}

fn node(content: Content, tag: Option<&Tag>, span: &Span) -> Node {
    let start = span.start.byte_offset().unwrap_or_default();
    let foreign = tag.filter(|tag| tag.core_suffix().is_none() && tag.original() != "!");
    Node {
        content,
        position: position(&span.start),
        range: start..span.end.byte_offset().unwrap_or(start),
        tag: foreign.map(Tag::original),
        inline: false,
    }
}

/// YAML 1.1's merge key: what `<<` names is there too, unless the map says otherwise.
fn merge(node: &mut Node) {
    let Content::Map(entries) = &mut node.content else { return };
    let is_merge =
        |key: &Node| key.scalar().is_some_and(|scalar| scalar.plain && scalar.text == "<<");
    if !entries.iter().any(|(key, _)| is_merge(key)) {
        return;
    }
    let (merged, mut own): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|(key, value)| is_merge(key) && mergeable(value));
    let text = |key: &Node| key.scalar().map(|scalar| scalar.text.clone());
    let mut taken: BTreeSet<_> = own.iter().filter_map(|(key, _)| text(key)).collect();
    for (_, value) in merged {
        let sources = match value.content {
            Content::List(list) => list,
            _ => vec![value],
        };
        for (key, value) in sources.into_iter().filter_map(into_entries).flatten() {
            if text(&key).is_some_and(|text| taken.insert(text)) {
                own.push((key, value));
            }
        }
    }
    *entries = own;
}

fn mergeable(value: &Node) -> bool {
    match &value.content {
        Content::Map(_) => true,
        Content::List(list) => list.iter().all(|item| item.entries().is_some()),
        Content::Scalar(_) => false,
    }
}

fn into_entries(node: Node) -> Option<Vec<(Node, Node)>> {
    match node.content {
        Content::Map(entries) => Some(entries),
        _ => None,
    }
}

fn size(node: &Node) -> (usize, usize) {
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match &node.content {
        Content::Scalar(scalar) => (1, scalar.text.len()),
        Content::List(list) => list.iter().map(size).fold((1, 0), sum),
        Content::Map(entries) => {
            entries.iter().map(|(key, value)| sum(size(key), size(value))).fold((1, 0), sum)
        }
    }
}

fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 0,
        Content::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Content::Map(entries) => {
            1 + entries.iter().map(|(_, value)| depth(value)).max().unwrap_or(0)
        }
    }
}

fn too_much(message: &str, limit: impl Into<Box<str>>, span: &Span) -> Problem {
    Problem::error(Code::ConfigLimit, "", message).with_limit(limit).at(Some(position(&span.start)))
}

fn syntax(why: &ScanError) -> Problem {
    let place = Some(position(why.marker()));
    match why.kind() {
        ErrorKind::RecursionLimitExceeded => {
            let problem =
                Problem::error(Code::ConfigLimit, "", "collections stand too deep in each other");
            problem.with_limit(MAX_DEPTH.to_string()).at(place)
        }
        kind => {
            let message = format!("not YAML: {kind}");
            Problem::error(Code::ConfigSyntax, "", message).at(place)
        }
    }
}

/// The parser counts columns from 0.
fn position(marker: &Marker) -> Position {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: narrow(marker.line()), column: narrow(marker.col() + 1) }
}
