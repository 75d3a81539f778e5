//! Two nodes of one host: they share the shards of a job, and what a killed one was running is run
//! again by the other. In files of their own: clocks, who may run what, limits, the status page, secured
//! registries, what reads their output, a registry that is replaced, and one that loses its data.
#![allow(clippy::unwrap_used, reason = "a process that cannot be started is a failed test")]

mod clocks;
mod eligibility;
mod limits;
mod lost;
mod namespaces;
mod page;
mod process;
mod replaced;
mod secure;
mod sessions;
mod signals;
mod streams;

use process::{Node, PATIENCE, asked, get, scene};
use serde_json::Value;
use std::time::{Duration, Instant};

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
    let (code, text, _) = asked(at, &["remove", "work", "--yes"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("removed work: its definition and all of its tree"), "{text}");
    assert!(text.contains("kept what became of its fires: 4 shards' records"), "{text}");
    node.await_line(|line| line.contains("work left"));
    assert_eq!(asked(at, &["ps"]).1, "no jobs\n");
    let (code, text, _) = asked(at, &["describe", "work"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("work: REMOVED") && text.contains("did it"), "{text}");
    let (code, text, _) = asked(at, &["remove", "work", "--yes", "--with-records"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("removed what became of its fires: 4 shards' records"), "{text}");
    assert_eq!(asked(at, &["describe", "work"]).0, Some(4));
}

#[test]
fn runs_of_a_removed_job_are_told_as_cancelled_and_its_name_starts_anew() {
    let directory = scene("1s", "echo begun; sleep 60");
    let at = directory.path();
    let mut node = Node::start(at);
    for _ in 0..4 {
        node.await_line(is_start);
    }
    let (code, text, complaint) = asked(at, &["remove", "work", "--yes"]);
    assert_eq!(code, Some(0), "{complaint}");
    let told = text.lines().filter(|line| line.contains("run of fire") && line.contains("REMOVED"));
    assert_eq!(told.count(), 4, "{text}");
    node.await_line(|line| line.contains("REMOVED"));
    let (_, text, _) = asked(at, &["describe", "work"]);
    assert!(text.contains("begun"), "the end of their output is kept: {text}");
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
    // Nothing of the old runs is taken for crashed and run again.
    let mut next = Node::start(at);
    let line = next.await_line(is_start);
    assert!(!line.contains("attempt 2"), "{line}");
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
    let address = node.page();
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
    let dropped = "flockwork_lines_dropped_total{stream=\"stderr\"} 0";
    assert!(get(&address, "/metrics", &address).contains(dropped));
    assert!(get(&address, "/", "evil.test").starts_with("HTTP/1.1 421"));
}
