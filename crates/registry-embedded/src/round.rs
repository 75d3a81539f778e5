//! One transaction: what others changed, then the requests in their order.

use crate::changes::{Changes, Watches};
use crate::queue::Submitted;
use crate::store::{State, Store};
use crate::tree::{Draft, Tree};
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
    /// Begins by telling what changed after the index `seen`.
    pub(crate) fn begin(
        store: &'a mut Store<'c>,
        watches: &'a mut Watches,
        seen: Option<u64>,
    ) -> rusqlite::Result<Self> {
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
                            Answer::Committed(Receipt { index, sequenced: done.sequenced })
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
