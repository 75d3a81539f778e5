//! Sets up, tests, simulates and measures Flockwork: `cargo xtask` lists the commands.
#![allow(clippy::print_stdout, reason = "its product is what it prints")]

mod conformance;
mod count;
mod gate;
mod mutants;
mod server;
mod setup;
mod space;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup [--yes]       install what the tests need: says what, and asks unless --yes or CI=true
  test [--yes]        setup, then everything that must hold before a change is handed in
  tidy                only the checks of names, sizes, layers and circles of files
  sim [--seeds N] [--seed S]
                      simulate N clusters (300), or the one of seed S
  sim --shrink S      the same with as few faults as it takes to fail
  sim --digest FROM [--seeds N]
                      one digest over the traces of N clusters (1000), to compare two states of the
                      source: a commit that only moves code prints the same
  sim --mutants [PART]
                      make known mistakes, in what a node is told and in the source, and say what
                      finds them; with PART, those in the source whose words it is part of
  conformance         the registry contract's cases on every registry, as a table
  soak [--registry zookeeper|etcd|embedded] [--minutes 10] [--fault-every 20s] [--seed N]
                      real nodes on a real registry under faults, judged by the checker
  bench core          measure what deciding costs, each figure beside its goal
  bench registry      measure each registry beside a bare loop of the same requests";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = workspace();
    let done = match words.as_slice() {
        ["setup"] => setup::run(&root, setup::consent(false)),
        ["setup", "--yes"] => setup::run(&root, setup::consent(true)),
        ["test"] => return gate::run(&root, setup::consent(false)),
        ["test", "--yes"] => return gate::run(&root, setup::consent(true)),
        ["tidy"] => tidy::run(&root),
        ["sim", "--mutants"] => {
            step::simulation(&root, &["--mutants"]).and_then(|()| mutants::run(&root, None))
        }
        ["sim", "--mutants", part] => mutants::run(&root, Some(part)),
        ["sim", rest @ ..] => step::simulation(&root, rest),
        ["conformance"] => conformance::run(&root),
        ["soak", rest @ ..] => step::soak(&root, rest),
        ["bench", "registry"] => step::bench_registries(&root),
        ["bench", rest @ ..] => step::bench(&root, rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}
