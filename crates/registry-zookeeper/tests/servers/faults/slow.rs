//! A server whose disk is slow, or hangs, while four writers commit at full speed.
//!
//! What is slow are its syncs, which it owes before it answers a commit: each round shows that they
//! really were.

use super::{WRITERS, addresses, key, rounds, told, writers};
use crate::fixture::{PATIENCE, address, opened};
use crate::server::{Release, Server, await_leader, ensemble};
use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op};
use flockwork_registry_zookeeper::{Address, Credentials};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a sync takes: as on a spinning disk, one that is busy, and one that is overloaded.
const DELAYS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(300)];

async fn client(address: &Address) -> Client {
    let (registry, inbox) = opened(address, &Credentials::default()).await;
    Client::new(registry, inbox, PATIENCE)
}

async fn commit(client: &mut Client, key: Key) -> Duration {
    let began = Instant::now();
    client.commit(vec![Op::create(key, "")]).await.expect("it is slow, and nothing else");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_is_slow() {
    let server = Server::start(Release::Debian);
    let address = address(&[server.address()], "/slow", Duration::from_secs(4));
    let (writers, mut client) = (writers(&address).await, client(&address).await);
    let (mut held, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds() {
        writers.more(20).await;
        let delay = DELAYS[round % DELAYS.len()];
        let disk = server.slow_disk(delay);
        let took = commit(&mut client, key(&format!("/slow-{round}"))).await;
        assert!(took >= delay, "round {round}: a commit took {took:?}, a sync takes {delay:?}");
        writers.more(8).await;
        let syncs = disk.mend();
        assert!(syncs > 0, "round {round}: no sync was slow");
        (held, slowest) = (held + syncs, slowest.max(took));
    }
    writers.more(20).await;
    println!("slow disk: {held} syncs held up, a commit took up to {slowest:?}");
    let judged = writers.judged().await;
    told("slow disk", judged);
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
}

/// For as long as one sync takes, nothing is committed, and all sessions may end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_disk_hangs_beyond_the_session() {
    let timeout = Duration::from_secs(2);
    let server = Server::start(Release::Maven);
    let writers = writers(&address(&[server.address()], "/hangs", timeout)).await;
    let mut held = 0;
    for round in 0..rounds() {
        writers.more(20).await;
        let disk = server.slow_disk(timeout * 3 / 2);
        sleep(timeout * 2).await;
        let syncs = disk.mend();
        assert!(syncs > 0, "round {round}: no sync hung");
        held += syncs;
    }
    writers.more(20).await;
    println!("disk hangs beyond the session: {held} syncs held up");
    told("disk hangs beyond the session", writers.judged().await);
}

/// It may lose its office, or keep it: the others have what it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_linearizable_while_the_leader_of_three_has_a_slow_disk() {
    let servers = ensemble(Release::Debian);
    let address = address(&addresses(&servers), "/leads", Duration::from_secs(8));
    let writers = writers(&address).await;
    let (mut held, mut deposed) = (0, 0);
    for round in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(&servers);
        let delay = [Duration::from_millis(200), Duration::from_millis(1_500)][round % 2];
        let disk = servers[leader].slow_disk(delay);
        writers.more(4).await;
        // They may do without it.
        sleep(delay * 2).await;
        let syncs = disk.mend();
        assert!(syncs > 0, "round {round}: no sync was slow");
        held += syncs;
        deposed += usize::from(await_leader(&servers) != leader);
    }
    writers.more(20).await;
    println!("leader's disk slow: {held} syncs held up, another led after {deposed} rounds");
    told("leader's disk slow", writers.judged().await);
}
