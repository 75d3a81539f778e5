//! The node's end of a script: starts its guard, renews its lease, passes a cancel on, and takes
//! its reports until nothing of it is left.

use super::environment::environment;
use super::{Scripts, Store, context_json};
use crate::context::Live;
use crate::runner::{self, How, KILL_BOUND, Report, Spec, Stop, sweep};
use flockwork_core::execution::{CancelReason, Ending, Run, Script};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What guard and runner are given beyond their own bounds.
const SLACK: Duration = Duration::from_secs(10);

/// A longer line from the runner is none: the longest has the tail, escaped.
const MAX_LINE: usize = 64 << 10;

/// Runs a script to its end and gives its ending and the end of its output. Blocks its thread.
/// `since` is when the node began the run, by the runner's clock.
pub(crate) fn execute(
    (run, since): (&Run, Duration),
    script: &Script,
    scripts: &Scripts,
    store: Option<&Store>,
    (live, grace): (&Live, Duration),
) -> (Ending, String) {
    if let Some(reason) = live.reason() {
        return (Ending::Cancelled(reason), String::new());
    }
    // One that waited for a thread for longer than a lease begins now, if the node stands behind it.
    let now = runner::boot_now();
    let lease = scripts.trust.lease(scripts.lease);
    let begun = if now.saturating_sub(since) < lease { since } else { now };
    if !scripts.trust.stands(run) {
        return (Ending::Cancelled(CancelReason::SessionLost), String::new());
    }
    let order = match order((run, begun, lease), script, scripts, store, grace) {
        Ok(order) => order,
        Err(text) => return (Ending::NotStarted(text), String::new()),
    };
    let output = order.spec.output.clone();
    let ended = match Supervision::start(run, order, scripts, live) {
        Ok(supervision) => supervision.until_ended(),
        Err(error) => (Ending::NotStarted(runner::start_failure(&error)), String::new()),
    };
    if let (Some(store), Some(path)) = (store, output) {
        store.settle(&path);
    }
    ended
}

struct Order {
    spec: Spec,
    mark: String,
}

/// What the runner is told, or why nothing is started.
fn order(
    (run, begun, lease): (&Run, Duration, Duration),
    script: &Script,
    scripts: &Scripts,
    store: Option<&Store>,
    grace: Duration,
) -> Result<Order, String> {
    if !runner::is_installed() {
        return Err("RUNNER_NOT_INSTALLED: this program cannot run scripts; it must call \
                    flockwork::runner::run_if_asked() first in its main"
            .to_owned());
    }
    let context = context_json(run);
    let program = scripts.startable(script, &context).map_err(|why| why.to_string())?;
    let node = sweep::this_node().map_err(|error| runner::start_failure(&error))?.ok_or(
        "PROC_MISSING: /proc does not show this PID namespace; mount it, as scripts need it",
    )?;
    let mark = format!("{node}-{}-{}", run.id.0, run.epoch);
    let mut argv = script.argv.clone();
    argv.push(context);
    let spec = Spec {
        label: format!("{}/{}", run.job, run.shard),
        program,
        argv,
        env: environment(run, &mark),
        cwd: scripts.cwd.clone(),
        output: store.and_then(|store| place(store, run)),
        output_cap: scripts.output_cap,
        open_files: scripts.open_files,
        grace_ms: millis(grace),
        begun_ms: millis(begun),
        lease_ms: millis(lease),
        pid_namespace: scripts.pid_namespace,
    };
    Ok(Order { spec, mark })
}

/// Output that cannot be kept keeps nobody from running: its end is still told.
fn place(store: &Store, run: &Run) -> Option<PathBuf> {
    store
        .prepare(run)
        .map_err(|error| {
            tracing::warn!(%error, "output is not kept");
        })
        .ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

struct Supervision<'a> {
    run: &'a Run,
    scripts: &'a Scripts,
    lease: Duration,
    live: &'a Live,
    mark: String,
    guard: Child,
    reports: OwnedFd,
    orders: ChildStdin,
    woken: Arc<OwnedFd>,
    line: Vec<u8>,
    last: Option<Report>,
    renewed: Instant,
    /// When the guard, and at last the wait itself, are given up.
    deadline: Option<Instant>,
    grace: Duration,
}

impl<'a> Supervision<'a> {
    fn start(run: &'a Run, order: Order, scripts: &'a Scripts, live: &'a Live) -> io::Result<Self> {
        let mut spec = serde_json::to_vec(&order.spec).map_err(io::Error::other)?;
        spec.push(b'\n');
        let woken = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let waker = Arc::clone(&woken);
        live.wake_with(move || {
            // A counter that is full has woken already.
            let _ = rustix::io::write(&*waker, &1_u64.to_ne_bytes());
        });
        let mut command = runner::this_program("guard", &order.spec.label);
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = guard.stdin.take().expect("its standard input was asked to be a pipe");
        let reports = guard.stdout.take().expect("its standard output was asked to be a pipe");
        rustix::io::ioctl_fionbio(&orders, true)?;
        let mut supervision = Self {
            run,
            scripts,
            lease: Duration::from_millis(order.spec.lease_ms),
            live,
            mark: order.mark,
            guard,
            reports: reports.into(),
            orders,
            woken,
            line: Vec::new(),
            last: None,
            renewed: Instant::now(),
            deadline: None,
            grace: Duration::from_millis(order.spec.grace_ms),
        };
        supervision.send_all(&spec);
        Ok(supervision)
    }

    /// Writes the order. A guard that dies or does not read leaves it cut short: the run then ends
    /// as one whose guard died.
    fn send_all(&mut self, mut rest: &[u8]) {
        let until = Instant::now() + SLACK;
        while !rest.is_empty() && Instant::now() < until {
            match self.orders.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&self.orders, PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&runner::timespec(SLACK)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn until_ended(mut self) -> (Ending, String) {
        let mut cancelled = false;
        loop {
            match self.wait() {
                Ok(true) => {}
                Ok(false) => return self.conclude(),
                Err(error) => {
                    tracing::error!(%error, "a script is out of sight");
                    return self.give_up();
                }
            }
            if !cancelled && self.live.reason().is_some() {
                cancelled = true;
                self.order(runner::CANCEL);
                self.deadline = Some(Instant::now() + self.grace + 2 * KILL_BOUND + SLACK);
            }
            self.renew_if_due();
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return self.give_up();
            }
        }
    }

    fn renew_if_due(&mut self) {
        if self.renewed.elapsed() < self.renewal() {
            return;
        }
        self.renewed = Instant::now();
        if self.scripts.trust.stands(self.run) {
            self.order(runner::RENEW);
        }
    }

    /// Six renewals in a lease: some may come late.
    fn renewal(&self) -> Duration {
        self.lease / 6
    }

    /// A full or broken pipe means a guard that is stopped or gone, which ends the lease.
    fn order(&mut self, byte: u8) {
        let _ = self.orders.write(&[byte]);
    }

    /// Waits for something to happen; false when guard and runner have closed the pipe.
    fn wait(&mut self) -> io::Result<bool> {
        let bound = self.renewal().saturating_sub(self.renewed.elapsed());
        // A cancel is seen once; its event is not taken out of the counter.
        let seen = self.deadline.is_some();
        let mut fds = vec![PollFd::new(&self.reports, PollFlags::IN)];
        if !seen {
            fds.push(PollFd::from_borrowed_fd(
                std::os::fd::AsFd::as_fd(&*self.woken),
                PollFlags::IN,
            ));
        }
        match poll(&mut fds, Some(&runner::timespec(bound))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].revents().is_empty() {
            return Ok(true);
        }
        self.read_reports()
    }

    fn read_reports(&mut self) -> io::Result<bool> {
        let mut chunk = [0_u8; 16 << 10];
        let n = match rustix::io::read(&self.reports, &mut chunk) {
            Ok(n) => n,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        for byte in &chunk[..n] {
            match byte {
                b'\n' => self.take_line(),
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
        Ok(n > 0)
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match Report::from_line(&line) {
            Some(Report::Progress { rows, bytes }) => self.live.set_progress(rows, bytes),
            // The first one counts: what the guard adds later knows less.
            Some(report) if self.last.is_none() => self.last = Some(report),
            Some(_) | None => {}
        }
    }

    /// Guard and runner have let go of the pipe: both have ended, or are about to.
    fn conclude(mut self) -> (Ending, String) {
        if !self.guard_has_ended() {
            let _ = self.guard.kill();
            let _ = self.guard.wait();
        }
        match self.last.take() {
            Some(report) => self.ending_of(report),
            None => {
                let (killed, left) = sweep::sweep(&sweep::Marks::Of(&self.mark), KILL_BOUND);
                let text = format!(
                    "guard and runner of the script died; {killed} of its processes were ended"
                );
                (Ending::Crashed(with_left(text, &left)), String::new())
            }
        }
    }

    /// Nobody ends the script in time. What carries its mark is killed from here.
    fn give_up(mut self) -> (Ending, String) {
        let _ = self.guard.kill();
        let (killed, left) = sweep::sweep(&sweep::Marks::Of(&self.mark), KILL_BOUND);
        let _ = self.guard.wait();
        let text = format!(
            "guard and runner did not end the script in time; {killed} processes were ended"
        );
        (Ending::Crashed(with_left(text, &left)), String::new())
    }

    fn guard_has_ended(&mut self) -> bool {
        let until = Instant::now() + SLACK;
        while Instant::now() < until {
            match self.guard.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }

    fn ending_of(&self, report: Report) -> (Ending, String) {
        let ended = match report {
            Report::NotStarted { text } => return (Ending::NotStarted(text), String::new()),
            Report::Lost { text, left } => {
                return (Ending::Crashed(with_left(text, &left)), String::new());
            }
            Report::Progress { .. } => unreachable!("progress is never the last report"),
            Report::Ended(ended) => ended,
        };
        self.live.set_progress(ended.rows, ended.bytes);
        if let Some(error) = &ended.output_error {
            tracing::warn!(error, "output was not kept");
        }
        if ended.stragglers > 0 {
            tracing::debug!(ended.stragglers, "processes left behind were killed");
        }
        if !ended.left.is_empty() {
            let text = "it has ended, but not all that it started".to_owned();
            return (Ending::Crashed(with_left(text, &ended.left)), ended.tail);
        }
        let ending = match (ended.stop, ended.how) {
            (Some(Stop::Cancelled), _) => {
                Ending::Cancelled(self.live.reason().unwrap_or(CancelReason::Shutdown))
            }
            (Some(Stop::LeaseLapsed), _) => Ending::Cancelled(CancelReason::SessionLost),
            (Some(Stop::PipeEnded), _) => Ending::Crashed("its guard died".to_owned()),
            (None, How::Exited(0)) => Ending::Succeeded,
            (None, How::Exited(code)) => Ending::Exited(code),
            (None, How::Signalled(signal)) => Ending::Signalled(signal),
            (None, How::Unknown) => Ending::Crashed("its end was not seen".to_owned()),
        };
        (ending, ended.tail)
    }
}

fn with_left(text: String, left: &[i32]) -> String {
    if left.is_empty() {
        return text;
    }
    format!("{text}; could not be killed in time: processes {left:?}")
}
