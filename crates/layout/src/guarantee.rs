//! The stored form of how far the listener of a job's fire has come. JSON, version 1.
//!
//! Only the job's leader calls the listener, and only the leader moves the stage on. So of two instances
//! that believe they lead, one is refused. A fire whose `before` is being called is not written down while
//! the leader stays the same: a leader that follows another one writes what it is about to repeat.

use crate::record::{NotReadable, form};
use bytes::Bytes;
use flockwork_core::account::{Fate, Passed, Reason};
use flockwork_core::execution::{Fire, Source};
use flockwork_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version this release writes.
pub const VERSION: u32 = 1;

/// How far the listener of a job has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarantee {
    /// Every fire of the schedule due up to here was opened or passed.
    pub through: Timestamp,
    /// What becomes of the fire that was looked at last.
    pub stage: Stage,
    /// The commit that made the last request to run the job now.
    pub asked: u64,
    /// The last request that a fire was opened for.
    pub answered: u64,
    /// The instant of the last fire that was opened for a request: none has an earlier one after it.
    pub newest: Timestamp,
    /// What this release does not know.
    pub unknown: Map<String, Value>,
}

/// What becomes of a fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// No fire is under way.
    #[default]
    Closed,
    /// `before` is called for the n-th time, because the instance that called it is gone.
    Repeated {
        /// The fire that is to be opened.
        fire: Fire,
        /// Which call of `before` it is, from 1.
        attempt: u32,
    },
    /// `before` has ended: the shards run.
    Open {
        /// The fire that runs.
        fire: Fire,
        /// How many shards there were when it was opened.
        shards: u32,
    },
    /// No shard starts any more, and `after` is called. This is written only where a shard could otherwise
    /// still start.
    Closing {
        /// The fire that ran.
        fire: Fire,
        /// How many shards there were when it was opened.
        shards: u32,
    },
    /// The fire is not run, nor others that are settled with it.
    Passed(Passed),
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    through: i64,
    stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default)]
    asked: u64,
    #[serde(default)]
    answered: u64,
    #[serde(default)]
    newest: i64,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Writes it.
#[must_use]
pub fn encode(guarantee: &Guarantee) -> Bytes {
    let mut form = Form {
        v: VERSION,
        through: guarantee.through.as_millis(),
        stage: word(&guarantee.stage).to_owned(),
        due: None,
        source: None,
        attempt: None,
        shards: None,
        first: None,
        last: None,
        fate: None,
        why: None,
        asked: guarantee.asked,
        answered: guarantee.answered,
        newest: guarantee.newest.as_millis(),
        unknown: guarantee.unknown.clone(),
    };
    if let Some(fire) = guarantee.stage.fire() {
        form.due = Some(fire.due.as_millis());
        form.source = Some(fire.source.as_str().to_owned());
    }
    match guarantee.stage {
        Stage::Closed => {}
        Stage::Repeated { attempt, .. } => form.attempt = Some(attempt),
        Stage::Open { shards, .. } | Stage::Closing { shards, .. } => {
            form.shards = Some(shards);
        }
        Stage::Passed(passed) => {
            form.first = Some(passed.first.as_millis());
            form.last = Some(passed.through.as_millis());
            form.fate = Some(passed.fate.as_str().to_owned());
            form.why = Some(passed.reason.code().to_owned());
        }
    }
    serde_json::to_vec(&form).unwrap_or_default().into()
}

/// Reads it.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<Guarantee, NotReadable> {
    let form: Form = form(value, VERSION)?;
    let stage = form.stage().ok_or_else(|| {
        NotReadable::Damaged(format!("a stage {:?} lacks a part or is not known", form.stage))
    })?;
    Ok(Guarantee {
        through: Timestamp::from_millis(form.through),
        stage,
        asked: form.asked,
        answered: form.answered,
        newest: Timestamp::from_millis(form.newest),
        unknown: form.unknown,
    })
}

impl Stage {
    /// Returns the fire that is under way, if one is.
    #[must_use]
    pub fn fire(&self) -> Option<Fire> {
        match self {
            Self::Repeated { fire, .. } | Self::Open { fire, .. } | Self::Closing { fire, .. } => {
                Some(*fire)
            }
            Self::Closed | Self::Passed(_) => None,
        }
    }
}

fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Closed => "closed",
        Stage::Repeated { .. } => "repeated",
        Stage::Open { .. } => "open",
        Stage::Closing { .. } => "closing",
        Stage::Passed(_) => "passed",
    }
}

impl Form {
    fn stage(&self) -> Option<Stage> {
        Some(match self.stage.as_str() {
            "closed" => Stage::Closed,
            "repeated" => Stage::Repeated { fire: self.fire()?, attempt: self.attempt? },
            "open" => Stage::Open { fire: self.fire()?, shards: self.shards? },
            "closing" => Stage::Closing { fire: self.fire()?, shards: self.shards? },
            "passed" => Stage::Passed(self.passed()?),
            _ => return None,
        })
    }

    fn fire(&self) -> Option<Fire> {
        let all = [Source::Schedule, Source::Misfire, Source::CatchUp, Source::Trigger];
        let source = all.into_iter().find(|it| Some(it.as_str()) == self.source.as_deref())?;
        Some(Fire { due: Timestamp::from_millis(self.due?), source })
    }

    fn passed(&self) -> Option<Passed> {
        let fates = [Fate::Misfired, Fate::Skipped, Fate::Missed];
        let fate = fates.into_iter().find(|it| Some(it.as_str()) == self.fate.as_deref())?;
        let reason = Reason::ALL.into_iter().find(|it| Some(it.code()) == self.why.as_deref())?;
        let (first, through) = (self.first?, self.last?);
        let (first, through) = (Timestamp::from_millis(first), Timestamp::from_millis(through));
        Some(Passed { first, through, fate, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_read_as_it_was_written() {
        let fire = Fire { due: Timestamp::from_millis(9_000), source: Source::CatchUp };
        let passed = Passed {
            first: Timestamp::from_millis(1),
            through: Timestamp::from_millis(2),
            fate: Fate::Skipped,
            reason: Reason::BeforeFailed,
        };
        let stages = [
            Stage::Closed,
            Stage::Repeated { fire, attempt: 2 },
            Stage::Open { fire, shards: 3 },
            Stage::Closing { fire, shards: 2 },
            Stage::Passed(passed),
        ];
        for stage in stages {
            let unknown = [("later".to_owned(), Value::from(1))].into_iter().collect();
            let through = Timestamp::from_millis(7);
            let newest = Timestamp::from_millis(8);
            let guarantee = Guarantee { through, stage, asked: 5, answered: 4, newest, unknown };
            assert_eq!(decode(&encode(&guarantee)), Ok(guarantee));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let newer = decode(br#"{"v":2,"through":0,"stage":"open"}"#);
        assert_eq!(newer, Err(NotReadable::Newer { found: 2 }));
        for value in [
            "",
            "{}",
            r#"{"v":1,"through":0,"stage":"open"}"#,
            r#"{"v":1,"through":0,"stage":"?"}"#,
        ] {
            assert!(matches!(decode(value.as_bytes()), Err(NotReadable::Damaged(_))), "{value}");
        }
    }
}
