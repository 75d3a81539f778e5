//! A directory that is moved away in the midst of a commit, whose sync takes its time.

use crate::peer::{PEER, Peer};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tempfile::tempdir;

/// How long each sync of the peer takes: several looks of the thread that watches over the writing one.
const SYNC: Duration = Duration::from_millis(1_000);

#[test]
fn a_commit_during_which_the_directory_is_moved_is_not_acknowledged() {
    let dir = tempdir().unwrap();
    let at = dir.path().join("registry");
    let mut command = Command::new("strace");
    let slow = format!("inject=fsync,fdatasync:delay_enter={}", SYNC.as_micros());
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &slow, PEER]);
    let mut peer = Peer::run(command, &at);
    peer.expect("live ");
    peer.tell("create /before 1");
    peer.expect("answer Committed");
    peer.tell("create /during 1");
    // It is in its sync by then: the look before the commit found all as it was.
    thread::sleep(SYNC / 2);
    fs::rename(&at, dir.path().join("away")).unwrap();
    let answer = peer.expect("answer ");
    assert!(answer.contains("Failed(Unknown(") && answer.contains("moved away"), "{answer}");
}
