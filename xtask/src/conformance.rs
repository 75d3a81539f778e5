//! `cargo xtask conformance`: the contract's cases on every registry, as one table.

use crate::count::Count;
use crate::step;
use std::collections::BTreeMap;
use std::path::Path;

/// Each registry, the package whose tests run the suite on it, and which of them do: a file, and
/// the start of their names.
const REGISTRIES: [(&str, &str, &str, &str); 4] = [
    ("memory", "flockwork-registry", "conformance", "the_memory_registry"),
    ("embedded", "flockwork-registry-embedded", "conformance", "the_embedded_registry"),
    ("zookeeper", "flockwork-registry-zookeeper", "servers", "conformance::"),
    ("etcd", "flockwork-registry-etcd", "servers", "conformance::"),
];

/// How a case went on a registry; where it was tried several times, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Went {
    Passed,
    NotApplicable,
    Failed,
}

/// What each case did on each registry, by the case's name.
type Table = BTreeMap<String, BTreeMap<&'static str, Went>>;

/// Runs the suite everywhere and prints the table.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let (mut table, mut failures, mut count) = (Table::new(), Vec::new(), Count::default());
    for (registry, package, file, tests) in REGISTRIES {
        let tests = ["test", "--package", package, "--all-features", "--test", file, tests];
        let command = step::command(root, "cargo", &[&tests[..], &["--", "--nocapture"]].concat());
        let told = step::run_observed(command, &mut count, |line| note(&mut table, registry, line));
        failures.extend(told.err());
    }
    print!("{}", shown(&table));
    for (registry, ..) in REGISTRIES {
        let count = |went| table.values().filter(|row| row.get(registry) == Some(&went)).count();
        let goal = table.len() - count(Went::NotApplicable);
        let passed = count(Went::Passed);
        println!("figure conformance_{registry}_passed {passed} cases goal >= {goal}");
        if passed < goal {
            failures.push(format!("{registry}: {passed} of {goal} cases passed"));
        }
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => Err(failures.join("; ")),
    }
}

/// Takes in a line of a report, as [`Report`] writes it; others say nothing.
///
/// [`Report`]: ../flockwork_registry/conformance/struct.Report.html
fn note(table: &mut Table, registry: &'static str, whole: &str) {
    let words = [
        ("passed          ", Went::Passed),
        ("not applicable  ", Went::NotApplicable),
        ("FAILED          ", Went::Failed),
    ];
    // A test that runs alone begins its first line with its name.
    let line = whole.split_once(" ... ").filter(|(test, _)| test.starts_with("test "));
    let line = line.map_or(whole, |(_, rest)| rest);
    let found = words.iter().find_map(|(word, went)| Some((line.strip_prefix(word)?, *went)));
    let Some((case, went)) = found else { return };
    let case = case.split(':').next().unwrap_or(case).trim().to_owned();
    let row = table.entry(case).or_default();
    let worst = row.get(registry).map_or(went, |before| went.max(*before));
    row.insert(registry, worst);
}

fn shown(table: &Table) -> String {
    let widest = table.keys().map(String::len).max().unwrap_or(0);
    let mut text = format!("{:widest$}", "case");
    text.extend(REGISTRIES.map(|(registry, ..)| format!("  {registry:9}")));
    for (case, row) in table {
        text.push_str(&format!("\n{case:widest$}"));
        for (registry, ..) in REGISTRIES {
            let word = match row.get(registry) {
                Some(Went::Passed) => "ok",
                Some(Went::NotApplicable) => "n/a",
                Some(Went::Failed) => "FAILED",
                None => "not run",
            };
            text.push_str(&format!("  {word:9}"));
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_tries_counts() {
        let mut table = Table::new();
        for line in [
            "passed          a_case",
            "not applicable  b_case: no power to do so: none",
            "test a_test ... FAILED          a_case: it was: wrong",
            "passed          a_case",
            "test something ... ok",
        ] {
            note(&mut table, "etcd", line);
        }
        assert_eq!(table["a_case"]["etcd"], Went::Failed);
        assert_eq!(table["b_case"]["etcd"], Went::NotApplicable);
        assert_eq!(table.len(), 2);
        let text = shown(&table);
        assert!(text.contains("a_case  not run    not run    not run    FAILED"), "{text}");
    }
}
