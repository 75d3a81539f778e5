//! Digests, roots and what ZooKeeper lacks.

use crate::fixture::{PATIENCE, address, opened};
use crate::server::{Release, Server};
use flockwork_registry::client::{Client, CommitError};
use flockwork_registry::{Failure, Key, Lifetime, Op, Why};
use flockwork_registry_zookeeper::{Credentials, Login};
use flockwork_trials::server::Server as _;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(4);

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

async fn client(server: &Server, root: &str, digest: Option<&Login>) -> Client {
    let credentials = Credentials { digest: digest.cloned(), tls: None };
    let address = address(&[server.address()], root, TIMEOUT);
    let (registry, inbox) = opened(&address, &credentials).await;
    Client::new(registry, inbox, PATIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_digest_every_node_is_its_own() {
    let server = Server::start(Release::Debian);
    let digest = Login::new("flock:word", "this test").expect("well-formed");
    let mut owner = client(&server, "/apps/own", Some(&digest)).await;
    let numbered =
        |key: Key, lifetime| Op::Create { key, value: "".into(), lifetime, sequence: true };
    let made = owner
        .commit(vec![
            Op::create(key("/lasting"), "v"),
            Op::create_for_session(key("/mine"), "v"),
            numbered(key("/n-"), Lifetime::Lasting),
            numbered(key("/e-"), Lifetime::Session),
        ])
        .await
        .expect("the owner may");
    // Absence is checked with a node of its own, too.
    let absent = vec![Op::CheckAbsent(key("/absent")), Op::create(key("/later"), "")];
    owner.commit(absent).await.expect("the owner may");
    let other = Login::new("other:word", "this test").expect("well-formed");
    for stranger in [None, Some(&other)] {
        let mut stranger = client(&server, "/apps/own", stranger).await;
        let keys = ["/", "/lasting", "/mine", "/later"].map(key);
        for key in keys.iter().chain(&made.sequenced) {
            let read = stranger.get(key).await;
            assert!(matches!(read, Err(Failure::Denied(_))), "{key}: {read:?}");
        }
        for op in [
            Op::create(key("/intruder"), ""),
            Op::Set(key("/lasting"), "x".into(), None),
            Op::Delete(key("/lasting"), None),
        ] {
            let denied = stranger.commit(vec![op.clone()]).await;
            let is_denied = matches!(denied, Err(CommitError::Failed(Failure::Denied(_))));
            assert!(is_denied, "{op:?}: {denied:?}");
        }
    }
    assert_eq!(owner.get(&key("/lasting")).await.expect("may").expect("is").value, "v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_vanished_is_made_again() {
    let server = Server::start(Release::Maven);
    let mut node = client(&server, "/apps/short", None).await;
    let mut above = client(&server, "", None).await;
    node.commit(vec![Op::create(key("/one"), "")]).await.expect("made");
    node.commit(vec![Op::Delete(key("/one"), None)]).await.expect("deleted");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while above.get(&key("/apps/short")).await.expect("read").is_some() {
        assert!(tokio::time::Instant::now() < deadline, "the server keeps the empty container");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let create = || vec![Op::create(key("/two"), "")];
    let gone = node.commit(create()).await;
    assert!(matches!(gone, Err(CommitError::Failed(Failure::NotSent(_)))), "{gone:?}");
    node.commit(create()).await.expect("the next try finds it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absence_is_checked_also_below_what_is_absent_and_in_order() {
    let server = Server::start(Release::Debian);
    let mut node = client(&server, "", None).await;
    let deep = key("/a/b/c");
    let first = node.send(flockwork_registry::Request::Commit(vec![
        Op::CheckAbsent(deep.clone()),
        Op::create(key("/first"), ""),
    ]));
    // Sent behind it, and refused if it took effect before.
    let second = node.send(flockwork_registry::Request::Commit(vec![
        Op::Check(key("/first"), None),
        Op::create(key("/a"), ""),
    ]));
    for ticket in [first, second] {
        let answer = node.answer(ticket).await;
        assert!(matches!(answer, flockwork_registry::Answer::Committed(_)), "{answer:?}");
    }
    let ops = vec![Op::create(key("/a/b"), ""), Op::create(deep.clone(), "")];
    node.commit(ops).await.expect("made");
    let refused = node.commit(vec![Op::CheckAbsent(deep.clone())]).await;
    let Err(CommitError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!((refusal.at, refusal.key, refusal.why), (0, deep, Why::Exists));
    let only = node.commit(vec![Op::CheckAbsent(key("/x/y/z"))]).await.expect("it is absent");
    assert_eq!(only, flockwork_registry::Receipt::default());
    assert_eq!(node.children(&Key::root()).await.expect("read").expect("is").len(), 3);
}
