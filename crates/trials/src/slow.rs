//! A server whose disk is slow, or hangs, while four writers commit at full speed.
//!
//! What is slow are its syncs, which it owes before it answers a commit: each round shows that they
//! really were.

use crate::server::{Server, addresses, await_leader};
use crate::{Kind, WRITERS, key, rounds, told};
use flockwork_registry::client::Client;
use flockwork_registry::{Key, Op};
use std::time::Duration;
use tokio::time::Instant;

/// How long a sync takes: as on a spinning disk, one that is busy, and one that is overloaded.
const DELAYS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(300)];

/// And on the leader's: so that it keeps its office, and so that it may lose it.
const LEADERS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1_500)];

async fn commit(client: &mut Client, key: Key) -> Duration {
    let began = Instant::now();
    client.commit(vec![Op::create(key, "")]).await.expect("it is slow, and nothing else");
    began.elapsed()
}

/// The disk is slow, and sessions live on.
pub async fn within_the_session(kind: Kind, server: &impl Server) -> String {
    let address = kind.address(&[server.address()], "/slow", Duration::from_secs(4));
    let (writers, mut client) = (kind.writers(&address).await, kind.client(&address).await);
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
    let judged = writers.judged().await;
    assert_eq!((judged.unknown, judged.sessions), (0, WRITERS), "nothing is lost, no session");
    let told = told("slow disk", judged);
    format!("{told}; {held} syncs held up, a commit took up to {slowest:?}")
}

/// For as long as one sync takes, nothing is committed, and all sessions may end.
pub async fn beyond_the_session(kind: Kind, server: &impl Server) -> String {
    let address = kind.address(&[server.address()], "/hangs", kind.session);
    let writers = kind.writers(&address).await;
    let mut held = 0;
    for round in 0..rounds() {
        writers.more(20).await;
        let disk = server.slow_disk(kind.session * 3 / 2);
        disk.last(kind.session * 2).await;
        let syncs = disk.mend();
        assert!(syncs > 0, "round {round}: no sync hung");
        held += syncs;
    }
    writers.more(20).await;
    let told = told("disk hangs beyond the session", writers.judged().await);
    format!("{told}; {held} syncs held up")
}

/// The leader of three may lose its office, or keep it: the others have what it waits for.
pub async fn leader<S: Server>(kind: Kind, servers: &[S]) -> String {
    let address = kind.address(&addresses(servers), "/leads", Duration::from_secs(8));
    let writers = kind.writers(&address).await;
    let (mut held, mut deposed) = (0, 0);
    for round in 0..rounds() {
        writers.more(20).await;
        let leader = await_leader(servers);
        let delay = LEADERS[round % LEADERS.len()];
        let disk = servers[leader].slow_disk(delay);
        writers.more(4).await;
        // They may do without it.
        disk.last(delay * 2).await;
        let syncs = disk.mend();
        assert!(syncs > 0, "round {round}: no sync was slow");
        held += syncs;
        deposed += usize::from(await_leader(servers) != leader);
    }
    writers.more(20).await;
    let told = told("leader's disk slow", writers.judged().await);
    format!("{told}; {held} syncs held up, another led after {deposed} rounds")
}
