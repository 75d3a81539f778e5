//! What process 1 of a container has to do: pass signals on, and reap what nobody else does.
//!
//! The program itself runs as its child, since reaping every child would take those away that the
//! program waits for.

use rustix::process::{Pid, WaitOptions, WaitStatus};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

pub(super) fn main() -> ! {
    match run() {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            // There is no log yet: this is the first thing the program does.
            eprintln!("flockwork: cannot run as process 1: {error}");
            std::process::exit(1)
        }
    }
}

fn run() -> io::Result<i32> {
    // Caught before there is a child whose end could be missed.
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2])?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // A group of its own: a terminal's Ctrl-C would else reach it twice, here and passed on.
    let child = command.args(arguments).process_group(0).spawn()?;
    let program = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let program = program.expect("a child has a positive number");
    for signal in signals.forever() {
        if signal != SIGCHLD {
            pass_on(program, signal);
        } else if let Some(status) = reap(program) {
            return Ok(exit_code(status));
        }
    }
    Err(io::Error::other("no more signals"))
}

fn pass_on(program: Pid, signal: i32) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
        // Gone by now: its end is told next.
        let _ = rustix::process::kill_process(program, signal);
    }
}

/// Reaps all that has ended; the program's status once it is among them.
fn reap(program: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == program {
            ended = Some(status);
        }
    }
    ended
}

/// As a shell tells it: 128 and the signal's number for a program that a signal ended.
fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|n| 128 + n)).unwrap_or(1)
}
