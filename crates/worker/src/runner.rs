//! The small processes under which scripts run, so that nothing of a script outlives its node.
//!
//! A script runs at the end of a chain of processes of the same executable:
//!
//! ```text
//! node ── guard ── runner ── script ── whatever it starts
//! ```
//!
//! * The node renews a *lease* over a pipe. At the pipe's end, or when no renewal came for the
//!   lease's length, guard and runner end the script and every process that descends from it,
//!   whether it has forked twice, called `setsid` or ignores SIGTERM: both are child sub-reapers,
//!   so what loses its parent becomes their child.
//! * If the runner dies, what it had becomes the guard's, which ends it. If the guard dies, the
//!   runner's pipe ends, and it ends what it has.
//!
//! So all ends when any of the three, or any two of them that leave guard or runner alive, are
//! killed at once. If guard and runner are both killed while the node lives, the node ends what
//! still carries the run's mark in its environment. If all three are killed at the same instant,
//! what the script had started lives on until a node on this host starts and finds the mark
//! ([`Worker::end_leftovers`](crate::Worker::end_leftovers)); a script that may not outlive even
//! that can have a PID namespace of its own, where the kernel itself keeps the promise
//! ([`Scripts::pid_namespace`](crate::script::Scripts::pid_namespace)). A script that kills its
//! own guard and runner is not held by any of this: it has the node's own rights.
//!
//! Guard and runner call themselves `flockwork-guard` and `flockwork-runner`, have a session of
//! their own, outlive SIGTERM, SIGINT, SIGHUP, SIGQUIT and the like (a service manager that signals every process of a
//! service may take the script away, but not who accounts for it), and hold no descriptor of the
//! node but their pipes.

mod capture;
mod control;
mod descent;
mod failure;
mod group;
mod guard;
mod init;
mod message;
mod supervise;
pub(crate) mod sweep;

pub(crate) use control::{boot_now, timespec};
pub(crate) use failure::start_failure;
pub(crate) use message::{CANCEL, How, RENEW, Report, Spec, Stop};

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Tells a process of this executable that it is a guard or a runner. Scripts never have it.
const ROLE: &str = "FLOCKWORK_RUNNER_ROLE";

/// How long a killed process may take to be gone before it is reported as left over. Only one in
/// an uninterruptible wait of the kernel (a dead network file system) takes longer than a moment.
pub(crate) const KILL_BOUND: Duration = Duration::from_secs(10);

/// How long a guard or runner waits for its orders, which are written right after its start.
const SPEC_BOUND: Duration = Duration::from_secs(10);

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Must be the first thing in `main` of a program that runs scripts: before threads, runtimes and
/// the reading of arguments.
///
/// In a process started to guard a script this does that work and never returns. As process 1 of
/// a container it starts the program again as its child, passes signals on to it, reaps what
/// nobody else does, and exits as it exits. In every other process it returns at once. A program
/// that does not call it can run functions; a script is refused as `RUNNER_NOT_INSTALLED`.
pub fn run_if_asked() {
    match std::env::var(ROLE).as_deref() {
        Ok("guard") => guard::main(),
        Ok("runner") => supervise::main(),
        Ok(_) | Err(_) => {}
    }
    if std::process::id() == 1 {
        init::main();
    }
    INSTALLED.store(true, Ordering::Release);
}

/// Whether [`run_if_asked`] was called in this process.
#[must_use]
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Acquire)
}

/// Whether this process may give scripts PID namespaces of their own
/// ([`Scripts::pid_namespace`](crate::script::Scripts::pid_namespace)), as far as its capabilities say.
/// Where that is not known, it may not.
#[must_use]
pub fn may_make_namespaces() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    status_mask("CapEff:") & CAP_SYS_ADMIN != 0
}

/// A mask of bits in what the kernel tells of this process; 0 if it does not.
fn status_mask(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// This executable again, in another role, even if its file was replaced since.
pub(crate) fn this_program(role: &str, label: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(format!("flockwork-{role}")).arg(label);
    command.env_clear().env(ROLE, role).current_dir("/");
    command
}

/// Outlives the signals that ask a program to go: guard and runner go when their work is done.
/// They are caught, not ignored or blocked, as a child would inherit either; and what this process
/// itself inherited of the kind (`nohup`, ignored ends of children) is undone for the script, whichever
/// signal whoever started the node ignored.
fn outlive_signals() -> io::Result<()> {
    use signal_hook::consts::{
        SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
    };
    let caught = Arc::new(AtomicBool::new(false));
    let known =
        [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD, SIGXCPU, SIGXFSZ];
    for signal in known {
        signal_hook::flag::register(signal, Arc::clone(&caught))?;
    }
    for signal in ignored() {
        // The two that the C library keeps for itself cannot be caught, and no script misses them.
        let _ = signal_hook::flag::register(signal, Arc::clone(&caught));
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// The signals that this process ignores.
fn ignored() -> Vec<i32> {
    let mask = status_mask("SigIgn:");
    (1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect()
}

/// Closes what was inherited beyond the standard three: the node's program may hold descriptors
/// that its libraries did not mark as close-on-exec.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir(Path::new("/proc/self/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory's own descriptor is among them and closed by now.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// The name people see of this process, in place of the link it was started by.
fn name_this_process(name: &std::ffi::CStr) {
    // Only a name: the process is none the worse without.
    let _ = rustix::thread::set_name(name);
}
