//! The stored form of a job's plan: since when it is served, under which schedule, by how many
//! shards. JSON, version 1.
//!
//! What is due follows from the schedule and from the instant since when it is in force; that
//! instant must be the same for every node, so it is written down, once for each change. The
//! generation rises with each new assignment, which is made on the plan's stamp: of two instances
//! that believe they lead, one is refused.

use crate::record::NotReadable;
use bytes::Bytes;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The version this release writes.
pub const VERSION: u32 = 1;

/// How many times a job's shard count can grow until its shards count as new together.
const MOST_SPANS: usize = 64;

/// A job's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many assignments were made.
    pub generation: u64,
    /// The schedule in force, as text.
    pub schedule: Arc<str>,
    /// How many shards there are.
    pub shards: u32,
    /// Since when, from which shard on: ascending in both. A shard added later is due later.
    pub spans: Vec<(ShardIndex, Timestamp)>,
    /// Since when some node has lived without a break.
    pub alive: Timestamp,
    /// What this release does not know.
    pub unknown: Map<String, Value>,
}

impl Plan {
    /// The plan of a job that begins now.
    #[must_use]
    pub fn new(schedule: Arc<str>, shards: u32, now: Timestamp) -> Self {
        Self {
            generation: 0,
            schedule,
            shards,
            spans: vec![(0, now)],
            alive: now,
            unknown: Map::new(),
        }
    }

    /// Since when the schedule is in force for a shard.
    #[must_use]
    pub fn from(&self, shard: ShardIndex) -> Timestamp {
        let span = self.spans.iter().rev().find(|(first, _)| *first <= shard);
        span.map_or(self.alive, |(_, from)| *from)
    }

    /// Since when it is in force, for any shards: later ones need not follow. Whoever changed the
    /// schedule may have had a clock that was ahead, and whoever added shards after that had not.
    pub fn begins(&self) -> impl Iterator<Item = Timestamp> {
        self.spans.iter().map(|(_, from)| *from)
    }

    /// Whether a definition's schedule and shard count are the ones in force.
    #[must_use]
    pub fn agrees(&self, schedule: &Arc<str>, shards: u32) -> bool {
        let is_same = Arc::ptr_eq(&self.schedule, schedule) || self.schedule == *schedule;
        is_same && self.shards == shards
    }

    /// The same, holding its schedule where a definition does, if it is the same: they are compared at
    /// every fire, which is nothing where both are one text.
    #[must_use]
    pub fn sharing(mut self, schedule: &Arc<str>) -> Self {
        if self.schedule == *schedule {
            self.schedule = Arc::clone(schedule);
        }
        self
    }

    /// The plan after the definition changed.
    #[must_use]
    pub fn changed(&self, schedule: Arc<str>, shards: u32, now: Timestamp) -> Self {
        let mut plan = Self { shards, generation: self.generation + 1, ..self.clone() };
        if schedule != self.schedule || self.spans.len() >= MOST_SPANS {
            plan.schedule = schedule;
            plan.spans = vec![(0, now)];
            return plan;
        }
        plan.spans.retain(|(first, _)| *first == 0 || *first < shards.min(self.shards));
        if shards > self.shards {
            plan.spans.push((self.shards, now));
        }
        plan
    }
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    generation: u64,
    schedule: String,
    shards: u32,
    spans: Vec<(ShardIndex, i64)>,
    alive: i64,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Writes a plan.
#[must_use]
pub fn encode(plan: &Plan) -> Bytes {
    let form = Form {
        v: VERSION,
        generation: plan.generation,
        schedule: plan.schedule.to_string(),
        shards: plan.shards,
        spans: plan.spans.iter().map(|(first, from)| (*first, from.as_millis())).collect(),
        alive: plan.alive.as_millis(),
        unknown: plan.unknown.clone(),
    };
    // Text and numbers under text keys: there is nothing in it that cannot be written.
    serde_json::to_vec(&form).unwrap_or_default().into()
}

/// Reads a plan.
///
/// # Errors
/// [`NotReadable`]: of a newer version, or damaged.
pub fn decode(value: &[u8]) -> Result<Plan, NotReadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let damaged = |error: serde_json::Error| NotReadable::Damaged(error.to_string());
    let Versioned { v } = serde_json::from_slice(value).map_err(damaged)?;
    if v > VERSION {
        return Err(NotReadable::Newer { found: v });
    }
    let form: Form = serde_json::from_slice(value).map_err(damaged)?;
    if form.spans.first().is_none_or(|(first, _)| *first != 0) {
        return Err(NotReadable::Damaged("its first span does not start at shard 0".into()));
    }
    Ok(Plan {
        generation: form.generation,
        schedule: form.schedule.into(),
        shards: form.shards,
        spans: form
            .spans
            .into_iter()
            .map(|(first, from)| (first, Timestamp::from_millis(from)))
            .collect(),
        alive: Timestamp::from_millis(form.alive),
        unknown: form.unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = Plan::new("0/5 * * * * ?".into(), 4, at(1)).changed("x".into(), 7, at(2));
        assert_eq!(decode(&encode(&plan)), Ok(plan));
    }

    #[test]
    fn shards_that_are_added_are_due_from_then_on() {
        let plan = Plan::new("s".into(), 3, at(1)).changed("s".into(), 7, at(10));
        assert_eq!((plan.from(2), plan.from(3), plan.from(6)), (at(1), at(10), at(10)));
        let shrunk = plan.changed("s".into(), 2, at(20));
        assert_eq!(shrunk.spans, [(0, at(1))]);
        let regrown = shrunk.changed("s".into(), 4, at(30));
        assert_eq!((regrown.from(1), regrown.from(2)), (at(1), at(30)));
        let by_a_clock_behind = regrown.changed("s".into(), 5, at(0));
        assert_eq!(by_a_clock_behind.begins().collect::<Vec<_>>(), [at(1), at(30), at(0)]);
        assert_eq!(regrown.generation, 3);
    }

    #[test]
    fn a_new_schedule_is_in_force_from_then_on_for_all() {
        let plan = Plan::new("s".into(), 3, at(1)).changed("t".into(), 4, at(10));
        assert_eq!((plan.from(0), plan.from(3)), (at(10), at(10)));
        assert_eq!(plan.alive, at(1));
    }
}
