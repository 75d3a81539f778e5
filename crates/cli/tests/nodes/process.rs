//! Processes of the command, and what they print.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(crate) const FLOCKWORK: &str = env!("CARGO_BIN_EXE_flockwork");

/// How long anything here may take: far more than it does on a loaded host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of a stream, read as they come.
pub(crate) struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// The next line that is wanted.
    pub(crate) fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no such line among {:#?}", self.seen)
            };
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }
}

/// A node, its lines, and its end when the test ends.
pub(crate) struct Node {
    pub(crate) child: Child,
    lines: Lines,
}

impl Node {
    pub(crate) fn start(at: &Path) -> Self {
        Self::run(flockwork(at))
    }

    /// As the command begins: with an environment and settings of its own.
    pub(crate) fn run(mut command: Command) -> Self {
        command.args(["run", "jobs.yaml", "--listen", "127.0.0.1:0", "--log", "off"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that is wanted.
    pub(crate) fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.lines.await_line(wanted)
    }

    /// The lines seen until now.
    pub(crate) fn seen(&mut self) -> &[String] {
        let Lines { lines, seen } = &mut self.lines;
        seen.extend(lines.try_iter());
        seen
    }

    /// Where its pages are.
    pub(crate) fn page(&mut self) -> String {
        let line = self.await_line(|line| line.starts_with("status"));
        line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned()
    }

    pub(crate) fn id(&mut self) -> String {
        let line = self.await_line(|line| line.starts_with("instance"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, which is what some tests are about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends with the test, however that ends.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn flockwork(at: &Path) -> Command {
    let mut command = Command::new(FLOCKWORK);
    command.current_dir(at).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn asked(at: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = flockwork(at).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A directory with a job whose script does what `body` says.
pub(crate) fn scene(every: &str, body: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("work.sh");
    std::fs::write(&script, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let jobs = format!(
        "node: {{scripts: {{allow: [./work.sh]}}}}\njobs:\n  work:\n    every: {every}\n    \
         shards: 4\n    script: [./work.sh]\n    failover: true\n"
    );
    std::fs::write(directory.path().join("jobs.yaml"), jobs).unwrap();
    directory
}

pub(crate) fn get(address: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
