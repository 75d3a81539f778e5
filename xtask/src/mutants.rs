//! `cargo xtask sim --mutants`: mistakes made in the source of what decides, one at a time, in a copy
//! of the project; each must be found by the invariant it breaks, within a few seeds, or by the test
//! that is named for it.

mod duties;
mod list;

use crate::step;
use duties::DUTIES;
use list::{CaughtBy, LIST, SourceMutant};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// How many seeds a mistake may hide in.
const SEEDS: &str = "40";

/// Makes each mistake and prints what found it. `only` picks those that it is part of.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<(), String> {
    let copy = copied(root)?;
    let mut missed = Vec::new();
    let chosen = all().filter(|mutant| only.is_none_or(|part| mutant.what.contains(part)));
    let mut tried = 0_usize;
    for mutant in chosen {
        tried += 1;
        let found = with(&copy, mutant, || hunt(&copy, mutant))?;
        let (is_caught, told) = match &found {
            Ok(told) => (true, told),
            Err(told) => (false, told),
        };
        println!("{:79} {told}", mutant.what);
        if !is_caught {
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

/// Mistakes that simulated clusters or a named test find, then one for each duty of the node.
fn all() -> impl Iterator<Item = &'static SourceMutant> {
    LIST.iter().chain(DUTIES)
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

/// What found the mistake in the copy, or what was told instead.
fn hunt(copy: &Path, mutant: &SourceMutant) -> Result<Result<String, String>, String> {
    match mutant.caught_by {
        CaughtBy::Invariant(number) => {
            let sim = ["run", "--quiet", "--package", "flockwork-sim", "--", "--hunt", number];
            let (ended_well, told) = told(copy, &[&sim[..], &["--seeds", SEEDS]].concat())?;
            let told = told.lines().last().unwrap_or("it does not build, or never ends").to_owned();
            Ok(if ended_well { Ok(format!("{number} {told}")) } else { Err(told) })
        }
        CaughtBy::Test { package, test } => {
            let args = ["test", "--quiet", "--package", package, test];
            let (ended_well, told) = told(copy, &args)?;
            let failed = !ended_well && told.contains(&format!("{test} stdout ----"));
            Ok(if failed { Ok(test.to_owned()) } else { Err(format!("{test} did not fail")) })
        }
    }
}

/// Runs cargo in the copy; says whether it ended well, and its output.
fn told(copy: &Path, args: &[&str]) -> Result<(bool, String), String> {
    let mut command = step::command(copy, "cargo", args);
    command.env("CARGO_TARGET_DIR", copy.with_file_name("build")).stderr(Stdio::piped());
    let output = command.output().map_err(|why| format!("cannot run cargo: {why}"))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The list is of use only while it fits the source.
    #[test]
    fn each_mistake_can_be_made_in_the_source_as_it_is() {
        let root = crate::workspace();
        for mutant in all() {
            let text = std::fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
            let wrong = mistaken(&text, mutant).unwrap_or_else(|why| panic!("{why}"));
            assert_ne!(wrong, text, "{}", mutant.what);
        }
        let names: BTreeSet<_> = all().map(|mutant| mutant.what).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn what_finds_each_mistake_is_there() {
        let known = ["P3", "P4", "P5", "P6", "P8", "P9", "P10", "P12", "P17", "P21"];
        for mutant in all() {
            match mutant.caught_by {
                CaughtBy::Invariant(number) => {
                    assert!(known.contains(&number), "{}: {number}", mutant.what);
                }
                CaughtBy::Test { package, test } => {
                    let folder = package.strip_prefix("flockwork-").expect(package);
                    let files = files(&crate::workspace().join("crates").join(folder));
                    let head = format!("fn {test}(");
                    let times: usize = files.iter().map(|text| text.matches(&head).count()).sum();
                    assert_eq!(times, 1, "{}: {package} {test}", mutant.what);
                }
            }
        }
    }

    /// The texts of all files below a folder.
    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let texts = entries.map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![std::fs::read_to_string(&path).unwrap_or_default()],
        });
        texts.flatten().collect()
    }
}
