//! `flockwork settings`: which settings count here, and where each came from.

use crate::args::{Format, SettingsArgs};
use crate::fault::Fault;
use crate::output::{escaped, table};
use crate::place::{self, environment};
use crate::{clock, files, reply};
use flockwork_layout::settings::{Origin, Written, reference_markdown, resolve};
use serde_json::{Value, json};

pub(crate) fn run(args: &SettingsArgs) -> Result<(), Fault> {
    if args.reference {
        return reply::whole(&reference_markdown());
    }
    let written = match args.files.as_slice() {
        [] => Written::default(),
        files => files::load(files, None, clock::now())?.node,
    };
    let flag = |name: &str| args.node.flag(&args.place, name);
    let (settings, origins) = place::accepted(resolve(&written, &environment, &flag))?;
    let text = match args.output.output {
        Format::Json => json(&origins, &settings.scripts_allow),
        Format::Text => text(&origins, &settings.scripts_allow),
    };
    reply::whole(&text)
}

fn text(origins: &[Origin], allowed: &[String]) -> String {
    let mut rows: Vec<_> = origins
        .iter()
        .map(|origin| {
            let others = origin.overridden.iter();
            let others: Vec<String> =
                others.map(|(source, value)| format!("{source} {value}")).collect();
            let value = if origin.value.is_empty() { "-" } else { &origin.value };
            let source = origin.source.to_string();
            vec![origin.name.to_owned(), escaped(value), source, escaped(&others.join(", "))]
        })
        .collect();
    if !allowed.is_empty() {
        let paths = escaped(&allowed.join(", "));
        rows.push(vec!["scripts.allow".to_owned(), paths, "file".to_owned(), String::new()]);
    }
    table(&["SETTING", "VALUE", "FROM", "INSTEAD OF"], &rows)
}

fn json(origins: &[Origin], allowed: &[String]) -> String {
    let mut rows: Vec<Value> = origins
        .iter()
        .map(|origin| {
            let others = origin.overridden.iter();
            let others: Vec<Value> = others
                .map(|(source, value)| json!({ "source": source.to_string(), "value": value }))
                .collect();
            json!({
                "name": origin.name,
                "value": origin.value,
                "source": origin.source.to_string(),
                "overridden": others,
            })
        })
        .collect();
    rows.push(json!({ "name": "scripts.allow", "value": allowed, "source": "file" }));
    format!("{}\n", Value::from(rows))
}
