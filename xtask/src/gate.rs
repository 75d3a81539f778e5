//! `cargo xtask test`: everything that must hold, in one run. It changes no file of the project.

use crate::count::Count;
use crate::{setup, space, step, tidy};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// One thing that must hold: its name for people, and what tries it.
type Step = (&'static str, fn(&Path, &mut Count) -> Result<(), String>);

const STEPS: [Step; 7] = [
    ("format", |root, _| cargo(root, &["fmt", "--all", "--", "--check"])),
    ("tidy", |root, _| tidy::run(root)),
    ("lints", |root, _| {
        let lints = ["clippy", "--workspace", "--all-targets", "--all-features"];
        cargo(root, &[&lints[..], &["--", "-D", "warnings"]].concat())
    }),
    ("tests", |root, count| {
        // The union of the features everywhere, so that lints and tests share one build.
        let tests = ["test", "--workspace", "--all-features", "--no-fail-fast"];
        step::run_counted(step::command(root, "cargo", &tests), count)
    }),
    ("documentation", |root, _| {
        let docs = ["doc", "--workspace", "--all-features", "--no-deps"];
        let mut command = step::command(root, "cargo", &docs);
        step::run({
            command.env("RUSTDOCFLAGS", "-D warnings");
            command
        })
    }),
    ("embedding beside sqlx and axum", embedding),
    ("simulation", |root, _| step::simulation(root, &["--seeds", "1000"])),
];

/// Runs all steps, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn run(root: &Path, consent: setup::Consent) -> ExitCode {
    let ready = setup::run(root, consent).map_err(|why| format!("setup: {why}"));
    if let Err(why) = ready.and_then(|()| space::check(root)) {
        eprintln!("error: {why}");
        println!("0 passed, 1 failed");
        return ExitCode::FAILURE;
    }
    let mut count = Count::default();
    let mut failures = Vec::new();
    for (name, attempt) in STEPS {
        println!("==> {name}");
        let (began, before) = (Instant::now(), count.failed);
        match attempt(root, &mut count) {
            Ok(()) => println!("==> {name}: ok, {:.0} s", began.elapsed().as_secs_f64()),
            Err(why) => {
                eprintln!("==> {name}: FAILED: {why}");
                failures.push(name);
                // A step that counts no test of its own, or could not even build, fails as one.
                count.failed += u64::from(count.failed == before);
            }
        }
    }
    if count.passed == 0 {
        failures.push("no test ran");
    }
    println!("{}", summary(&failures));
    println!("{} passed, {} failed", count.passed, count.failed);
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(failures: &[&str]) -> String {
    match failures {
        [] => "everything holds".to_owned(),
        names => format!("failed: {}", names.join(", ")),
    }
}

fn cargo(root: &Path, args: &[&str]) -> Result<(), String> {
    step::run(step::command(root, "cargo", args))
}

/// The example that uses the library beside other people's dependencies has its own lockfile, so
/// it is built and run on its own.
fn embedding(root: &Path, _: &mut Count) -> Result<(), String> {
    let at = root.join("examples/embedding");
    if !at.join("Cargo.lock").is_file() {
        return Err("examples/embedding has no lockfile of its own".into());
    }
    let target = root.join("target/embedding");
    let mut command = step::command(&at, "cargo", &["run", "--locked", "--quiet", "--", "--once"]);
    step::run({
        command.env("CARGO_TARGET_DIR", target);
        command
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named() {
        assert_eq!(summary(&[]), "everything holds");
        assert_eq!(summary(&["tidy", "tests"]), "failed: tidy, tests");
    }
}
