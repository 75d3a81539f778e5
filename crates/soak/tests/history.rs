//! A registry's history says what its clients were told, commit by commit, and nothing else.
#![allow(clippy::unwrap_used, reason = "a registry that cannot be reached is a failed test")]

use flockwork_registry::client::Client;
use flockwork_registry::{Inbox, Key, Op, Receipt, Stamp};
use flockwork_registry_embedded::{Embedded, Options};
use flockwork_registry_etcd as etcd;
use flockwork_registry_zookeeper as zookeeper;
use flockwork_soak::clock::wall_millis;
use flockwork_soak::history::History;
use flockwork_soak::registry::{Trouble, Which};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SESSION: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a commit did to a key: its number, the key, what the write demanded, before, after.
type Did = (u64, String, Option<u64>, Option<String>, Option<String>);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// One client's doings, and what should be known of them.
struct Author {
    client: Client,
    did: Vec<Did>,
    /// Between which instants each commit was asked for and answered, by its number.
    asked: BTreeMap<u64, (i64, i64)>,
}

impl Author {
    fn new((registry, inbox): (Arc<dyn flockwork_registry::Registry>, Inbox)) -> Self {
        let client = Client::new(registry, inbox, PATIENCE);
        Self { client, did: Vec::new(), asked: BTreeMap::new() }
    }

    async fn commit(&mut self, ops: Vec<Op>) -> Receipt {
        let sent = wall_millis();
        let receipt = self.client.commit(ops).await.unwrap();
        self.asked.insert(receipt.index.0, (sent, wall_millis()));
        receipt
    }

    fn note(&mut self, receipt: &Receipt, of: &str, guard: Option<Stamp>, values: [&str; 2]) {
        let [old, new] = values.map(|v| (!v.is_empty()).then(|| v.to_owned()));
        let guard = guard.map(|stamp| stamp.modified.0);
        self.did.push((receipt.index.0, of.to_owned(), guard, old, new));
    }

    async fn stamp(&mut self, of: &str) -> Stamp {
        self.client.get(&key(of)).await.unwrap().unwrap().stamp
    }

    async fn first_part(&mut self) {
        let made = self.commit(vec![Op::create(key("/a"), "1"), Op::create(key("/b"), "x")]).await;
        self.note(&made, "/a", None, ["", "1"]);
        self.note(&made, "/b", None, ["", "x"]);
        let stale = self.stamp("/a").await;
        let set = self.commit(vec![Op::Set(key("/a"), "2".into(), Some(stale))]).await;
        self.note(&set, "/a", Some(stale), ["1", "2"]);
        let blind = self.commit(vec![Op::Set(key("/a"), "3".into(), None)]).await;
        self.note(&blind, "/a", None, ["2", "3"]);
        let refused =
            vec![Op::Set(key("/b"), "y".into(), None), Op::Set(key("/a"), "4".into(), Some(stale))];
        assert!(self.client.commit(refused).await.is_err(), "its stamp is stale");
        let mortal = self.commit(vec![Op::create_for_session(key("/a/m"), "here")]).await;
        self.note(&mortal, "/a/m", None, ["", "here"]);
    }

    async fn second_part(&mut self) {
        let stamp = self.stamp("/b").await;
        let gone = self.commit(vec![Op::Delete(key("/b"), Some(stamp))]).await;
        self.note(&gone, "/b", Some(stamp), ["x", ""]);
        let again = self.commit(vec![Op::create(key("/b"), "z")]).await;
        self.note(&again, "/b", None, ["", "z"]);
    }
}

fn told(history: &History) -> Vec<Did> {
    let text =
        |entry: &flockwork_registry::Entry| String::from_utf8_lossy(&entry.value).into_owned();
    let mut all = Vec::new();
    for committed in &history.commits {
        for change in &committed.changes {
            let (old, new) = (change.old.as_ref().map(text), change.new.as_ref().map(text));
            all.push((committed.index, change.key.to_string(), change.guard, old, new));
        }
    }
    all
}

/// The last of what is told is the end of the session, whose number nobody is told.
fn assert_ends_with_the_session(told: &mut Vec<Did>) {
    let (_, key, _, old, new) = told.pop().unwrap();
    assert_eq!((key.as_str(), old.as_deref(), new), ("/a/m", Some("here"), None));
}

#[test]
fn zookeepers_log_tells_what_clients_were_told_over_a_kill_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut registry = Which::ZooKeeper.make(directory.path(), 1, SESSION).unwrap();
    let url = registry.flags(1)[1].clone();
    let (mut author, session) = runtime.block_on(async {
        let open = zookeeper::open_url(&url, &zookeeper::Credentials::default()).unwrap();
        let mut author = Author::new(open);
        let session = author.client.session().await.unwrap();
        author.first_part().await;
        (author, session)
    });
    registry.trouble(Trouble::Killed, 1).unwrap();
    registry.relieve(Trouble::Killed, 1).unwrap();
    let did = runtime.block_on(async {
        // The same session, on another connection.
        back(&mut author).await;
        author.second_part().await;
        author.client.close().await;
        author.did
    });
    let history = registry.history().unwrap();
    let mut told = told(&history);
    assert_ends_with_the_session(&mut told);
    // The root below which all lies was made by the way.
    told.retain(|(_, key, ..)| key != "/");
    assert_eq!(told, did);
    assert_eq!(history.unseen, []);
    assert!(history.commits.iter().all(|committed| committed.session == session.0));
    assert!(history.proofs.len() >= 2 && history.proofs.iter().all(|p| p.session == session.0));
}

#[test]
fn etcds_revisions_tell_what_clients_were_told_over_a_kill_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut registry = Which::Etcd.make(directory.path(), 1, SESSION).unwrap();
    let url = registry.flags(1)[1].clone();
    let (mut author, session) = runtime.block_on(async {
        let open = etcd::open_url(&url, &etcd::Credentials::default()).unwrap();
        let mut author = Author::new(open);
        let session = author.client.session().await.unwrap();
        author.first_part().await;
        (author, session)
    });
    let (gone, again) = trouble(registry.as_mut(), Trouble::Killed);
    runtime.block_on(back(&mut author));
    let (stopped, on) = trouble(registry.as_mut(), Trouble::Still);
    let (did, asked) = runtime.block_on(async {
        back(&mut author).await;
        author.second_part().await;
        author.client.close().await;
        (author.did, author.asked)
    });
    let history = registry.history().unwrap();
    let mut told = told(&history);
    assert_ends_with_the_session(&mut told);
    // The root below which all lies was made by the way.
    told.retain(|(_, key, ..)| key != "/");
    // Which commit a write demanded, revisions do not say.
    let did = did.into_iter().map(|(index, key, _, old, new)| (index, key, None, old, new));
    assert_eq!(told, did.collect::<Vec<_>>());
    let others = history.commits.iter().filter(|committed| committed.session != session.0);
    assert!(others.flat_map(|it| &it.changes).all(|change| change.key.as_str() == "/"));
    for committed in &history.commits {
        let Some((sent, answered)) = asked.get(&committed.index) else { continue };
        // It happened within both spans.
        let (at, until) = (committed.at, committed.until);
        assert!(at <= *answered && until >= *sent, "{at}..{until}, {sent}..{answered}");
    }
    let [killed, still] = history.still[..] else { panic!("{:?}", history.still) };
    assert!(killed.0 >= gone && killed.1 <= again && still.0 >= stopped && still.1 <= on);
}

/// Troubles it for a moment. When that began, and when it was over.
fn trouble(registry: &mut dyn flockwork_soak::registry::Registry, trouble: Trouble) -> (i64, i64) {
    let began = wall_millis();
    registry.trouble(trouble, 1).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    registry.relieve(trouble, 1).unwrap();
    (began, wall_millis())
}

/// Waits until the registry answers again.
async fn back(author: &mut Author) {
    while author.client.get(&key("/a")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_etcd_was_told_to_forget_is_no_history() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut registry = Which::Etcd.make(directory.path(), 1, SESSION).unwrap();
    let url = registry.flags(1)[1].clone();
    runtime.block_on(async {
        let open = etcd::open_url(&url, &etcd::Credentials::default()).unwrap();
        let mut author = Author::new(open);
        author.client.session().await.unwrap();
        author.first_part().await;
        author.client.close().await;
    });
    let address = url.strip_prefix("etcd://").unwrap().split('/').next().unwrap();
    let mut compact = std::process::Command::new("etcdctl");
    compact.env("ETCDCTL_API", "3").args(["--endpoints", address, "compact", "3"]);
    assert!(compact.status().unwrap().success());
    let error = registry.history().unwrap_err();
    assert!(error.to_string().contains("forgotten what came before revision 3"), "{error}");
}

#[test]
fn the_embedded_registrys_triggers_tell_what_clients_were_told() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut registry = Which::Embedded.make(directory.path(), 1, SESSION).unwrap();
    let options = Options { session_timeout: SESSION, ..Options::default() };
    let did = runtime.block_on(async {
        let (registry, inbox) =
            Embedded::open(&directory.path().join("registry"), &options).unwrap();
        let mut author = Author::new((registry, inbox));
        author.first_part().await;
        author.second_part().await;
        author.client.close().await;
        author.did
    });
    // The last to leave ends its session in a thread of its own.
    let deadline = std::time::Instant::now() + PATIENCE;
    while registry.mortal_keys().unwrap() > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let history = registry.history().unwrap();
    let mut told = told(&history);
    assert_ends_with_the_session(&mut told);
    // Which commit a write demanded, its rows do not say.
    let unguarded = did.into_iter().map(|(index, key, _, old, new)| (index, key, None, old, new));
    assert_eq!(told, unguarded.collect::<Vec<_>>());
    assert!(!history.proofs.is_empty());
}
