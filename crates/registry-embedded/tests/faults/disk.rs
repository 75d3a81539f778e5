//! A disk without room, and one that cannot be written.

use crate::acknowledged;
use crate::peer::{PATIENCE, Peer, TIMEOUT};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Fills what room is left, and a little more each time it is called.
fn fill(path: &PathBuf) {
    let mut filler = File::options().create(true).append(true).open(path).expect("it opens");
    while filler.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_by_name_loses_nothing_and_work_goes_on_with_room() {
    let dir = tempdir().unwrap();
    let mut peer = Peer::start_mounted(dir.path(), "size=4m");
    let session = peer.expect("live ");
    peer.tell("create /load 1");
    peer.tell("create /count 1");
    peer.tell("create /count/disk 1");
    peer.tell("create /load/disk 1");
    peer.tell("load disk 2");
    peer.expect("ack 0");
    // The file system is mounted where only the peer sees it.
    let filler = PathBuf::from(format!("/proc/{}/root", peer.id()));
    let filler = filler.join(dir.path().strip_prefix("/").unwrap()).join("filler");
    fill(&filler);
    let mut heard = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !heard.iter().any(|line: &String| line.starts_with("failed")) {
        assert!(Instant::now() < deadline, "it never ran out of room");
        fill(&filler);
        heard.extend(peer.listen(Duration::from_millis(20)));
    }
    let failed = heard.iter().find(|line| line.starts_with("failed")).unwrap();
    assert!(failed.contains("Full"), "{failed}");
    peer.tell("quiet");
    peer.tell("get /load/disk/0");
    peer.expect("answer Entry(Some");
    heard.extend(peer.listen(TIMEOUT * 2));

    fs::remove_file(&filler).unwrap();
    assert_eq!(peer.expect("live "), session, "its session lives on");
    peer.tell("create /after 1");
    peer.expect("answer Committed");
    for number in acknowledged(&heard) {
        peer.tell(&format!("get /load/disk/{number}"));
        let answer = peer.expect("answer ");
        assert!(answer.contains("Entry(Some"), "{number}: {answer}");
    }
}

#[test]
fn a_file_system_that_cannot_be_written_is_refused_with_its_path() {
    let dir = tempdir().unwrap();
    let peer = Peer::start_mounted(dir.path(), "size=1m,ro");
    let refused = peer.expect("refused ");
    let path = dir.path().to_str().unwrap();
    assert!(refused.contains(path) && refused.contains("Read-only"), "{refused}");
}
