//! Carries a transaction log out again, to know what each key held before and after each commit.

use super::log::{Op, Txn};
use crate::history::{Committed, KeyChange};
use flockwork_registry::{Entry, Index, Key, SessionId, Stamp};
use std::collections::{BTreeMap, BTreeSet};

/// What requests on the wire demanded, by their session and the number its client gave them. A
/// client numbers them anew on each connection.
pub(crate) type Demands = BTreeMap<(u64, i32), Vec<Demand>>;

/// What one request demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// When it passed: milliseconds since 1970.
    pub(crate) sent: i64,
    /// The version of each path it changes, -1 for any.
    pub(crate) versions: Vec<(String, i32)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) commits: Vec<Committed>,
    /// Changes of existing keys whose request nobody saw on the wire.
    pub(crate) unseen_requests: usize,
}

#[derive(Debug, Default)]
struct Tree {
    entries: BTreeMap<String, Entry>,
    mortal: BTreeMap<u64, BTreeSet<String>>,
}

/// Carries all out, below a root (`/a/b`, or empty).
pub(crate) fn replay(log: &[Txn], root: &str, demands: &Demands) -> Replayed {
    let mut tree = Tree::default();
    let mut replayed = Replayed::default();
    let mut at = i64::MIN;
    for txn in log {
        // The server's clock may step; the order is the log's.
        at = at.max(txn.time);
        let before = tree.carry_out(txn);
        let demanded = demanded(txn, demands);
        let mut changes = Vec::new();
        for (path, old) in before {
            let new = tree.entries.get(&path).cloned();
            let Some(key) = path.strip_prefix(root).and_then(|key| Key::new(key).ok()) else {
                continue;
            };
            if old == new {
                continue;
            }
            let by_client = !txn.ops.contains(&Op::Close) && txn.session != 0;
            let wanted = demanded.and_then(|all| all.iter().find(|(wanted, _)| *wanted == path));
            replayed.unseen_requests += usize::from(by_client && old.is_some() && wanted.is_none());
            let guard = guard(old.as_ref(), wanted.map(|(_, version)| *version));
            changes.push(KeyChange { key, guard, old, new });
        }
        if !changes.is_empty() {
            let (index, session) = (txn.zxid, txn.session);
            replayed.commits.push(Committed { at, until: at, index, session, changes });
        }
    }
    replayed
}

/// A version that a server compared and found in place stands for the commit that made it.
fn guard(old: Option<&Entry>, wanted: Option<i32>) -> Option<u64> {
    let old = old?;
    let version = u32::try_from(wanted?).ok()?;
    (version == old.stamp.version).then_some(old.stamp.modified.0)
}

/// What the request behind a transaction demanded: the last of its number that passed before the
/// server took the transaction up, if it changes the same paths.
fn demanded<'a>(txn: &Txn, demands: &'a Demands) -> Option<&'a [(String, i32)]> {
    let requests = demands.get(&(txn.session, txn.cxid))?.iter();
    let request = requests.filter(|request| request.sent <= txn.time).max_by_key(|r| r.sent)?;
    let changed = txn.ops.iter().filter_map(changed);
    let fits = request.versions.iter().map(|(path, _)| path.as_str()).eq(changed);
    fits.then_some(&request.versions)
}

fn changed(op: &Op) -> Option<&str> {
    match op {
        Op::Set { path, .. } | Op::Delete { path } => Some(path),
        _ => None,
    }
}

impl Tree {
    /// Does what a transaction did; gives back what each path held before, in order.
    fn carry_out(&mut self, txn: &Txn) -> Vec<(String, Option<Entry>)> {
        let mut before: Vec<(String, Option<Entry>)> = Vec::new();
        let mut note = |tree: &Self, path: &str| {
            if before.iter().all(|(known, _)| known != path) {
                before.push((path.to_owned(), tree.entries.get(path).cloned()));
            }
        };
        let index = Index(txn.zxid);
        for op in &txn.ops {
            match op {
                Op::Create { path, data, ephemeral } => {
                    note(self, path);
                    let session = ephemeral.then_some(SessionId(txn.session));
                    let stamp = Stamp { created: index, modified: index, version: 0 };
                    let entry = Entry { value: data.clone().into(), stamp, session };
                    self.entries.insert(path.clone(), entry);
                    if *ephemeral {
                        self.mortal.entry(txn.session).or_default().insert(path.clone());
                    }
                }
                Op::Set { path, data, version } => {
                    note(self, path);
                    if let Some(entry) = self.entries.get_mut(path) {
                        entry.value = data.clone().into();
                        entry.stamp.modified = index;
                        entry.stamp.version = version.cast_unsigned();
                    }
                }
                Op::Delete { path } => {
                    note(self, path);
                    self.entries.remove(path);
                    for paths in self.mortal.values_mut() {
                        paths.remove(path);
                    }
                }
                Op::Open { .. } => {}
                Op::Close => {
                    for path in self.mortal.remove(&txn.session).unwrap_or_default() {
                        note(self, &path);
                        self.entries.remove(&path);
                    }
                }
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(zxid: u64, cxid: i32, ops: Vec<Op>) -> Txn {
        Txn { session: 5, cxid, zxid, time: 10, ops }
    }

    fn create(path: &str, ephemeral: bool) -> Op {
        Op::Create { path: path.into(), data: b"x".to_vec(), ephemeral }
    }

    fn set(path: &str, version: i32) -> Op {
        Op::Set { path: path.into(), data: b"y".to_vec(), version }
    }

    #[test]
    fn a_guard_is_what_the_request_demanded_and_nothing_else() {
        let log = [
            txn(1, 1, vec![create("/r/a", false)]),
            txn(2, 2, vec![set("/r/a", 1)]),
            txn(3, 3, vec![set("/r/a", 2)]),
            txn(4, 4, vec![set("/r/a", 3)]),
        ];
        let mut demands = Demands::new();
        let demand = |sent, version| Demand { sent, versions: vec![("/r/a".into(), version)] };
        demands.insert((5, 2), vec![demand(9, 0)]);
        // The same number on three connections, of which the last was made later.
        demands.insert((5, 3), vec![demand(2, 7), demand(10, 1), demand(11, 8)]);
        let replayed = replay(&log, "/r", &demands);
        let guards: Vec<_> = replayed.commits.iter().map(|c| c.changes[0].guard).collect();
        assert_eq!(guards, [None, Some(1), Some(2), None]);
        assert_eq!(replayed.unseen_requests, 1);
    }

    #[test]
    fn what_lives_with_a_session_goes_with_it() {
        let log = [
            txn(1, 1, vec![create("/r/a", true), create("/r/b", false)]),
            txn(2, 0, vec![Op::Close]),
        ];
        let replayed = replay(&log, "/r", &Demands::new());
        let gone = &replayed.commits[1].changes;
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].key.as_str(), &gone[0].new), ("/a", &None));
    }

    #[test]
    fn what_a_commit_makes_and_deletes_again_changes_nothing() {
        let probe = vec![create("/r/p", false), Op::Delete { path: "/r/p".into() }];
        assert!(replay(&[txn(1, 1, probe)], "/r", &Demands::new()).commits.is_empty());
    }
}
