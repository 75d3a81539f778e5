//! What can go wrong when a registry is asked or told.

use flockwork_core::id::{BadName, JobName, ShardIndex};
use flockwork_registry::Failure;
use flockwork_registry::client::CommitError;

/// Why a question has no answer, or an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The text is no job name, so there can be no such job.
    #[error("{0}")]
    BadName(#[from] BadName),
    /// The namespace has no such job.
    #[error("no job {name:?} in namespace {namespace}")]
    JobNotFound {
        /// What was asked for.
        name: String,
        /// Where.
        namespace: String,
        /// What may have been meant, nearest first.
        nearest: Vec<String>,
    },
    /// No job was ever served from this server.
    #[error("no job of namespace {namespace} was ever served from {server:?}")]
    ServerNotFound {
        /// What was asked for.
        server: String,
        /// Where.
        namespace: String,
        /// The servers there are.
        known: Vec<String>,
    },
    /// The job has fewer shards.
    #[error("job {job} has {shards} shards, 0 to {last}; there is no shard {shard}", last = .shards - 1)]
    ShardNotFound {
        /// The job.
        job: JobName,
        /// What was asked for.
        shard: ShardIndex,
        /// How many there are.
        shards: u32,
    },
    /// No instance serves the job, so nobody could do it.
    #[error("no instance serves job {0}")]
    NotServed(JobName),
    /// Every server that an instance serves the job from is disabled.
    #[error("job {0} is disabled on every server that serves it")]
    JobDisabled(JobName),
    /// What the registry holds cannot be read by this release.
    #[error("{what}: {why}")]
    NotReadable {
        /// What of which job.
        what: String,
        /// Why not.
        why: String,
    },
    /// It changed each time it was about to be done.
    #[error("{0}: it was changed by others each time; nothing more was done")]
    Contended(String),
    /// The registry did not do it, and it will not happen.
    #[error("{0}")]
    Unavailable(Failure),
    /// The registry's answer was lost: it may have been done or not.
    #[error("{what}: it may have been done or not: {why}")]
    OutcomeUnknown {
        /// What was to be done.
        what: String,
        /// What came back.
        why: Failure,
    },
}

impl AdminError {
    /// The stable code; see docs/errors.md.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName(BadName::Empty) => "NAME_EMPTY",
            Self::BadName(BadName::TooLong(_)) => "NAME_TOO_LONG",
            Self::BadName(BadName::Reserved(_)) => "NAME_RESERVED",
            Self::BadName(BadName::Character { .. }) => "NAME_CHAR",
            Self::JobNotFound { .. } => "JOB_NOT_FOUND",
            Self::ServerNotFound { .. } => "SERVER_NOT_FOUND",
            Self::ShardNotFound { .. } => "SHARD_NOT_FOUND",
            Self::NotServed(_) => "NOT_SERVED",
            Self::JobDisabled(_) => "JOB_DISABLED",
            Self::NotReadable { .. } => "INVALID_CONFIG",
            Self::Contended(_) => "CONTENDED",
            Self::Unavailable(_) => "REGISTRY_UNAVAILABLE",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let list = |names: &[String]| names.join(", ");
        Some(match self {
            Self::JobNotFound { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}?", list(nearest))
            }
            Self::JobNotFound { .. } => "`flockwork ps` lists the jobs there are".to_owned(),
            Self::ServerNotFound { known, .. } if !known.is_empty() => {
                format!("there are {}", list(known))
            }
            Self::NotServed(_) => "start a node that serves it: flockwork run FILE".to_owned(),
            Self::JobDisabled(job) => format!("enable it first: flockwork enable {job}"),
            Self::OutcomeUnknown { .. } => "look before you repeat it".to_owned(),
            _ => return None,
        })
    }

    /// A failed question: nothing was to be changed, so nothing is unknown.
    pub(crate) fn asking(why: Failure) -> Self {
        Self::Unavailable(why)
    }

    /// A failed order.
    pub(crate) fn telling(what: &str, why: CommitError) -> Self {
        match why {
            CommitError::Failed(why) if why.may_have_happened() => {
                Self::OutcomeUnknown { what: what.to_owned(), why }
            }
            CommitError::Failed(why) => Self::Unavailable(why),
            CommitError::Refused(_) => Self::Contended(what.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_never_told_as_done_or_undone() {
        let lost = CommitError::Failed(Failure::Unknown("cut".into()));
        assert_eq!(AdminError::telling("trigger a", lost).code(), "OUTCOME_UNKNOWN");
        let unsent = CommitError::Failed(Failure::NotSent("away".into()));
        assert_eq!(AdminError::telling("trigger a", unsent).code(), "REGISTRY_UNAVAILABLE");
    }
}
