//! What a registry committed, in order, whichever registry it is.

use flockwork_checker::Fact;
use flockwork_checker::committed::{Change, Commit, Reader};
use flockwork_checker::trace::Unseen;
use flockwork_layout::keys::Namespace;
use flockwork_registry::{Entry, Key};

/// What became of one key in one commit, from before it to after it.
#[derive(Clone, Debug)]
pub struct KeyChange {
    /// The key.
    pub key: Key,
    /// The commit that the write demanded to be the key's last, if it demanded one.
    pub guard: Option<u64>,
    /// What the key held; none if it did not exist.
    pub old: Option<Entry>,
    /// What it holds now; none if it is gone.
    pub new: Option<Entry>,
}

/// One commit, or the end of one session.
#[derive(Clone, Debug)]
pub struct Committed {
    /// When the registry took it up: milliseconds since 1970, never later than anybody learnt of it.
    /// Where that is not known to the millisecond, the first instant at which it can have been, until
    /// [`dates::settle`](crate::dates::settle) has found a better one.
    pub at: i64,
    /// The last instant at which it can have been.
    pub until: i64,
    /// Its number.
    pub index: u64,
    /// The session in whose name.
    pub session: u64,
    /// What changed.
    pub changes: Vec<KeyChange>,
}

/// A proof that a session lived, on its way to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// When it could be told at the earliest: milliseconds since 1970.
    pub at: i64,
    /// The session.
    pub session: u64,
    /// Until when it lives at least.
    pub until: i64,
}

/// All that a registry can tell of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Commits in their order.
    pub commits: Vec<Committed>,
    /// Proofs of sessions.
    pub proofs: Vec<Proof>,
    /// Spans in which it cannot have committed anything, ascending: from, until.
    pub still: Vec<(i64, i64)>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

impl History {
    /// The facts of all commits, each with its time, in order.
    #[must_use]
    pub fn facts(&self, namespace: &Namespace) -> Vec<(i64, Fact)> {
        let mut reader = Reader::new(namespace.clone());
        let mut facts = Vec::new();
        for committed in &self.commits {
            let commit = Commit { index: committed.index, session: committed.session };
            let changes = committed.changes.iter().map(|change| Change {
                key: &change.key,
                guard: change.guard,
                old: change.old.as_ref(),
                new: change.new.as_ref(),
            });
            let told = reader.facts(commit, changes);
            facts.extend(told.into_iter().map(|fact| (committed.at, fact)));
        }
        facts
    }
}
