//! What a node does that has run out of something, or is about to.

use crate::Test;
use crate::rig::Rig;
use flockwork_core::execution::Ending;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("a_start_without_room_for_files_is_told_by_that_name", without_room_for_files),
    ("a_script_has_the_callers_limit_of_open_files", the_callers_limit_of_open_files),
];

/// What [`OpenFiles::scripts`](flockwork_worker::OpenFiles::scripts) counts for each script.
const A_SCRIPT: u64 = 5;

/// The least limit under which this process has room for so many files more.
fn limit_with_room_for(more: u64) -> u64 {
    let listed: Vec<u64> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    // The list's own is closed by now.
    let is_open = |fd: &u64| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
    let open: BTreeSet<u64> = listed.into_iter().filter(is_open).collect();
    let mut free = (0..).filter(|fd| !open.contains(fd));
    free.nth(usize::try_from(more).unwrap()).unwrap()
}

/// Sets the limit of this whole process; tests run one after the other.
fn without_room_for_files() {
    let mut rig = Rig::new();
    let before = getrlimit(Resource::Nofile);
    // Guard, runner and script have tables of their own; the shell needs ten of its.
    rig.settings.scripts.open_files = before.current;
    let path = rig.script("ok.sh", "#!/bin/sh\n");
    let path = path.to_str().unwrap();
    assert_eq!(rig.run(&[path]).ending, Ending::Succeeded);
    let endings: Vec<Ending> = (0..=A_SCRIPT)
        .map(|room| {
            let current = Some(limit_with_room_for(room));
            setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
            let ending = rig.run(&[path]).ending;
            setrlimit(Resource::Nofile, before).unwrap();
            ending
        })
        .collect();
    for (room, ending) in endings[..endings.len() - 1].iter().enumerate() {
        let Ending::NotStarted(text) = ending else { panic!("with room for {room}: {ending:?}") };
        assert!(text.starts_with("OPEN_FILES_LIMIT: "), "with room for {room}: {text}");
        assert!(text.contains("EMFILE; its limit is ") && text.contains("max_running"), "{text}");
    }
    assert_eq!(endings.last(), Some(&Ending::Succeeded), "a script takes {A_SCRIPT} at its start");
}

fn the_callers_limit_of_open_files() {
    let mut rig = Rig::new();
    let node_s = getrlimit(Resource::Nofile);
    let node_s = node_s.current.unwrap();
    for (given, seen) in [(None, node_s), (Some(77), 77)] {
        rig.settings.scripts.open_files = given;
        assert_eq!(rig.sh("ulimit -Sn").output_tail, format!("{seen}\n"));
    }
}
