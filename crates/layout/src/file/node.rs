//! The node's own settings in a file.

use super::reader::Reader;
use crate::settings::{Kind, SETTINGS, Written, setting};
use crate::yaml::Node;
use flockwork_core::config::{Code, Problem};

pub(super) fn node(value: &Node, problems: &mut Vec<Problem>) -> Written {
    let mut reader = Reader::new("node");
    let mut written = Written::default();
    for (key, name, value) in reader.map("", value).unwrap_or_default() {
        match setting(&name) {
            Some(setting) => {
                if let Some(text) = reader.text(&name, value) {
                    written.texts.insert(setting.name, (text, value.position));
                }
            }
            None if name == "scripts" => scripts(value, &mut written, &mut reader),
            None => reader.unknown(&name, key, &known()),
        }
    }
    problems.append(&mut reader.problems);
    written
}

/// The keys under `node`.
fn known() -> Vec<&'static str> {
    let first = SETTINGS.iter().map(|setting| setting.name.split('.').next().unwrap_or(""));
    let mut known: Vec<_> = first.collect();
    known.dedup();
    known
}

fn scripts(value: &Node, written: &mut Written, reader: &mut Reader) {
    for (key, name, value) in reader.map("scripts", value).unwrap_or_default() {
        let place = format!("scripts.{name}");
        if let Some(setting) = setting(&place).filter(|setting| setting.kind != Kind::Paths) {
            if let Some(text) = reader.text(&place, value) {
                written.texts.insert(setting.name, (text, value.position));
            }
            continue;
        }
        if name != "allow" {
            reader.unknown(&place, key, &["allow", "pid_namespace"]);
            continue;
        }
        let Some(list) = reader.list(&place, value) else { continue };
        if list.is_empty() {
            let problem = Problem::error(
                Code::Conflict,
                "",
                "scripts are named and none is allowed: scripts and scripts.allow contradict",
            );
            let hint = "list programs or directories under scripts.allow, or remove scripts";
            reader.report(&place, value.position, problem.with_hint(hint));
        }
        written.scripts_allow_at = Some(value.position);
        for path in &list {
            if let Some(why) = unsafe_path(path) {
                let problem = Problem::error(Code::ScriptForbidden, "", why).with_value(path);
                reader.report(
                    &place,
                    value.position,
                    problem.with_hint("write the path without . and .. parts"),
                );
            }
        }
        written.scripts_allow = list;
    }
}

/// An entry that would allow more than it reads like.
fn unsafe_path(path: &str) -> Option<&'static str> {
    if path.trim().is_empty() || path.contains('\0') {
        return Some("not a path");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("a path that leaves its directory");
    }
    (path == "/").then_some("this would allow every program of the host")
}
