//! The registry of one host. What it committed is written down by triggers of its own database,
//! within the very transactions: whatever a node does, it cannot be left out.
//!
//! What they cannot see: in whose name a key was written (a row names no writer; what its content
//! says is taken for it), which commit a write demanded, and a state that another of the same
//! transaction replaced, which is found by the versions and makes the history an error.

use crate::clock::{boot_millis, wall_millis};
use crate::history::{Committed, History, KeyChange, Proof};
use crate::registry::{Begun, Registry, Trouble};
use crate::writers::Writers;
use anyhow::{Context, Result, bail, ensure};
use flockwork_checker::trace::Unseen;
use flockwork_registry::{Entry, Index, Key, SessionId, Stamp};
use flockwork_registry_embedded::{Embedded, Options};
use rusqlite::{Connection, OpenFlags, Row};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the database may be in use by the nodes when its history is read.
const BUSY: Duration = Duration::from_secs(10);

/// What is written down of each change of a row. `at` is the wall clock in milliseconds. Rows of one
/// transaction end with one of kind `state`, whose numbers are the last commit and the time of the
/// heartbeats by the host's clock; those of kind `log` hold what a commit changed.
const TRIGGERS: &str = "
    CREATE TABLE seen (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL,
        parent TEXT, name TEXT, value BLOB, created INTEGER, modified INTEGER, version INTEGER,
        session INTEGER
    );
    CREATE TRIGGER seen_made AFTER INSERT ON entries BEGIN
        INSERT INTO seen (at, kind, parent, name, value, created, modified, version, session)
        VALUES (NOW, 'put', NEW.parent, NEW.name, NEW.value, NEW.created, NEW.modified,
            NEW.version, NEW.session);
    END;
    CREATE TRIGGER seen_set AFTER UPDATE ON entries BEGIN
        INSERT INTO seen (at, kind, parent, name, value, created, modified, version, session)
        VALUES (NOW, 'put', NEW.parent, NEW.name, NEW.value, NEW.created, NEW.modified,
            NEW.version, NEW.session);
    END;
    CREATE TRIGGER seen_gone AFTER DELETE ON entries BEGIN
        INSERT INTO seen (at, kind, parent, name) VALUES (NOW, 'gone', OLD.parent, OLD.name);
    END;
    CREATE TRIGGER seen_log AFTER INSERT ON log BEGIN
        INSERT INTO seen (at, kind, value, modified) VALUES (NOW, 'log', NEW.changes, NEW.number);
    END;
    CREATE TRIGGER seen_opened AFTER INSERT ON sessions BEGIN
        INSERT INTO seen (at, kind, session, version) VALUES (NOW, 'beat', NEW.id, NEW.timeout);
    END;
    CREATE TRIGGER seen_beat AFTER UPDATE ON sessions BEGIN
        INSERT INTO seen (at, kind, session, version) VALUES (NOW, 'beat', NEW.id, NEW.timeout);
    END;
    CREATE TRIGGER seen_state AFTER UPDATE ON state BEGIN
        INSERT INTO seen (at, kind, modified, created)
        VALUES (NOW, 'state', NEW.last_index, NEW.at);
    END;
";

/// The wall clock in SQLite's words.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// A registry in a directory.
#[derive(Debug)]
pub struct InDirectory {
    directory: PathBuf,
    session: Duration,
    /// The writer's lock, while we hold it.
    held: Option<File>,
}

impl InDirectory {
    /// Makes one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(at: &Path, session: Duration) -> Result<Self> {
        let directory = at.join("registry");
        let options = Options { session_timeout: session, ..Options::default() };
        drop(Embedded::open(&directory, &options)?);
        let made = Self { directory, session, held: None };
        made.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?
            .execute_batch(&TRIGGERS.replace("NOW", NOW))
            .context("the triggers")?;
        Ok(made)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection> {
        let connection = Connection::open_with_flags(self.directory.join("registry.db"), flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }
}

impl Registry for InDirectory {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn flags(&self, _: u32) -> Vec<String> {
        let session = format!("{}ms", self.session.as_millis());
        let url = format!("embedded:{}", self.directory.display());
        vec!["--registry".to_owned(), url, "--session-timeout".to_owned(), session]
    }

    fn troubles(&self) -> &'static [Trouble] {
        &[Trouble::Still]
    }

    /// Takes the lock of whoever writes, as a stopped process would keep it.
    fn trouble(&mut self, trouble: Trouble, _: u32) -> Result<Begun> {
        ensure!(trouble == Trouble::Still, "there is no server, and no way to it");
        let file =
            File::options().read(true).write(true).open(self.directory.join("registry.lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        self.held = Some(file);
        Ok(Begun { in_flight: 0, proof: "the writer's lock is ours".to_owned() })
    }

    fn relieve(&mut self, _: Trouble, _: u32) -> Result<String> {
        self.held = None;
        Ok("given back".to_owned())
    }

    fn history(&mut self) -> Result<History> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = "SELECT at, kind, parent, name, value, created, modified, version, session
            FROM seen ORDER BY number";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], Seen::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut reading = Reading::default();
        let mut transaction = Vec::new();
        for row in rows {
            let is_last = row.kind == "state";
            transaction.push(row);
            if is_last {
                reading.take(&std::mem::take(&mut transaction))?;
            }
        }
        ensure!(transaction.is_empty(), "{} rows belong to no transaction", transaction.len());
        let mut history = reading.history;
        Writers::default().name(&mut history.commits);
        history.unseen = vec![Unseen::Guards, Unseen::Writers];
        Ok(history)
    }

    fn mortal_keys(&mut self) -> Result<usize> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = "SELECT count(*) FROM entries WHERE session IS NOT NULL";
        let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(usize::try_from(count)?)
    }
}

/// A row of what the triggers wrote.
#[derive(Debug, Default)]
struct Seen {
    at: i64,
    kind: String,
    key: Option<String>,
    value: Vec<u8>,
    created: i64,
    modified: i64,
    version: i64,
    session: Option<i64>,
}

impl Seen {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |at| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
        let parent: Option<String> = row.get(2)?;
        let name: Option<String> = row.get(3)?;
        let key = parent.zip(name).map(|(parent, name)| match parent.as_str() {
            "/" => format!("/{name}"),
            parent => format!("{parent}/{name}"),
        });
        Ok(Self {
            at: row.get(0)?,
            kind: row.get(1)?,
            key,
            value: row.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default(),
            created: number(5)?,
            modified: number(6)?,
            version: number(7)?,
            session: row.get(8)?,
        })
    }

    fn entry(&self) -> Entry {
        let index = |number: i64| Index(number.cast_unsigned());
        Entry {
            value: self.value.clone().into(),
            stamp: Stamp {
                created: index(self.created),
                modified: index(self.modified),
                version: u32::try_from(self.version).unwrap_or(u32::MAX),
            },
            session: self.session.map(|id| SessionId(id.cast_unsigned())),
        }
    }
}

/// What is held, as the transactions pass.
#[derive(Debug, Default)]
struct Reading {
    entries: BTreeMap<String, Entry>,
    history: History,
}

impl Reading {
    /// Takes one transaction, which may be several commits.
    fn take(&mut self, rows: &[Seen]) -> Result<()> {
        let logged = logged(rows)?;
        let state = rows.last().context("a transaction has an end")?;
        let mut by_commit: BTreeMap<u64, Vec<KeyChange>> = BTreeMap::new();
        for row in rows {
            let Some(key) = &row.key else { continue };
            let new = (row.kind == "put").then(|| row.entry());
            let old = match &new {
                Some(new) => self.entries.insert(key.clone(), new.clone()),
                None => self.entries.remove(key),
            };
            // A number given to a child changes its parent's row, and nothing that anyone reads.
            if old == new {
                continue;
            }
            is_whole(key, old.as_ref(), new.as_ref())?;
            let index = new.as_ref().map_or_else(
                || logged.get(key).copied().unwrap_or(state.modified.cast_unsigned()),
                |new| new.stamp.modified.0,
            );
            let key = Key::new(key)?;
            by_commit.entry(index).or_default().push(KeyChange { key, guard: None, old, new });
        }
        let at = self.history.commits.last().map_or(state.at, |last| last.at.max(state.at));
        for (index, changes) in by_commit {
            self.history.commits.push(Committed { at, until: at, index, session: 0, changes });
        }
        self.prove(rows, state);
        Ok(())
    }

    /// A heartbeat is counted from the time by the host's clock that its transaction wrote down.
    fn prove(&mut self, rows: &[Seen], state: &Seen) {
        let wall = wall_millis() - boot_millis();
        for row in rows.iter().filter(|row| row.kind == "beat") {
            let session = row.session.unwrap_or_default().cast_unsigned();
            let until = wall + state.created + row.version;
            self.history.proofs.push(Proof { at: row.at, session, until });
        }
    }
}

/// Which commit of a transaction made or deleted a key last, as the log says.
fn logged(rows: &[Seen]) -> Result<BTreeMap<String, u64>> {
    let mut logged = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == "log") {
        let mut rest = row.value.as_slice();
        while let [_, low, high, tail @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (key, next) = tail.split_at_checked(length).context("a garbled log")?;
            logged.insert(std::str::from_utf8(key)?.to_owned(), row.modified.cast_unsigned());
            rest = next;
        }
        ensure!(rest.is_empty(), "a garbled log");
    }
    Ok(logged)
}

/// A history with a state that nobody saw proves nothing.
fn is_whole(key: &str, old: Option<&Entry>, new: Option<&Entry>) -> Result<()> {
    let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
    let follows = new.stamp.version == old.stamp.version + 1 || new.stamp.version == 0;
    if old.stamp.created == new.stamp.created && !follows {
        bail!(
            "{key}: version {} follows {}: a state was replaced within its own transaction, and \
             nobody saw it",
            new.stamp.version,
            old.stamp.version
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, modified: i64, version: i64) -> Seen {
        let (kind, key) = ("put".to_owned(), Some(key.to_owned()));
        let value = modified.to_string().into_bytes();
        Seen { at: 10 + modified, kind, key, value, created: 1, modified, version, session: None }
    }

    fn gone(key: &str) -> Seen {
        Seen { kind: "gone".to_owned(), key: Some(key.to_owned()), ..Seen::default() }
    }

    fn logged(number: i64, key: &str) -> Seen {
        let mut value = vec![b'e'];
        value.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        value.extend_from_slice(key.as_bytes());
        Seen { kind: "log".to_owned(), value, modified: number, ..Seen::default() }
    }

    fn state(last: i64) -> Seen {
        Seen { at: 10 + last, kind: "state".to_owned(), modified: last, ..Seen::default() }
    }

    #[test]
    fn commits_that_met_in_one_transaction_are_told_apart_in_their_order() {
        let mut reading = Reading::default();
        reading.take(&[put("/a", 1, 0), put("/b", 1, 0), state(1)]).unwrap();
        // Rows are written in the order of their keys, whichever commit they are of.
        let rows = [gone("/a"), put("/b", 2, 1), logged(3, "/a"), state(3)];
        reading.take(&rows).unwrap();
        let told: Vec<(u64, &str, bool)> = reading
            .history
            .commits
            .iter()
            .flat_map(|c| c.changes.iter().map(|k| (c.index, k.key.as_str(), k.new.is_some())))
            .collect();
        let expected = [(1, "/a", true), (1, "/b", true), (2, "/b", true), (3, "/a", false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_state_that_nobody_saw_is_an_error() {
        let mut reading = Reading::default();
        reading.take(&[put("/a", 1, 0), state(1)]).unwrap();
        let error = reading.take(&[put("/a", 3, 2), state(3)]).unwrap_err();
        assert!(error.to_string().contains("version 2 follows 0"), "{error}");
    }
}
