//! The test's hand on another process: started, told, listened to, stopped and killed by its id.

use rustix::process::{Pid, Signal, kill_process};
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

#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_flockwork-embedded-peer")), dir)
    }

    /// Starts it on a file system of its own, mounted over `dir` where only it sees it.
    pub(crate) fn start_mounted(dir: &Path, mount_options: &str) -> Self {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o {mount_options} none \"$1\" && exec \"$0\" \"$@\"");
        command.args(["--mount", "sh", "-c", &script]);
        command.arg(env!("CARGO_BIN_EXE_flockwork-embedded-peer"));
        Self::spawn(command, dir)
    }

    fn spawn(mut command: Command, dir: &Path) -> Self {
        command.arg(dir).arg(TIMEOUT.as_millis().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the peer starts");
        let (sender, lines) = channel();
        let output = child.stdout.take().expect("its output is piped");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, lines }
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

    /// The next line that starts so; what comes before it is dropped.
    pub(crate) fn expect(&self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(start) => return line,
                Ok(line) => before.push(line),
                Err(error) => {
                    let last = &before[before.len().saturating_sub(10)..];
                    panic!("no line {start:?}: {error}; the last were {last:#?}");
                }
            }
        }
    }

    /// All lines within this time.
    pub(crate) fn listen(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => heard.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return heard,
            }
        }
    }

    /// Kills it and returns all that it had still told.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.end();
        self.lines.iter().collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + PATIENCE;
        while self.state() != Some('T') {
            assert!(Instant::now() < deadline, "it does not stop");
            thread::yield_now();
        }
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Stops it at a moment in which the kernel's lock table shows it as the holder of this file,
    /// or as one that does not hold it.
    pub(crate) fn stop_while(&self, holding: bool, lock: &Path) {
        let inode = lock.metadata().expect("the lock is there").ino();
        for _ in 0..20_000 {
            self.stop();
            if holders(inode).contains(&self.id()) == holding {
                return;
            }
            self.go_on();
            thread::sleep(Duration::from_micros(300));
        }
        panic!("it was never stopped while holding the lock was {holding}");
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let fields = self.stat();
        let number = |at: usize| fields[at].parse::<u64>().expect("a number");
        // utime and stime, fields 14 and 15, counted after the name, which is the second.
        number(11) + number(12)
    }

    fn state(&self) -> Option<char> {
        self.stat().first().and_then(|state| state.chars().next())
    }

    fn stat(&self) -> Vec<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it lives");
        let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
        after_name.split_whitespace().map(str::to_owned).collect()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("an id fits");
        let id = Pid::from_raw(id).expect("an id is not zero");
        kill_process(id, signal).expect("it lives");
    }

    fn end(&mut self) {
        // Each fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processes that hold a lock on the file with this inode, from the kernel's table:
/// `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; those that wait have an arrow.
fn holders(inode: u64) -> Vec<u32> {
    let table = fs::read_to_string("/proc/locks").expect("the kernel shows its locks");
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = fields[..] else { return None };
        let of = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (of == inode).then(|| pid.parse().ok()).flatten()
    };
    table.lines().filter_map(holder).collect()
}
