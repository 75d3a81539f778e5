//! The registry passes the suite of the contract, over connections that share nothing but the
//! directory.

use flockwork_registry::conformance::{Asked, Control, Fixture, Link, Tried, run_all};
use flockwork_registry::{Inbox, Key, Registry};
use flockwork_registry_embedded::{Embedded, Options};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// The cases that need a way to the registry, which a directory does not have: on it no answer can
/// be lost or held back, no read lags, and nothing can be cut. What they claim of a process that
/// stands still, and of a full disk, the tests with real processes show (`tests/faults`).
const NOT_APPLICABLE: usize = 13;

#[tokio::test]
async fn the_embedded_registry_keeps_the_contract() {
    let report = run_all(&Directory::new()).await;
    println!("{report}");
    assert!(report.failed().is_empty(), "{report}");
    let lacking = report.not_applicable();
    assert!(lacking.len() <= NOT_APPLICABLE, "{lacking:#?}");
}

/// A directory, and one connection that stays: somebody must notice that a session is gone.
#[derive(Debug)]
struct Directory {
    dir: TempDir,
    _stays: (Arc<dyn Registry>, Inbox),
}

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let stays = Embedded::open(dir.path(), &Options::default()).expect("it is fit");
        await_session(dir.path(), &BTreeSet::new());
        Self { dir, _stays: stays }
    }
}

impl Fixture for Directory {
    fn root(&self) -> Key {
        Key::root()
    }

    fn connect(&self) -> Asked<'_, Link> {
        Box::pin(async {
            let before = sessions(self.dir.path());
            let opened = Embedded::open(self.dir.path(), &Options::default());
            let (registry, inbox) = opened.expect("it is fit");
            let session = await_session(self.dir.path(), &before);
            let control = Box::new(Hand { dir: self.dir.path().to_owned(), session });
            Link { registry, inbox, control }
        })
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// The power to make a session look like that of a process that died.
#[derive(Debug)]
struct Hand {
    dir: PathBuf,
    session: i64,
}

impl Control for Hand {
    /// Puts a file that nobody has locked in the place of the session's.
    fn end_session(&self) -> Tried<'_> {
        Box::pin(async {
            let path = self.dir.join(format!("sessions/{:016x}.lock", self.session));
            fs::remove_file(&path).expect("its session lives");
            let inode = File::create(&path).and_then(|file| file.metadata()).expect("made").ino();
            let inode = i64::try_from(inode).expect("inodes are small");
            let update = "UPDATE sessions SET inode = ?2 WHERE id = ?1";
            database(&self.dir).execute(update, params![self.session, inode]).expect("updated");
            // Closing it is what the death of a process looks like.
            drop(File::options().write(true).open(&path));
            let deadline = Instant::now() + PATIENCE;
            while sessions(&self.dir).contains(&self.session) {
                assert!(Instant::now() < deadline, "its session does not end");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        })
    }
}

fn database(dir: &Path) -> Connection {
    let database = Connection::open(dir.join("registry.db")).expect("it is there");
    database.busy_timeout(PATIENCE).expect("it can be set");
    database
}

fn sessions(dir: &Path) -> BTreeSet<i64> {
    let database = database(dir);
    let mut all = database.prepare("SELECT id FROM sessions").expect("there is such a table");
    let rows = all.query_map([], |row| row.get(0)).expect("it can be read");
    rows.map(|id| id.expect("an id is a number")).collect()
}

/// The session opened since.
fn await_session(dir: &Path, before: &BTreeSet<i64>) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(new) = sessions(dir).difference(before).max() {
            return *new;
        }
        assert!(Instant::now() < deadline, "no session opens");
        std::thread::sleep(Duration::from_millis(1));
    }
}
