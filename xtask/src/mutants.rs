//! `cargo xtask sim --mutants`: mistakes made in the source of what decides, one at a time, in a copy
//! of the project; each must be found by the invariant it breaks, within a few seeds.

mod list;

use crate::step;
use list::{LIST, SourceMutant};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// How many seeds a mistake may hide in.
const SEEDS: &str = "40";

/// Makes each mistake and prints what found it. `only` picks those that it is part of.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<(), String> {
    let copy = copied(root)?;
    let mut missed = Vec::new();
    let chosen = LIST.iter().filter(|mutant| only.is_none_or(|part| mutant.what.contains(part)));
    let mut tried = 0_usize;
    for mutant in chosen {
        tried += 1;
        let found = with(&copy, mutant, || hunt(&copy, mutant))?;
        println!("{:4} {:75} {found}", mutant.caught_by, mutant.what);
        if !found.starts_with("after ") {
            missed.push(mutant.what);
        }
    }
    let caught = tried - missed.len();
    println!("figure source_mutants_caught {caught} mutants goal >= {tried}");
    match missed.as_slice() {
        [] => Ok(()),
        missed => Err(format!("not found: {}", missed.join("; "))),
    }
}

/// The project's own files, in a place of their own, so that nobody's work is touched.
fn copied(root: &Path) -> Result<PathBuf, String> {
    let copy = root.join("target/mutants/source");
    let failed = |why: std::io::Error| format!("cannot copy the project: {why}");
    if copy.exists() {
        std::fs::remove_dir_all(&copy).map_err(failed)?;
    }
    let listed = step::command(root, "git", &["ls-files", "-z"]).output().map_err(failed)?;
    for file in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(file).into_owned();
        let to = copy.join(&name);
        std::fs::create_dir_all(to.parent().unwrap_or(&copy)).map_err(failed)?;
        std::fs::copy(root.join(&name), &to).map_err(|why| format!("cannot copy {name}: {why}"))?;
    }
    Ok(copy)
}

/// Does something while a mistake is in the copy.
fn with<T>(
    copy: &Path,
    mutant: &SourceMutant,
    act: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let path = copy.join(mutant.file);
    let failed = |why: std::io::Error| format!("{}: {why}", mutant.file);
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let wrong = mistaken(&text, mutant)?;
    std::fs::write(&path, wrong).map_err(failed)?;
    let done = act();
    std::fs::write(&path, text).map_err(failed)?;
    done
}

fn mistaken(text: &str, mutant: &SourceMutant) -> Result<String, String> {
    match text.matches(mutant.from).count() {
        1 => Ok(text.replacen(mutant.from, mutant.to, 1)),
        times => Err(format!("{}: {:?} stands there {times} times", mutant.file, mutant.from)),
    }
}

/// What the simulation says of the copy: `after N seeds`, or what it found instead.
fn hunt(copy: &Path, mutant: &SourceMutant) -> Result<String, String> {
    let cargo = ["run", "--quiet", "--package", "flockwork-sim", "--"];
    let sim = ["--hunt", mutant.caught_by, "--seeds", SEEDS];
    let mut command = step::command(copy, "cargo", &[&cargo[..], &sim].concat());
    command.env("CARGO_TARGET_DIR", copy.with_file_name("build")).stderr(Stdio::piped());
    let output = command.output().map_err(|why| format!("cannot simulate: {why}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    match told.lines().last() {
        Some(line) => Ok(line.to_owned()),
        None => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The list is of use only while it fits the source.
    #[test]
    fn each_mistake_can_be_made_in_the_source_as_it_is() {
        let root = crate::workspace();
        for mutant in LIST {
            let text = std::fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
            let wrong = mistaken(&text, mutant).unwrap_or_else(|why| panic!("{why}"));
            assert_ne!(wrong, text, "{}", mutant.what);
        }
        let names: BTreeSet<_> = LIST.iter().map(|mutant| mutant.what).collect();
        assert_eq!(names.len(), LIST.len());
    }
}
