//! Processes that stand still: with the lock, without it, and those that only wait.

use crate::kill::gone;
use crate::peer::{Peer, TIMEOUT};
use crate::{acknowledged, join, key, prepare};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Starts two peers; the first is stopped under load while it holds the lock.
async fn one_stopped_with_the_lock(dir: &std::path::Path) -> (Peer, Peer, [String; 2]) {
    let mut client = join(dir);
    prepare(&mut client, &["stopped", "other"]).await;
    client.close().await;
    let (mut stopped, mut other) = (Peer::start(dir), Peer::start(dir));
    let sessions = [stopped.expect("live "), other.expect("live ")];
    stopped.tell("load stopped 4");
    stopped.expect("ack ");
    other.tell("load other 4");
    other.expect("ack ");
    stopped.stop_holding(&dir.join("registry.lock"));
    (stopped, other, sessions)
}

#[tokio::test]
async fn while_a_stopped_process_holds_the_lock_others_say_so_and_nobodys_session_ends() {
    let dir = tempdir().unwrap();
    let (stopped, other, sessions) = one_stopped_with_the_lock(dir.path()).await;
    let why = other.expect("suspended ");
    let named = format!("held by pid {} (stopped)", stopped.id());
    assert!(why.contains(&named), "{why}");
    // Far beyond the time-out: it counts for nobody.
    let meanwhile = other.listen(TIMEOUT * 3);
    assert_eq!(acknowledged(&meanwhile), Vec::<u64>::new());
    assert!(meanwhile.iter().any(|line| line.contains("NotSent") && line.contains(&named)));

    let continued = Instant::now();
    stopped.go_on();
    other.expect("live ");
    let waited = continued.elapsed();
    other.expect("ack ");
    assert!(waited < Duration::from_secs(1), "went on only after {waited:?}");
    let heard = [stopped.listen(TIMEOUT * 2), other.listen(Duration::from_millis(100))];
    for (mine, heard) in sessions.iter().zip(&heard) {
        let ended = heard.iter().find(|line| line.starts_with("ended"));
        assert_eq!(ended, None, "its session was {mine}");
        assert!(heard.contains(mine), "it lives on: {mine}");
        assert!(!acknowledged(heard).is_empty());
    }
}

#[tokio::test]
async fn the_death_of_a_stopped_holder_frees_the_lock() {
    let dir = tempdir().unwrap();
    let (stopped, other, _) = one_stopped_with_the_lock(dir.path()).await;
    other.expect("suspended ");
    let killed = Instant::now();
    stopped.kill();
    other.expect("ack ");
    assert!(killed.elapsed() < Duration::from_secs(1), "went on after {:?}", killed.elapsed());
}

#[tokio::test]
async fn a_stopped_process_loses_its_session_and_its_late_commits_are_refused() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.session().await.unwrap();
    let mut peer = Peer::start(dir.path());
    let first = peer.expect("live ");
    peer.tell("session /s 1");
    peer.expect("answer Committed");
    peer.stop();
    let stopped = Instant::now();
    gone(&mut client, &key("/s")).await;
    let lasted = stopped.elapsed();
    // The heartbeat before the stop may be a quarter of the time-out old.
    assert!(lasted >= TIMEOUT * 7 / 10, "gone after {lasted:?}");

    // Sent while it stands still, so in the name of the session it believes in.
    peer.tell("create /late 1");
    thread::sleep(Duration::from_millis(50));
    peer.go_on();
    let answer = peer.expect("answer ");
    let (ended, session) = (answer.contains("SessionEnded"), first.replace("live ", ""));
    assert!(ended, "{answer}, session {session}");
    peer.tell("get /late");
    assert_eq!(peer.expect("answer "), "answer Entry(None)");
    peer.tell("create /later 1");
    peer.expect("answer Committed");
}

#[tokio::test]
async fn a_resumed_process_hears_that_it_ended_resyncs_and_lives_anew() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.session().await.unwrap();
    let mut peer = Peer::start(dir.path());
    let first = peer.expect("live ").replace("live ", "");
    peer.tell("session /s 1");
    peer.expect("answer Committed");
    peer.stop();
    gone(&mut client, &key("/s")).await;
    peer.go_on();
    assert_eq!(peer.expect("ended "), format!("ended {first}"));
    peer.expect("resync");
    assert_ne!(peer.expect("live ").replace("live ", ""), first);
}

#[tokio::test]
async fn a_process_that_has_nothing_to_do_does_nothing() {
    let dir = tempdir().unwrap();
    let (one, _other) = (Peer::live(dir.path()), Peer::live(dir.path()));
    thread::sleep(Duration::from_millis(500));
    let before = one.ticks();
    thread::sleep(Duration::from_secs(4));
    let used = one.ticks() - before;
    assert!(used <= 8, "{used} of 400 ticks of 10 ms");
}
