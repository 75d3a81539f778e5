//! Two nodes of one host: they share the shards of a job, and what a killed one was running is run
//! again by the other.
#![allow(clippy::unwrap_used, reason = "a process that cannot be started is a failed test")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything here may take: far more than it does on a loaded host.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node, its lines, and its end when the test ends.
struct Node {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Node {
    fn start(at: &Path) -> Self {
        let mut command = flockwork(at);
        command.args(["run", "jobs.yaml", "--listen", "127.0.0.1:0", "--log", "off"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that is wanted.
    fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
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

    fn id(&mut self) -> String {
        let line = self.await_line(|line| line.starts_with("instance"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn signal(&self, signal: rustix::process::Signal) {
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

fn flockwork(at: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flockwork"));
    command.current_dir(at).env_clear().stdin(Stdio::null());
    command
}

fn asked(at: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = flockwork(at).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A directory with a job whose script does what `body` says.
fn scene(every: &str, body: &str) -> tempfile::TempDir {
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

fn is_start(line: &str) -> bool {
    line.contains(" work ") && line.contains(" started ")
}

fn is_assigned(instances: usize) -> impl Fn(&str) -> bool {
    move |line| line.contains("assigned") && line.contains(&format!("by {instances} instance"))
}

#[test]
fn a_second_node_shares_the_shards_and_a_killed_one_gives_its_own_back() {
    let directory = scene("1s", "sleep 0.2");
    let at = directory.path();
    let mut one = Node::start(at);
    one.await_line(is_start);
    let mut two = Node::start(at);
    let second = two.id();
    two.await_line(is_start);
    let (code, text, _) = asked(at, &["describe", "work", "-o", "json"]);
    let job: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &job["status"]), (Some(0), &Value::from("OK")));
    let owners = job["shards"].as_array().unwrap().iter().filter(|s| s["owner"] == second.as_str());
    assert_eq!(owners.count(), 2, "{text}");
    two.child.kill().unwrap();
    one.await_line(is_assigned(1));
    for shard in ["0/4", "1/4", "2/4", "3/4"] {
        one.await_line(|line| is_start(line) && line.contains(shard));
    }
}

#[test]
fn what_a_killed_node_was_running_is_run_again() {
    // Long runs, rare fires: what starts on the first node after the kill is the second's work.
    let directory = scene("10s", "sleep 6");
    let at = directory.path();
    let mut one = Node::start(at);
    one.await_line(|line| line.contains("work is served here"));
    let mut two = Node::start(at);
    let start = two.await_line(is_start);
    two.child.kill().unwrap();
    let fire = start.split_whitespace().next().unwrap();
    let shard = start.split_whitespace().nth(2).unwrap();
    let again = |line: &str| {
        is_start(line)
            && line.starts_with(fire)
            && line.contains(shard)
            && line.contains("attempt 2")
    };
    one.await_line(again);
    let (_, text, _) = asked(at, &["describe", "work"]);
    assert!(text.contains("RUNNING"), "{text}");
}

#[test]
fn a_job_is_triggered_disabled_and_removed_from_outside() {
    let directory = scene("1h", "echo did it; echo flockwork: processed rows=7 bytes=1");
    let at = directory.path();
    let mut node = Node::start(at);
    node.await_line(is_assigned(1));
    let (code, text, _) = asked(at, &["trigger", "work"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("asked "), "{text}");
    let line = node.await_line(|line| line.contains(" OK ") && line.contains("3/4"));
    assert!(line.contains("7 rows"), "{line}");
    let (_, text, _) = asked(at, &["describe", "work"]);
    assert!(text.contains("did it"), "{text}");
    assert_eq!(asked(at, &["disable", "work"]).0, Some(0));
    let (code, _, complaint) = asked(at, &["trigger", "work"]);
    assert_eq!(code, Some(5), "{complaint}");
    assert!(complaint.starts_with("error[JOB_DISABLED]"), "{complaint}");
    assert_eq!(asked(at, &["enable", "work"]).0, Some(0));
    let (code, _, complaint) = asked(at, &["remove", "wrok", "--yes"]);
    assert_eq!(code, Some(4));
    assert!(complaint.contains("did you mean work?"), "{complaint}");
    assert_eq!(asked(at, &["remove", "work"]).0, Some(2), "asks where nobody can answer");
    assert_eq!(asked(at, &["remove", "work", "--yes"]).0, Some(0));
    node.await_line(|line| line.contains("work left"));
    assert_eq!(asked(at, &["ps"]).1, "no jobs\n");
}

#[test]
fn a_signal_lets_runs_end_and_then_the_node() {
    let directory = scene("1s", "sleep 1");
    let mut node = Node::start(directory.path());
    node.await_line(is_start);
    node.signal(rustix::process::Signal::TERM);
    node.await_line(|line| line == "stopped: every run has ended");
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_page_shows_the_job_and_answers_loopback_names_alone() {
    let directory = scene("1h", "true");
    let mut node = Node::start(directory.path());
    let line = node.await_line(|line| line.starts_with("status"));
    let address = line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
    node.await_line(is_assigned(1));
    // A page may be a moment old.
    let deadline = Instant::now() + PATIENCE;
    let mut page = get(&address, "/", &address);
    while !page.contains("4 idle here") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        page = get(&address, "/", &address);
    }
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(page.contains("href=\"/jobs/work\"") && page.contains("4 idle here"), "{page}");
    assert!(get(&address, "/jobs/work", &address).contains("this node"));
    assert!(get(&address, "/jobs/nosuch", &address).starts_with("HTTP/1.1 404"));
    assert!(get(&address, "/healthz", &address).ends_with("{\"live\":true,\"ready\":true}\n"));
    assert!(get(&address, "/metrics", &address).contains("flockwork_session{state=\"live\"} 1"));
    assert!(get(&address, "/", "evil.test").starts_with("HTTP/1.1 421"));
}

fn get(address: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
