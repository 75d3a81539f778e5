//! What was opened is deleted, moved or replaced while it is at work: nothing more is acknowledged, it is
//! said so, and whoever opens the place next is not disturbed.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be made is a failed test")]

use flockwork_registry::client::{Client, CommitError};
use flockwork_registry::{Answer, Event, Failure, Inbox, Key, Op, Registry, Request, SessionState};
use flockwork_registry::{SessionId, Ticket};
use flockwork_registry_embedded::{Embedded, Options};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn key(text: &str) -> Key {
    Key::new(text).expect("a key of these tests reads /part/part")
}

fn open(dir: &Path) -> (Arc<dyn Registry>, Inbox) {
    Embedded::open(dir, &Options::default()).expect("the directory is fit")
}

fn join(dir: &Path) -> Client {
    let (registry, inbox) = open(dir);
    Client::new(registry, inbox, PATIENCE)
}

/// A registry that is at work, named through a link.
struct Scene {
    parent: TempDir,
    client: Client,
}

impl Scene {
    async fn new() -> Self {
        let parent = tempdir().unwrap();
        fs::create_dir(parent.path().join("real")).unwrap();
        symlink("real", parent.path().join("link")).unwrap();
        let mut client = join(&named(parent.path()));
        client.commit(vec![Op::create(key("/a"), "1")]).await.unwrap();
        client.kept();
        Self { parent, client }
    }

    /// Waits until it is told that it was replaced, and says how; no session is told to live then.
    async fn replaced(&mut self) -> String {
        loop {
            let event = self.client.next_event().await.expect("it is told in time");
            if let Event::Replaced(why) = event {
                return why;
            }
        }
    }
}

fn named(parent: &Path) -> PathBuf {
    parent.join("link/registry")
}

fn real(parent: &Path) -> PathBuf {
    parent.join("real/registry")
}

/// A file's copy in its place, as a backup is put back.
fn copy_in_place(file: &Path) {
    let copy = file.with_extension("copy");
    fs::copy(file, &copy).unwrap();
    fs::rename(copy, file).unwrap();
}

type Deed = fn(&Path);

/// What is done to it, and which name is then said to stand for something else, and how.
const DEEDS: [(Deed, &str, &str); 9] = [
    (|at| fs::remove_dir_all(real(at)).unwrap(), "link/registry", "deleted or moved"),
    (|at| fs::rename(real(at), at.join("away")).unwrap(), "link/registry", "deleted or moved"),
    (
        |at| fs::rename(at.join("real"), at.join("away")).unwrap(),
        "link/registry",
        "deleted or moved",
    ),
    (turn_the_link, "link/registry", "replaced by another"),
    (|at| copy_in_place(&real(at).join("registry.db")), "registry.db", "replaced by another"),
    (
        |at| fs::remove_file(real(at).join("registry.db")).unwrap(),
        "registry.db",
        "deleted or moved",
    ),
    (|at| fs::remove_file(real(at).join("registry.db-wal")).unwrap(), "registry.db-wal", "deleted"),
    (|at| fs::remove_file(real(at).join("registry.db-shm")).unwrap(), "registry.db-shm", "deleted"),
    (|at| fs::remove_file(real(at).join("registry.lock")).unwrap(), "registry.lock", "deleted"),
];

fn turn_the_link(at: &Path) {
    fs::create_dir_all(at.join("other/registry")).unwrap();
    fs::remove_file(at.join("link")).unwrap();
    symlink("other", at.join("link")).unwrap();
}

#[tokio::test]
async fn nothing_is_committed_once_the_path_names_something_else() {
    for (deed, name, how) in DEEDS {
        let mut scene = Scene::new().await;
        let before = scene.client.session().await.unwrap();
        deed(scene.parent.path());
        let late = scene.client.commit(vec![Op::create(key("/late"), "")]).await;
        assert_eq!(late, Err(CommitError::Failed(Failure::SessionEnded(before))), "{name}: {how}");
        let why = scene.replaced().await;
        assert!(why.contains(name) && why.contains(how), "{why}: not {name} {how}");
        let again = scene.client.commit(vec![Op::create(key("/later"), "")]).await;
        assert_eq!(again, Err(CommitError::Failed(Failure::SessionEnded(before))), "{name}: {how}");
        let lives = |event: &Event| matches!(event, Event::Session(_) | Event::Replaced(_));
        assert!(!scene.client.arrived().iter().any(lives), "{name}: {how}");
        timeout(PATIENCE, scene.client.close()).await.expect("closing is bounded");
    }
}

#[tokio::test]
async fn who_asks_nothing_is_told_too() {
    for (deed, name, how) in DEEDS {
        let mut scene = Scene::new().await;
        deed(scene.parent.path());
        let why = scene.replaced().await;
        assert!(why.contains(name) && why.contains(how), "{why}: not {name} {how}");
        let unproven = scene.client.session().await;
        assert!(
            matches!(&unproven, Err(Failure::NotSent(why)) if why.contains(how)),
            "{unproven:?}"
        );
    }
}

#[tokio::test]
async fn who_opens_the_place_next_is_not_disturbed_by_the_end_of_those_before() {
    for deed in [DEEDS[0].0, DEEDS[1].0] {
        let (mut scene, mut other) = (Scene::new().await, Vec::new());
        let at = scene.parent.path().to_owned();
        other.push(join(&named(&at)));
        other[0].session().await.unwrap();
        deed(&at);
        let mut next = join(&named(&at));
        let session = next.session().await.unwrap();
        assert_eq!(next.get(&key("/a")).await, Ok(None), "it begins anew");
        next.commit(vec![Op::create_for_session(key("/here"), "")]).await.unwrap();
        let made = fs::metadata(real(&at).join("registry.db-wal")).unwrap();
        scene.replaced().await;
        scene.client.close().await;
        for client in other {
            client.close().await;
        }
        // The first sessions of both have the same number, and so their files the same name.
        assert_eq!(session, SessionId(1));
        assert_eq!(fs::read_dir(real(&at).join("sessions")).unwrap().count(), 1);
        let left = fs::metadata(real(&at).join("registry.db-wal")).unwrap();
        assert!(left.modified().unwrap() >= made.modified().unwrap());
        next.commit(vec![Op::create(key("/b"), "2")]).await.unwrap();
        assert!(next.get(&key("/here")).await.unwrap().is_some(), "its session lives");
        next.close().await;
        let mut last = join(&named(&at));
        assert!(last.get(&key("/b")).await.unwrap().is_some(), "nothing of it is lost");
    }
}

/// Unknown is not no: a path that leads in a circle names nothing, and may yet name what it did.
#[tokio::test]
async fn a_path_that_cannot_be_looked_at_holds_up_and_work_goes_on_when_it_can() {
    let mut scene = Scene::new().await;
    let session = scene.client.session().await.unwrap();
    let at = scene.parent.path().to_owned();
    // In one step, as the path is gone without a link.
    let turn = |to: &str| {
        symlink(to, at.join("draft")).unwrap();
        fs::rename(at.join("draft"), at.join("link")).unwrap();
    };
    turn("link");
    let suspended = |event: &Event| match event {
        Event::Session(SessionState::Suspended { why }) => Some(why.clone()),
        _ => None,
    };
    let why = loop {
        let event = scene.client.next_event().await.expect("it is told in time");
        if let Some(why) = suspended(&event) {
            break why;
        }
    };
    assert!(why.contains("link/registry: cannot look at it"), "{why}");
    let held_up = scene.client.commit(vec![Op::create(key("/b"), "")]).await;
    assert!(matches!(held_up, Err(CommitError::Failed(Failure::NotSent(_)))), "{held_up:?}");
    turn("real");
    loop {
        let event = scene.client.next_event().await.expect("it is told in time");
        match event {
            Event::Session(SessionState::Live { session: lives, .. }) if lives == session => break,
            Event::Session(SessionState::Suspended { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    scene.client.commit(vec![Op::create(key("/b"), "")]).await.unwrap();
}

/// The last one to close removes SQLite's log, which nobody takes for a fault.
#[tokio::test]
async fn who_closes_says_nothing_of_its_own_files() {
    for _ in 0..20 {
        let dir = tempdir().unwrap();
        let (registry, mut inbox) = open(dir.path());
        while !matches!(inbox.recv().await, Some(Event::Session(SessionState::Live { .. }))) {}
        registry.close().await;
        drop(registry);
        let mut told = Vec::new();
        while let Some(event) = timeout(PATIENCE, inbox.recv()).await.expect("it ends") {
            told.push(event);
        }
        assert!(!told.iter().any(|event| matches!(event, Event::Replaced(_))), "{told:?}");
        assert!(!dir.path().join("registry.db-wal").exists(), "SQLite has put all in its place");
    }
}

/// Commits go on without a pause while the directory is moved away: what was submitted after that is
/// never acknowledged, whatever stage the commits before it were in.
#[tokio::test]
async fn no_commit_that_was_asked_for_after_the_move_is_acknowledged() {
    for round in 0..40_u64 {
        let parent = tempdir().unwrap();
        fs::create_dir(parent.path().join("real")).unwrap();
        symlink("real", parent.path().join("link")).unwrap();
        let (registry, mut inbox) = open(&named(parent.path()));
        while !matches!(inbox.recv().await, Some(Event::Session(SessionState::Live { .. }))) {}
        let is_moved = Arc::new(AtomicBool::new(false));
        let (from, to) = (real(parent.path()), parent.path().join("away"));
        let moved = Arc::clone(&is_moved);
        let mover = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(500 + 317 * round));
            fs::rename(from, to).unwrap();
            moved.store(true, Ordering::SeqCst);
        });
        let deadline = Instant::now() + PATIENCE;
        for number in 1.. {
            assert!(Instant::now() < deadline, "round {round}: it goes on");
            let was_moved = is_moved.load(Ordering::SeqCst);
            registry.submit(
                Ticket(number),
                Request::Commit(vec![Op::Set(Key::root(), "".into(), None)]),
            );
            match answer(&mut inbox).await {
                Answer::Committed(_) => assert!(!was_moved, "round {round}: commit {number}"),
                Answer::Failed(_) => break,
                other => panic!("{other:?}"),
            }
        }
        mover.join().unwrap();
        registry.close().await;
    }
}

async fn answer(inbox: &mut Inbox) -> Answer {
    loop {
        if let Event::Answer(_, answer) = inbox.recv().await.expect("it answers") {
            return answer;
        }
    }
}
