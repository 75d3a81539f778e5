//! `kill -9` under load.

use crate::account::{Account, Open};
use crate::peer::Peer;
use crate::{join, key, prepare, rounds};
use flockwork_registry::Key;
use flockwork_registry::client::Client;
use rusqlite::Connection;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const UNDER_WAY: u64 = 8;

/// Told just before each is sent, so the last of them may not have been.
const PROVEN_UNDER_WAY: usize = 2;

/// One process after the other is killed under load while another commits all the time. Every other
/// one is stopped first, to see whether it dies with the lock.
#[tokio::test]
async fn a_kill_loses_no_acknowledged_commit_and_doubles_none() {
    let (dir, rounds) = (tempdir().unwrap(), rounds(30));
    let lock = dir.path().join("registry.lock");
    let mut client = join(dir.path());
    let names: Vec<String> = (0..rounds).map(|number| format!("p{number}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("survivor");
    prepare(&mut client, &all).await;
    let mut survivor = Peer::live(dir.path());
    survivor.tell("load survivor 2");
    let (mut met, mut held, mut open) = (0, 0, Open::default());
    let mut accounts = Vec::new();
    for (round, name) in names.iter().enumerate() {
        let mut peer = Peer::live(dir.path());
        peer.tell(&format!("load {name} {UNDER_WAY}"));
        peer.expect("ack 0");
        // Another moment in each round, spread over some transactions.
        thread::sleep(Duration::from_micros(2_000 + round as u64 * 1_370 % 50_000));
        if round % 2 == 0 {
            peer.stop();
            held += usize::from(peer.holds(&lock));
        }
        let account = Account::of(name, &peer.kill());
        met += usize::from(account.open().len() >= PROVEN_UNDER_WAY);
        let Open { happened, not } = account.holds(&mut client).await;
        open = Open { happened: open.happened + happened, not: open.not + not };
        assert_eq!(integrity(dir.path()), "ok", "round {round}");
        accounts.push(account);
    }
    let survivor = Account::of("survivor", &survivor.close());
    assert!(survivor.done.len() > rounds && survivor.ended == 0);
    accounts.push(survivor);
    // What was there after each kill has outlived all later ones.
    for account in &accounts {
        account.holds(&mut client).await;
    }
    let done: usize = accounts.iter().map(|account| account.done.len()).sum();
    println!(
        "killed: {met} of {rounds} kills met a commit in flight, {held} the holder of the lock; of \
         the commits in flight {} had happened and {} had not; all of {done} acknowledged are there, \
         none twice",
        open.happened, open.not
    );
    assert!(met * 4 >= rounds * 3, "of {rounds} kills only {met} met a commit in flight");
    assert!(open.not > 0 && (held > 0 || rounds < 30), "{held} held the lock, {open:?}");
}

fn integrity(dir: &Path) -> String {
    let database = Connection::open(dir.join("registry.db")).expect("it opens");
    database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it answers")
}

#[tokio::test]
async fn a_killed_process_is_noticed_long_before_its_time_out() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.session().await.unwrap();
    let mut peer = Peer::live(dir.path());
    peer.tell("session /s 1");
    peer.expect("answer Committed");
    let killed = Instant::now();
    peer.kill();
    gone(&mut client, &key("/s")).await;
    let noticed = killed.elapsed();
    assert!(noticed < Duration::from_millis(750), "noticed after {noticed:?}");
}

/// Waits until an entry is no longer there.
pub(crate) async fn gone(client: &mut Client, key: &Key) {
    let deadline = Instant::now() + crate::PATIENCE;
    while client.get(key).await.unwrap_or_else(|error| panic!("{key}: {error}")).is_some() {
        assert!(Instant::now() < deadline, "{key} stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
