//! Nothing of a script survives its node, its runner or its guard, whatever it does to stay.

use crate::Test;
use crate::rig::{LONG, NODE, Rig, alive, children, look, run_of, settings, unique_job, wait_for};
use flockwork_worker::runner::may_make_namespaces;
use nix::sys::signal::{Signal::SIGKILL as KILL, kill, killpg};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("without_protection_the_script_survives_and_is_seen", without_protection),
    ("nothing_survives_a_killed_node", || killed(&[Who::Node], Mode::Plain)),
    ("nothing_survives_a_killed_runner", || killed(&[Who::Runner], Mode::Plain)),
    ("nothing_survives_a_killed_guard", || killed(&[Who::Guard], Mode::Plain)),
    ("nothing_survives_node_and_runner_killed_at_once", || {
        killed(&[Who::Node, Who::Runner], Mode::Plain);
    }),
    ("nothing_survives_node_and_guard_killed_at_once", || {
        killed(&[Who::Node, Who::Guard], Mode::Plain);
    }),
    ("nothing_marked_survives_guard_and_runner_killed_at_once", || {
        killed(&[Who::Guard, Who::Runner], Mode::Marked);
    }),
    ("guard_and_runner_outlive_a_polite_signal", outlive_a_polite_signal),
    ("nothing_survives_a_stopped_node", || stopped(Who::Node)),
    ("nothing_survives_a_stopped_runner_and_a_killed_node", stopped_runner_killed_node),
    ("nothing_in_a_namespace_survives_all_three_killed_at_once", all_three_in_a_namespace),
    ("the_next_node_ends_what_survived_all_three", the_next_node_ends_what_survived_all_three),
    ("nothing_survives_where_the_session_began_outside", session_from_outside),
];

/// Forks twice, leaves its session, ignores SIGTERM, drops its environment, and keeps forking: in
/// one place a loop that starts ever new sessions, in another a chain in which each link starts
/// the next in a session of its own and ends.
const STUBBORN: &str = r#"#!/bin/sh
trap '' TERM HUP INT
case "$1" in
chain) setsid "$0" chain & exit ;;
loop) while :; do setsid sleep 2 & sleep 0.1; done ;;
esac
( setsid "$0" chain & ) &
( setsid "$0" loop & ) &
NAMELESS
while :; do sleep 0.2; done
"#;

const NAMELESS: &str = "( setsid env -i /bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' \"$FLOCKWORK_JOB-argument\" & ) &";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Node,
    Guard,
    Runner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One process has dropped its environment.
    Plain,
    /// All have kept it.
    Marked,
    /// In a PID namespace.
    Namespace,
}

/// This executable as a node: runs one script, says how it ended, and stays.
pub(crate) fn node(dir: &str) -> ExitCode {
    let argument = |n: usize| std::env::args().nth(n).unwrap();
    let mut settings = settings(Path::new(dir));
    settings.scripts.lease = Duration::from_millis(argument(2).parse().unwrap());
    settings.scripts.pid_namespace = argument(3) == "namespace";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let worker = flockwork_worker::Worker::new(settings, runtime.handle().clone());
    let (tell, told) = mpsc::channel();
    let run = Arc::new(run_of(&argument(1), &["./stubborn.sh"]));
    worker.start(run, move |outcome| tell.send(outcome).unwrap());
    println!("{:?}", told.recv().unwrap().ending);
    std::thread::sleep(LONG * 2);
    ExitCode::SUCCESS
}

struct Node {
    job: String,
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    guard: i32,
    runner: i32,
    _rig: Rig,
}

impl Node {
    /// A node whose script has spread.
    fn start(lease: Duration, mode: Mode) -> Self {
        let rig = Rig::new();
        let nameless = if mode == Mode::Marked { "" } else { NAMELESS };
        rig.script("stubborn.sh", &STUBBORN.replace("NAMELESS", nameless));
        let job = unique_job();
        let how = if mode == Mode::Namespace { "namespace" } else { "plain" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&job, &lease.as_millis().to_string(), how])
            .env(NODE, rig.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        let node = i32::try_from(child.id()).unwrap();
        let guard = wait_for("a guard", LONG, || children(node).first().copied());
        let runner = wait_for("a runner", LONG, || children(guard).first().copied());
        wait_for("a script that has spread", LONG, || (alive(&job).len() >= 6).then_some(()));
        Self { job, child, stdout, guard, runner, _rig: rig }
    }

    fn pid(&self, who: Who) -> Pid {
        let raw = match who {
            Who::Node => i32::try_from(self.child.id()).unwrap(),
            Who::Guard => self.guard,
            Who::Runner => self.runner,
        };
        Pid::from_raw(raw).unwrap()
    }

    fn signal(&self, whom: &[Who], signal: Signal) {
        for who in whom {
            kill_process(self.pid(*who), signal).unwrap();
        }
    }

    fn nothing_survives(&self) {
        gone_after(&self.job, |_| ());
    }

    fn outcome(&mut self) -> String {
        let mut line = String::new();
        self.stdout.take().unwrap().read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_all(&self.job);
    }
}

/// Waits for the end of all processes of a job. A chain between two of its links can be overlooked,
/// but not in fifty looks in a row.
fn gone_after(job: &str, what_is_done_to_each: impl Fn(i32)) {
    let quiet = std::cell::Cell::new(0);
    wait_for("the end of all its processes", LONG, || {
        let seen = look(job, &what_is_done_to_each);
        quiet.set(if seen.is_empty() { quiet.get() + 1 } else { 0 });
        (quiet.get() >= 50).then_some(())
    });
}

/// The test's own way to clean up, for a script that nobody holds.
fn end_all(job: &str) {
    gone_after(job, |pid| {
        let pid = nix::unistd::Pid::from_raw(pid);
        if let Ok(group) = nix::unistd::getpgid(Some(pid))
            && group.as_raw() > 1
            && group != nix::unistd::getpgrp()
        {
            let _ = killpg(group, KILL);
        }
        let _ = kill(pid, KILL);
    });
}

/// The others would pass if nothing were ever seen, or if such a script ended by itself.
fn without_protection() {
    let rig = Rig::new();
    let path = rig.script("stubborn.sh", &STUBBORN.replace("NAMELESS", NAMELESS));
    let job = unique_job();
    let mut script = Command::new(path).env("FLOCKWORK_JOB", &job).spawn().unwrap();
    wait_for("a script that has spread", LONG, || (alive(&job).len() >= 6).then_some(()));
    script.kill().unwrap();
    script.wait().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let survivors = alive(&job).len();
    end_all(&job);
    assert!(survivors >= 3, "{survivors} survived");
}

fn killed(whom: &[Who], mode: Mode) {
    let mut node = Node::start(Duration::from_secs(20), mode);
    node.signal(whom, Signal::KILL);
    node.nothing_survives();
    if !whom.contains(&Who::Node) {
        let outcome = node.outcome();
        assert!(outcome.starts_with("Crashed"), "{outcome}");
    }
}

/// A service manager signals every process of a service; who accounts for a script stays.
fn outlive_a_polite_signal() {
    let node = Node::start(Duration::from_secs(20), Mode::Plain);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        node.signal(&[Who::Guard, Who::Runner], signal);
    }
    std::thread::sleep(Duration::from_millis(500));
    let lives = |who| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid(who).as_raw_pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(lives(Who::Guard) && lives(Who::Runner));
    assert!(alive(&node.job).len() >= 3, "the script goes on");
    node.signal(&[Who::Node], Signal::KILL);
    node.nothing_survives();
}

fn stopped(who: Who) {
    let mut node = Node::start(Duration::from_millis(1500), Mode::Plain);
    // While it runs the lease is renewed: several leases later all is as before.
    std::thread::sleep(Duration::from_millis(4000));
    assert!(alive(&node.job).len() >= 3, "the lease was not renewed");
    node.signal(&[who], Signal::STOP);
    node.nothing_survives();
    node.signal(&[who], Signal::CONT);
    let outcome = node.outcome();
    assert!(outcome.starts_with("Cancelled(SessionLost)"), "{outcome}");
}

/// The guard does not wait for a runner that does nothing.
fn stopped_runner_killed_node() {
    let node = Node::start(Duration::from_secs(20), Mode::Plain);
    node.signal(&[Who::Runner], Signal::STOP);
    node.signal(&[Who::Node], Signal::KILL);
    node.nothing_survives();
}

fn all_three_in_a_namespace() {
    if !may_make_namespaces() {
        println!("no CAP_SYS_ADMIN: that a namespace is refused by name is shown instead");
        let mut rig = Rig::new();
        rig.settings.scripts.pid_namespace = true;
        let refusal = rig.sh("true").ending.to_string();
        return assert!(refusal.contains("CAP_SYS_ADMIN"), "{refusal}");
    }
    for whom in [&[Who::Node, Who::Guard, Who::Runner][..], &[Who::Node], &[Who::Runner]] {
        let node = Node::start(Duration::from_secs(20), Mode::Namespace);
        node.signal(whom, Signal::KILL);
        node.nothing_survives();
    }
}

fn the_next_node_ends_what_survived_all_three() {
    let mut node = Node::start(Duration::from_secs(20), Mode::Marked);
    node.signal(&[Who::Guard, Who::Runner, Who::Node], Signal::STOP);
    node.signal(&[Who::Guard, Who::Runner, Who::Node], Signal::KILL);
    node.child.wait().unwrap();
    let other = Node::start(Duration::from_secs(20), Mode::Marked);
    assert!(!alive(&node.job).is_empty(), "nothing survived: there is nothing to show");
    assert!(Rig::new().worker().end_leftovers() > 0);
    node.nothing_survives();
    assert!(alive(&other.job).len() >= 3, "a living node's script was ended");
}

/// In a container whose session began outside, this session's number is 0.
fn session_from_outside() {
    if !may_make_namespaces() {
        println!("no CAP_SYS_ADMIN: there is no way to make such a container here");
        return;
    }
    let inside = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_marked_survives_guard_and_runner_killed_at_once"])
        .arg("the_next_node_ends_what_survived_all_three")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success(), "{said}{}", String::from_utf8_lossy(&inside.stderr));
    assert_eq!(said.matches("... ok").count(), 2, "{said}");
}
