//! A node under a low limit of open files: it takes what it may, and otherwise works in turns.

use crate::is_assigned;
use crate::process::{FLOCKWORK, Node, asked, scene};
use std::process::{Command, Stdio};

const SHARDS: usize = 24;

/// A node whose shell sets `limits` first, with all shards due at once and each script saying its own limit.
fn node(limits: &str, body: &str) -> (tempfile::TempDir, Node) {
    let directory = scene("1h", body);
    let at = directory.path();
    let jobs = std::fs::read_to_string(at.join("jobs.yaml")).unwrap();
    let jobs = jobs.replace("shards: 4", &format!("shards: {SHARDS}"));
    std::fs::write(at.join("jobs.yaml"), jobs.replace("{scripts", "{max_running: 1000, scripts"))
        .unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\""), FLOCKWORK]);
    command.current_dir(at).env_clear().stdin(Stdio::null());
    (directory, Node::run(command))
}

/// Has all shards run, waits for their ends, and gives how many times the node said that files are scarce.
fn warnings_after_a_run_of_all(directory: &tempfile::TempDir, node: &mut Node) -> usize {
    node.await_line(is_assigned(1));
    let (code, _, complaint) = asked(directory.path(), &["trigger", "work"]);
    assert_eq!(code, Some(0), "{complaint}");
    for _ in 0..SHARDS {
        node.await_line(|line| {
            assert!(!line.contains("NOT_STARTED"), "{line}");
            line.contains(" work ") && line.contains(" OK")
        });
    }
    let said = node.seen().iter();
    said.filter(|line| line.starts_with("warning[OPEN_FILES_LIMIT]")).count()
}

#[test]
fn a_node_raises_its_limit_of_open_files_and_its_scripts_keep_the_callers() {
    // All are under way together, and the node's ends of that are more than 64 files.
    let body = format!(
        "ulimit -Sn > ran.$FLOCKWORK_SHARD\nwhile [ \"$(ls ran.* | wc -l)\" -lt {SHARDS} ]; do sleep 0.2; done"
    );
    let (directory, mut node) = node("ulimit -Sn 64 && ulimit -Hn 4000", &body);
    node.await_line(|line| line.contains("enough for 729 runs at once, not for max_running 1000"));
    assert_eq!(warnings_after_a_run_of_all(&directory, &mut node), 1, "said once");
    for shard in 0..SHARDS {
        let seen = std::fs::read_to_string(directory.path().join(format!("ran.{shard}"))).unwrap();
        assert_eq!(seen, "64\n");
    }
}

#[test]
fn what_the_limit_of_open_files_does_not_hold_waits_for_room() {
    let (directory, mut node) = node("ulimit -n 80", "sleep 1");
    let line = node.await_line(|line| line.starts_with("warning[OPEN_FILES_LIMIT]"));
    assert!(line.contains("may have 80 files open, which is enough for 8 runs at once"), "{line}");
    assert_eq!(warnings_after_a_run_of_all(&directory, &mut node), 1, "said once");
}
