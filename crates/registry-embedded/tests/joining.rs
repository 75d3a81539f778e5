//! Connections over one directory: they share one tree, hear of each other, and are told apart by
//! their sessions. Each connection locks as a process of its own would.

use flockwork_registry::client::Client;
use flockwork_registry::{Answer, Event, Failure, Inbox, Key, Op, Request, Scope};
use flockwork_registry::{SessionId, SessionState, Ticket};
use flockwork_registry_embedded::{Embedded, Options, SHORTEST_TIMEOUT};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const PATIENCE: Duration = Duration::from_secs(20);

fn key(text: &str) -> Key {
    Key::new(text).expect("a key of these tests reads /part/part")
}

fn join(dir: &Path) -> Client {
    let (registry, inbox) = Embedded::open(dir, &Options::default()).expect("the directory is fit");
    Client::new(registry, inbox, PATIENCE)
}

#[tokio::test]
async fn a_second_opening_joins_and_sees_what_the_first_made() {
    let dir = tempdir().unwrap();
    let (mut one, mut other) = (join(dir.path()), join(dir.path()));
    assert_ne!(one.session().await.unwrap(), other.session().await.unwrap());
    let made = one.commit(vec![Op::create(key("/a"), "1")]).await.unwrap();
    let read = other.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!((read.value, read.stamp.created), ("1".into(), made.index));
    assert_eq!(other.children(&Key::root()).await.unwrap(), Some(vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_change_is_told_across_connections() {
    let dir = tempdir().unwrap();
    let (mut one, mut other) = (join(dir.path()), join(dir.path()));
    other.session().await.unwrap();
    other.watch(&key("/a"), Scope::Value).await.unwrap();
    other.kept();
    one.commit(vec![Op::create(key("/a"), "1")]).await.unwrap();
    let changed = Event::Changed(key("/a"), Scope::Value);
    while other.next_event().await.expect("the change is told") != changed {}
}

/// Changes for which no bell rings are seen every 100 ms, so twenty would take a second.
#[tokio::test]
async fn changes_are_told_long_before_anybody_looks_for_them() {
    let dir = tempdir().unwrap();
    let (mut one, mut other) = (join(dir.path()), join(dir.path()));
    one.commit(vec![Op::create(key("/a"), "1")]).await.unwrap();
    other.watch(&key("/a"), Scope::Value).await.unwrap();
    let changed = Event::Changed(key("/a"), Scope::Value);
    let mut took = Duration::ZERO;
    for _ in 0..20 {
        other.kept();
        // Until it waits.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        one.commit(vec![Op::Set(key("/a"), "2".into(), None)]).await.unwrap();
        while other.next_event().await.expect("the change is told") != changed {}
        took += began.elapsed();
    }
    assert!(took < Duration::from_millis(500), "twenty changes were told after {took:?}");
}

#[tokio::test]
async fn what_lives_with_a_session_vanishes_when_it_closes_and_when_it_is_dropped() {
    let dir = tempdir().unwrap();
    let mut watching = join(dir.path());
    watching.session().await.unwrap();
    watching.watch(&Key::root(), Scope::Children).await.unwrap();
    for how in ["closed", "dropped"] {
        let mut leaving = join(dir.path());
        leaving.commit(vec![Op::create_for_session(key("/s"), "")]).await.unwrap();
        assert!(watching.get(&key("/s")).await.unwrap().is_some());
        watching.kept();
        match how {
            "closed" => leaving.close().await,
            _ => drop(leaving),
        }
        let changed = Event::Changed(Key::root(), Scope::Children);
        while watching.get(&key("/s")).await.unwrap().is_some() {
            while watching.next_event().await.expect(how) != changed {}
        }
    }
}

#[tokio::test]
async fn after_closing_nothing_is_taken_and_the_files_are_gone() {
    let dir = tempdir().unwrap();
    let (registry, mut inbox) = Embedded::open(dir.path(), &Options::default()).unwrap();
    while !matches!(inbox.recv().await, Some(Event::Session(SessionState::Live { .. }))) {}
    registry.close().await;
    let left = std::fs::read_dir(dir.path().join("sessions")).unwrap().count();
    assert_eq!(left, 0);
    registry.close().await;
    drop(registry);
    while inbox.recv().await.is_some() {}
}

#[tokio::test]
async fn what_was_committed_is_there_at_the_next_opening_and_numbers_go_on() {
    let dir = tempdir().unwrap();
    let mut first = join(dir.path());
    let made = first.commit(vec![Op::create(key("/a"), "1")]).await.unwrap();
    first.close().await;
    let mut second = join(dir.path());
    assert_eq!(second.get(&key("/a")).await.unwrap().unwrap().stamp.created, made.index);
    let next = second.commit(vec![Op::Delete(key("/a"), None)]).await.unwrap();
    assert!(next.index > made.index);
}

#[tokio::test]
async fn children_inherit_no_file_of_the_registry() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    client.session().await.unwrap();
    let listing = "ls -l /proc/$$/fd";
    let listed = std::process::Command::new("sh").args(["-c", listing]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(" 2 -> "), "{listed}");
    let inherited = listed.contains(dir.path().to_str().unwrap());
    assert!(!inherited, "{listed}");
}

#[tokio::test]
async fn whoever_reads_an_answer_may_ask_again_at_once() {
    let dir = tempdir().unwrap();
    let mut options = Options::default();
    options.limits.max_in_flight = 1;
    let (registry, inbox) = Embedded::open(dir.path(), &options).unwrap();
    let mut client = Client::new(registry, inbox, PATIENCE);
    for _ in 0..500 {
        client.get(&Key::root()).await.unwrap();
        client.commit(vec![Op::Set(Key::root(), "".into(), None)]).await.unwrap();
    }
}

/// It may have been opened long before the node hears of it: what the node decided before that is not
/// the new session's.
#[tokio::test]
async fn a_commit_meant_for_an_ended_session_is_not_made_in_the_next_one() {
    let dir = tempdir().unwrap();
    let options = Options { session_timeout: SHORTEST_TIMEOUT, ..Options::default() };
    let (registry, mut inbox) = Embedded::open(dir.path(), &options).unwrap();
    let first = live(&mut inbox).await;
    let database = rusqlite::Connection::open(dir.path().join("registry.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database.execute("DELETE FROM sessions", []).unwrap();
    let opened = || {
        let count = "SELECT count(*) FROM sessions";
        database.query_row(count, [], |row| row.get::<_, u32>(0)).unwrap() > 0
    };
    let deadline = Instant::now() + PATIENCE;
    while !opened() {
        assert!(Instant::now() < deadline, "no session follows");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = Request::Commit(vec![Op::create(key("/late"), "")]);
    registry.submit(Ticket(1), late.clone());
    assert_ne!(live(&mut inbox).await, first);
    let answer = |event| match event {
        Event::Answer(ticket, answer) => Some((ticket, answer)),
        _ => None,
    };
    let mut told = None;
    while told.is_none() {
        told = answer(inbox.recv().await.expect("it lives"));
    }
    assert_eq!(told, Some((Ticket(1), Answer::Failed(Failure::SessionEnded(first)))));
    registry.submit(Ticket(2), late);
    told = None;
    while told.is_none() {
        told = answer(inbox.recv().await.expect("it lives"));
    }
    assert!(matches!(told, Some((Ticket(2), Answer::Committed(_)))), "{told:?}");
}

/// The next session of which the node reads.
async fn live(inbox: &mut Inbox) -> SessionId {
    loop {
        let event = inbox.recv().await.expect("it lives");
        if let Event::Session(SessionState::Live { session, .. }) = event {
            return session;
        }
    }
}
