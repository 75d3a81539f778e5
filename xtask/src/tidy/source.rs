//! Rules for single source files.

use std::path::{Path, PathBuf};

/// The most production lines of a file: beyond it a file is two things.
const MAX_LINES: usize = 600;

/// One Rust file.
pub(super) struct Source {
    /// From the workspace's root.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// The lines that ship, with their numbers from 1: none of a file that is all tests.
    fn production(&self) -> Vec<(usize, &str)> {
        let tests = |part: &std::path::Component<'_>| {
            matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "testing" | "benches"))
        };
        if self.path.components().any(|part| tests(&part)) {
            return Vec::new();
        }
        outside_test_modules(&self.text)
    }

    /// Production lines that are code, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.production().into_iter();
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

/// The lines of a text with their numbers from 1, without the modules that only tests have. In
/// formatted source such a module ends with the first brace that is indented as its mark is.
fn outside_test_modules(text: &str) -> Vec<(usize, &str)> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
    let mut kept = Vec::new();
    while let Some((at, line)) = lines.next() {
        let marked = lines.next_if(|(_, next)| line.trim() == "#[cfg(test)]" && is_module(next));
        let Some((_, module)) = marked else {
            kept.push((at, line));
            continue;
        };
        let end = line.replace("#[cfg(test)]", "}");
        if module.ends_with('{') {
            lines.by_ref().find(|(_, line)| *line == end);
        }
    }
    kept
}

/// Whether a line starts a module, with or without a visibility.
fn is_module(line: &str) -> bool {
    line.split_whitespace().take(2).any(|word| word == "mod")
}

/// All Rust files of the workspace, in the order of their paths.
pub(super) fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    for top in ["crates", "xtask", "bench", "examples", "oracles"] {
        walk(&root.join(top), root, &mut found)?;
    }
    found.sort_by(|a: &Source, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(at: &Path, root: &Path, found: &mut Vec<Source>) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(at) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(|why| format!("{}: {why}", at.display()))?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, root, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)
                .map_err(|why| format!("{}: {why}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            found.push(Source { path, text });
        }
    }
    Ok(())
}

pub(super) fn too_long(sources: &[Source]) -> Vec<String> {
    let length = |source: &Source| source.production().len();
    let long = sources.iter().filter(|source| length(source) > MAX_LINES);
    long.map(|source| source.at(length(source), &format!("longer than {MAX_LINES} lines")))
        .collect()
}

/// Names of files and of items that could stand for anything.
pub(super) fn says_nothing(sources: &[Source]) -> Vec<String> {
    const FILES: [&str; 9] =
        ["util", "utils", "helper", "helpers", "common", "misc", "manager", "types", "stuff"];
    let mut broken = Vec::new();
    for source in sources {
        let names = source.path.iter().filter_map(|part| part.to_str());
        let stems = names.map(|name| name.strip_suffix(".rs").unwrap_or(name));
        if let Some(stem) = stems.into_iter().find(|stem| FILES.contains(stem)) {
            broken.push(source.at(1, &format!("{stem:?} says nothing; find the noun")));
        }
        let items = source.code().filter_map(|(at, line)| Some((at, defined(line)?)));
        for (at, name) in items {
            let vague = ["Manager", "Helper", "Impl", "Util", "Utils"];
            if vague.iter().any(|end| name.ends_with(end)) {
                broken.push(source.at(at, &format!("{name:?} says nothing; find the noun")));
            }
        }
    }
    broken
}

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.by_ref().find(|word| ["struct", "enum", "trait", "type"].contains(word))?;
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

pub(super) fn unfinished(sources: &[Source]) -> Vec<String> {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
    let lines = sources.iter().flat_map(|source| {
        source.text.lines().enumerate().map(move |(at, line)| (source, at + 1, line))
    });
    let marked = lines.filter(|(_, _, line)| marks.iter().any(|mark| line.contains(mark)));
    marked.map(|(source, at, _)| source.at(at, "unfinished, or a test that does not run")).collect()
}

/// The registry's keys are spelled in one file.
pub(super) fn spells_keys(sources: &[Source]) -> Vec<String> {
    const PARTS: [&str; 7] = [
        "sharding/",
        "leader/election",
        "leader/sharding",
        "instances/",
        "servers/",
        "trigger/",
        ".flockwork/",
    ];
    let mut broken = Vec::new();
    for source in sources {
        let owns_keys = source.path.ends_with("layout/src/keys.rs");
        if owns_keys || source.path.starts_with("xtask") {
            continue;
        }
        for (at, line) in source.code() {
            let literals = line.split('"').skip(1).step_by(2);
            if literals.into_iter().any(|text| PARTS.iter().any(|part| text.contains(part))) {
                broken.push(source.at(at, "spells a registry key; ask layout::keys for it"));
            }
        }
    }
    broken
}

/// A panic on a closed pipe is what `println!` makes of `flockwork ps | head`.
pub(super) fn prints(sources: &[Source]) -> Vec<String> {
    let prints = |line: &str| line.contains("println!(") && !line.contains("eprintln!(");
    let ours = sources.iter().filter(|source| source.path.starts_with("crates"));
    let examples =
        |source: &&Source| !source.path.components().any(|p| p.as_os_str() == "examples");
    ours.filter(examples)
        .flat_map(|source| source.code().map(move |(at, line)| (source, at, line)))
        .filter(|(_, _, line)| prints(line) && !line.contains("cargo:"))
        .map(|(source, at, _)| source.at(at, "prints past the writer that survives a closed pipe"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> [Source; 1] {
        [Source { path: path.into(), text: text.into() }]
    }

    #[test]
    fn production_lines_are_counted_and_test_lines_are_not() {
        let code = "let x = 1;\n".repeat(600);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}");
        assert!(too_long(&source("crates/a/src/a.rs", &tests)).is_empty());
        assert_eq!(too_long(&source("crates/a/src/a.rs", &format!("{code}\n;"))).len(), 1);
        assert!(too_long(&source("crates/a/tests/a.rs", &code.repeat(2))).is_empty());
    }

    #[test]
    fn what_stands_below_a_test_module_is_seen() {
        let modules = [
            "#[cfg(test)]\nmod tests;\n",
            "#[cfg(test)]\npub(crate) mod trial {\n    struct TheirManager;\n}\n",
            "#[cfg(test)]\nmod tests { struct TheirManager; }\n",
            "#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n    struct TheirManager;\n}\n",
            "    #[cfg(test)]\n    mod tests {\n        struct TheirManager;\n    }\n",
        ];
        for module in modules {
            let text = format!("use a;\n{module}struct JobManager;\n");
            let last = text.lines().count();
            let found = says_nothing(&source("a.rs", &text));
            let place = format!("a.rs:{last}: ");
            assert!(matches!(&found[..], [one] if one.starts_with(&place)), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_only_half_a_test_module_is_seen() {
        for text in ["use a;\nmod b {\nstruct JobManager;\n}", "#[cfg(test)]\nstruct JobManager;"] {
            assert_eq!(says_nothing(&source("a.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(says_nothing(&source("crates/a/src/utils.rs", "")).len(), 1);
        assert_eq!(says_nothing(&source("a.rs", "pub(crate) struct JobManager {")).len(), 1);
        assert!(
            says_nothing(&source("a.rs", "pub struct Leader(u8);\nimpl X for Y {}")).is_empty()
        );
    }

    #[test]
    fn a_key_spelled_outside_the_layout_is_found() {
        let line = "let key = format!(\"/{ns}/{job}/sharding/{i}/running\");";
        assert_eq!(spells_keys(&source("crates/node/src/claim.rs", line)).len(), 1);
        assert!(spells_keys(&source("crates/layout/src/keys.rs", line)).is_empty());
        let tests = format!("#[cfg(test)]\nmod tests {{ {line} }}");
        assert!(spells_keys(&source("crates/node/src/claim.rs", &tests)).is_empty());
    }

    #[test]
    fn unfinished_code_and_sleeping_tests_are_found() {
        let texts = [concat!("todo", "!()"), concat!("#[", "ignore]"), "fn done() {}"];
        let found = texts.map(|text| unfinished(&source("crates/a/tests/a.rs", text)).len());
        assert_eq!(found, [1, 1, 0]);
    }
}
