//! Writes down what the registry commits, by looking at its entries before and after each commit:
//! independent of what any node says.

use flockwork_checker::committed::{Change, Commit, Reader};
use flockwork_checker::trace::{Fact, Line};
use flockwork_layout::keys::Namespace;
use flockwork_registry::memory::Store;
use flockwork_registry::{Answer, Entry, Key, Lifetime, Op, Request, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// The trace so far, and what lives with which session.
#[derive(Debug)]
pub struct Recorder {
    reader: Reader,
    lines: Vec<Line>,
    mortal: BTreeMap<SessionId, BTreeSet<Key>>,
}

impl Recorder {
    /// A trace without lines.
    #[must_use]
    pub fn new(namespace: Namespace) -> Self {
        Self { reader: Reader::new(namespace), lines: Vec::new(), mortal: BTreeMap::new() }
    }

    /// The whole trace.
    #[must_use]
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// Adds a line.
    pub fn write(&mut self, at: u64, fact: Fact) {
        self.lines.push(Line { at, fact });
    }

    /// Carries a request out and writes down what it changed.
    pub fn apply(
        &mut self,
        at: u64,
        store: &mut Store,
        session: SessionId,
        request: Request,
    ) -> Answer {
        let Request::Commit(ops) = &request else { return store.apply(session, request) };
        let touched: Vec<(Key, Option<Entry>, Option<u64>)> =
            ops.iter().filter_map(|op| touched(store, op)).collect();
        let made: Vec<Key> =
            ops.iter().filter(|op| is_mortal(op)).map(|o| o.key().clone()).collect();
        let answer = store.apply(session, request);
        let Answer::Committed(receipt) = &answer else { return answer };
        for (key, old, _) in &touched {
            let lives_with = |entry: &Entry| entry.session;
            let before = old.as_ref().and_then(lives_with);
            // An entry that is written anew lives on with its session.
            if let Some(of) = before.filter(|_| store.get(key).and_then(lives_with) != before) {
                self.mortal.entry(of).or_default().remove(key);
            }
        }
        for key in made.into_iter().filter(|key| store.get(key).is_some()) {
            self.mortal.entry(session).or_default().insert(key);
        }
        let commit = Commit { index: receipt.index.0, session: session.0 };
        let mut seen = BTreeSet::new();
        let changes = touched.iter().filter_map(|(key, old, guard)| {
            let (old, new) = (old.as_ref(), store.get(key));
            let is_changed = seen.insert(key) && old != new;
            is_changed.then_some(Change { key, guard: *guard, old, new })
        });
        for fact in self.reader.facts(commit, changes) {
            self.lines.push(Line { at, fact });
        }
        answer
    }

    /// Writes down what a commit changed, by whoever saw it.
    pub fn committed<'a>(
        &mut self,
        at: u64,
        commit: Commit,
        changes: impl IntoIterator<Item = Change<'a>>,
    ) {
        let facts = self.reader.facts(commit, changes);
        self.lines.extend(facts.into_iter().map(|fact| Line { at, fact }));
    }

    /// A session is over: what lived with it is gone.
    pub fn ended(&mut self, at: u64, index: u64, session: SessionId) {
        let commit = Commit { index, session: session.0 };
        for key in self.mortal.remove(&session).unwrap_or_default() {
            let change = Change { key: &key, guard: None, old: None, new: None };
            let facts = self.reader.facts(commit, [change]);
            self.lines.extend(facts.into_iter().map(|fact| Line { at, fact }));
        }
    }
}

fn is_mortal(op: &Op) -> bool {
    matches!(op, Op::Create { lifetime: Lifetime::Session, .. })
}

/// The key an operation changes, what it holds, and which commit the operation demands.
fn touched(store: &Store, op: &Op) -> Option<(Key, Option<Entry>, Option<u64>)> {
    let (key, stamp) = match op {
        Op::Check(..) | Op::CheckAbsent(_) => return None,
        Op::Create { key, .. } => (key, None),
        Op::Set(key, _, stamp) | Op::Delete(key, stamp) => (key, *stamp),
    };
    Some((key.clone(), store.get(key).cloned(), stamp.map(|stamp| stamp.modified.0)))
}
