//! Runs the real Quartz.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).expect("crates/core lies in the workspace")
}

/// The folder of Quartz and what it needs.
fn jars() -> PathBuf {
    let jars = root().join("target/oracles/quartz");
    let quartz = jars.join("quartz-2.3.2.jar");
    assert!(quartz.is_file(), "{} is missing: run `cargo xtask setup`", quartz.display());
    jars
}

/// The oracle's answers to `questions`, all its lines.
///
/// # Panics
/// If there is no JDK or no Quartz, naming the command that installs them.
pub(crate) fn ask(mode: &str, questions: &[String]) -> Vec<String> {
    let mut oracle = Command::new("java")
        .args(["-Xshare:auto", "-XX:TieredStopAtLevel=4", "-cp"])
        .arg(jars().join("*"))
        .arg(root().join("oracles/quartz/QuartzOracle.java"))
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("java cannot be started ({why}): run `cargo xtask setup`"));
    let mut stdin = oracle.stdin.take().expect("piped");
    let lines: String = questions.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    // Written beside the reading: both pipes are smaller than what goes through them.
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = oracle.wait_with_output().expect("the oracle ends when its input does");
    assert!(output.status.success(), "the oracle failed: it needs the JDK of `cargo xtask setup`");
    writer.join().expect("the writer does not panic").expect("the oracle reads all its input");
    let answers = String::from_utf8(output.stdout).expect("the oracle writes UTF-8");
    answers.lines().map(str::to_owned).collect()
}
