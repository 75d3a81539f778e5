//! What servers make of the session time-out that a node asks for.

use crate::is_start;
use crate::process::{Node, flockwork, scene};
use flockwork_soak::registry::Which;
use std::time::Duration;

#[test]
fn a_session_time_out_that_the_server_cut_is_told_with_both_numbers() {
    let directory = scene("1s", "true");
    let at = directory.path().canonicalize().unwrap();
    let registry = Which::ZooKeeper.make(&at, 1, Duration::from_secs(4)).unwrap();
    let url = registry.flags(1).remove(1);
    let mut command = flockwork(&at);
    // These servers give a minute at most.
    command.env("FLOCKWORK_REGISTRY", url.replace("session_timeout=4000ms", "session_timeout=10m"));
    let mut node = Node::run(command);
    let line = node.await_line(|line| line.contains("warning[SESSION_TIMEOUT]"));
    assert!(line.contains("a time-out of 1m, 10m were asked for"), "{line}");
    node.await_line(is_start);
    drop(node);

    let mut command = flockwork(&at);
    // The first one's session lives on for a minute.
    command.env("FLOCKWORK_REGISTRY", url).env("FLOCKWORK_NAMESPACE", "other");
    let mut node = Node::run(command);
    node.await_line(is_start);
    let told = node.seen().iter().any(|line| line.contains("SESSION_TIMEOUT"));
    assert!(!told, "it was given what it asked for");
}
