//! What the servers commit, as the trace and the operators see it.

use super::ensemble::OPERATOR;
use super::packet::{Write, code};
use super::tree::{Node, Touched};
use crate::world::World;
use flockwork_checker::committed::{Change, Commit};
use flockwork_registry::{
    Answer, Entry, Failure, Index, Key, Lifetime, Op, Receipt, Refusal, Request, SessionId, Stamp,
    Why,
};

/// Marks a container.
const CONTAINER: i64 = i64::MIN;

fn entry(node: &Node) -> Entry {
    let index = |zxid: i64| Index(zxid.cast_unsigned());
    let stamp = Stamp {
        created: index(node.czxid),
        modified: index(node.mzxid),
        version: node.version.cast_unsigned(),
    };
    let lives_with = Some(node.owner).filter(|owner| *owner != 0 && *owner != CONTAINER);
    let session = lives_with.map(|owner| SessionId(owner.cast_unsigned()));
    Entry { value: node.data.clone(), stamp, session }
}

impl World {
    fn path(&self, key: &Key) -> String {
        let root = self.wire.as_ref().map_or("", |wire| wire.setup.root.as_str());
        match key.as_str() {
            "/" if !root.is_empty() => root.to_owned(),
            key => format!("{root}{key}"),
        }
    }

    /// What a key holds now.
    pub(crate) fn entry(&self, key: &Key) -> Option<Entry> {
        match &self.wire {
            Some(wire) => wire.ensemble.node(&self.path(key)).map(entry),
            None => self.store.get(key).cloned(),
        }
    }

    /// Writes down what a transaction changed below the registry's root.
    pub(super) fn commit_on_wire(&mut self, zxid: i64, session: i64, touched: &[Touched]) {
        let root = self.wire.as_ref().map_or("", |wire| wire.setup.root.as_str());
        let read = |touched: &Touched| {
            let key = Key::new(touched.path.strip_prefix(root)?).ok()?;
            let guard = touched.guard.map(i64::cast_unsigned);
            Some((key, guard, touched.old.as_ref().map(entry), touched.new.as_ref().map(entry)))
        };
        let all: Vec<_> =
            touched.iter().filter_map(read).filter(|(_, _, old, new)| old != new).collect();
        let changes = all.iter().map(|(key, guard, old, new)| Change {
            key,
            guard: *guard,
            old: old.as_ref(),
            new: new.as_ref(),
        });
        let commit = Commit { index: zxid.cast_unsigned(), session: session.cast_unsigned() };
        self.recorder.committed(self.now, commit, changes);
    }

    /// An operator asks, past all connections.
    pub(crate) fn ask_on_wire(&mut self, request: Request) -> Answer {
        let Request::Commit(ops) = request else { return self.look(&request) };
        if ops.iter().any(|op| matches!(op, Op::CheckAbsent(_))) {
            return Answer::Failed(Failure::NotSent("operators write what they want".to_owned()));
        }
        let writes: Vec<Write> = ops.iter().map(|op| self.write_of(op)).collect();
        let Some(wire) = &mut self.wire else { return Answer::Done };
        let answer = match wire.ensemble.operate(&writes) {
            Ok(zxid) => Answer::Committed(Receipt {
                index: Index(zxid.cast_unsigned()),
                ..Receipt::default()
            }),
            Err((at, error)) => refused(&ops, at, error),
        };
        self.settle();
        answer
    }

    fn look(&self, request: &Request) -> Answer {
        let node = |key: &Key| self.wire.as_ref()?.ensemble.node(&self.path(key));
        match request {
            Request::Get(key) => Answer::Entry(node(key).map(entry)),
            Request::Children(key) => {
                let names =
                    |node: &Node| node.children.iter().map(|name| name.to_string()).collect();
                Answer::Children(node(key).map(names))
            }
            Request::Watch(..) | Request::Unwatch(..) | Request::Commit(_) => Answer::Done,
        }
    }

    fn write_of(&self, op: &Op) -> Write {
        let path = self.path(op.key());
        let version = |stamp: &Option<Stamp>| stamp.map_or(-1, |stamp| stamp.version.cast_signed());
        let digest = self.wire.as_ref().and_then(|wire| wire.setup.digest.as_ref());
        match op {
            Op::Check(_, stamp) => Write::Check { path, version: version(stamp) },
            Op::CheckAbsent(_) => Write::Check { path, version: -1 },
            Op::Create { value, lifetime, sequence, .. } => {
                let flags = i32::from(*lifetime == Lifetime::Session) + 2 * i32::from(*sequence);
                Write::Create { path, data: value.clone(), flags, is_owned: digest.is_some() }
            }
            Op::Set(_, value, stamp) => {
                Write::Set { path, data: value.clone(), version: version(stamp) }
            }
            Op::Delete(_, stamp) => Write::Delete { path, version: version(stamp) },
        }
    }
}

fn refused(ops: &[Op], at: usize, error: i32) -> Answer {
    let creates = matches!(ops[at], Op::Create { .. });
    let why = match error {
        code::NO_NODE if creates => Why::NoParent,
        code::NO_NODE => Why::Absent,
        code::EXISTS => Why::Exists,
        code::BAD_VERSION => Why::Changed,
        code::NOT_EMPTY => Why::NotEmpty,
        code::EPHEMERAL_PARENT => Why::SessionParent,
        other => return Answer::Failed(Failure::Denied(format!("error {other} as {OPERATOR}"))),
    };
    Answer::Refused(Refusal { at, key: ops[at].key().clone(), why })
}
