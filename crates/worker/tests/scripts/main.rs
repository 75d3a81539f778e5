//! Real scripts under real guards and runners. This executable is its own guard, runner and node,
//! so it has no harness but the few lines below: names are filtered as usual, `--list` lists.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "a test's results are told on it")]

mod endings;
mod limits;
mod output;
mod process_one;
mod rig;
mod survivors;

use std::panic::catch_unwind;
use std::process::ExitCode;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    flockwork_worker::runner::run_if_asked();
    if let Some(role) = rig::role() {
        return process_one::role(&role).unwrap_or_else(|| survivors::node(&role));
    }
    let all: Vec<Test> =
        [endings::TESTS, limits::TESTS, output::TESTS, process_one::TESTS, survivors::TESTS]
            .concat();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let chosen = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|w| if exact { name == *w } else { name.contains(w.as_str()) })
    };
    let failed = all
        .into_iter()
        .filter(|(name, _)| chosen(name))
        .filter(|(name, test)| {
            let passed = catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            !passed
        })
        .count();
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
