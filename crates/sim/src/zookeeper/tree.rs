//! A server's tree: nodes with the numbers ZooKeeper gives them, and transactions that are done as a
//! whole or not at all.

use super::packet::{Write, code};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a container has for an owner.
const CONTAINER: i64 = i64::MIN;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) data: Bytes,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) pzxid: i64,
    /// When it was last written, by the leader's clock.
    pub(super) mtime: i64,
    pub(super) version: i32,
    /// How many children were ever made: the next sequence number.
    pub(super) made: i32,
    /// The session it lives with, 0, or the mark of a container.
    pub(super) owner: i64,
    /// By whose digest alone it may be touched.
    pub(super) right: Option<Bytes>,
    pub(super) children: BTreeSet<Box<str>>,
}

/// A change as it was decided, for whoever repeats it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create { path: Arc<str>, data: Bytes, owner: i64, right: Option<Bytes> },
    Set { path: Arc<str>, data: Bytes },
    Delete { path: Arc<str> },
}

/// What a transaction changed.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) path: Arc<str>,
    /// The transaction that the first write to it demanded to be its last; by its version, which is
    /// all that ZooKeeper compares.
    pub(crate) guard: Option<i64>,
    /// Not only its children.
    pub(super) is_written: bool,
    pub(super) old: Option<Node>,
    pub(super) new: Option<Node>,
}

/// One done operation, as it is answered.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Checked,
    Created(Arc<str>, Box<Node>),
    Set(Box<Node>),
    Deleted,
}

/// A transaction that was done.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) done: Vec<Done>,
    pub(super) steps: Vec<Step>,
    pub(super) touched: Vec<Touched>,
}

/// In whose name something is written.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) session: i64,
    pub(super) digest: Option<Bytes>,
    /// May do everything.
    pub(super) is_super: bool,
}

impl Who {
    pub(super) fn may(&self, node: &Node) -> bool {
        self.is_super || node.right.is_none() || node.right == self.digest
    }
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Arc<str>, Node>,
    owned: BTreeMap<i64, BTreeSet<Arc<str>>>,
    /// The last transaction in it.
    pub(super) zxid: i64,
    /// What the leader's clock shows, in milliseconds since 1970.
    pub(super) time: i64,
}

impl Tree {
    /// A tree as a new server has it.
    pub(super) fn new(zxid: i64) -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), owned: BTreeMap::new(), zxid, time: 0 };
        tree.nodes.insert("/".into(), node(Bytes::new(), 0, 0, None));
        tree.apply(&Step::Create {
            path: "/zookeeper".into(),
            data: Bytes::new(),
            owner: 0,
            right: None,
        });
        tree
    }

    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What lives with a session.
    pub(super) fn owned_by(&self, session: i64) -> Vec<Arc<str>> {
        self.owned.get(&session).into_iter().flatten().cloned().collect()
    }

    /// Containers that had children and have none.
    pub(super) fn empty_containers(&self) -> Vec<Arc<str>> {
        let is_empty =
            |node: &Node| node.owner == CONTAINER && node.made > 0 && node.children.is_empty();
        let all = self.nodes.iter().filter(|(_, node)| is_empty(node));
        all.map(|(path, _)| Arc::clone(path)).collect()
    }

    /// Does all as the next transaction, or none of it: which operation was refused, and why. A
    /// refused one takes a number, too.
    pub(super) fn transact(&mut self, who: &Who, writes: &[Write]) -> Result<Draft, (usize, i32)> {
        self.zxid += 1;
        let mut draft = Draft::default();
        for (at, write) in writes.iter().enumerate() {
            if let Err(error) = self.one(who, write, &mut draft) {
                self.take_back(draft);
                return Err((at, error));
            }
        }
        draft.touched.retain(|touched| touched.is_written);
        for touched in &mut draft.touched {
            touched.new = self.nodes.get(&touched.path).cloned();
        }
        Ok(draft)
    }

    fn one(&mut self, who: &Who, write: &Write, draft: &mut Draft) -> Result<(), i32> {
        match write {
            Write::Check { path, version } => {
                let node = self.nodes.get(&**path).ok_or(code::NO_NODE)?;
                demand(who.may(node), code::NO_AUTH)?;
                demand(*version == -1 || *version == node.version, code::BAD_VERSION)?;
                draft.done.push(Done::Checked);
                Ok(())
            }
            Write::Create { .. } => self.create(who, write, draft),
            Write::Set { path, data, version } => {
                let (path, node) = self.nodes.get_key_value(&**path).ok_or(code::NO_NODE)?;
                demand(who.may(node), code::NO_AUTH)?;
                demand(*version == -1 || *version == node.version, code::BAD_VERSION)?;
                let step = Step::Set { path: Arc::clone(path), data: data.clone() };
                self.write(step, *version, draft);
                let set = self.nodes.get(&**path_of(draft)).cloned().ok_or(code::NO_NODE)?;
                draft.done.push(Done::Set(Box::new(set)));
                Ok(())
            }
            Write::Delete { path, version } => {
                let above = self.nodes.get(parent(path)).ok_or(code::NO_NODE)?;
                let (path, node) = self.nodes.get_key_value(&**path).ok_or(code::NO_NODE)?;
                demand(who.may(above), code::NO_AUTH)?;
                demand(*version == -1 || *version == node.version, code::BAD_VERSION)?;
                demand(node.children.is_empty(), code::NOT_EMPTY)?;
                let step = Step::Delete { path: Arc::clone(path) };
                self.write(step, *version, draft);
                draft.done.push(Done::Deleted);
                Ok(())
            }
        }
    }

    fn create(&mut self, who: &Who, write: &Write, draft: &mut Draft) -> Result<(), i32> {
        let Write::Create { path, data, flags, is_owned } = write else { return Ok(()) };
        let above = self.nodes.get(parent(path)).ok_or(code::NO_NODE)?;
        let right = match (is_owned, &who.digest) {
            (true, None) => return Err(code::INVALID_ACL),
            (true, digest) => digest.clone(),
            (false, _) => None,
        };
        demand(who.may(above), code::NO_AUTH)?;
        let path =
            if matches!(flags, 2 | 3) { format!("{path}{:010}", above.made) } else { path.clone() };
        demand(!self.nodes.contains_key(&*path), code::EXISTS)?;
        demand(above.owner == 0 || above.owner == CONTAINER, code::EPHEMERAL_PARENT)?;
        let owner = match flags {
            1 | 3 => who.session,
            4 => CONTAINER,
            _ => 0,
        };
        let path: Arc<str> = path.into();
        let step = Step::Create { path: Arc::clone(&path), data: data.clone(), owner, right };
        self.write(step, -1, draft);
        let made = self.nodes.get(&path).cloned().ok_or(code::NO_NODE)?;
        draft.done.push(Done::Created(path, Box::new(made)));
        Ok(())
    }

    fn write(&mut self, step: Step, version: i32, draft: &mut Draft) {
        if !matches!(step, Step::Set { .. }) {
            self.touch(parent(step.path()), draft);
        }
        let at = self.touch(step.path(), draft);
        let touched = &mut draft.touched[at];
        if !std::mem::replace(&mut touched.is_written, true) && version != -1 {
            touched.guard = touched.old.as_ref().map(|old| old.mzxid);
        }
        self.apply(&step);
        draft.steps.push(step);
    }

    /// Remembers what a node was before.
    fn touch(&self, path: &str, draft: &mut Draft) -> usize {
        let known = draft.touched.iter().position(|touched| *touched.path == *path);
        known.unwrap_or_else(|| {
            let (path, old) = match self.nodes.get_key_value(path) {
                Some((path, node)) => (Arc::clone(path), Some(node.clone())),
                None => (path.into(), None),
            };
            draft.touched.push(Touched { path, guard: None, is_written: false, old, new: None });
            draft.touched.len() - 1
        })
    }

    fn take_back(&mut self, draft: Draft) {
        for touched in draft.touched.into_iter().rev() {
            let now = self.nodes.get(&touched.path).map_or(0, |node| node.owner);
            self.disown(now, &touched.path);
            match touched.old {
                Some(old) => {
                    self.own(old.owner, &touched.path);
                    self.nodes.insert(touched.path, old);
                }
                None => drop(self.nodes.remove(&touched.path)),
            }
        }
    }

    /// Repeats a transaction that was decided elsewhere.
    pub(super) fn replay(&mut self, zxid: i64, time: i64, steps: &[Step]) {
        (self.zxid, self.time) = (zxid, time);
        steps.iter().for_each(|step| self.apply(step));
    }

    fn apply(&mut self, step: &Step) {
        let (zxid, time) = (self.zxid, self.time);
        match step {
            Step::Create { path, data, owner, right } => {
                if let Some(above) = self.nodes.get_mut(parent(path)) {
                    above.children.insert(name(path).into());
                    (above.made, above.pzxid) = (above.made + 1, zxid);
                }
                self.own(*owner, path);
                let mut made = node(data.clone(), zxid, *owner, right.clone());
                made.mtime = time;
                self.nodes.insert(Arc::clone(path), made);
            }
            Step::Set { path, data } => {
                if let Some(node) = self.nodes.get_mut(path) {
                    node.data = data.clone();
                    (node.mzxid, node.mtime) = (zxid, time);
                    node.version = node.version.wrapping_add(1);
                }
            }
            Step::Delete { path } => {
                if let Some(above) = self.nodes.get_mut(parent(path)) {
                    above.children.remove(name(path));
                    above.pzxid = zxid;
                }
                let owner = self.nodes.remove(path).map_or(0, |node| node.owner);
                self.disown(owner, path);
            }
        }
    }

    fn own(&mut self, owner: i64, path: &Arc<str>) {
        if owner != 0 && owner != CONTAINER {
            self.owned.entry(owner).or_default().insert(Arc::clone(path));
        }
    }

    fn disown(&mut self, owner: i64, path: &Arc<str>) {
        let Some(owned) = self.owned.get_mut(&owner) else { return };
        owned.remove(path);
        if owned.is_empty() {
            self.owned.remove(&owner);
        }
    }
}

impl Step {
    pub(super) fn path(&self) -> &Arc<str> {
        match self {
            Self::Create { path, .. } | Self::Set { path, .. } | Self::Delete { path } => path,
        }
    }
}

fn path_of(draft: &Draft) -> &Arc<str> {
    draft.steps.last().expect("a step was just made").path()
}

fn node(data: Bytes, zxid: i64, owner: i64, right: Option<Bytes>) -> Node {
    let (czxid, mzxid, pzxid) = (zxid, zxid, zxid);
    let (mtime, version, made, children) = (0, 0, 0, BTreeSet::new());
    Node { data, czxid, mzxid, pzxid, mtime, version, made, owner, right, children }
}

fn demand(is_so: bool, otherwise: i32) -> Result<(), i32> {
    is_so.then_some(()).ok_or(otherwise)
}

/// The path above; that of the root's children is `/`.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { session: 7, digest: None, is_super: false }
    }

    fn create(path: &str, flags: i32) -> Write {
        Write::Create { path: path.into(), data: Bytes::new(), flags, is_owned: false }
    }

    fn delete(path: &str) -> Write {
        Write::Delete { path: path.into(), version: -1 }
    }

    #[test]
    fn a_refused_transaction_leaves_nothing_but_its_number() {
        let mut tree = Tree::new(10);
        tree.transact(&who(), &[create("/a", 0), create("/a/b", 1)]).unwrap();
        let before = tree.clone();
        let set = Write::Set { path: "/a".into(), data: "x".into(), version: 0 };
        let writes =
            [set, create("/a/c", 3), delete("/a/b"), create("/a/b", 0), delete("/nowhere")];
        assert_eq!(tree.transact(&who(), &writes).unwrap_err(), (4, code::NO_NODE));
        assert_eq!((&tree.nodes, &tree.owned), (&before.nodes, &before.owned));
        assert_eq!((before.zxid, tree.zxid), (11, 12));
    }

    #[test]
    fn what_is_repeated_elsewhere_is_the_same() {
        let mut tree = Tree::new(0);
        let mut copy = tree.clone();
        let all = [
            vec![create("/a", 4), create("/a/b-", 2), create("/a/b-", 3)],
            vec![delete("/a/b-0000000000"), create("/a/b-", 2)],
            vec![Write::Set { path: "/a".into(), data: "v".into(), version: 0 }],
        ];
        for writes in all {
            let draft = tree.transact(&who(), &writes).unwrap();
            copy.replay(tree.zxid, tree.time, &draft.steps);
        }
        assert_eq!((&tree.nodes, &tree.owned), (&copy.nodes, &copy.owned));
        assert!(tree.get("/a/b-0000000002").is_some());
        assert_eq!(tree.owned_by(7).len(), 1);
    }

    #[test]
    fn a_guard_is_the_transaction_whose_version_was_demanded() {
        let mut tree = Tree::new(0);
        tree.transact(&who(), &[create("/a", 0)]).unwrap();
        let set = |version| Write::Set { path: "/a".into(), data: "v".into(), version };
        let guards = |draft: Draft| draft.touched.iter().map(|one| one.guard).collect::<Vec<_>>();
        assert_eq!(guards(tree.transact(&who(), &[set(0)]).unwrap()), [Some(1)]);
        assert_eq!(tree.transact(&who(), &[set(0)]).unwrap_err(), (0, code::BAD_VERSION));
        assert_eq!(guards(tree.transact(&who(), &[set(-1)]).unwrap()), [None]);
    }
}
