//! Clocks that step, and clocks that differ: a session neither ends nor lives on because of them.
//!
//! Heartbeats are compared across processes by `CLOCK_BOOTTIME` of the host, which never steps; the
//! wall clock is not read at all.

use crate::account::Account;
use crate::kill::gone;
use crate::peer::{PEER, Peer, TIMEOUT};
use crate::{acknowledged, join, key, prepare};
use flockwork_trials::clock::with_clock;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::tempdir;

const HOUR: i64 = 3_600;

/// A process whose wall clock is as far from the true one as a file says, all the time.
fn start_with_clock(dir: &Path, file: &Path) -> Peer {
    Peer::run(with_clock(PEER, file), dir)
}

/// By how many seconds its wall clock is ahead.
fn ahead(peer: &mut Peer) -> i64 {
    peer.tell("clock");
    let told = peer.expect("clock ").replace("clock ", "");
    let true_time = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
    told.parse::<i64>().expect("seconds") - true_time.cast_signed()
}

/// By its own clock it trusts its session for as long as others believe in it.
fn trusts_for_its_time(peer: &mut Peer) {
    peer.tell("trust");
    let trust: i64 = peer.expect("trust ").replace("trust ", "").parse().expect("a number");
    let most = i64::try_from(TIMEOUT.as_millis()).expect("it is short");
    assert!((0..=most).contains(&trust), "trusted for {trust} ms");
}

#[tokio::test]
async fn a_wall_clock_that_steps_by_an_hour_ends_no_session_and_holds_up_no_commit() {
    let (dir, file) = (tempdir().unwrap(), tempdir().unwrap());
    let file = file.path().join("clock");
    fs::write(&file, "+0").unwrap();
    let mut client = join(dir.path());
    prepare(&mut client, &["stepped", "steady"]).await;
    let mut stepped = start_with_clock(dir.path(), &file);
    let mut steady = Peer::start(dir.path());
    let sessions = [stepped.expect("live "), steady.expect("live ")];
    stepped.tell("load stepped 2");
    steady.tell("load steady 2");
    for step in [HOUR, -HOUR, 0] {
        fs::write(&file, format!("{step:+}")).unwrap();
        let found = ahead(&mut stepped);
        assert!((found - step).abs() < 60, "its clock is {found} s ahead, not {step}");
        let heard = [stepped.listen(TIMEOUT), steady.listen(Duration::from_millis(100))];
        for (heard, session) in heard.iter().zip(&sessions) {
            let told = ["ended", "suspended", "failed", "live"];
            let of_it = |line: &&String| told.iter().any(|start| line.starts_with(start));
            let other = heard.iter().filter(of_it).find(|line| *line != session);
            assert_eq!(other, None, "after a step to {step} s");
            assert!(acknowledged(heard).len() > 10, "after a step to {step} s");
        }
        assert!(heard[0].contains(&sessions[0]), "its trust is renewed");
        trusts_for_its_time(&mut stepped);
    }
    let mut done = 0;
    for (name, peer) in [("stepped", stepped), ("steady", steady)] {
        let account = Account::of(name, &peer.close());
        account.holds(&mut client).await;
        done += account.done.len();
    }
    println!(
        "wall clock stepped by {HOUR} s forth, {} s back, {HOUR} s forth: no session ended, {done} \
         commits",
        HOUR * 2
    );
}

/// In a time namespace, as containers restored elsewhere are, `CLOCK_BOOTTIME` itself differs.
#[tokio::test]
async fn a_process_whose_boot_clock_is_an_hour_ahead_keeps_nobodys_session_alive() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.session().await.unwrap();
    let mut command = Command::new("unshare");
    command.args(["--time", "--boottime", &HOUR.to_string(), "--fork", PEER]);
    let mut ahead = Peer::run(command, dir.path());
    let session = ahead.expect("live ");
    let mut stopped = Peer::live(dir.path());
    stopped.tell("session /s 1");
    stopped.expect("answer Committed");
    stopped.stop_while(false, &dir.path().join("registry.lock"));
    gone(&mut client, &key("/s")).await;
    drop(stopped);

    trusts_for_its_time(&mut ahead);
    let heard = ahead.close();
    let ended = heard.iter().position(|line| line.starts_with("ended"));
    assert!(ended.is_none_or(|at| heard[at + 1..] == ["closed"]), "{heard:?}");
    assert!(heard.contains(&session));
}
