//! The program as process 1 of a container.

use crate::Test;
use crate::rig::{LONG, NODE, children, wait_for};
use flockwork_worker::runner::may_make_namespaces;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[(
    "process_1_reaps_orphans_passes_signals_on_and_exits_as_the_program",
    reaps_orphans_passes_signals_on_and_exits_as_the_program,
)];

/// Starts this executable as the first process of a PID namespace, and exits as it exits.
const CONTAINER: &str = "container";
/// The program in it: leaves an orphan behind and waits for a signal.
const PROGRAM: &str = "program";

/// This executable in one of the roles, if it was asked for one.
pub(crate) fn role(name: &str) -> Option<ExitCode> {
    match name {
        CONTAINER => Some(container()),
        PROGRAM => Some(program()),
        _ => None,
    }
}

fn container() -> ExitCode {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
    let mut first = Command::new("/proc/self/exe").env(NODE, PROGRAM).spawn().unwrap();
    println!("{}", first.id());
    let code = first.wait().unwrap().code().unwrap();
    ExitCode::from(u8::try_from(code).unwrap())
}

fn program() -> ExitCode {
    assert_ne!(std::process::id(), 1, "it is the child of process 1");
    let orphan = Command::new("/bin/sh").args(["-c", "sleep 0.2 & sleep 0.1 & exit 0"]).status();
    assert!(orphan.unwrap().success(), "its own children are its own to wait for");
    println!("ready");
    std::thread::sleep(LONG * 2);
    ExitCode::SUCCESS
}

fn reaps_orphans_passes_signals_on_and_exits_as_the_program() {
    if !may_make_namespaces() {
        println!("no CAP_SYS_ADMIN: there is no way to be process 1 here");
        return;
    }
    let mut container = Command::new(std::env::current_exe().unwrap())
        .env(NODE, CONTAINER)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(container.stdout.take().unwrap()).lines();
    // Two processes write a line each, and either may be the first to.
    let told: Vec<String> = lines.by_ref().take(2).map(Result::unwrap).collect();
    assert!(told.contains(&"ready".to_owned()), "{told:?}");
    let first: i32 = told.iter().find_map(|line| line.parse().ok()).expect("a process number");
    // The orphans are children of process 1 now, and stay listed as such until they are reaped.
    wait_for("the orphans' end", LONG, || (children(first).len() == 1).then_some(()));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(children(first).len(), 1);
    kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
    let status = container.wait().unwrap();
    assert_eq!(status.code(), Some(128 + 15));
}
