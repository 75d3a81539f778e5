//! The only place that spells registry keys: ElasticJob's tree under `/{namespace}`, ours in the
//! sibling `/{namespace}.flockwork`, since to ElasticJob every child of the namespace is a job.
//! A new key is a row of the table in `keys/table.rs`, a [`Facet`] and a line of this drawing.
//!
//! ```text
//! /{ns}/{job}                lasting    the implementation string
//!   config                   lasting    the definition (YAML)
//!   instances                lasting
//!     {instance}             session    the instance document
//!   servers                  lasting
//!     {ip}                   lasting    ENABLED or DISABLED
//!   leader                   container
//!     election               container
//!       instance             session    the leader's id
//!       latch                container  who would become the leader
//!         {name}             session
//!     sharding               lasting
//!       necessary            lasting    someone asks for a new assignment
//!       processing           session    ElasticJob's leader is making one
//!     failover               lasting
//!       items                lasting    crashed shards that nobody has taken over
//!         {i}                lasting
//!       latch                container  who would take one over
//!         {name}             session
//!   sharding                 lasting
//!     {i}                    lasting
//!       instance             lasting    the owner's id
//!       running              either     the runner's id; session, unless failover or retries
//!       misfire              lasting    a fire was passed over, and is to be made up for
//!       disabled             lasting    the shard is switched off
//!       failover             session    the id of the instance that took the shard over
//!       failovering          lasting    the same, to be found when that instance crashes, too
//!   trigger                  lasting
//!     {instance}             lasting    run now
//!   guarantee                lasting    ElasticJob's once-only listeners
//!     started                lasting    shards that have begun
//!       {i}                  lasting
//!     started-latch          container  who would call the listener before the work
//!       {name}               session
//!     completed              lasting    shards that have ended
//!       {i}                  lasting
//!     completed-latch        container  who would call the listener after the work
//!       {name}               session
//!   systemTime               lasting
//!     current                lasting    written to learn the registry's time
//!   next-job-instance-ip     session    the host that has the next turn
//! /{ns}.flockwork/{job}      lasting
//!   plan                     lasting    since when, under which schedule
//!   guarantee                lasting    how far our once-only listener of the fire has come (JSON)
//!   records                  lasting
//!     {i}                    lasting    what became of the shard's fires
//!   retries                  lasting
//!     {i}                    lasting    a released attempt, and for whom
//!   clocks                   lasting
//!     {instance}             session    how far its clock is from the registry's
//!   leaving                  lasting
//!     {instance}             session    it is to be dealt no shards
//!   ineligible               lasting
//!     {instance}             session    why it may not serve the job
//! ```

mod facet;
mod name;
mod question;
mod row;
mod table;

use flockwork_core::id::JobName;
use flockwork_registry::Key;
use row::Tree;
use std::fmt;

pub use facet::{Facet, Latch};
pub use name::shard;
pub use row::{Lifetime, Maker};

/// The most parts that a key has below its job.
const MAX_PARTS: usize = 4;

/// A namespace: one or more parts, each as a job name may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(String);

/// A text that is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a namespace: {0:?}; it reads part or part/part, e.g. flockwork")]
pub struct BadNamespace(pub String);

impl Namespace {
    /// Checks and keeps a namespace, without leading slash.
    ///
    /// # Errors
    /// [`BadNamespace`], if a part could not be a job's name.
    pub fn new(text: &str) -> Result<Self, BadNamespace> {
        match text.split('/').all(|part| JobName::new(part).is_ok()) && text.len() <= 256 {
            true => Ok(Self(text.to_owned())),
            false => Err(BadNamespace(text.chars().take(120).collect())),
        }
    }

    /// The namespace as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where ElasticJob's tree starts.
    #[must_use]
    pub fn root(&self) -> Key {
        key(&format!("/{}", self.0))
    }

    /// Where what is not a job's starts.
    #[must_use]
    pub fn own_root(&self) -> Key {
        key(&format!("/{}.flockwork", self.0))
    }

    /// The key of a facet of a job.
    #[must_use]
    pub fn key(&self, job: &JobName, facet: &Facet) -> Key {
        let job = job.as_str();
        let mut text = String::with_capacity(self.0.len() + job.len() + 96);
        text.push('/');
        text.push_str(&self.0);
        text.push_str(if facet.is_own() { ".flockwork/" } else { "/" });
        text.push_str(job);
        facet.spell(&mut text);
        key(&text)
    }

    /// Which facet of which job a key is, if it is one this release knows.
    #[must_use]
    pub fn parse(&self, key: &Key) -> Option<(JobName, Facet)> {
        let rest = key.as_str().strip_prefix('/')?.strip_prefix(&self.0)?;
        let (tree, rest) = match rest.strip_prefix(".flockwork") {
            Some(rest) => (Tree::Own, rest),
            None => (Tree::ElasticJob, rest),
        };
        let mut parts = rest.strip_prefix('/')?.split('/');
        let job = parts.next()?;
        let mut path = [""; MAX_PARTS];
        let mut count = 0;
        for part in parts {
            *path.get_mut(count)? = part;
            count += 1;
        }
        let facet = Facet::read(tree, &path[..count])?;
        Some((JobName::new(job).ok()?, facet))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("parts are checked names, and numbers")
}

#[cfg(test)]
mod tests;
