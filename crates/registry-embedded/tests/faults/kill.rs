//! `kill -9` under load.

use crate::peer::Peer;
use crate::{acknowledged, join, key, prepare};
use flockwork_registry::Key;
use flockwork_registry::client::Client;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const ROUNDS: u64 = 30;
const UNDER_WAY: u64 = 8;

#[tokio::test]
async fn a_kill_loses_no_acknowledged_commit_and_doubles_none() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    let names: Vec<String> = (0..ROUNDS * 2).map(|number| format!("p{number}")).collect();
    prepare(&mut client, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut at_work = 0;
    for (round, pair) in (0..).zip(names.chunks(2)) {
        let mut peers: Vec<Peer> = pair.iter().map(|_| Peer::live(dir.path())).collect();
        for (peer, name) in peers.iter_mut().zip(pair) {
            peer.tell(&format!("load {name} {UNDER_WAY}"));
            peer.expect("ack 0");
        }
        // Another moment in each round, spread over some transactions.
        thread::sleep(Duration::from_micros(7_000 + round * 1_300));
        for (peer, name) in peers.into_iter().zip(pair) {
            let told = acknowledged(&peer.kill());
            at_work += u64::from(!told.is_empty());
            verify(&mut client, name, told).await;
        }
        assert_eq!(integrity(dir.path()), "ok", "round {round}");
    }
    assert!(at_work > ROUNDS, "of {} kills only {at_work} met work", ROUNDS * 2);
}

/// All that was acknowledged is there; besides, at most what was under way; and the counter was set
/// once for each.
async fn verify(client: &mut Client, name: &str, mut told: Vec<u64>) {
    told.push(0);
    let prefix = format!("{name}-");
    let all = client.children(&key("/load")).await.expect("it answers").expect("/load is there");
    let numbers = all.iter().filter_map(|it| it.strip_prefix(&prefix)?.parse::<u64>().ok());
    let there: BTreeSet<u64> = numbers.collect();
    let lost: Vec<_> = told.iter().filter(|number| !there.contains(number)).collect();
    assert!(lost.is_empty(), "{name} lost {lost:?}");
    let sent = told.len() as u64 + UNDER_WAY;
    assert!(there.len() as u64 <= sent, "{name} has {} of at most {sent}", there.len());
    let count = client.get(&key(&format!("/count/{name}"))).await.expect("it answers");
    let count = count.expect("it was made before");
    assert_eq!(u64::from(count.stamp.version), there.len() as u64, "{name}");
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
