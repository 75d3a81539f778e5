//! The data directory goes while a node is at work, and another node is started in its place.

use crate::is_start;
use crate::process::{Lines, Node, PATIENCE, flockwork, scene};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often each shard of each fire was run, by what its script wrote down.
fn runs(at: &Path) -> BTreeMap<String, usize> {
    let written = std::fs::read_to_string(at.join("runs")).unwrap_or_default();
    let mut runs = BTreeMap::new();
    for line in written.lines() {
        *runs.entry(line.to_owned()).or_default() += 1;
    }
    runs
}

fn await_runs(at: &Path, most: usize) {
    let deadline = Instant::now() + PATIENCE;
    while runs(at).len() < most {
        assert!(Instant::now() < deadline, "only {:#?}", runs(at));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A node whose complaints are read, too.
fn start(at: &Path) -> (Node, Lines) {
    let mut command = flockwork(at);
    command.stderr(Stdio::piped());
    let mut node = Node::run(command);
    let complaints = Lines::of(node.child.stderr.take().unwrap());
    (node, complaints)
}

#[test]
fn no_fire_runs_twice_when_the_data_are_deleted_and_the_old_node_ends_by_name() {
    let deeds: [fn(&Path); 3] = [
        |data| std::fs::remove_dir_all(data).unwrap(),
        |data| std::fs::remove_dir_all(data.join("registry")).unwrap(),
        |data| std::fs::rename(data, data.with_extension("away")).unwrap(),
    ];
    for deed in deeds {
        let directory = scene("250ms", "");
        let at = directory.path();
        // Appending a short line is one write, which no other cuts in two.
        let noted = at.join("runs").display().to_string();
        let script = format!("#!/bin/sh\necho \"$FLOCKWORK_FIRE $FLOCKWORK_SHARD\" >> '{noted}'\n");
        std::fs::write(at.join("work.sh"), script).unwrap();
        let (mut one, mut complaints) = start(at);
        one.await_line(is_start);
        await_runs(at, 20);
        deed(&at.join("flockwork-data"));
        let before = runs(at).len();
        let (mut two, _) = start(at);
        two.await_line(is_start);
        let line = complaints.await_line(|line| line.starts_with("error["));
        assert!(line.starts_with("error[REGISTRY_REPLACED]: "), "{line}");
        assert_eq!(one.child.wait().unwrap().code(), Some(7));
        await_runs(at, before + 40);
        let doubles: Vec<_> = runs(at).into_iter().filter(|(_, times)| *times > 1).collect();
        assert_eq!(doubles, [], "of {} runs", runs(at).len());
    }
}
