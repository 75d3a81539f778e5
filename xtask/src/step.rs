//! The commands that the gate and the single commands run.

use crate::count::Count;
use crate::server::Server;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command in the workspace, with cargo's own variables of this process taken away: they would
/// make the inner cargo build everything anew.
pub(crate) fn command(root: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root);
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST")
    }) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let shown = shown(&command);
    let status = command.status().map_err(|why| format!("cannot start {shown}: {why}"))?;
    status.success().then_some(()).ok_or(format!("{shown}: {status}"))
}

/// What a command prints.
pub(crate) fn output(root: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = command(root, program, args);
    let shown = shown(&command);
    let output = command.output().map_err(|why| format!("cannot start {shown}: {why}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{shown}: {}", output.status)),
    }
}

/// Runs a test runner to its end, showing and counting what it reports.
pub(crate) fn run_counted(command: Command, count: &mut Count) -> Result<(), String> {
    run_observed(command, count, |line| println!("{line}"))
}

/// Runs a test runner to its end, counting what it reports; each line is shown to `observer`.
pub(crate) fn run_observed(
    mut command: Command,
    count: &mut Count,
    mut observer: impl FnMut(&str),
) -> Result<(), String> {
    let shown = shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("cannot start {shown}: {why}"))?;
    let output = child.stdout.take().expect("its stdout is piped");
    let mut failed = 0;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|why| format!("cannot read from {shown}: {why}"))?;
        let line = String::from_utf8_lossy(&line);
        observer(&line);
        if let Some(found) = Count::from_line(&line) {
            failed += found.failed;
            *count += found;
        }
    }
    let status = child.wait().map_err(|why| format!("cannot wait for {shown}: {why}"))?;
    match status.success() && failed == 0 {
        true => Ok(()),
        false => Err(format!("{shown}: {status}, {failed} tests failed or ignored")),
    }
}

/// `cargo xtask sim ...`, in the profile of the tests, where core and simulation are optimised.
pub(crate) fn simulation(root: &Path, args: &[&str]) -> Result<(), String> {
    let cargo = ["run", "--quiet", "--package", "flockwork-sim", "--"];
    run(command(root, "cargo", &[&cargo, args].concat()))
}

/// `cargo xtask soak ...`: the command of the nodes is built first, beside the soak.
pub(crate) fn soak(root: &Path, args: &[&str]) -> Result<(), String> {
    run(command(root, "cargo", &["build", "--quiet", "--package", "flockwork-cli"]))?;
    let cargo = ["run", "--quiet", "--package", "flockwork-soak", "--"];
    run(command(root, "cargo", &[&cargo, args].concat()))
}

/// `cargo xtask bench ...`, in the release profile.
pub(crate) fn bench(root: &Path, args: &[&str]) -> Result<(), String> {
    let cargo = ["run", "--quiet", "--release", "--package", "flockwork-bench", "--"];
    run(command(root, "cargo", &[&cargo, args].concat()))
}

/// `cargo xtask bench registry`: one registry after the other, each beside a bare loop of the same
/// requests in the same run, on a server of its own.
pub(crate) fn bench_registries(root: &Path) -> Result<(), String> {
    let speed = |registry: &str, server: Option<&Server>| {
        let package = format!("flockwork-registry-{registry}");
        let example = format!("{registry}_speed");
        let cargo = ["run", "--quiet", "--release", "--package", &package, "--example", &example];
        let mut command = command(root, "cargo", &cargo);
        command.args(server.map(|server| server.address.to_string()));
        run(command)
    };
    let embedded = speed("embedded", None);
    let zookeeper = Server::zookeeper(root).and_then(|server| speed("zookeeper", Some(&server)));
    let etcd = Server::etcd(root).and_then(|server| speed("etcd", Some(&server)));
    embedded.and(zookeeper).and(etcd)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
