//! A job in native words.

use super::ReadJob;
use super::reader::Reader;
use crate::document::PREFIX;
use crate::yaml::Node;
use flockwork_core::config::field::Field;
use flockwork_core::config::{
    Amount, Code, Draft, Level, ListenerDraft, Parameters, Problem, check,
};
use flockwork_core::time::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

/// A job's name in the one form that is stored: composed (NFC), so that what reads the same is the
/// same.
#[must_use]
pub fn normal_name(text: &str) -> String {
    text.nfc().collect()
}

pub(super) fn job(name: &str, value: &Node, now: Timestamp) -> ReadJob {
    let mut draft = Draft { position: Some(value.position), ..Draft::native(name) };
    let mut reader = Reader::new(draft.place.clone());
    for (key, field, value) in reader.map("", value).unwrap_or_default() {
        draft.positions.insert(field.clone(), value.position);
        entry(&mut draft, &mut reader, &field, (key, value));
    }
    let mut problems = reader.problems;
    let mut checked = check(&draft, Level::Strict, now);
    let refused = problems.iter().any(Problem::is_error);
    problems.append(&mut checked.problems);
    (checked.config.filter(|_| !refused), problems)
}

fn entry(draft: &mut Draft, reader: &mut Reader, name: &str, (key, value): (&Node, &Node)) {
    match name {
        "implementation" => draft.implementation = reader.text(name, value),
        "script" => draft.script = reader.list(name, value),
        "cron" => draft.cron = reader.text(name, value),
        "time_zone" => draft.time_zone = reader.text(name, value),
        "dst" => draft.dst = reader.text(name, value),
        "every" => draft.every = reader.text(name, value),
        "anchor" => draft.anchor = reader.text(name, value),
        "at" => draft.at = reader.text(name, value),
        "shards" => draft.shards = reader.number(name, value),
        "parameters" => draft.parameters = parameters(reader, name, value),
        "parameter" => draft.parameter = reader.text(name, value),
        "misfire" => draft.misfire = reader.truth(name, value),
        "overlap" => draft.overlap = reader.text(name, value),
        "catch_up" => draft.catch_up = reader.text(name, value),
        "failover" => draft.failover = reader.truth(name, value),
        "retry" => retry(draft, reader, value),
        "timeout" => draft.timeout = reader.text(name, value),
        "claim_ahead" => draft.claim_ahead = reader.text(name, value),
        "listener" => listener(draft, reader, value),
        "on_session_loss" => draft.on_session_loss = reader.text(name, value),
        "strategy" => draft.strategy = reader.text(name, value),
        "props" => props(draft, reader, value),
        _ => compatible(draft, reader, name, (key, value)),
    }
}

/// The keys that are there for people and for ElasticJob nodes.
fn compatible(draft: &mut Draft, reader: &mut Reader, name: &str, (key, value): (&Node, &Node)) {
    match name {
        "static_sharding" => draft.static_sharding = reader.truth(name, value),
        "monitor_execution" => draft.monitor_execution = reader.truth(name, value),
        "max_time_difference" => {
            draft.max_time_difference = reader.text(name, value).map(Amount::Text);
        }
        "reconcile_interval" => {
            draft.reconcile_interval = reader.text(name, value).map(Amount::Text);
        }
        "disabled" => draft.disabled = reader.truth(name, value),
        "overwrite" => draft.overwrite = reader.truth(name, value),
        "description" => draft.description = reader.text(name, value),
        "label" => draft.label = reader.text(name, value),
        "error_handler" => draft.error_handler = reader.text(name, value),
        "listeners" => draft.listeners = reader.list(name, value).unwrap_or_default(),
        _ => reader.unknown(name, key, &known()),
    }
}

/// The keys of a job.
pub(crate) fn known() -> Vec<&'static str> {
    let keys = Field::ALL.iter().map(|field| field.native());
    keys.filter(|key| !key.is_empty() && !key.contains('.')).chain(["format"]).collect()
}

fn parameters(reader: &mut Reader, name: &str, value: &Node) -> Option<Parameters> {
    match value.scalar() {
        Some(_) => reader.text(name, value).map(Parameters::Text),
        None => reader.pairs(name, value).map(Parameters::Pairs),
    }
}

fn retry(draft: &mut Draft, reader: &mut Reader, value: &Node) {
    for (key, name, value) in reader.map("retry", value).unwrap_or_default() {
        let place = format!("retry.{name}");
        draft.positions.insert(place.clone(), value.position);
        match name.as_str() {
            "times" => draft.retry.times = reader.number(&place, value),
            "backoff" => draft.retry.backoff = reader.text(&place, value),
            "on" => draft.retry.on = reader.text(&place, value),
            _ => reader.unknown(&place, key, &["times", "backoff", "on"]),
        }
    }
}

fn listener(draft: &mut Draft, reader: &mut Reader, value: &Node) {
    let mut listener = ListenerDraft::default();
    for (key, name, value) in reader.map("listener", value).unwrap_or_default() {
        let place = format!("listener.{name}");
        draft.positions.insert(place.clone(), value.position);
        match name.as_str() {
            "before_timeout" => listener.before_timeout = reader.text(&place, value),
            "after_timeout" => listener.after_timeout = reader.text(&place, value),
            "on_failure" => listener.on_failure = reader.text(&place, value),
            _ => {
                let known = ["before_timeout", "after_timeout", "on_failure"];
                reader.unknown(&place, key, &known);
            }
        }
    }
    draft.listener = Some(listener);
}

/// Properties for ElasticJob nodes. Ours have keys of their own here.
fn props(draft: &mut Draft, reader: &mut Reader, value: &Node) {
    for (key, name, value) in reader.map("props", value).unwrap_or_default() {
        let place = format!("props.{name}");
        let own_key = match name.strip_prefix(PREFIX) {
            Some(own) => Some(own),
            None => (name == "script.command.line").then_some("script"),
        };
        if let Some(own) = own_key {
            let problem = Problem::error(Code::UnknownKey, "", "not a property of a native job");
            let problem =
                problem.with_value(&name).with_hint(format!("write the key {own} of the job"));
            reader.report(&place, key.position, problem);
            continue;
        }
        if let Some(text) = reader.text(&place, value) {
            draft.props.insert(name, text);
        }
    }
}
