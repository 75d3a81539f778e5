//! Readers of a node's two streams that read nothing, or have gone away: the node goes on.

use crate::process::{FLOCKWORK, Killed, Lines, Node, PATIENCE, asked, flockwork, scene};
use rustix::pipe::fcntl_setpipe_size;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The smallest pipe there is.
const PIPE_BYTES: usize = 4096;

/// Runs of which each stream tells with far more bytes than that, together.
const RUNS: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug)]
enum Reader {
    /// Holds the pipe and never reads.
    Stuck,
    Gone,
}

/// A node whose runs fail, told on both streams, with one worker thread: whatever waits for a reader
/// holds up all of it.
fn start(at: &Path) -> Child {
    let mut command = flockwork(at);
    command.env("TOKIO_WORKER_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(["run", "jobs.yaml", "--listen", "127.0.0.1:0", "--log", "info"]).spawn().unwrap()
}

fn ends_in_order(child: &mut Child, case: &str) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{case}");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{case}: it has not ended");
}

/// Nobody reads one stream of a node; the other must tell of run after run.
fn goes_on(stream: Stream, reader: Reader) {
    let directory = scene("200ms", "exit 3");
    let mut node = Killed(start(directory.path()));
    let (stdout, stderr) = (node.0.stdout.take().unwrap(), node.0.stderr.take().unwrap());
    fcntl_setpipe_size(&stdout, PIPE_BYTES).unwrap();
    fcntl_setpipe_size(&stderr, PIPE_BYTES).unwrap();
    let (mut lines, unread): (_, OwnedFd) = match stream {
        Stream::Stdout => (Lines::of(stderr), stdout.into()),
        Stream::Stderr => (Lines::of(stdout), stderr.into()),
    };
    let _held = match reader {
        Reader::Stuck => Some(unread),
        Reader::Gone => {
            drop(unread);
            None
        }
    };
    for _ in 0..RUNS {
        lines.await_line(|line| line.contains("exit code 3"));
    }
    ends_in_order(&mut node.0, &format!("{stream:?} {reader:?}"));
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_fire() {
    goes_on(Stream::Stderr, Reader::Stuck);
}

#[test]
fn live_output_that_nobody_reads_holds_up_no_fire() {
    goes_on(Stream::Stdout, Reader::Stuck);
}

#[test]
fn a_node_goes_on_when_the_reader_of_its_log_has_gone() {
    goes_on(Stream::Stderr, Reader::Gone);
}

#[test]
fn a_node_goes_on_when_the_reader_of_its_live_output_has_gone() {
    goes_on(Stream::Stdout, Reader::Gone);
}

/// Exit code and complaint of a command whose output has no room.
fn on_a_full_disk(at: &Path, args: &[&str]) -> (Option<i32>, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(FLOCKWORK);
    command.current_dir(at).env_clear().stdin(Stdio::null()).stdout(full);
    let output = command.args(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_whose_answer_about_jobs_cannot_be_written_fails() {
    let directory = scene("1h", "true");
    let at = directory.path();
    let mut node = Node::start(at);
    node.await_line(|line| line.contains("assigned"));
    for args in [
        &["ps"][..],
        &["ps", "-o", "json"],
        &["describe", "work"],
        &["disable", "work"],
        &["enable", "work"],
        &["trigger", "work"],
        &["remove", "work", "--yes"],
    ] {
        let (code, complaint) = on_a_full_disk(at, args);
        assert_eq!(code, Some(1), "{args:?}: {complaint}");
        assert!(complaint.contains("OUTPUT"), "{args:?}: {complaint}");
        assert!(complaint.contains("No space left"), "{args:?}: {complaint}");
    }
    // What was told of its end could not be written; it has ended all the same.
    assert_eq!(asked(at, &["ps"]).1, "no jobs\n");
}
