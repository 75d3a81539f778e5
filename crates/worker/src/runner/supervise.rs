//! The runner: starts the script, drains its output, and ends it with all it has started.

use super::capture::Capture;
use super::control::{Control, Heard, Lease, boot_now, timespec};
use super::descent::{Reaper, kill_all, signal_all};
use super::failure::{spawn_failure, start_failure};
use super::message::{Ended, How, Report, Spec, Stop};
use super::{KILL_BOUND, SPEC_BOUND};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitStatus, getrlimit, setrlimit,
};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often a progress line is passed on at most.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How often ended orphans are reaped while nothing else happens.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether all have heeded a SIGTERM.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long output that is still in the pipe is read after all have ended.
const DRAIN_BOUND: Duration = Duration::from_secs(1);

pub(super) fn main() -> ! {
    let report = match prepare().and_then(run) {
        Ok(report) => report,
        Err(error) => Report::NotStarted { text: start_failure(&error) },
    };
    match tell_last(&report) {
        Ok(()) => std::process::exit(0),
        // The guard tells that this one did not.
        Err(_) => std::process::exit(1),
    }
}

fn prepare() -> io::Result<(Control, Spec)> {
    super::name_this_process(c"flockwork-runner");
    super::outlive_signals()?;
    super::close_inherited()?;
    if std::process::id() == 1 {
        // A namespace knows no groups and sessions from outside; the guard's end is its end.
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::io::ioctl_fionbio(io::stdout(), true)?;
    let mut control = Control::stdin()?;
    let spec = control.read_spec(SPEC_BOUND)?;
    Ok((control, spec))
}

fn run((control, spec): (Control, Spec)) -> io::Result<Report> {
    if let Err(error) = std::fs::metadata(&spec.cwd).and_then(|_| std::fs::read_dir(&spec.cwd)) {
        let cwd = spec.cwd.display();
        return Ok(Report::NotStarted {
            text: format!("CWD_GONE: the script cannot start in {cwd}: {error}"),
        });
    }
    let lease = Lease::of(&spec);
    if lease.has_lapsed() {
        return Ok(Report::Ended(Ended::before_the_start(Stop::LeaseLapsed)));
    }
    let (output, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&output, true)?;
    let script = match spawn(&spec, write_end) {
        Ok(script) => script,
        Err(error) => return Ok(Report::NotStarted { text: spawn_failure(&spec, &error) }),
    };
    // From here on there is something to be ended: should this process fail, its guard does that.
    let lost = |error: io::Error| Report::Lost {
        text: format!("the runner of the script failed: {error}"),
        left: Vec::new(),
    };
    let ended = match rustix::process::pidfd_open(script, PidfdFlags::empty()) {
        Ok(ended) => ended,
        Err(error) => return Ok(lost(error.into())),
    };
    let watch = Watch {
        ended,
        lease,
        grace: Duration::from_millis(spec.grace_ms),
        capture: Capture::new(spec.output, spec.output_cap),
        reaper: Reaper::new(Some(script)),
        control: Some(control),
        output: Some(output),
        stopping: None,
        told: (boot_now(), 0, 0),
    };
    Ok(watch.until_all_ended().unwrap_or_else(lost))
}

fn spawn(spec: &Spec, output: OwnedFd) -> io::Result<Pid> {
    if let Some(current) = spec.open_files {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum })?;
    }
    let mut command = Command::new(&spec.program);
    let (name, arguments) = spec.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    command.arg0(name).args(arguments).env_clear();
    command.envs(spec.env.iter().map(|(key, value)| (key, value)));
    command.current_dir(&spec.cwd).process_group(0);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(pid.expect("a child has a positive number"))
}

/// A script under way.
struct Watch {
    control: Option<Control>,
    output: Option<OwnedFd>,
    ended: OwnedFd,
    lease: Lease,
    grace: Duration,
    capture: Capture,
    reaper: Reaper,
    /// Why it was told to stop, and when all is killed.
    stopping: Option<(Stop, Duration)>,
    /// When progress was last told, and which.
    told: (Duration, u64, u64),
}

impl Watch {
    fn until_all_ended(mut self) -> io::Result<Report> {
        loop {
            let heard = self.wait()?;
            if heard.renewed {
                self.lease.renew();
            }
            self.note_stop(heard);
            self.tell_progress();
            let some_left = self.reaper.reap();
            let main_ended = self.reaper.main_status.is_some();
            let kill = match self.stopping {
                Some((_, at)) => boot_now() >= at,
                None => main_ended,
            };
            if kill || (main_ended && !some_left) {
                return Ok(self.end());
            }
        }
    }

    /// Waits for something to happen, and takes what came.
    fn wait(&mut self) -> io::Result<Heard> {
        let bound = match self.stopping {
            Some((_, at)) => at.saturating_sub(boot_now()).min(LOOK_EVERY),
            None => self.lease.left().min(REAP_EVERY),
        };
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        if self.stopping.is_some() {
            // Once the end is seen it would be seen again and again.
            fds.clear();
        }
        let first = fds.len();
        fds.extend(self.control.as_ref().map(|c| PollFd::new(c.pipe(), PollFlags::IN)));
        fds.extend(self.output.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&timespec(bound))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds[first..].iter().map(|fd| !fd.revents().is_empty()).collect();
        let spoken = self.control.is_some() && ready.first() == Some(&true);
        let written = self.output.is_some() && ready.last() == Some(&true);
        if written {
            self.drain_some();
        }
        Ok(if spoken { self.hear() } else { Heard::default() })
    }

    fn hear(&mut self) -> Heard {
        let heard = self.control.as_mut().map(Control::hear).unwrap_or_default();
        if heard.ended {
            self.control = None;
        }
        heard
    }

    fn note_stop(&mut self, heard: Heard) {
        if heard.ended {
            // The node is gone, and its shards may run elsewhere at once.
            let cause = self.stopping.map_or(Stop::PipeEnded, |(cause, _)| cause);
            self.stopping = Some((cause, boot_now()));
        } else if self.stopping.is_none() && heard.cancel {
            self.ask_to_stop(Stop::Cancelled, self.grace);
        } else if self.stopping.is_none() && self.lease.has_lapsed() {
            self.ask_to_stop(Stop::LeaseLapsed, self.lease.last_grace(self.grace));
        }
    }

    fn ask_to_stop(&mut self, cause: Stop, grace: Duration) {
        self.reaper.reap();
        if self.reaper.main_status.is_some() {
            // It ended by itself before it was asked.
            return;
        }
        self.stopping = Some((cause, boot_now() + grace));
        signal_all(Signal::TERM);
    }

    /// Reads at most a pipe's worth, so that a loud script does not keep the lease from being seen.
    fn drain_some(&mut self) -> bool {
        let Some(output) = &self.output else { return false };
        let mut chunk = [0_u8; 64 << 10];
        match rustix::io::read(output, &mut chunk) {
            Ok(0) => self.output = None,
            Ok(n) => self.capture.take(&chunk[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
        self.output.is_some()
    }

    fn end(mut self) -> Report {
        let before = self.reaper.others;
        let left = kill_all(&mut self.reaper, KILL_BOUND);
        let until = boot_now() + DRAIN_BOUND;
        while boot_now() < until && self.drain_some() {}
        let how = how(self.reaper.main_status);
        if matches!(how, How::Exited(_)) {
            // A process that a signal ended may have been cut off within a number.
            self.capture.end_line();
        }
        self.capture.finish();
        let tail = self.capture.tail();
        let Capture { rows, bytes, total, error, .. } = self.capture;
        Report::Ended(Ended {
            how,
            stop: self.stopping.map(|(cause, _)| cause),
            rows,
            bytes,
            tail,
            output: total,
            output_error: error,
            stragglers: self.reaper.others.saturating_sub(before),
            left,
        })
    }

    fn tell_progress(&mut self) {
        let (at, rows, bytes) = self.told;
        let now = boot_now();
        let said = (self.capture.rows, self.capture.bytes);
        if said == (rows, bytes) || now < at + TELL_EVERY {
            return;
        }
        self.told = (now, said.0, said.1);
        // Without room in the pipe this one is left out: the last report has the sum.
        let line = Report::Progress { rows: said.0, bytes: said.1 }.to_line();
        let _ = rustix::io::write(io::stdout(), &line);
    }
}

fn how(status: Option<WaitStatus>) -> How {
    let Some(status) = status else { return How::Unknown };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Exited(code),
        (_, Some(signal)) => How::Signalled(signal),
        _ => How::Unknown,
    }
}

/// Tells how it ended. A node that stands still leaves room in the pipe for this: no more progress
/// is told without it than a lease holds; and the guard ends a runner that waits too long.
fn tell_last(report: &Report) -> io::Result<()> {
    rustix::io::ioctl_fionbio(io::stdout(), false)?;
    let mut out = io::stdout().lock();
    out.write_all(&report.to_line())?;
    out.flush()
}
