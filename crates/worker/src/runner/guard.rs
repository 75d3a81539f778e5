//! The guard: starts the runner, passes on what the node says, and ends what a dead runner leaves.

use super::control::{Control, Heard, Lease, boot_now, timespec};
use super::descent::{Reaper, kill_all};
use super::failure::start_failure;
use super::message::{CANCEL, RENEW, Report, Spec};
use super::{KILL_BOUND, SPEC_BOUND};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitStatus};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

/// What the runner is given beyond its own bounds before it is taken for hung, while the node
/// waits for its report.
const SLACK: Duration = Duration::from_secs(5);

/// What it is given when nobody does: the node is gone or stands still, and the shard may soon run
/// elsewhere. A runner that is killed in its work only leaves it to the guard.
const LAST_SLACK: Duration = Duration::from_secs(1);

pub(super) fn main() -> ! {
    match guard() {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            say(&Report::NotStarted { text: start_failure(&error) });
            std::process::exit(1)
        }
    }
}

fn guard() -> io::Result<()> {
    super::name_this_process(c"flockwork-guard");
    super::outlive_signals()?;
    super::close_inherited()?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut control = Control::stdin()?;
    let spec = control.read_spec(SPEC_BOUND)?;
    let (runner, orders) = start_runner(&spec)?;
    let mut reaper = Reaper::new(Some(runner));
    let watched = watch(&spec, &mut control, orders, runner, &mut reaper);
    let left = kill_all(&mut reaper, KILL_BOUND);
    if !reported(reaper.main_status) {
        let why = watched.map_or_else(|error| format!(" ({error})"), |()| String::new());
        say(&Report::Lost { text: format!("the runner of the script died{why}"), left });
    }
    Ok(())
}

/// A runner that has told the script's end exits with 0.
fn reported(status: Option<WaitStatus>) -> bool {
    status.and_then(WaitStatus::exit_status) == Some(0)
}

fn start_runner(spec: &Spec) -> io::Result<(Pid, ChildStdin)> {
    if spec.pid_namespace {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).map_err(|error| {
            io::Error::other(format!("no PID namespace: {error}; it needs CAP_SYS_ADMIN"))
        })?;
    }
    let mut command = super::this_program("runner", &spec.label);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut orders = child.stdin.take().expect("its standard input was asked to be a pipe");
    let mut line = serde_json::to_vec(spec).map_err(io::Error::other)?;
    line.push(b'\n');
    // A runner that is gone by now is found so by the caller.
    let _ = orders.write_all(&line);
    rustix::io::ioctl_fionbio(&orders, true)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((pid.expect("a child has a positive number"), orders))
}

/// Until the runner has ended, by itself or, if it is long overdue, by SIGKILL.
fn watch(
    spec: &Spec,
    control: &mut Control,
    orders: ChildStdin,
    runner: Pid,
    reaper: &mut Reaper,
) -> io::Result<()> {
    let ended = rustix::process::pidfd_open(runner, PidfdFlags::empty())?;
    let grace = Duration::from_millis(spec.grace_ms);
    let mut lease = Lease::of(spec);
    let mut orders = Some(orders);
    let mut deadline: Option<Duration> = None;
    loop {
        let wait = deadline.map_or_else(|| lease.left(), |at| at.saturating_sub(boot_now()));
        let (spoken, gone) = wait_for(orders.is_some().then_some(control.pipe()), &ended, wait)?;
        let heard = if spoken { control.hear() } else { Heard::default() };
        pass_on(heard, &mut orders);
        if heard.renewed {
            lease.renew();
        }
        let bound = bound_of(heard, &lease, grace).map(|bound| boot_now() + bound);
        deadline = match (deadline, bound) {
            (Some(earlier), Some(new)) => Some(earlier.min(new)),
            (either, other) => either.or(other),
        };
        reaper.reap();
        if gone || reaper.main_status.is_some() {
            return Ok(());
        }
        if deadline.is_some_and(|at| boot_now() >= at) {
            return rustix::process::kill_process(runner, Signal::KILL).map_err(Into::into);
        }
    }
}

/// How long the runner may take for what it was told now, if it has to end.
fn bound_of(heard: Heard, lease: &Lease, grace: Duration) -> Option<Duration> {
    if heard.ended {
        Some(LAST_SLACK)
    } else if lease.has_lapsed() {
        Some(lease.last_grace(grace) + LAST_SLACK)
    } else {
        heard.cancel.then_some(grace + KILL_BOUND + SLACK)
    }
}

fn pass_on(heard: Heard, orders: &mut Option<ChildStdin>) {
    let Some(pipe) = orders else { return };
    // A full pipe means a runner that does not read: its deadline deals with it.
    if heard.renewed {
        let _ = pipe.write(&[RENEW]);
    }
    if heard.cancel {
        let _ = pipe.write(&[CANCEL]);
    }
    if heard.ended {
        *orders = None;
    }
}

/// Whether the node spoke, and whether the runner is gone, within `bound`.
fn wait_for(
    control: Option<&OwnedFd>,
    runner: &OwnedFd,
    bound: Duration,
) -> io::Result<(bool, bool)> {
    let mut fds = vec![PollFd::new(runner, PollFlags::IN)];
    fds.extend(control.map(|fd| PollFd::new(fd, PollFlags::IN)));
    match poll(&mut fds, Some(&timespec(bound))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let spoken = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    Ok((spoken, !fds[0].revents().is_empty()))
}

/// Tells the node. One that is gone hears nothing, and needs to hear nothing.
fn say(report: &Report) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(&report.to_line()).and_then(|()| out.flush());
}
