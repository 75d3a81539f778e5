//! The reference of all settings and job fields, as Markdown.

use super::{Kind, SETTINGS, Setting};
use flockwork_core::config::duration;
use flockwork_core::config::field::{self, Field};
use std::fmt::Write as _;
use std::time::Duration;

const HEAD: &str = "\
# Reference: settings

Generated from the tables that the program itself reads; `flockwork settings` prints the values in
force and where each came from.

## The node

What a job file says under `node` is overridden by the environment, and that by the command line.
Durations are whole numbers with units `d`, `h`, `m`, `s`, `ms`, e.g. `1h30m`.

";

const JOBS: &str = "
## Jobs

Each key under `jobs` is a job's name; below it stand the fields. The second column is the key in an
ElasticJob document (the registry, or `format: elasticjob` in a file), where absent truth values are
`false` and absent numbers 0, as ElasticJob has it.

";

/// The reference of all settings, as the file `docs/reference-settings.md` has it.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = HEAD.to_owned();
    out.push_str(
        "| Key | Environment | Flag | Takes | Default | What it does | What goes wrong |\n",
    );
    out.push_str("|---|---|---|---|---|---|---|\n");
    for setting in SETTINGS {
        node_row(setting, &mut out);
    }
    out.push_str(JOBS);
    out.push_str("| Key | In ElasticJob's words | Takes | Default | What it does |\n");
    out.push_str("|---|---|---|---|---|\n");
    for field in Field::ALL.iter().filter(|field| !field.native().is_empty()) {
        job_row(*field, &mut out);
    }
    out
}

fn node_row(setting: &Setting, out: &mut String) {
    let row = [
        code(setting.name),
        setting.env.map_or("in the file only".to_owned(), code),
        setting.flag.map_or(String::new(), |flag| code(&format!("--{flag}"))),
        takes(setting.kind),
        code(setting.default),
        setting.about.to_owned(),
        setting.trouble.to_owned(),
    ];
    let _ = writeln!(out, "| {} |", row.join(" | "));
}

fn job_row(field: Field, out: &mut String) {
    let row = [
        code(field.native()),
        code(field.elastic()),
        field_takes(field.kind()),
        field.default_text().to_owned(),
        field.about().to_owned(),
    ];
    let _ = writeln!(out, "| {} |", row.join(" | "));
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn takes(kind: Kind) -> String {
    let time = |millis| duration::format(Duration::from_millis(millis));
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Word(words) => words.join(", "),
        Kind::Switch => "true, false".to_owned(),
        Kind::Count(least, most) => format!("{least} to {most}"),
        Kind::Duration(least, most) => format!("{} to {}", time(least), time(most)),
        Kind::Registry => "address of a registry".to_owned(),
        Kind::Listen => "address and port".to_owned(),
        Kind::Namespace => "part, or part/part".to_owned(),
        Kind::Zone => "zone".to_owned(),
        Kind::File => "path of a file".to_owned(),
        Kind::Paths => "list of paths".to_owned(),
    }
}

fn field_takes(kind: field::Kind) -> String {
    match kind {
        field::Kind::Text => "text".to_owned(),
        field::Kind::Bool => "true, false".to_owned(),
        field::Kind::Number(least, most) => format!("{least} to {most}"),
        field::Kind::Duration => "duration".to_owned(),
        field::Kind::Word(words) => words.join(", "),
        field::Kind::List => "list of texts".to_owned(),
        field::Kind::Parameters => "map or text".to_owned(),
        field::Kind::Map => "map of texts".to_owned(),
        field::Kind::Group => "map".to_owned(),
    }
}
