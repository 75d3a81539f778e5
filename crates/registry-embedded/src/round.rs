//! One transaction: what others changed, then the requests in their order.

use crate::changes::{Changes, Watches};
use crate::queue::Submitted;
use crate::schema::VERSION;
use crate::store::{State, Store};
use crate::tree::{Draft, Tree};
use crate::trouble::Trouble;
use flockwork_registry::{Answer, Event, Failure, Index, Receipt, Request, SessionId};

/// The log is kept until it is above either: a process is told of changes within milliseconds, so
/// whoever is further behind reads everything again.
const LOG_ROWS: u64 = 20_000;
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Rows of the log pruned in one transaction beyond those it adds: enough to catch up, too few to
/// be felt.
const PRUNED_AT_ONCE: u64 = 256;

/// A transaction under way. What it found out counts only once it is committed.
#[derive(Debug)]
pub(crate) struct Round<'a, 'c> {
    pub(crate) store: &'a mut Store<'c>,
    pub(crate) state: State,
    pub(crate) events: Vec<Event>,
    watches: &'a mut Watches,
    tree: Tree,
    began_at: u64,
}

impl<'a, 'c> Round<'a, 'c> {
    /// Begins by telling what changed after the index `seen`, unless a later release has changed
    /// the form of the database meanwhile.
    pub(crate) fn begin(
        store: &'a mut Store<'c>,
        watches: &'a mut Watches,
        seen: Option<u64>,
    ) -> Result<Self, Trouble> {
        let form = store.form()?;
        if form != VERSION {
            return Err(Trouble::Form(form));
        }
        let state = store.state()?;
        let mut events = Vec::new();
        if let Some(seen) = seen {
            catch_up(store, watches, &state, seen, &mut events)?;
        }
        let began_at = state.last_index;
        Ok(Self { store, state, events, watches, tree: Tree::default(), began_at })
    }

    /// Does one request and adds its answer, after the changes it made.
    pub(crate) fn carry_out(
        &mut self,
        submitted: &Submitted,
        session: Option<u64>,
    ) -> rusqlite::Result<()> {
        let answer = match &submitted.request {
            Request::Get(key) => Answer::Entry(self.tree.entry(self.store, key)?),
            Request::Children(key) => Answer::Children(self.tree.children(self.store, key)?),
            Request::Watch(key, scope) => {
                self.watches.set(key, *scope);
                Answer::Done
            }
            Request::Unwatch(key, scope) => {
                self.watches.unset(key, *scope);
                Answer::Done
            }
            Request::Commit(ops) => match in_whose_name(submitted.session, session) {
                Err(failure) => Answer::Failed(failure),
                Ok(session) => {
                    let draft = Draft { index: self.state.last_index + 1, session };
                    match self.tree.commit(self.store, draft, ops)? {
                        Err(refusal) => Answer::Refused(refusal),
                        Ok(done) => {
                            let index = self.record(&done.changes)?;
                            Answer::Committed(Receipt {
                                index,
                                sequenced: done.sequenced,
                                at: None,
                            })
                        }
                    }
                }
            },
        };
        self.events.push(Event::Answer(submitted.ticket, answer));
        Ok(())
    }

    /// Numbers a commit's changes, logs them and tells of them. Without any it has no number.
    pub(crate) fn record(&mut self, changes: &Changes) -> rusqlite::Result<Index> {
        if changes.is_empty() {
            return Ok(Index(0));
        }
        let bytes = changes.as_bytes();
        self.state.last_index += 1;
        self.state.log_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.store.log_add(self.state.last_index, bytes)?;
        // What was packed here can be unpacked here.
        let _ = self.watches.tell_all(bytes, &mut self.events);
        Ok(Index(self.state.last_index))
    }

    /// Whether anything was committed with a number.
    pub(crate) fn has_changes(&self) -> bool {
        self.state.last_index > self.began_at
    }

    /// Writes all that is still in memory.
    pub(crate) fn write(&mut self) -> rusqlite::Result<()> {
        self.tree.flush(self.store)?;
        self.prune()?;
        self.store.set_state(&self.state)
    }

    fn prune(&mut self) -> rusqlite::Result<()> {
        let state = &mut self.state;
        let rows = |state: &State| state.last_index - state.pruned;
        if rows(state) <= LOG_ROWS && state.log_bytes <= LOG_BYTES {
            return Ok(());
        }
        let added = state.last_index - self.began_at;
        for (number, bytes) in self.store.log_oldest(PRUNED_AT_ONCE + added)? {
            let last = number >= state.last_index;
            if last || (rows(state) <= LOG_ROWS && state.log_bytes <= LOG_BYTES) {
                break;
            }
            state.pruned = number;
            state.log_bytes = state.log_bytes.saturating_sub(bytes);
        }
        self.store.log_prune(state.pruned)
    }
}

/// Tells what the log says, or that everything must be read again.
fn catch_up(
    store: &mut Store<'_>,
    watches: &Watches,
    state: &State,
    seen: u64,
    events: &mut Vec<Event>,
) -> rusqlite::Result<()> {
    if state.last_index == seen || watches.is_empty() {
        return Ok(());
    }
    if state.pruned > seen || state.last_index < seen {
        events.push(Event::Resync);
        return Ok(());
    }
    let mut garbled = false;
    store.log_since(seen, |row| garbled |= watches.tell_all(row, events).is_err())?;
    if garbled {
        tracing::warn!(seen, "a row of the change log cannot be read; reading everything again");
        events.push(Event::Resync);
    }
    Ok(())
}

/// A commit is made in the session its submitter last read to be alive, or not at all.
fn in_whose_name(meant: Option<u64>, session: Option<u64>) -> Result<u64, Failure> {
    match (meant, session) {
        (Some(meant), Some(session)) if meant == session => Ok(session),
        (Some(meant), _) => Err(Failure::SessionEnded(SessionId(meant))),
        (None, Some(session)) => Ok(session),
        (None, None) => Err(Failure::NotSent("no session is open yet".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::What;
    use crate::place::Place;
    use crate::schema;
    use crate::store::Durable;
    use flockwork_registry::{Key, Scope};
    use rusqlite::Connection;

    fn database(dir: &std::path::Path) -> Connection {
        let place = Place::prepare(dir).unwrap();
        schema::create(&place).unwrap();
        schema::open_existing(&place).unwrap().unwrap()
    }

    fn unsigned(number: i64) -> rusqlite::Result<u64> {
        Ok(number.cast_unsigned())
    }

    /// Commits as many changes of one key, in transactions of a thousand.
    fn change(store: &mut Store<'_>, watches: &mut Watches, times: u64) {
        let mut changes = Changes::default();
        changes.add(What::Value, "/a");
        for _ in 0..times / 1_000 {
            store.begin_write(Durable::No).unwrap();
            let mut round = Round::begin(store, watches, None).unwrap();
            (0..1_000).for_each(|_| assert_ne!(round.record(&changes).unwrap(), Index(0)));
            round.write().unwrap();
            store.commit().unwrap();
        }
    }

    #[test]
    fn the_log_is_bounded_and_who_fell_behind_it_reads_everything_again() {
        let dir = tempfile::tempdir().unwrap();
        let connection = database(dir.path());
        let mut store = Store::prepare(&connection).unwrap();
        let mut watches = Watches::default();
        change(&mut store, &mut watches, LOG_ROWS + 5_000);
        let rows =
            |of: &str| connection.query_row(of, [], |row| unsigned(row.get::<_, i64>(0)?)).unwrap();
        assert_eq!(rows("SELECT count(*) FROM log"), LOG_ROWS);
        assert_eq!(rows("SELECT sum(length(changes)) = (SELECT log_bytes FROM state) FROM log"), 1);

        let key = Key::new("/a").unwrap();
        watches.set(&key, Scope::Value);
        let mut told_since = |seen| {
            store.begin_read().unwrap();
            let events = Round::begin(&mut store, &mut watches, Some(seen)).unwrap().events;
            store.commit().unwrap();
            events
        };
        assert_eq!(told_since(4_999), [Event::Resync]);
        assert_eq!(told_since(24_999), [Event::Changed(key, Scope::Value)]);
        assert_eq!(told_since(25_000), []);
    }

    #[test]
    fn large_rows_are_pruned_by_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let connection = database(dir.path());
        let mut store = Store::prepare(&connection).unwrap();
        let mut watches = Watches::default();
        let mut changes = Changes::default();
        let key = format!("/{}", "x".repeat(1_000));
        (0..1_000).for_each(|_| changes.add(What::Value, &key));
        for _ in 0..40 {
            store.begin_write(Durable::No).unwrap();
            let mut round = Round::begin(&mut store, &mut watches, None).unwrap();
            round.record(&changes).unwrap();
            round.write().unwrap();
            store.commit().unwrap();
        }
        let bytes = "SELECT sum(length(changes)) FROM log";
        let bytes = connection.query_row(bytes, [], |row| unsigned(row.get::<_, i64>(0)?)).unwrap();
        assert!(bytes <= LOG_BYTES && bytes > LOG_BYTES / 2, "{bytes}");
    }
}
