//! What etcd forgets, and what it has no room for.

use crate::fixture::{PATIENCE, address, opened};
use crate::proxy::Proxy;
use crate::server::{Server, revision};
use flockwork_registry::client::{Client, CommitError};
use flockwork_registry::{Event, Failure, Key, Op, Scope, SessionState};
use flockwork_trials::server::Server as _;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

async fn client(address: &flockwork_registry_etcd::Address) -> Client {
    let (registry, inbox) = opened(address).await;
    Client::new(registry, inbox, PATIENCE)
}

fn suspended(event: &Event) -> Option<String> {
    match event {
        Event::Session(SessionState::Suspended { why }) => Some(why.to_string()),
        _ => None,
    }
}

/// A watch that stands still is overtaken by what others write and compact, and is ended for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_overtaken_by_a_compaction_is_set_again_with_a_resync() {
    let server = Server::start();
    let proxy = Proxy::before(server.address()).await;
    // A third of it, after which a renewal runs out, is longer than the writing takes.
    let long = Duration::from_secs(180);
    let mut node = client(&address(&[proxy.gate.address()], "/compact", long)).await;
    let mut other = client(&address(&[server.address()], "/compact", long)).await;
    node.commit(vec![Op::create(key("/a"), "0")]).await.expect("made");
    node.watch(&key("/a"), Scope::Value).await.expect("watched");
    node.kept();
    proxy.gate.hold(true);
    // More than the way and both ends of it keep: etcd's 1,024 answers, and some megabytes.
    let large = vec![b'x'; 200 * 1024];
    for _ in 0..100 {
        other.commit(vec![Op::Set(key("/a"), large.clone().into(), None)]).await.expect("set");
    }
    for _ in 0..1_500 {
        other.commit(vec![Op::Set(key("/a"), "last".into(), None)]).await.expect("set");
    }
    server.ctl(&["compact", "--physical", &revision(server.address())]).expect("compacted");
    proxy.gate.hold(false);
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while !events.contains(&Event::Resync) {
        assert!(Instant::now() < deadline, "told only {events:?}");
        sleep(Duration::from_millis(10)).await;
        events.extend(node.arrived());
    }
    // It is the one reason: no renewal ran out while nothing passed.
    let why: Vec<String> = events.iter().filter_map(suspended).collect();
    let [why] = &why[..] else { panic!("told {events:?}") };
    assert!(why.contains("behind what was compacted"), "{why}");
    node.session().await.expect("it goes on");
    other.commit(vec![Op::Set(key("/a"), "after".into(), None)]).await.expect("set");
    let told = node.next_event().await;
    let mine = node.commit(vec![Op::create(key("/b"), "")]).await;
    assert!(mine.is_ok(), "{mine:?}");
    let read = node.get(&key("/a")).await.expect("it answers").expect("it is there");
    assert_eq!((&read.value[..], told.is_some()), (&b"after"[..], true));
}

/// Compacted between two commits: nothing of it shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_reads_do_not_mind_a_compaction() {
    let server = Server::start();
    let mut node = client(&address(&[server.address()], "", Duration::from_secs(4))).await;
    node.commit(vec![Op::create(key("/a"), "0")]).await.expect("made");
    node.kept();
    for turn in 0..5_u32 {
        server.ctl(&["compact", "--physical", &revision(server.address())]).expect("compacted");
        let entry = node.get(&key("/a")).await.expect("it answers").expect("it is there");
        assert_eq!(entry.stamp.version, turn);
        let set = Op::Set(key("/a"), turn.to_string().into(), Some(entry.stamp));
        node.commit(vec![set]).await.expect("set");
    }
    assert!(!node.kept().contains(&Event::Resync));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_by_name_and_takes_up_again_when_there_is_room() {
    let server = Server::start_with(&["--quota-backend-bytes", "4194304"]);
    let mut node = client(&address(&[server.address()], "/full", Duration::from_secs(4))).await;
    node.commit(vec![Op::create(key("/kept"), "v")]).await.expect("made");
    let session = node.session().await.expect("it lives");
    let mut made = 0;
    let full = loop {
        let create = Op::create(key(&format!("/{made}")), vec![b'x'; 200 * 1024]);
        match node.commit(vec![create]).await {
            Ok(_) => made += 1,
            Err(CommitError::Failed(Failure::Full(why))) => break why,
            other => panic!("answered {other:?}"),
        }
        assert!(made < 100, "it is never full");
    };
    assert!(full.contains("space"), "{full}");
    let kept = node.get(&key("/kept")).await.expect("it answers").expect("it is there");
    assert_eq!(&kept.value[..], b"v");
    assert_eq!(node.get(&key(&format!("/{made}"))).await, Ok(None));
    for n in 0..made {
        let gone = server.ctl(&["del", &format!("/full/001/{n}")]);
        assert_eq!(gone.expect("deleting is let").trim(), "1");
    }
    server.ctl(&["compact", "--physical", &revision(server.address())]).expect("compacted");
    server.ctl(&["defrag"]).expect("defragmented");
    server.ctl(&["alarm", "disarm"]).expect("disarmed");
    node.commit(vec![Op::create(key("/after"), "")]).await.expect("there is room again");
    assert_eq!(node.session().await, Ok(session));
}
