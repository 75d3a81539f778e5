//! The test's hand on another process: started, told, listened to, stopped and killed by its id.

use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A bound on each wait for a process: far above what any takes on a loaded host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The session time-out of the peers, short so that the tests are.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(1_500);

/// The program.
pub(crate) const PEER: &str = env!("CARGO_BIN_EXE_flockwork-embedded-peer");

#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    id: u32,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All that it has told and that was listened to.
    heard: RefCell<Vec<String>>,
}

impl Peer {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::run(Command::new(PEER), dir)
    }

    /// Starts it on a file system of its own, mounted over `dir` where only it sees it.
    pub(crate) fn start_mounted(dir: &Path, mount_options: &str) -> Self {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o {mount_options} none \"$1\" && exec \"$0\" \"$@\"");
        command.args(["--mount", "sh", "-c", &script, PEER]);
        Self::run(command, dir)
    }

    /// Starts it by a command that takes its arguments, and waits until it tells its id.
    pub(crate) fn run(command: Command, dir: &Path) -> Self {
        let mut peer = Self::spawn(command, dir);
        let id = peer.expect("pid ").replace("pid ", "");
        peer.id = id.parse().expect("an id is a number");
        peer
    }

    /// Starts a shell that becomes the peer when it reads a line, so that it can be traced from the
    /// beginning.
    pub(crate) fn start_waiting(dir: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read go && exec \"$0\" \"$@\"", PEER]);
        Self::spawn(command, dir)
    }

    fn spawn(mut command: Command, dir: &Path) -> Self {
        command.arg(dir).arg(TIMEOUT.as_millis().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let output = child.stdout.take().expect("its output is piped");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (id, input) = (child.id(), child.stdin.take());
        Self { child, id, input, lines, heard: RefCell::default() }
    }

    /// Starts it and waits until its session lives.
    pub(crate) fn live(dir: &Path) -> Self {
        let peer = Self::start(dir);
        peer.expect("live ");
        peer
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it has an input until it is told to end");
        writeln!(input, "{line}").expect("it reads");
    }

    /// The next line that starts so.
    pub(crate) fn expect(&self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Ok(line) if line.starts_with(start) => return line,
                Ok(_) => {}
                Err(error) => {
                    let heard = self.heard.borrow();
                    let last = &heard[heard.len().saturating_sub(10)..];
                    panic!("no line {start:?}: {error}; the last were {last:#?}");
                }
            }
        }
    }

    /// All lines within this time.
    pub(crate) fn listen(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        let before = self.heard.borrow().len();
        while self.next(deadline).is_ok() {}
        self.heard.borrow()[before..].to_vec()
    }

    fn next(&self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.heard.borrow_mut().push(line.clone());
        Ok(line)
    }

    /// Kills it and returns all that it ever told.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.end();
        self.rest()
    }

    /// Lets it close its session and end, and returns all that it ever told.
    pub(crate) fn close(mut self) -> Vec<String> {
        drop(self.input.take());
        self.expect("closed");
        self.child.wait().expect("it is ours");
        self.rest()
    }

    fn rest(&mut self) -> Vec<String> {
        let mut heard = self.heard.take();
        heard.extend(self.lines.iter());
        heard
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn stop(&self) {
        stop(self.id);
    }

    pub(crate) fn go_on(&self) {
        go_on(self.id);
    }

    /// Whether the kernel's lock table shows it as the holder of this file's lock.
    pub(crate) fn holds(&self, lock: &Path) -> bool {
        holders(lock).contains(&self.id)
    }

    /// Stops it at a moment in which the kernel's lock table shows it as the holder of this file,
    /// or as one that does not hold it.
    pub(crate) fn stop_while(&self, holding: bool, lock: &Path) {
        for _ in 0..20_000 {
            self.stop();
            if self.holds(lock) == holding {
                return;
            }
            self.go_on();
            thread::sleep(Duration::from_micros(300));
        }
        panic!("it was never stopped while holding the lock was {holding}");
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let fields = stat(self.id);
        let number = |at: usize| fields[at].parse::<u64>().expect("a number");
        // utime and stime, fields 14 and 15, counted after the name, which is the second.
        number(11) + number(12)
    }

    /// Not once it was waited for: then its id may be another's.
    fn end(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.id, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Stops a process and waits until it stands still.
pub(crate) fn stop(id: u32) {
    signal(id, Signal::STOP);
    let deadline = Instant::now() + PATIENCE;
    while stat(id).first().is_none_or(|state| state != "T") {
        assert!(Instant::now() < deadline, "it does not stop");
        thread::yield_now();
    }
}

pub(crate) fn go_on(id: u32) {
    signal(id, Signal::CONT);
}

/// One of the test's own that has not been waited for.
pub(crate) fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).expect("an id fits");
    let id = Pid::from_raw(id).expect("an id is not zero");
    kill_process(id, signal).expect("it lives");
}

/// The fields of `/proc/ID/stat` that follow the name.
fn stat(id: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it lives");
    let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
    after_name.split_whitespace().map(str::to_owned).collect()
}

/// The processes that hold a lock on this file, from the kernel's table:
/// `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; those that wait have an arrow.
fn holders(lock: &Path) -> Vec<u32> {
    let inode = lock.metadata().expect("the lock is there").ino();
    let table = fs::read_to_string("/proc/locks").expect("the kernel shows its locks");
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = fields[..] else { return None };
        let of = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (of == inode).then(|| pid.parse().ok()).flatten()
    };
    table.lines().filter_map(holder).collect()
}
