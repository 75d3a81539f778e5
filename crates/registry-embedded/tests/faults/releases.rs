//! Processes of different releases over one directory. What a later one would do to the database is done
//! by hand, while this one is at work.

use crate::account::Account;
use crate::peer::{PATIENCE, Peer};
use crate::{acknowledged, join, prepare};
use rusqlite::Connection;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// What a later release does, in one transaction.
fn change(dir: &Path, how: &str) {
    let database = Connection::open(dir.join("registry.db")).expect("it is there");
    database.busy_timeout(PATIENCE).expect("it can be set");
    database
        .execute_batch(&format!("BEGIN IMMEDIATE; {how} COMMIT;"))
        .expect("nobody is in the way");
}

fn count(dir: &Path, of: &str) -> i64 {
    let database = Connection::open(dir.join("registry.db")).expect("it is there");
    database.busy_timeout(PATIENCE).expect("it can be set");
    database.query_row(of, [], |row| row.get(0)).expect("it can be read")
}

#[tokio::test]
async fn a_form_changed_under_a_process_at_work_stops_it_by_name_until_it_is_changed_back() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    prepare(&mut client, &["older"]).await;
    client.close().await;
    let mut older = Peer::start(dir.path());
    let session = older.expect("live ");
    older.tell("load older 4");
    older.expect("ack ");

    change(
        dir.path(),
        "ALTER TABLE entries ADD COLUMN owner TEXT NOT NULL DEFAULT ''; PRAGMA user_version = 2;",
    );
    let refused = older.expect("failed ");
    for words in ["Denied", "form 2", "knows 1", "newer release"] {
        assert!(refused.contains(words), "{refused}");
    }
    let rows = "SELECT (SELECT count(*) FROM entries) + (SELECT sum(version) FROM entries)";
    let (before, heartbeats) = (count(dir.path(), rows), "SELECT sum(beat) FROM sessions");
    let beat = count(dir.path(), heartbeats);
    let heard = older.listen(Duration::from_millis(600));
    assert_eq!(acknowledged(&heard), Vec::<u64>::new());
    assert!(heard.iter().all(|line| !line.starts_with("live")), "its trust is not renewed");
    assert_eq!(count(dir.path(), rows), before, "it writes nothing");
    assert_eq!(count(dir.path(), heartbeats), beat, "it writes nothing");
    let joining = Peer::start(dir.path()).expect("refused ");
    assert!(joining.contains("form 2") && joining.contains("newer release"), "{joining}");

    change(dir.path(), "PRAGMA user_version = 1;");
    assert_eq!(older.expect("live "), session, "its session lives on");
    older.expect("ack ");
    let account = Account::of("older", &older.close());
    assert!(!account.refused.is_empty());
    account.holds(&mut join(dir.path())).await;
}

#[tokio::test]
async fn what_a_later_release_adds_disturbs_no_process_at_work_and_is_kept() {
    let dir = tempdir().unwrap();
    let mut client = join(dir.path());
    prepare(&mut client, &["older"]).await;
    let mut older = Peer::live(dir.path());
    older.tell("load older 4");
    older.expect("ack ");
    let added = ["entries", "log", "sessions", "state"]
        .map(|table| format!("ALTER TABLE {table} ADD COLUMN added TEXT NOT NULL DEFAULT 'none';"))
        .concat();
    let more = "UPDATE entries SET added = 'kept' WHERE parent = '/count';
        UPDATE state SET added = 'kept'; CREATE TABLE later (a); INSERT INTO later VALUES ('kept');";
    change(dir.path(), &format!("{added} {more}"));
    let deadline = Instant::now() + PATIENCE;
    // It is at work until well after the change.
    while acknowledged(&older.listen(Duration::from_millis(100))).len() < 20 {
        assert!(Instant::now() < deadline, "it does not go on");
    }
    drop(Peer::live(dir.path()));
    // What has no answer when it closes is told to be failed.
    older.tell("quiet");
    older.listen(Duration::from_millis(300));
    let heard = older.close();
    let away = heard.iter().find(|it| it.starts_with("suspended") || it.starts_with("failed"));
    assert_eq!(away, None);
    Account::of("older", &heard).holds(&mut client).await;
    let kept = "SELECT (SELECT count(*) FROM entries WHERE added = 'kept' AND version > 0)
        + (SELECT count(*) FROM state WHERE added = 'kept')
        + (SELECT count(*) FROM later WHERE a = 'kept')";
    assert_eq!(count(dir.path(), kept), 3);
}

#[test]
fn a_form_that_no_release_made_is_refused_by_its_number() {
    let dir = tempdir().unwrap();
    drop(Peer::live(dir.path()).close());
    change(dir.path(), "PRAGMA user_version = 0;");
    let refused = Peer::start(dir.path()).expect("refused ");
    assert!(refused.contains("form 0, which no release made"), "{refused}");
}
