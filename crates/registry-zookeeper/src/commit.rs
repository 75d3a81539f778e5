//! What a commit becomes: one `multi`, and its results a receipt or a refusal.

use bytes::Bytes;
use flockwork_registry::{Answer, Failure, Index, Key, Lifetime, Op, Receipt, Refusal, Stamp, Why};
use flockwork_zookeeper as zk;
use flockwork_zookeeper::{ANY_VERSION, Acl, Code, Create, CreateMode, OpResult};
use std::collections::BTreeMap;

/// How keys are spelled there, and to whom what is made belongs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `/a/b`, or empty.
    pub(crate) root: String,
    pub(crate) acl: Acl,
}

impl Place {
    pub(crate) fn path(&self, key: &Key) -> String {
        match key.as_str() {
            "/" if !self.root.is_empty() => self.root.clone(),
            key => format!("{}{key}", self.root),
        }
    }

    /// The key of a path, if it lies below the root.
    pub(crate) fn key(&self, path: &str) -> Option<Key> {
        match path.strip_prefix(&self.root)? {
            "" => Some(Key::root()),
            rest => Key::new(rest).ok(),
        }
    }
}

/// How often a commit that checks for absence is sent again, as what it looked at was not there.
/// Each try looks one level up; only parents that come and go meanwhile make more than a key has
/// levels.
const TRIES: usize = 64;

/// One commit on its way.
#[derive(Debug)]
pub(crate) struct Commit {
    ops: Vec<Op>,
    /// Where a key to be found absent lies below others that are absent too: the topmost of those
    /// known so far, by operation.
    absent: BTreeMap<usize, Key>,
    tries: usize,
}

/// What came of a multi.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(Answer),
    /// It was refused by the way it was sent, not by what was asked: send it again.
    Again,
}

impl Commit {
    pub(crate) fn new(ops: Vec<Op>) -> Self {
        Self { ops, absent: BTreeMap::new(), tries: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether it may have to be sent again, so that nothing may be sent after it meanwhile.
    pub(crate) fn may_repeat(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::CheckAbsent(_)))
    }

    /// The multi: an operation becomes one, a check for absence two.
    pub(crate) fn multi(&self, place: &Place) -> zk::Request {
        let mut multi = Vec::with_capacity(self.ops.len());
        for (at, op) in self.ops.iter().enumerate() {
            match op {
                Op::CheckAbsent(key) => {
                    let path = place.path(self.absent.get(&at).unwrap_or(key));
                    let create = (path.clone(), Bytes::new(), CreateMode::Persistent);
                    multi.push(made(create, place.acl));
                    multi.push(zk::Op::Delete { path, version: ANY_VERSION });
                }
                op => multi.push(one(op, place)),
            }
        }
        zk::Request::Multi(multi)
    }

    /// Which operation of ours each of the multi's is from.
    fn origins(&self) -> impl Iterator<Item = usize> + '_ {
        self.ops.iter().enumerate().flat_map(|(at, op)| {
            let times = if matches!(op, Op::CheckAbsent(_)) { 2 } else { 1 };
            std::iter::repeat_n(at, times)
        })
    }

    /// What the results say.
    pub(crate) fn outcome(&mut self, zxid: i64, results: &[OpResult], place: &Place) -> Outcome {
        let refused = results.iter().zip(self.origins()).find_map(|(result, at)| match result {
            OpResult::Refused(Code(0) | Code::RUNTIME_INCONSISTENCY) => None,
            OpResult::Refused(code) => Some((at, *code)),
            OpResult::Done | OpResult::Created(_) | OpResult::Set(_) => None,
        });
        match refused {
            Some((at, code)) => self.refused(at, code),
            None if results.len() != self.origins().count()
                || results.iter().any(|result| matches!(result, OpResult::Refused(_))) =>
            {
                let why = "the server's results do not match the operations".to_owned();
                Outcome::Answer(Answer::Failed(Failure::Unknown(why)))
            }
            None => Outcome::Answer(self.receipt(zxid, results, place)),
        }
    }

    fn receipt(&self, zxid: i64, results: &[OpResult], place: &Place) -> Answer {
        let changes = |op: &Op| !matches!(op, Op::Check(..) | Op::CheckAbsent(_));
        let index = match self.ops.iter().any(changes) {
            true => Index(zxid.cast_unsigned()),
            false => Index(0),
        };
        let sequenced = results.iter().zip(self.origins()).filter_map(|(result, at)| {
            match (result, &self.ops[at]) {
                (OpResult::Created(path), Op::Create { sequence: true, .. }) => place.key(path),
                _ => None,
            }
        });
        // One transaction has one time, which the leader gives it.
        let at = results.iter().find_map(|result| match result {
            OpResult::Set(stat) => Some(stat.mtime),
            _ => None,
        });
        Answer::Committed(Receipt { index, sequenced: sequenced.collect(), at })
    }

    fn refused(&mut self, at: usize, code: Code) -> Outcome {
        let key = self.ops[at].key().clone();
        let creates = matches!(self.ops[at], Op::Create { .. });
        let probes = matches!(self.ops[at], Op::CheckAbsent(_));
        let why = match code {
            Code::NO_NODE | Code::NO_CHILDREN_FOR_EPHEMERALS if probes => {
                return self.look_higher(at, code);
            }
            Code::NODE_EXISTS if self.absent.contains_key(&at) => {
                self.absent.remove(&at);
                return self.again("what lies above a key that is checked for absence changes");
            }
            Code::NODE_EXISTS => Why::Exists,
            Code::NO_NODE if creates => Why::NoParent,
            Code::NO_NODE => Why::Absent,
            Code::BAD_VERSION => Why::Changed,
            Code::NOT_EMPTY => Why::NotEmpty,
            Code::NO_CHILDREN_FOR_EPHEMERALS => Why::SessionParent,
            other => return Outcome::Answer(Answer::Failed(refusal(other))),
        };
        Outcome::Answer(Answer::Refused(Refusal { at, key, why }))
    }

    /// A key without a parent is absent for as long as the parent is.
    fn look_higher(&mut self, at: usize, code: Code) -> Outcome {
        let looked = self.absent.get(&at).unwrap_or(self.ops[at].key());
        let parent = looked.parent().filter(|parent| *parent != Key::root());
        match parent {
            Some(parent) if code == Code::NO_NODE => {
                self.absent.insert(at, parent);
                self.again("the parents of a key that is checked for absence come and go")
            }
            _ => {
                let why = format!("{} cannot be checked for absence: {code}", self.ops[at].key());
                Outcome::Answer(Answer::Failed(Failure::NotSent(why)))
            }
        }
    }

    fn again(&mut self, why: &str) -> Outcome {
        self.tries += 1;
        match self.tries < TRIES {
            true => Outcome::Again,
            false => Outcome::Answer(Answer::Failed(Failure::NotSent(why.to_owned()))),
        }
    }
}

/// What an error code means for a request that was refused with it: it was not done, except where
/// the server says that it does not know.
pub(crate) fn refusal(code: Code) -> Failure {
    match code {
        Code::NO_AUTH | Code::INVALID_ACL | Code::AUTH_FAILED | Code::UNIMPLEMENTED => {
            Failure::Denied(code.to_string())
        }
        Code::QUOTA_EXCEEDED => Failure::Full(code.to_string()),
        Code::CONNECTION_LOSS
        | Code::OPERATION_TIMEOUT
        | Code::REQUEST_TIMEOUT
        | Code::SYSTEM_ERROR
        | Code::DATA_INCONSISTENCY => Failure::Unknown(code.to_string()),
        other => Failure::NotSent(other.to_string()),
    }
}

fn made((path, data, mode): (String, Bytes, CreateMode), acl: Acl) -> zk::Op {
    zk::Op::Create(Create { path, data, mode, acl })
}

fn one(op: &Op, place: &Place) -> zk::Op {
    let path = place.path(op.key());
    match op {
        Op::Check(_, stamp) => zk::Op::Check { path, version: version(*stamp) },
        Op::Set(_, value, stamp) => {
            zk::Op::SetData { path, data: value.clone(), version: version(*stamp) }
        }
        Op::Delete(_, stamp) => zk::Op::Delete { path, version: version(*stamp) },
        Op::Create { value, lifetime, sequence, .. } => {
            let mode = match (lifetime, sequence) {
                (Lifetime::Lasting, false) => CreateMode::Persistent,
                (Lifetime::Lasting, true) => CreateMode::PersistentSequential,
                (Lifetime::Session, false) => CreateMode::Ephemeral,
                (Lifetime::Session, true) => CreateMode::EphemeralSequential,
            };
            made((path, value.clone(), mode), place.acl)
        }
        Op::CheckAbsent(_) => unreachable!("it becomes two operations"),
    }
}

fn version(stamp: Option<Stamp>) -> i32 {
    stamp.map_or(ANY_VERSION, |stamp| stamp.version.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LIMITS;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn place() -> Place {
        Place { root: "/r".into(), acl: Acl::Open }
    }

    fn refused_at(at: usize, code: Code, count: usize) -> Vec<OpResult> {
        let of = |n: usize| match n.cmp(&at) {
            std::cmp::Ordering::Less => Code(0),
            std::cmp::Ordering::Equal => code,
            std::cmp::Ordering::Greater => Code::RUNTIME_INCONSISTENCY,
        };
        (0..count).map(|n| OpResult::Refused(of(n))).collect()
    }

    #[test]
    fn a_refusal_names_our_operation_not_the_multis() {
        let ops = vec![Op::CheckAbsent(key("/a")), Op::Set(key("/b"), Bytes::new(), None)];
        let mut commit = Commit::new(ops);
        let refusal = |at, key, why| Outcome::Answer(Answer::Refused(Refusal { at, key, why }));
        let of =
            |commit: &mut Commit, at, code| commit.outcome(9, &refused_at(at, code, 3), &place());
        assert_eq!(of(&mut commit, 2, Code::NO_NODE), refusal(1, key("/b"), Why::Absent));
        assert_eq!(of(&mut commit, 0, Code::NODE_EXISTS), refusal(0, key("/a"), Why::Exists));
        let denied = of(&mut commit, 2, Code::NO_AUTH);
        assert!(
            matches!(denied, Outcome::Answer(Answer::Failed(Failure::Denied(_)))),
            "{denied:?}"
        );
    }

    #[test]
    fn absence_below_what_is_absent_is_checked_one_level_up() {
        let mut commit = Commit::new(vec![Op::CheckAbsent(key("/a/b/c"))]);
        let gone = refused_at(0, Code::NO_NODE, 2);
        for above in ["/r/a/b", "/r/a"] {
            assert_eq!(commit.outcome(9, &gone, &place()), Outcome::Again);
            let zk::Request::Multi(multi) = commit.multi(&place()) else { unreachable!() };
            assert!(matches!(&multi[1], zk::Op::Delete { path, .. } if path == above), "{multi:?}");
        }
        // It has come meanwhile: looked at from below again.
        let there = refused_at(0, Code::NODE_EXISTS, 2);
        assert_eq!(commit.outcome(9, &there, &place()), Outcome::Again);
        let found = commit.outcome(9, &there, &place());
        assert!(matches!(found, Outcome::Answer(Answer::Refused(_))), "{found:?}");
    }

    #[test]
    fn a_tree_that_keeps_changing_ends_the_tries() {
        let mut commit = Commit::new(vec![Op::CheckAbsent(key("/a/b"))]);
        let mut outcome = |code| commit.outcome(9, &refused_at(0, code, 2), &place());
        let ended = (0..TRIES).any(|_| {
            let low = outcome(Code::NO_NODE);
            let high = outcome(Code::NODE_EXISTS);
            [low, high].iter().any(|one| *one != Outcome::Again)
        });
        assert!(ended);
    }

    #[test]
    fn a_receipt_says_what_the_leaders_clock_showed() {
        let at = |results: &[OpResult]| {
            let ops = vec![Op::create(key("/a"), ""), Op::Set(key("/b"), Bytes::new(), None)];
            match Commit::new(ops).outcome(9, results, &place()) {
                Outcome::Answer(Answer::Committed(receipt)) => receipt.at,
                other => panic!("{other:?}"),
            }
        };
        let made = OpResult::Created("/r/a".to_owned());
        let stat = zk::Stat { mtime: 1_767_225_600_123, ..zk::Stat::default() };
        assert_eq!(at(&[made.clone(), OpResult::Set(stat)]), Some(1_767_225_600_123));
        assert_eq!(at(&[made, OpResult::Done]), None);
    }

    #[test]
    fn results_that_do_not_match_are_unknown() {
        let mut commit = Commit::new(vec![Op::Delete(key("/a"), None)]);
        for results in [vec![], vec![OpResult::Refused(Code(0))]] {
            let outcome = commit.outcome(9, &results, &place());
            let unknown = matches!(outcome, Outcome::Answer(Answer::Failed(Failure::Unknown(_))));
            assert!(unknown, "{outcome:?}");
        }
    }

    /// The largest of what is let through: all checks for absence, with the longest root; and one
    /// large value among as many operations as there may be.
    #[test]
    fn no_commit_within_the_limits_is_above_the_largest_packet() {
        let place = Place { root: format!("/{}", "r".repeat(255)), acl: Acl::Open };
        let length = LIMITS.max_bytes / LIMITS.max_ops - 48;
        let absent = Op::CheckAbsent(key(&format!("/{}", "k".repeat(length - 1))));
        let small = Op::create_for_session(key("/k"), "");
        let rest = LIMITS.max_bytes - (LIMITS.max_ops - 2) * small.bytes();
        let value = |bytes: usize| Op::create(key("/v"), vec![b'x'; bytes - 50]);
        let mut values = vec![small; LIMITS.max_ops - 2];
        values.extend([value(LIMITS.max_value), value(rest - LIMITS.max_value)]);
        for ops in [vec![absent; LIMITS.max_ops], values] {
            let bytes: usize = ops.iter().map(Op::bytes).sum();
            assert!(
                LIMITS.admit(&ops).is_ok() && bytes + LIMITS.max_ops > LIMITS.max_bytes,
                "{bytes}"
            );
            let packet = Commit::new(ops).multi(&place).packet_bytes();
            assert!(packet <= zk::MAX_PACKET, "{packet}");
        }
    }
}
