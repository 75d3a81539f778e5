//! What we write means the same to SnakeYAML, with which ElasticJob reads: it takes `yes` for a truth
//! value and `12:30:45` for a number unless they are quoted. The oracle is
//! `oracles/snakeyaml/SnakeYamlOracle.java`; without it the test fails.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod surprises;

use flockwork_core::config::{Draft, JobConfig, Level, check};
use flockwork_core::id::JobName;
use flockwork_core::time::Timestamp;
use flockwork_layout::document::{Reading, decode, encode};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The oracle's lines for each document, in their order.
fn ask(documents: &[String]) -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let jar = root.join("target/oracles/snakeyaml/snakeyaml-2.2.jar");
    assert!(jar.is_file(), "{} is missing: run `cargo xtask setup`", jar.display());
    let mut oracle = Command::new("java")
        .arg("-cp")
        .arg(jar)
        .arg(root.join("oracles/snakeyaml/SnakeYamlOracle.java"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("java cannot be started ({why}): run `cargo xtask setup`"));
    let mut stdin = oracle.stdin.take().unwrap();
    let input = documents.join("\0");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = oracle.wait_with_output().unwrap();
    assert!(output.status.success(), "the oracle failed: it needs the JDK of `cargo xtask setup`");
    writer.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let parts = lines.split("--\n").map(|part| part.lines().map(str::to_owned).collect());
    parts.take(documents.len()).collect()
}

fn job_with(text: &str) -> JobConfig {
    let mut draft = Draft::native("job");
    draft.description = Some(text.to_owned());
    draft.label = Some(text.to_owned());
    draft.parameter = Some(text.to_owned());
    draft.listeners = vec![text.to_owned()];
    draft.props.insert("p".to_owned(), text.to_owned());
    let checked = check(&draft, Level::ElasticJob, Timestamp::default());
    checked.config.unwrap_or_else(|| panic!("{text:?}: {:?}", checked.problems))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_text_is_the_same_text_to_snakeyaml() {
    let mut runner = TestRunner::deterministic();
    let random = any::<String>();
    let random =
        (0..500).map(|_| random.new_tree(&mut runner).unwrap().current().replace('\0', "0"));
    let texts: Vec<String> =
        surprises::SURPRISES.iter().map(|&text| text.to_owned()).chain(random).collect();
    let documents: Vec<String> = texts.iter().map(|text| encode(&job_with(text))).collect();
    let answers = ask(&documents);
    assert_eq!(answers.len(), texts.len());
    for ((text, document), answer) in texts.iter().zip(&documents).zip(answers) {
        let mut expected = vec![
            format!("/description\tString\t{}", hex(text)),
            format!("/jobListenerTypes/0\tString\t{}", hex(text)),
            format!("/jobParameter\tString\t{}", hex(text)),
            format!("/props/p\tString\t{}", hex(text)),
            format!("/shardingTotalCount\tInteger\t{}", hex("1")),
            format!("/misfire\tBoolean\t{}", hex("true")),
            format!("/props/flockwork.schema\tString\t{}", hex("1")),
        ];
        if !text.is_empty() {
            expected.push(format!("/label\tString\t{}", hex(text)));
        }
        for line in expected {
            assert!(answer.contains(&line), "{text:?}: no {line}\n{document}\n{answer:?}");
        }
    }
}

/// Whole numbers and truth values: what Java's `toString` makes of them is what a property is.
#[test]
fn a_property_without_quotes_is_what_snakeyaml_makes_of_it() {
    let plain = [
        "010", "08", "0", "-0", "+1", "-12", "0x1F", "0b101", "0o7", "1_000", "0_7", "_1",
        "12:30:45", "08:30", "1:30", "1:75", "-1:05", "1:2:3", "yes", "Yes", "YES", "yEs", "y",
        "on", "off", "True", "false", "word", "7z", "0x", "0b", "0b2", "1-2", "10.0.0.1",
    ];
    let document =
        |text: &&str| format!("jobName: job\nshardingTotalCount: 1\nprops:\n  p: {text}\n");
    let documents: Vec<String> = plain.iter().map(document).collect();
    let name = JobName::new("job").unwrap();
    let reading =
        Reading { name: &name, implementation: "", default_zone: None, now: Timestamp::default() };
    for ((text, document), answer) in plain.iter().zip(&documents).zip(ask(&documents)) {
        let config = decode(document.as_bytes(), reading).config.unwrap();
        let ours = hex(&config.kept.props["p"]);
        let theirs = answer.iter().find(|line| line.starts_with("/props/p\t"));
        let theirs = theirs.unwrap_or_else(|| panic!("{text}: {answer:?}"));
        assert_eq!(theirs.split('\t').nth(2), Some(ours.as_str()), "{text}: {theirs}");
    }
}
