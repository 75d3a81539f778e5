//! The database's form: made once, checked at each opening.

use crate::OpenError;
use crate::place::Place;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// In the file's header, so that `file` and we know whose it is: `FLKW`.
const APPLICATION: i64 = 0x464C_4B57;

/// The version of the form below. A later one is refused by name: at the opening, and by those at
/// work when they begin their next transaction.
///
/// It changes only if releases that do not know the change would do harm; whoever changes it does so in
/// one transaction with all that comes with it. Columns with a default, and tables, may be added
/// without: they are kept.
pub(crate) const VERSION: i64 = 1;

/// A larger database is not searched for damage at its opening: it would take seconds.
const SEARCHED_PAGES: i64 = 65_536;

/// `made` counts the sequence numbers given to children. `log` has a row for each commit that
/// changed something, oldest pruned. `state` has one row. `beat` and `writable` are milliseconds
/// of writable time, see the module `session`.
const FORM: &str = "
    CREATE TABLE entries (
        parent TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        created INTEGER NOT NULL, modified INTEGER NOT NULL, version INTEGER NOT NULL,
        session INTEGER, made INTEGER NOT NULL,
        PRIMARY KEY (parent, name)
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_session ON entries (session) WHERE session IS NOT NULL;
    CREATE TABLE log (number INTEGER PRIMARY KEY, changes BLOB NOT NULL);
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, inode INTEGER NOT NULL,
        beat INTEGER NOT NULL, timeout INTEGER NOT NULL
    );
    CREATE TABLE state (
        last_index INTEGER NOT NULL, last_session INTEGER NOT NULL,
        pruned INTEGER NOT NULL, log_bytes INTEGER NOT NULL,
        writable INTEGER NOT NULL, at INTEGER NOT NULL, clock TEXT NOT NULL
    );
    INSERT INTO state VALUES (0, 0, 0, 0, 0, 0, '');
    INSERT INTO entries VALUES ('', '/', x'', 0, 0, 0, NULL, 0);
";

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Ours,
    Empty,
}

/// Opens the database if it is complete; `None` if it is yet to be made.
///
/// A connection that it returns has read, so that the log and its index are open too, and stay in their
/// place as long as it is: SQLite removes them when the last connection closes.
pub(crate) fn open_existing(place: &Place) -> Result<Option<Connection>, OpenError> {
    let path = place.database();
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(cause) => return Err(OpenError::io(path, "look at it", cause)),
    }
    let connection = connect(&path)?;
    match recognise(&connection, &path)? {
        Found::Empty => Ok(None),
        Found::Ours => {
            settle(&connection).map_err(|error| broken(&path, &error))?;
            Ok(Some(connection))
        }
    }
}

/// Makes it. The caller holds the writer's lock.
pub(crate) fn create(place: &Place) -> Result<(), OpenError> {
    let path = place.database();
    // First, so that nothing is ever in a database whose place may be lost.
    place.make_lasting()?;
    if !path.exists() {
        make_private(place, &path)?;
    }
    let connection = connect(&path)?;
    if recognise(&connection, &path)? == Found::Ours {
        return Ok(());
    }
    let made = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
        .and_then(|mode| {
            let all = format!(
                "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; {FORM}
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            );
            connection.execute_batch(&all).map(|()| mode)
        });
    match made {
        Ok(mode) if mode.eq_ignore_ascii_case("wal") => Ok(()),
        Ok(mode) => Err(OpenError::Database {
            path,
            what: format!("SQLite cannot use its write-ahead log here, only {mode:?}"),
        }),
        Err(error) => Err(broken(&path, &error)),
    }
}

/// An empty file that only this user can read, moved into its place: closing it where SQLite has it
/// open would drop SQLite's locks.
fn make_private(place: &Place, path: &Path) -> Result<(), OpenError> {
    let draft = place.dir().join("registry.db.new");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    made.and_then(|_| fs::rename(&draft, path))
        .map_err(|cause| OpenError::io(path, "make it", cause))
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| broken(path, &e))?;
    // Writers exclude each other by our lock; this is for people who look at the file meanwhile.
    connection.busy_timeout(Duration::from_millis(200)).map_err(|error| broken(path, &error))?;
    Ok(connection)
}

fn recognise(connection: &Connection, path: &Path) -> Result<Found, OpenError> {
    let asked = "SELECT (SELECT application_id FROM pragma_application_id),
        (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: (i64, i64, i64) =
        connection.query_row(asked, [], read).map_err(|error| broken(path, &error))?;
    match found {
        (0, 0, 0) => Ok(Found::Empty),
        (APPLICATION, VERSION, _) => Ok(Found::Ours),
        (APPLICATION, found, _) if found > VERSION => {
            Err(OpenError::Newer { path: path.into(), found, known: VERSION })
        }
        (APPLICATION, found, _) => Err(OpenError::Foreign {
            path: path.into(),
            what: format!("it has form {found}, which no release made"),
        }),
        (other, ..) => Err(OpenError::Foreign {
            path: path.into(),
            what: format!("a SQLite database of application 0x{other:08x}"),
        }),
    }
}

/// Settings of this connection. The cache holds what a burst of claims touches; the automatic
/// checkpoint is only the last resort, as it would stand in a commit's way.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;",
    )?;
    let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    connection.query_row("PRAGMA wal_autocheckpoint = 8000", [], set).map(|_| ())
}

/// Looks for damage.
pub(crate) fn search_for_damage(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let pages = connection
        .query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))
        .map_err(|error| broken(path, &error))?;
    if pages > SEARCHED_PAGES {
        return Ok(());
    }
    let verdict = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(|error| broken(path, &error))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Corrupt { path: path.into(), what: verdict }),
    }
}

pub(crate) fn broken(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, what) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path, what },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path, what },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            OpenError::Held { path, holder: "locked by another program".to_owned() }
        }
        Some(ErrorCode::DiskFull) => {
            let cause = io::Error::new(io::ErrorKind::StorageFull, what);
            OpenError::io(path, "write it", cause)
        }
        _ => OpenError::Database { path, what },
    }
}
