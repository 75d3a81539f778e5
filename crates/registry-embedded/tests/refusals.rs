//! Directories and files that cannot be a registry: each is refused by its path, with the cause and
//! what to do about it, and is left as it was.

use flockwork_registry_embedded::{Embedded, OpenError, Options};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::tempdir;

fn refused(dir: &Path) -> OpenError {
    let opened = Embedded::open(dir, &Options::default());
    opened.expect_err("this directory is not fit")
}

/// The error's text names the path and has these words.
fn says(error: &OpenError, path: &Path, words: &[&str]) {
    let text = error.to_string();
    let path = path.to_str().expect("paths of these tests are text");
    for word in words.iter().chain([&path]) {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    assert!(!error.is_temporary());
}

fn database(dir: &Path) -> PathBuf {
    dir.canonicalize().expect("it is there").join("registry.db")
}

/// A whole registry, closed.
fn make(dir: &Path) -> PathBuf {
    let (registry, mut inbox) = Embedded::open(dir, &Options::default()).expect("it is fit");
    tokio::runtime::Builder::new_current_thread().build().expect("it starts").block_on(async {
        while inbox.try_recv().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        registry.close().await;
    });
    database(dir)
}

#[test]
fn a_file_is_no_directory() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    says(&refused(&file), &file, &["not a directory", "name a directory"]);
    says(&refused(&file.join("below")), &file, &["not a directory"]);
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let dir = tempdir().unwrap();
    let text = "not a database, but long enough to have a header. ".repeat(40);
    fs::write(dir.path().join("registry.db"), &text).unwrap();
    says(&refused(dir.path()), &database(dir.path()), &["not a flockwork registry", "move it"]);
    assert_eq!(fs::read_to_string(database(dir.path())).unwrap(), text);
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempdir().unwrap();
    let other = Connection::open(dir.path().join("registry.db")).unwrap();
    other.execute_batch("PRAGMA application_id = 7; CREATE TABLE theirs (a);").unwrap();
    drop(other);
    let before = fs::read(database(dir.path())).unwrap();
    says(&refused(dir.path()), &database(dir.path()), &["application 0x00000007", "another"]);
    assert_eq!(fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn a_later_form_is_refused_with_both_versions() {
    let dir = tempdir().unwrap();
    let path = make(dir.path());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    says(&refused(dir.path()), &path, &["form 7", "knows 1", "newer release"]);
}

#[test]
fn damage_is_found_at_the_opening() {
    let dir = tempdir().unwrap();
    let path = make(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 100..4096 * 3].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    says(&refused(dir.path()), &path, &["damaged", "backup"]);
}

#[test]
fn a_directory_in_the_databases_place_is_refused() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("registry.db")).unwrap();
    says(&refused(dir.path()), &database(dir.path()), &["not a plain file"]);
}

#[test]
fn a_database_of_another_user_is_refused() {
    let dir = tempdir().unwrap();
    let path = make(dir.path());
    // Needs to be root, as the tests that mount do.
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    says(&refused(dir.path()), &path, &["belongs to user 12345", "run as that user"]);
}

#[test]
fn a_time_out_out_of_range_is_refused_with_the_range() {
    let dir = tempdir().unwrap();
    for millis in [0, 10, 999, 600_001, 864_000_000] {
        let session_timeout = Duration::from_millis(millis);
        let options = Options { session_timeout, ..Options::default() };
        let error = Embedded::open(dir.path(), &options).expect_err("it is out of range");
        let text = error.to_string();
        assert!(text.contains("from 1s to 600s"), "{text}");
    }
}

#[test]
fn an_empty_database_left_by_a_crash_while_making_it_is_made_whole() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("registry.db"), "").unwrap();
    make(dir.path());
}

#[test]
fn all_that_is_made_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempdir().unwrap();
    let dir = parent.path().join("data");
    let (registry, mut inbox) = Embedded::open(&dir, &Options::default()).unwrap();
    while inbox.try_recv().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("sessions"))), (0o700, 0o700));
    let files = fs::read_dir(&dir).unwrap().chain(fs::read_dir(dir.join("sessions")).unwrap());
    let files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|it| it.is_file()).collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(registry);
}
