//! From ElasticJob's document to a draft.

use super::{PREFIX, SCHEMA, scalar, verbatim::verbatim};
use crate::yaml::{Content, Document, Node, Scalar};
use flockwork_core::config::field::{Field, Words};
use flockwork_core::config::{Amount, Code, Draft, ListenerDraft, Parameters, Problem, nearest};
use std::collections::{BTreeMap, BTreeSet};

/// Reads `root`, a definition in `document`, as ElasticJob does, with all that is wrong with its
/// types and keys; `place` precedes the keys in problems.
///
/// # Errors
/// One problem, if it is no map.
pub fn draft_of(
    document: &Document,
    root: &Node,
    place: &str,
) -> Result<(Draft, Vec<Problem>), Problem> {
    let Some(entries) = root.entries() else {
        let message = format!("a definition is a map, this is {}", root.kind());
        let problem = Problem::error(Code::Type, place, message).at(Some(root.position));
        return Err(problem.with_hint("write jobName: ..., shardingTotalCount: ..."));
    };
    let draft = Draft {
        words: Words::ElasticJob,
        place: place.to_owned(),
        position: Some(root.position),
        ..Draft::default()
    };
    let mut reader = Reader { document, root, draft, problems: Vec::new() };
    let mut seen = BTreeSet::new();
    for (key, value) in entries {
        let name = key.scalar().map(|scalar| scalar.text.clone()).unwrap_or_default();
        if !seen.insert(name.clone()) {
            let problem = reader.problem(
                &name,
                key,
                Code::DuplicateKey,
                "written twice; the last one counts",
            );
            reader.problems.push(problem.into_warning());
        }
        reader.entry(&name, key, value);
    }
    Ok((reader.draft, reader.problems))
}

struct Reader<'a> {
    document: &'a Document,
    root: &'a Node,
    draft: Draft,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn entry(&mut self, name: &str, key: &Node, value: &Node) {
        self.draft.positions.insert(name.to_owned(), value.position);
        if name == Field::ExtraConfigurations.elastic() {
            self.draft.extra_configurations = self.kept(key, value);
            return;
        }
        let known = Field::ALL.iter().any(|field| field.elastic() == name);
        if !known {
            self.unknown_key(name, key);
            let kept = verbatim(self.document, self.root, key, value);
            self.draft.unknown.insert(name.to_owned(), kept);
            return;
        }
        if let Some(tag) = foreign_tag(value) {
            let problem =
                self.problem(name, value, Code::TagForbidden, "a tag of a programming language");
            self.problems.push(problem.with_value(&tag).with_hint("remove the tag"));
            return;
        }
        self.known(name, value);
    }

    /// A list without elements is an absent one.
    fn kept(&self, key: &Node, value: &Node) -> Option<String> {
        let empty = match &value.content {
            Content::List(list) => list.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Scalar(scalar) => scalar.is_null() || scalar.text.is_empty(),
        };
        (!empty).then(|| verbatim(self.document, self.root, key, value))
    }

    fn known(&mut self, name: &str, value: &Node) {
        match name {
            "jobName" => self.draft.name = self.text(name, value),
            "cron" => self.draft.cron = self.text(name, value),
            "timeZone" => self.draft.time_zone = self.text(name, value),
            "shardingTotalCount" => self.draft.shards = self.number(name, value),
            "shardingItemParameters" => {
                self.draft.parameters = self.text(name, value).map(Parameters::Text);
            }
            "jobParameter" => self.draft.parameter = self.text(name, value),
            "monitorExecution" => self.draft.monitor_execution = self.truth(name, value),
            "failover" => self.draft.failover = self.truth(name, value),
            "misfire" => self.draft.misfire = self.truth(name, value),
            "disabled" => self.draft.disabled = self.truth(name, value),
            "overwrite" => self.draft.overwrite = self.truth(name, value),
            "staticSharding" => self.draft.static_sharding = self.truth(name, value),
            "maxTimeDiffSeconds" => {
                self.draft.max_time_difference = self.number(name, value).map(Amount::Count);
            }
            "reconcileIntervalMinutes" => {
                self.draft.reconcile_interval = self.number(name, value).map(Amount::Count);
            }
            "jobShardingStrategyType" => self.draft.strategy = self.text(name, value),
            "jobErrorHandlerType" => self.draft.error_handler = self.text(name, value),
            "jobListenerTypes" => self.draft.listeners = self.list(name, value),
            "description" => self.draft.description = self.text(name, value),
            "label" => self.draft.label = self.text(name, value),
            "props" => self.properties(value),
            pool => {
                let text = self.text(name, value).filter(|text| !text.is_empty());
                if let Some(text) = text {
                    self.draft.pool = Some((pool.to_owned(), text));
                }
            }
        }
    }

    fn properties(&mut self, value: &Node) {
        if value.is_null() {
            return;
        }
        let Some(entries) = value.entries() else {
            self.wrong_type("props", value, "a map");
            return;
        };
        let mut ours = BTreeMap::new();
        for (key, value) in entries {
            let (Some(key), Some(text)) = (key.scalar(), value.scalar()) else {
                self.wrong_type("props", value, "a map of texts");
                continue;
            };
            if text.is_null() {
                continue;
            }
            let (key, text) = (scalar::property(key), scalar::property(text));
            self.draft.positions.insert(format!("props.{key}"), value.position);
            match key.as_str() {
                "script.command.line" => self.draft.command_line = Some(text),
                ours_key if ours_key.starts_with(PREFIX) => {
                    ours.insert(key, (text, value));
                }
                _ => {
                    self.draft.props.insert(key, text);
                }
            }
        }
        let schema = ours.remove("flockwork.schema");
        if schema.is_none_or(|(text, value)| self.schema(&text, value)) {
            for (key, (text, value)) in ours {
                self.own_property(&key, text, value);
            }
        }
    }

    /// Whether this release knows the version of what follows.
    fn schema(&mut self, text: &str, value: &Node) -> bool {
        if text.parse::<u32>().is_ok_and(|version| (1..=SCHEMA).contains(&version)) {
            return true;
        }
        let message = "written by a newer release than this one";
        let problem =
            self.problem("props.flockwork.schema", value, Code::UnsupportedSchema, message);
        let problem = problem.with_value(text).with_limit(format!("version {SCHEMA}"));
        self.problems.push(problem.with_hint("upgrade this node"));
        false
    }

    fn own_property(&mut self, key: &str, text: String, value: &Node) {
        let name = key.strip_prefix(PREFIX).unwrap_or(key);
        match name {
            "retry.times" => return self.draft.retry.times = self.own_number(key, &text, value),
            "script" => {
                return self.draft.script = self.json(key, &text, value, "a JSON list of texts");
            }
            "parameters" => {
                let map: Option<BTreeMap<String, String>> =
                    self.json(key, &text, value, "a JSON object of texts");
                return self.draft.exact_parameters = map.map(|map| map.into_iter().collect());
            }
            _ => {}
        }
        let draft = &mut self.draft;
        match name {
            "dst" => draft.dst = Some(text),
            "zone" => draft.zone = Some(text),
            "every" => draft.every = Some(text),
            "anchor" => draft.anchor = Some(text),
            "at" => draft.at = Some(text),
            "overlap" => draft.overlap = Some(text),
            "catch_up" => draft.catch_up = Some(text),
            "retry.backoff" => draft.retry.backoff = Some(text),
            "retry.on" => draft.retry.on = Some(text),
            "timeout" => draft.timeout = Some(text),
            "claim_ahead" => draft.claim_ahead = Some(text),
            "listener.before_timeout" => listener(draft).before_timeout = Some(text),
            "listener.after_timeout" => listener(draft).after_timeout = Some(text),
            "listener.on_failure" => listener(draft).on_failure = Some(text),
            "on_session_loss" => draft.on_session_loss = Some(text),
            "strategy" => draft.native_strategy = Some(text),
            _ => {
                self.unknown_key(&format!("props.{key}"), value);
                self.draft.props.insert(key.to_owned(), text);
            }
        }
    }

    fn own_number(&mut self, key: &str, text: &str, value: &Node) -> Option<i64> {
        let number = text.parse().ok();
        if number.is_none() {
            let problem = self.problem(&format!("props.{key}"), value, Code::Type, "not a number");
            self.problems.push(problem.with_value(text));
        }
        number
    }

    fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        key: &str,
        text: &str,
        value: &Node,
        kind: &str,
    ) -> Option<T> {
        let read = serde_json::from_str(text).ok();
        if read.is_none() {
            let problem =
                self.problem(&format!("props.{key}"), value, Code::Type, format!("not {kind}"));
            self.problems.push(problem.with_value(text));
        }
        read
    }

    /// Text, whatever it looks like; nothing is an absent one.
    fn text(&mut self, name: &str, value: &Node) -> Option<String> {
        match value.scalar() {
            Some(scalar) if scalar.is_null() => None,
            Some(scalar) => Some(scalar.text.clone()),
            None => {
                self.wrong_type(name, value, "text");
                None
            }
        }
    }

    fn truth(&mut self, name: &str, value: &Node) -> Option<bool> {
        let read = value.scalar().and_then(|scalar| scalar::truth(&scalar.text));
        if read.is_none() {
            self.wrong_type(name, value, "true or false");
        }
        read
    }

    fn number(&mut self, name: &str, value: &Node) -> Option<i64> {
        let read = value.scalar().and_then(|scalar| scalar::int(&scalar.text));
        if read.is_none() {
            self.wrong_type(name, value, "a whole number of 32 bits");
        }
        read.map(i64::from)
    }

    fn list(&mut self, name: &str, value: &Node) -> Vec<String> {
        let texts = match &value.content {
            Content::List(list) => {
                list.iter().map(|item| item.scalar().map(|s| s.text.clone())).collect()
            }
            Content::Scalar(scalar) if scalar.is_null() => Some(Vec::new()),
            _ => None,
        };
        if texts.is_none() {
            self.wrong_type(name, value, "a list of texts");
        }
        texts.unwrap_or_default()
    }

    fn wrong_type(&mut self, name: &str, value: &Node, expected: &str) {
        let message = format!("takes {expected}, this is {}", value.kind());
        let problem = self.problem(name, value, Code::Type, message);
        let shown = value.scalar().map_or("", |scalar: &Scalar| scalar.text.as_str());
        self.problems.push(problem.with_value(shown));
    }

    fn unknown_key(&mut self, name: &str, node: &Node) {
        let known = Field::ALL.iter().map(|field| field.elastic()).filter(|key| !key.is_empty());
        let problem = self.problem(
            name,
            node,
            Code::UnknownKey,
            "not a key of ElasticJob; it is kept, and Java nodes refuse it",
        );
        let hint = nearest(name, known).map(|word| format!("did you mean {word}?").into());
        self.problems.push(Problem { hint, ..problem }.into_warning());
    }

    fn problem(&self, name: &str, node: &Node, code: Code, message: impl Into<String>) -> Problem {
        let place = match self.draft.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        Problem::error(code, place, message).at(Some(node.position))
    }
}

/// How the job's listener is called: whichever of its properties is written, the job has one.
fn listener(draft: &mut Draft) -> &mut ListenerDraft {
    draft.listener.get_or_insert_default()
}

/// The first tag of some programming language in `node`; ElasticJob's own may stand in the extra
/// configurations only.
fn foreign_tag(node: &Node) -> Option<String> {
    node.tag.clone().or_else(|| match &node.content {
        Content::Scalar(_) => None,
        Content::List(list) => list.iter().find_map(foreign_tag),
        Content::Map(entries) => {
            entries.iter().find_map(|(key, value)| foreign_tag(key).or_else(|| foreign_tag(value)))
        }
    })
}
