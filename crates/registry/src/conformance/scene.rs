//! What every case works with.

use super::{Control, Fixture, Link, NotApplicable};
use crate::client::{Client, CommitError};
use crate::{Entry, Event, Failure, Key, Op, Receipt, Refusal, Scope, SessionId};
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::Instant;

/// How often a state that must come about is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a case ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The fixture lacks a power.
    NotApplicable(String),
    /// The claim did not hold.
    Failed(String),
}

impl From<NotApplicable> for Stop {
    fn from(lacking: NotApplicable) -> Self {
        Self::NotApplicable(lacking.0)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(format!("a request failed: {failure}"))
    }
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Failed(format!("a commit was not made: {error}"))
    }
}

/// A registry and a key of it that is the case's own.
#[derive(Debug)]
pub struct Scene<'a> {
    fixture: &'a dyn Fixture,
    root: Key,
}

/// One node of a case.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) client: Client,
    pub(super) control: Box<dyn Control>,
    pub(super) session: SessionId,
}

impl<'a> Scene<'a> {
    pub(super) async fn set(fixture: &'a dyn Fixture, case: &str) -> Result<Self, Stop> {
        let root = join(&fixture.root(), case)?;
        let scene = Self { fixture, root };
        let mut node = scene.node().await?;
        node.make(&scene.root, "").await?;
        node.client.close().await;
        Ok(scene)
    }

    /// A new node with a proven session.
    pub(super) async fn node(&self) -> Result<Node, Stop> {
        let Link { registry, inbox, control } = self.link().await;
        let mut client = Client::new(registry, inbox, self.patience());
        let session = client.session().await?;
        client.kept();
        Ok(Node { client, control, session })
    }

    /// A new connection as it is.
    pub(super) async fn link(&self) -> Link {
        self.fixture.connect().await
    }

    pub(super) fn patience(&self) -> Duration {
        self.fixture.patience()
    }

    /// A key below the case's own; `""` is that key itself.
    pub(super) fn key(&self, tail: &str) -> Key {
        match tail {
            "" => self.root.clone(),
            _ => join(&self.root, tail).expect("cases spell short keys"),
        }
    }
}

fn join(above: &Key, tail: &str) -> Result<Key, Stop> {
    let start = above.as_str().trim_end_matches('/');
    Key::new(&format!("{start}/{tail}")).map_err(|bad| Stop::Failed(bad.to_string()))
}

impl Node {
    pub(super) async fn make(&mut self, key: &Key, value: &str) -> Result<Receipt, Stop> {
        Ok(self.client.commit(vec![Op::create(key.clone(), value.to_owned())]).await?)
    }

    pub(super) async fn put(&mut self, key: &Key, value: &str) -> Result<Receipt, Stop> {
        let set = Op::Set(key.clone(), value.to_owned().into(), None);
        Ok(self.client.commit(vec![set]).await?)
    }

    pub(super) async fn remove(&mut self, key: &Key) -> Result<Receipt, Stop> {
        Ok(self.client.commit(vec![Op::Delete(key.clone(), None)]).await?)
    }

    /// What a key holds; the case fails if nothing.
    pub(super) async fn read(&mut self, key: &Key) -> Result<Entry, Stop> {
        let entry = self.client.get(key).await?;
        entry.ok_or_else(|| Stop::Failed(format!("{key} does not exist")))
    }

    pub(super) async fn exists(&mut self, key: &Key) -> Result<bool, Stop> {
        Ok(self.client.get(key).await?.is_some())
    }

    /// Waits until a key exists or not, by reading it.
    pub(super) async fn until(
        &mut self,
        key: &Key,
        exists: bool,
        patience: Duration,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + patience;
        while self.exists(key).await? != exists {
            if Instant::now() >= deadline {
                return Err(Stop::Failed(format!("{key}: not exists = {exists} in {patience:?}")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The commit must be refused; says how.
    pub(super) async fn refused(&mut self, ops: Vec<Op>) -> Result<Refusal, Stop> {
        match self.client.commit(ops).await {
            Err(CommitError::Refused(refusal)) => Ok(refusal),
            other => Err(Stop::Failed(format!("not refused: {other:?}"))),
        }
    }

    /// What this node is told until the answer to a commit of its own: by the watch barrier every
    /// change made before that commit is among it.
    pub(super) async fn told_until_commit(&mut self, own: &Key) -> Result<Vec<Event>, Stop> {
        self.put(own, "barrier").await?;
        Ok(self.client.kept())
    }
}

pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Failed(what())) }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Result<(), Stop> {
    ensure(found == wanted, || format!("{what}: {found:?}, not {wanted:?}"))
}

/// Whether a change was told, or everything was declared worth reading again.
pub(super) fn tells(events: &[Event], key: &Key, scope: Scope) -> bool {
    let changed = Event::Changed(key.clone(), scope);
    events.iter().any(|event| *event == changed || *event == Event::Resync)
}
