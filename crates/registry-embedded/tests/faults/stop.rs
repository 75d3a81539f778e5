//! Processes that stand still: with the lock, without it, and those that only wait.

use crate::kill::gone;
use crate::peer::{PATIENCE, Peer, TIMEOUT};
use crate::{acknowledged, join, key, prepare};
use flockwork_registry::Op;
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
    stopped.stop_while(true, &dir.join("registry.lock"));
    (stopped, other, sessions)
}

/// Waits until it says who holds the lock; on a loaded host it may have said something before.
pub(crate) fn names_holder(other: &Peer, stopped: &Peer) -> String {
    let named = format!("held by pid {} (stopped)", stopped.id());
    let deadline = Instant::now() + PATIENCE;
    while !other.expect("suspended ").contains(&named) {
        assert!(Instant::now() < deadline, "it does not say {named:?}");
    }
    named
}

#[tokio::test]
async fn while_a_stopped_process_holds_the_lock_others_say_so_and_nobodys_session_ends() {
    let dir = tempdir().unwrap();
    let (stopped, other, sessions) = one_stopped_with_the_lock(dir.path()).await;
    let named = names_holder(&other, &stopped);
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
    names_holder(&other, &stopped);
    let killed = Instant::now();
    stopped.kill();
    other.expect("ack ");
    assert!(killed.elapsed() < Duration::from_secs(1), "went on after {:?}", killed.elapsed());
}

#[tokio::test]
async fn closing_is_bounded_even_behind_a_stopped_holder() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.commit(vec![Op::create_for_session(key("/mine"), "")]).await.unwrap();
    let (stopped, mut other, _) = one_stopped_with_the_lock(dir.path()).await;
    let began = Instant::now();
    client.close().await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(5_500), "closing took {took:?}");
    // What it could not write, its freed lock says.
    drop(stopped);
    other.tell("quiet");
    let deadline = Instant::now() + PATIENCE;
    loop {
        other.tell("get /mine");
        if other.expect("answer ") == "answer Entry(None)" {
            return;
        }
        assert!(Instant::now() < deadline, "it stays");
    }
}

#[tokio::test]
async fn a_stopped_process_loses_its_session_and_its_late_commits_are_refused() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    prepare(&mut client, &["late"]).await;
    let mut peer = Peer::start(dir.path());
    let session = peer.expect("live ").replace("live ", "");
    peer.tell("session /s 1");
    peer.expect("answer Committed");
    peer.tell("load late 4");
    peer.expect("ack ");
    // With commits under way, which it will send on as if nothing had happened.
    peer.stop_while(false, &dir.path().join("registry.lock"));
    let stopped = Instant::now();
    gone(&mut client, &key("/s")).await;
    let lasted = stopped.elapsed();
    // The heartbeat before the stop may be a quarter of the time-out old.
    assert!(lasted >= TIMEOUT * 7 / 10, "gone after {lasted:?}");

    peer.go_on();
    let refused = session_refused(&peer);
    assert!(refused.contains(&format!("SessionEnded(SessionId({}))", decimal(&session))));
    let number = refused.split(' ').nth(1).expect("its number");
    assert_eq!(client.get(&key(&format!("/load/late/{number}"))).await.unwrap(), None);
    // In its new session it goes on.
    peer.expect("ack ");
}

/// Waits for a commit refused because its session ended. One that stood still while it waited for the
/// lock first answers what has waited too long, as not sent.
pub(crate) fn session_refused(peer: &Peer) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let refused = peer.expect("failed ");
        if refused.contains("SessionEnded") {
            return refused;
        }
        assert!(refused.contains("NotSent") && Instant::now() < deadline, "{refused}");
    }
}

/// Sessions are shown as `0x1f`, and in `Debug` as a decimal number.
fn decimal(session: &str) -> u64 {
    u64::from_str_radix(session.trim_start_matches("0x"), 16).expect("a session is a number")
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
