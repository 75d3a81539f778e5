//! The statements, each prepared once, and the rows they read and write.

use crate::changes::{join, split};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement, params};

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) version: u32,
    pub(crate) session: Option<u64>,
    /// The next sequence number of its children.
    pub(crate) made: u64,
}

/// The one row of `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last_index: u64,
    pub(crate) last_session: u64,
    /// The log begins after this index.
    pub(crate) pruned: u64,
    pub(crate) log_bytes: u64,
    /// Milliseconds in which heartbeats could be written.
    pub(crate) writable: u64,
    /// When that was last counted, on the clock named `clock`.
    pub(crate) at: u64,
    pub(crate) clock: String,
}

/// A row of `sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    /// Of its lock file: a file of another inode is not its.
    pub(crate) inode: u64,
    pub(crate) beat: u64,
    pub(crate) timeout: u64,
}

/// How much a transaction's commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// For the disk: nothing acknowledged is lost with the power.
    Yes,
    /// For the kernel only. For heartbeats, which mean nothing once the power is gone.
    No,
}

pub(crate) struct Store<'c> {
    connection: &'c Connection,
    synchronous: Durable,
    begin_write: Statement<'c>,
    begin_read: Statement<'c>,
    commit: Statement<'c>,
    data_version: Statement<'c>,
    form: Statement<'c>,
    state: Statement<'c>,
    set_state: Statement<'c>,
    get: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
    delete: Statement<'c>,
    children: Statement<'c>,
    log_add: Statement<'c>,
    log_since: Statement<'c>,
    log_oldest: Statement<'c>,
    log_prune: Statement<'c>,
    sessions: Statement<'c>,
    session_exists: Statement<'c>,
    session_add: Statement<'c>,
    session_beat: Statement<'c>,
    session_delete: Statement<'c>,
    owned: Statement<'c>,
    disown: Statement<'c>,
}

impl std::fmt::Debug for Store<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl<'c> Store<'c> {
    /// Prepares every statement: a database of another form fails here.
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self> {
        let sql = |text| connection.prepare(text);
        Ok(Self {
            connection,
            synchronous: Durable::Yes,
            begin_write: sql("BEGIN IMMEDIATE")?,
            begin_read: sql("BEGIN DEFERRED")?,
            commit: sql("COMMIT")?,
            data_version: sql("PRAGMA data_version")?,
            form: sql("PRAGMA user_version")?,
            state: sql(
                "SELECT last_index, last_session, pruned, log_bytes, writable, at, clock FROM state",
            )?,
            set_state: sql("UPDATE state SET last_index = ?1, last_session = ?2, pruned = ?3,
                log_bytes = ?4, writable = ?5, at = ?6, clock = ?7")?,
            get: sql("SELECT value, created, modified, version, session, made FROM entries
                WHERE parent = ?1 AND name = ?2")?,
            // Columns are named, as a later release may have added some.
            insert: sql("INSERT INTO entries
                (parent, name, value, created, modified, version, session, made)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            update: sql(
                "UPDATE entries SET value = ?3, created = ?4, modified = ?5, version = ?6,
                session = ?7, made = ?8 WHERE parent = ?1 AND name = ?2",
            )?,
            delete: sql("DELETE FROM entries WHERE parent = ?1 AND name = ?2")?,
            children: sql("SELECT name FROM entries WHERE parent = ?1 ORDER BY name")?,
            log_add: sql("INSERT INTO log (number, changes) VALUES (?1, ?2)")?,
            log_since: sql("SELECT changes FROM log WHERE number > ?1 ORDER BY number")?,
            log_oldest: sql("SELECT number, length(changes) FROM log ORDER BY number LIMIT ?1")?,
            log_prune: sql("DELETE FROM log WHERE number <= ?1")?,
            sessions: sql("SELECT id, pid, inode, beat, timeout FROM sessions ORDER BY id")?,
            session_exists: sql("SELECT 1 FROM sessions WHERE id = ?1")?,
            session_add: sql("INSERT INTO sessions (id, pid, inode, beat, timeout)
                VALUES (?1, ?2, ?3, ?4, ?5)")?,
            session_beat: sql("UPDATE sessions SET beat = ?2 WHERE id = ?1")?,
            session_delete: sql("DELETE FROM sessions WHERE id = ?1")?,
            owned: sql("SELECT parent, name FROM entries WHERE session = ?1")?,
            disown: sql("DELETE FROM entries WHERE session = ?1")?,
        })
    }

    pub(crate) fn begin_write(&mut self, durable: Durable) -> Result<()> {
        if durable != self.synchronous {
            let level = match durable {
                Durable::Yes => "PRAGMA synchronous = FULL",
                Durable::No => "PRAGMA synchronous = NORMAL",
            };
            self.connection.execute_batch(level)?;
            self.synchronous = durable;
        }
        self.begin_write.execute([]).map(|_| ())
    }

    pub(crate) fn begin_read(&mut self) -> Result<()> {
        self.begin_read.execute([]).map(|_| ())
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        self.commit.execute([]).map(|_| ())
    }

    /// Undoes what was begun, if anything is. SQLite may have done so by itself.
    pub(crate) fn roll_back(&mut self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::warn!(%error, "could not roll a transaction back");
        }
    }

    /// Moves what is in the write-ahead log into the database as far as nobody is in the way.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Moves all of it and gives its room back, or tells that somebody is in the way. The caller
    /// holds the writer's lock.
    pub(crate) fn empty_log(&mut self) -> Result<bool> {
        let emptied = |row: &Row<'_>| Ok(row.get::<_, i64>(0)? == 0);
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], emptied)
    }

    /// Another value than last time means that another connection has committed.
    pub(crate) fn data_version(&mut self) -> Result<i64> {
        self.data_version.query_row([], |row| row.get(0))
    }

    /// The version of the database's form, which a later release may have changed.
    pub(crate) fn form(&mut self) -> Result<i64> {
        self.form.query_row([], |row| row.get(0))
    }

    pub(crate) fn state(&mut self) -> Result<State> {
        self.state.query_row([], |row| {
            Ok(State {
                last_index: unsigned(row, 0)?,
                last_session: unsigned(row, 1)?,
                pruned: unsigned(row, 2)?,
                log_bytes: unsigned(row, 3)?,
                writable: unsigned(row, 4)?,
                at: unsigned(row, 5)?,
                clock: row.get(6)?,
            })
        })
    }

    pub(crate) fn set_state(&mut self, state: &State) -> Result<()> {
        let row = params![
            signed(state.last_index),
            signed(state.last_session),
            signed(state.pruned),
            signed(state.log_bytes),
            signed(state.writable),
            signed(state.at),
            state.clock
        ];
        self.set_state.execute(row).map(|_| ())
    }

    pub(crate) fn get(&mut self, key: &str) -> Result<Option<Stored>> {
        let (parent, name) = split(key);
        let read = |row: &Row<'_>| {
            Ok(Stored {
                value: Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?),
                created: unsigned(row, 1)?,
                modified: unsigned(row, 2)?,
                version: row.get(3)?,
                session: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                made: unsigned(row, 5)?,
            })
        };
        self.get.query_row([parent, name], read).optional()
    }

    pub(crate) fn insert(&mut self, key: &str, row: &Stored) -> Result<()> {
        write(&mut self.insert, key, row)
    }

    pub(crate) fn update(&mut self, key: &str, row: &Stored) -> Result<()> {
        write(&mut self.update, key, row)
    }

    pub(crate) fn delete(&mut self, key: &str) -> Result<()> {
        let (parent, name) = split(key);
        self.delete.execute([parent, name]).map(|_| ())
    }

    /// Hands the children's names over in ascending order until told that it is enough.
    pub(crate) fn each_child(
        &mut self,
        of: &str,
        mut go_on: impl FnMut(&str) -> bool,
    ) -> Result<()> {
        let mut rows = self.children.query([of])?;
        while let Some(row) = rows.next()? {
            if !go_on(row.get_ref(0)?.as_str()?) {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn log_add(&mut self, index: u64, changes: &[u8]) -> Result<()> {
        self.log_add.execute(params![signed(index), changes]).map(|_| ())
    }

    /// Hands the rows after this index over, in order.
    pub(crate) fn log_since(&mut self, index: u64, mut row_of: impl FnMut(&[u8])) -> Result<()> {
        let mut rows = self.log_since.query([signed(index)])?;
        while let Some(row) = rows.next()? {
            row_of(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }

    /// The oldest rows: number and length.
    pub(crate) fn log_oldest(&mut self, count: u64) -> Result<Vec<(u64, u64)>> {
        let read = |row: &Row<'_>| Ok((unsigned(row, 0)?, unsigned(row, 1)?));
        self.log_oldest.query_map([signed(count)], read)?.collect()
    }

    pub(crate) fn log_prune(&mut self, through: u64) -> Result<()> {
        self.log_prune.execute([signed(through)]).map(|_| ())
    }

    pub(crate) fn sessions(&mut self) -> Result<Vec<SessionRow>> {
        let read = |row: &Row<'_>| {
            Ok(SessionRow {
                id: unsigned(row, 0)?,
                pid: row.get(1)?,
                inode: unsigned(row, 2)?,
                beat: unsigned(row, 3)?,
                timeout: unsigned(row, 4)?,
            })
        };
        self.sessions.query_map([], read)?.collect()
    }

    pub(crate) fn session_exists(&mut self, id: u64) -> Result<bool> {
        self.session_exists.exists([signed(id)])
    }

    pub(crate) fn session_add(&mut self, row: &SessionRow) -> Result<()> {
        let SessionRow { id, pid, inode, beat, timeout } = *row;
        let row = params![signed(id), pid, signed(inode), signed(beat), signed(timeout)];
        self.session_add.execute(row).map(|_| ())
    }

    pub(crate) fn session_beat(&mut self, id: u64, beat: u64) -> Result<()> {
        self.session_beat.execute([signed(id), signed(beat)]).map(|_| ())
    }

    /// Deletes a session with its entries, whose keys it returns.
    pub(crate) fn session_delete(&mut self, id: u64) -> Result<Vec<String>> {
        let read = |row: &Row<'_>| Ok(join(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?));
        let owned = self.owned.query_map([signed(id)], read)?.collect::<Result<Vec<_>>>()?;
        self.disown.execute([signed(id)])?;
        self.session_delete.execute([signed(id)])?;
        Ok(owned)
    }
}

fn write(statement: &mut Statement<'_>, key: &str, row: &Stored) -> Result<()> {
    let (parent, name) = split(key);
    let row = params![
        parent,
        name,
        &row.value[..],
        signed(row.created),
        signed(row.modified),
        row.version,
        row.session.map(signed),
        signed(row.made)
    ];
    statement.execute(row).map(|_| ())
}

/// SQLite's integers are signed; no count of ours comes near the end of either.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
