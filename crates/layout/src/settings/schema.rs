//! The JSON Schema of job files, for editors.

use super::{Kind, SETTINGS};
use flockwork_core::config::field::{self, Field};
use serde_json::{Map, Value, json};

/// Durations as the program reads them.
const DURATION: &str = "^(?=.)(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$";
/// Any value may hold an environment variable.
const VARIABLE: &str = "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}";

/// The JSON Schema of job files, as `schema/flockwork-job-file.schema.json` has it, with its last
/// line break.
///
/// # Panics
/// Never: JSON of texts and maps can always be written.
#[must_use]
pub fn job_file_schema() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flockwork job file",
        "anyOf": [
            { "$ref": "#/$defs/file" },
            { "$ref": "#/$defs/elasticjob", "required": ["jobName"] },
        ],
        "$defs": {
            "file": closed(&json!({
                "node": closed(&node_properties()),
                "jobs": { "type": "object", "additionalProperties": { "$ref": "#/$defs/job" } },
            })),
            "job": {
                "if": { "required": ["format"] },
                "then": { "$ref": "#/$defs/elasticjob" },
                "else": closed(&job_properties()),
            },
            "elasticjob": { "type": "object", "properties": elastic_properties() },
        },
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("texts and maps are always JSON");
    text.push('\n');
    text
}

fn closed(properties: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn node_properties() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        let schema = with_about(node_kind(setting.kind), setting.about, setting.default);
        match setting.name.split_once('.') {
            Some((group, member)) => {
                let group = properties.entry(group).or_insert_with(|| closed(&json!({})));
                group["properties"][member] = schema;
            }
            None => {
                properties.insert(setting.name.to_owned(), schema);
            }
        }
    }
    Value::Object(properties)
}

fn node_kind(kind: Kind) -> Value {
    match kind {
        Kind::Word(words) => words_of(words),
        Kind::Switch => switch(),
        Kind::Count(least, most) => number(least, most),
        Kind::Duration(..) => duration(),
        Kind::Paths => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Text | Kind::Registry | Kind::Listen | Kind::Namespace | Kind::Zone | Kind::File => {
            text()
        }
    }
}

fn job_properties() -> Value {
    let mut properties = Map::new();
    for field in Field::ALL.iter().filter(|field| !field.native().is_empty()) {
        if field.native().contains('.') {
            continue;
        }
        let kind = match field.kind() {
            field::Kind::Group => closed(&members(field.native())),
            kind => job_kind(*field, kind),
        };
        let schema = with_about(kind, field.about(), field.default_text());
        properties.insert(field.native().to_owned(), schema);
    }
    Value::Object(properties)
}

fn members(group: &str) -> Value {
    let mut properties = Map::new();
    for field in Field::ALL {
        let Some((parent, member)) = field.native().split_once('.') else { continue };
        if parent == group {
            let schema =
                with_about(job_kind(*field, field.kind()), field.about(), field.default_text());
            properties.insert(member.to_owned(), schema);
        }
    }
    Value::Object(properties)
}

fn job_kind(field: Field, kind: field::Kind) -> Value {
    match kind {
        field::Kind::Bool => json!({ "type": "boolean" }),
        field::Kind::Number(least, most) => number(least, most),
        field::Kind::Duration if field == Field::Timeout => {
            json!({ "anyOf": [duration(), { "const": "none" }] })
        }
        field::Kind::Duration => duration(),
        field::Kind::Word(words) => words_of(words),
        field::Kind::List => json!({ "type": "array", "items": text() }),
        field::Kind::Parameters => json!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "propertyNames": { "pattern": "^\\d+$" }, "additionalProperties": text() },
            ]
        }),
        field::Kind::Map | field::Kind::Group => {
            json!({ "type": "object", "additionalProperties": text() })
        }
        field::Kind::Text => text(),
    }
}

fn elastic_properties() -> Value {
    let mut properties = Map::new();
    properties.insert("format".to_owned(), json!({ "const": crate::file::ELASTICJOB_FORMAT }));
    properties.insert("implementation".to_owned(), text());
    for field in Field::ALL {
        let key = field.elastic();
        if !key.is_empty() && !key.contains('.') {
            properties.insert(key.to_owned(), json!({ "description": field.about() }));
        }
    }
    Value::Object(properties)
}

fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn number(least: impl Into<Value>, most: impl Into<Value>) -> Value {
    let (least, most) = (least.into(), most.into());
    json!({ "anyOf": [
        { "type": "integer", "minimum": least, "maximum": most },
        { "type": "string", "pattern": VARIABLE },
    ] })
}

fn switch() -> Value {
    json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": VARIABLE }] })
}

fn duration() -> Value {
    json!({ "type": "string", "anyOf": [{ "pattern": DURATION }, { "pattern": VARIABLE }] })
}

fn words_of(words: &[&str]) -> Value {
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
}

fn with_about(mut schema: Value, about: &str, default: &str) -> Value {
    let default = if default.is_empty() { String::new() } else { format!(" Default: {default}.") };
    if let Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), Value::String(format!("{about}{default}")));
    }
    schema
}
