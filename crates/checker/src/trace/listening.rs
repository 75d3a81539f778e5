//! What a trace says of a job's listener: its rules, its calls, and how far a fire has come.

use super::Fire;
use serde::{Deserialize, Serialize};

/// How a job's listener is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// After how long a call of `before` is told to stop: milliseconds.
    pub before_timeout: u64,
    /// After how long a call of `after` is told to stop: milliseconds.
    pub after_timeout: u64,
    /// Whether the shards run although `before` failed; else they skip the fire.
    pub runs_on_failure: bool,
}

/// What of a listener is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Before the first shard of a fire starts.
    Before,
    /// After the last shard of a fire has ended.
    After,
}

/// What a call of a listener knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The process it runs in.
    pub node: u32,
    /// Its instance.
    pub instance: String,
    /// The job.
    pub job: String,
    /// What is called.
    pub part: Part,
    /// The fire.
    pub fire: Fire,
    /// Which call of this part for the fire, from 1.
    pub attempt: u32,
    /// Its fencing token.
    pub epoch: u64,
}

/// A change, by one commit, of how far the fires of a job have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageChange {
    /// The job.
    pub job: String,
    /// The commit.
    pub index: u64,
    /// The session in whose name it was made.
    pub session: u64,
    /// The commit that the write demanded to be the last; none if it demanded nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<u64>,
    /// Every fire of the schedule due up to here was opened or passed.
    pub through: i64,
    /// The commit that made the last request to run the job now.
    #[serde(default)]
    pub asked: u64,
    /// The last request that a fire was opened for.
    #[serde(default)]
    pub answered: u64,
    /// What becomes of the fire that was looked at last; none if that is said no more, or unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

/// What becomes of a fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No fire is under way.
    Closed,
    /// `before` is called once more.
    Repeated {
        /// The fire.
        fire: Fire,
        /// Which call it is, from 1.
        attempt: u32,
    },
    /// The shards run.
    Open {
        /// The fire.
        fire: Fire,
        /// How many shards there were when it was opened.
        shards: u32,
    },
    /// No shard starts any more.
    Closing {
        /// The fire.
        fire: Fire,
    },
    /// Fires that are not run.
    Passed {
        /// The first of them.
        first: i64,
        /// The last of them.
        through: i64,
        /// `misfired`, `skipped` or `missed`.
        fate: String,
        /// The code of the reason for it.
        reason: String,
    },
}

impl Stage {
    /// The fire that shards may run, or that `after` is called for.
    #[must_use]
    pub fn running(&self) -> Option<&Fire> {
        match self {
            Self::Open { fire, .. } | Self::Closing { fire } => Some(fire),
            _ => None,
        }
    }
}
