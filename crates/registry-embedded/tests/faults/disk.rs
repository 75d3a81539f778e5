//! A disk without room, and one that cannot be written.

use crate::account::Account;
use crate::peer::{PATIENCE, PEER, Peer, TIMEOUT};
use crate::{acknowledged, join, rounds};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Fills what room is left, and a little more each time it is called.
fn fill(path: &Path) {
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

/// A peer where another one is: in its mounts.
fn start_beside(other: &Peer, dir: &Path) -> Peer {
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{}/ns/mnt", other.id())).arg(PEER);
    Peer::run(command, dir)
}

/// The directory as the peers see it, who stand still meanwhile.
fn copy(peers: &[Peer], seen: &Path, to: &Path) {
    let lock = seen.join("registry.lock");
    peers.iter().for_each(|peer| peer.stop_while(false, &lock));
    for name in ["registry.db", "registry.db-wal"] {
        fs::copy(seen.join(name), to.join(name)).expect("it is there");
    }
    peers.iter().for_each(Peer::go_on);
}

#[tokio::test]
async fn a_disk_full_again_and_again_under_two_processes_loses_and_doubles_nothing() {
    // What is committed stays, and the disk is small.
    let (dir, rounds) = (tempdir().unwrap(), rounds(8).min(30));
    let mut peers = vec![Peer::start_mounted(dir.path(), "size=12m")];
    peers[0].expect("live ");
    for above in ["/load", "/count", "/load/one", "/count/one", "/load/other", "/count/other"] {
        peers[0].tell(&format!("create {above} 1"));
        peers[0].expect("answer Committed");
    }
    peers.push(start_beside(&peers[0], dir.path()));
    peers[1].expect("live ");
    let seen = PathBuf::from(format!("/proc/{}/root", peers[0].id()));
    let seen = seen.join(dir.path().strip_prefix("/").unwrap());
    let filler = seen.join("filler");
    for round in 0..rounds {
        for (peer, name) in peers.iter_mut().zip(["one", "other"]) {
            peer.tell(&format!("load {name} 2"));
            // Each writes some pages of the log: all rounds together far more than there is room.
            (0..60).for_each(|_| drop(peer.expect("ack ")));
        }
        let deadline = Instant::now() + PATIENCE;
        let mut full = 0;
        while full < peers.len() {
            assert!(Instant::now() < deadline, "round {round}: it never ran out of room");
            fill(&filler);
            let heard = peers.iter().map(|peer| peer.listen(Duration::from_millis(5)));
            full += heard.filter(|it| it.iter().any(|line| line.contains("Failed(Full("))).count();
        }
        fs::remove_file(&filler).unwrap();
        peers.iter_mut().for_each(|peer| peer.tell("quiet"));
        for peer in &mut peers {
            peer.listen(Duration::from_millis(20));
            peer.tell("clock");
            peer.expect("clock ");
        }
    }
    let left = tempdir().unwrap();
    copy(&peers, &seen, left.path());
    let other = Account::of("other", &peers.pop().unwrap().close());
    let one = Account::of("one", &peers.pop().unwrap().close());
    let mut client = join(left.path());
    for account in [&one, &other] {
        account.holds(&mut client).await;
        assert_eq!(account.ended, 0, "no session ends, as nobody could write");
    }
    let (done, refused) =
        (one.done.len() + other.done.len(), one.refused.len() + other.refused.len());
    println!(
        "disk full: {rounds} rounds, all of {done} acknowledged commits are there, none of {refused} \
         refused, none twice"
    );
}

#[test]
fn a_file_system_that_cannot_be_written_is_refused_with_its_path() {
    let dir = tempdir().unwrap();
    let peer = Peer::start_mounted(dir.path(), "size=1m,ro");
    let refused = peer.expect("refused ");
    let path = dir.path().to_str().unwrap();
    assert!(refused.contains(path) && refused.contains("Read-only"), "{refused}");
}
