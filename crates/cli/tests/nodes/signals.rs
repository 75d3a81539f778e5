//! What signals do to a node with a run under way: none cuts it off.

use crate::is_start;
use crate::process::{FLOCKWORK, Killed, Lines, Node, PATIENCE, scene};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs until the file `go` is there, and leaves `done` as its last act.
const UNTIL_TOLD: &str = "while [ ! -e go ]; do sleep 0.1; done; touch done";

/// A node whose standard error is read, too, with its first run under way.
fn with_a_run(at: &Path) -> (Node, Lines) {
    // Whoever runs the tests may ignore a hang-up, which a node would take over.
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP", FLOCKWORK]).current_dir(at);
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    let mut node = Node::run(command);
    let errors = Lines::of(node.child.stderr.take().unwrap());
    node.await_line(is_start);
    (node, errors)
}

fn await_file(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "no {}", path.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn await_end(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it has not ended");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Until a terminal shows a text.
fn await_shown(terminal: &OwnedFd, wanted: &str) {
    rustix::io::ioctl_fionbio(terminal, true).unwrap();
    let (mut shown, mut some) = (Vec::new(), [0; 4096]);
    let deadline = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&shown).contains(wanted) {
        assert!(Instant::now() < deadline, "no {wanted} in {}", String::from_utf8_lossy(&shown));
        match rustix::io::read(terminal, &mut some) {
            Ok(read) => shown.extend_from_slice(&some[..read]),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn end_runs(at: &Path) {
    std::fs::write(at.join("go"), "").unwrap();
}

#[test]
fn a_hang_up_drains_however_often_it_comes() {
    let directory = scene("1s", UNTIL_TOLD);
    let (mut node, _errors) = with_a_run(directory.path());
    node.signal(Signal::HUP);
    // Longer apart than what counts as one request.
    std::thread::sleep(Duration::from_millis(700));
    node.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(node.child.try_wait().unwrap(), None, "its run goes on");
    end_runs(directory.path());
    node.await_line(|line| line == "stopped: every run has ended");
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_terminal_that_closes_drains() {
    let directory = scene("1s", UNTIL_TOLD);
    let at = directory.path();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "/usr/bin/env", "--default-signal=HUP", FLOCKWORK]);
    command.args(["run", "jobs.yaml", "--listen", "127.0.0.1:0"]);
    command.current_dir(at).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(side.try_clone().unwrap()).stdout(side.try_clone().unwrap()).stderr(side);
    let mut node = Killed(command.spawn().unwrap());
    drop(command);
    await_shown(&terminal, " started ");
    drop(terminal);
    end_runs(at);
    assert_eq!(await_end(&mut node.0), Some(0));
    assert!(at.join("done").exists(), "its run has ended by itself");
}

#[test]
fn under_nohup_a_hang_up_changes_nothing() {
    let directory = scene("1s", "true");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' HUP && exec \"$0\" \"$@\"", FLOCKWORK]);
    command.current_dir(directory.path()).env_clear().stdin(Stdio::null());
    let mut node = Node::run(command);
    node.await_line(is_start);
    node.signal(Signal::HUP);
    for _ in 0..12 {
        node.await_line(is_start);
    }
    node.signal(Signal::TERM);
    node.await_line(|line| line == "stopped: every run has ended");
}

#[test]
fn a_node_says_how_it_stands_when_it_is_asked() {
    let directory = scene("1s", UNTIL_TOLD);
    let (mut node, mut errors) = with_a_run(directory.path());
    for ask in [Signal::USR1, Signal::QUIT] {
        node.signal(ask);
        errors.await_line(|line| line.starts_with("state: at ") && line.contains("session live"));
        errors.await_line(|line| line.starts_with("state: work: serving, 4 shards"));
        errors.await_line(|line| line.starts_with("state: work ") && line.contains(" runs fire "));
    }
    node.signal(Signal::TERM);
    // It hears both in the order in which they are looked at; the second question is after the drain.
    let drains = |errors: &mut Lines, node: &Node| {
        node.signal(Signal::USR1);
        errors.await_line(|line| line.starts_with("state: at ")).contains("draining")
    };
    let deadline = Instant::now() + PATIENCE;
    while !drains(&mut errors, &node) {
        assert!(Instant::now() < deadline, "it does not drain");
    }
    errors.await_line(|line| line.starts_with("state: waits for the end of "));
    end_runs(directory.path());
    node.await_line(|line| line == "stopped: every run has ended");
}

#[test]
fn signals_that_mean_nothing_end_nothing() {
    let directory = scene("1s", UNTIL_TOLD);
    let (mut node, _errors) = with_a_run(directory.path());
    let pid = Pid::from_child(&node.child);
    let named = [
        Signal::USR2,
        Signal::PIPE,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::POWER,
        Signal::STKFLT,
    ];
    for signal in named {
        kill_process(pid, signal).unwrap();
    }
    let real_time = ["34", "48", "64"].map(|number| format!("-{number}"));
    for number in real_time {
        let pid = node.child.id().to_string();
        assert!(Command::new("/bin/kill").args([&number, &pid]).status().unwrap().success());
    }
    end_runs(directory.path());
    node.await_line(|line| line.contains(" work ") && line.contains(" OK "));
    node.signal(Signal::TERM);
    node.await_line(|line| line == "stopped: every run has ended");
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

/// Signals 32 and 33, which no program sets.
const OF_THE_C_LIBRARY: u64 = 0b11 << 31;

/// What is ignored is inherited by all that a process starts.
#[test]
fn scripts_start_with_all_signals_at_their_defaults() {
    let directory = scene("1s", "cat /proc/self/status > status.new; mv status.new status");
    let mut command = Command::new("/bin/sh");
    let ignored = "trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2 XCPU XFSZ VTALRM PROF 34 64";
    command.args(["-c", &format!("{ignored}; exec \"$0\" \"$@\""), FLOCKWORK]);
    command.current_dir(directory.path()).env_clear().stdin(Stdio::null());
    let mut node = Node::run(command);
    node.await_line(|line| line.contains(" work ") && line.contains(" OK "));
    let status = directory.path().join("status");
    await_file(&status);
    let status = std::fs::read_to_string(status).unwrap();
    for mask in ["SigBlk:", "SigIgn:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        let signals = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(signals & !OF_THE_C_LIBRARY, 0, "{mask} {line}");
    }
    node.signal(Signal::TERM);
    node.await_line(|line| line == "stopped: every run has ended");
}
