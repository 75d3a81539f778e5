//! The stored form of a job's plan: since when it is served, under which schedule, by how many
//! shards. JSON, version 1.
//!
//! What is due follows from the schedule and from the instant since when it is in force; that
//! instant must be the same for every node, so it is written down, once for each change. The
//! generation rises with each new assignment, which is made on the plan's stamp: of two instances
//! that believe they lead, one is refused.

use crate::record::{NotReadable, form};
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

/// How many schedules before the one in force are kept. A shard that was not looked after through more changes
/// than these accounts what the newest of them left.
pub const MOST_PAST: usize = 4;

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
    /// The schedules that were in force before, the oldest first; at most [`MOST_PAST`]. What they made due and
    /// no shard had run or accounted is accounted by them.
    pub past: Vec<Past>,
    /// What this release does not know.
    pub unknown: Map<String, Value>,
}

/// A schedule that was replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The schedule, as text.
    pub schedule: Arc<str>,
    /// Since when it was in force, from which shard on.
    pub spans: Vec<(ShardIndex, Timestamp)>,
    /// How many shards there were.
    pub shards: u32,
    /// Until when it was in force.
    pub until: Timestamp,
}

impl Past {
    /// Since when the schedule was in force for a shard; `None` if there was no such shard.
    #[must_use]
    pub fn from(&self, shard: ShardIndex) -> Option<Timestamp> {
        let span = self.spans.iter().rev().find(|(first, _)| *first <= shard);
        span.filter(|_| shard < self.shards).map(|(_, from)| *from)
    }
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
            past: Vec::new(),
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
            let (schedule_before, spans) = (self.schedule.clone(), self.spans.clone());
            let shards = self.shards;
            plan.past.push(Past { schedule: schedule_before, spans, shards, until: now });
            let surplus = plan.past.len().saturating_sub(MOST_PAST);
            plan.past.drain(..surplus);
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<PastForm>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct PastForm {
    schedule: String,
    spans: Vec<(ShardIndex, i64)>,
    shards: u32,
    until: i64,
}

fn written(spans: &[(ShardIndex, Timestamp)]) -> Vec<(ShardIndex, i64)> {
    spans.iter().map(|(first, from)| (*first, from.as_millis())).collect()
}

fn read(spans: Vec<(ShardIndex, i64)>) -> Vec<(ShardIndex, Timestamp)> {
    let spans = spans.into_iter();
    spans.map(|(first, from)| (first, Timestamp::from_millis(from))).collect()
}

/// Writes a plan.
#[must_use]
pub fn encode(plan: &Plan) -> Bytes {
    let form = Form {
        v: VERSION,
        generation: plan.generation,
        schedule: plan.schedule.to_string(),
        shards: plan.shards,
        spans: written(&plan.spans),
        alive: plan.alive.as_millis(),
        past: plan
            .past
            .iter()
            .map(|past| PastForm {
                schedule: past.schedule.to_string(),
                spans: written(&past.spans),
                shards: past.shards,
                until: past.until.as_millis(),
            })
            .collect(),
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
    let form: Form = form(value, VERSION)?;
    if form.spans.first().is_none_or(|(first, _)| *first != 0) {
        return Err(NotReadable::Damaged("its first span does not start at shard 0".into()));
    }
    Ok(Plan {
        generation: form.generation,
        schedule: form.schedule.into(),
        shards: form.shards,
        spans: read(form.spans),
        alive: Timestamp::from_millis(form.alive),
        past: form
            .past
            .into_iter()
            .map(|past| Past {
                schedule: past.schedule.into(),
                spans: read(past.spans),
                shards: past.shards,
                until: Timestamp::from_millis(past.until),
            })
            .collect(),
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
        let [past] = &plan.past[..] else { panic!("{:?}", plan.past) };
        assert_eq!((&*past.schedule, past.until), ("s", at(10)));
        assert_eq!((past.from(2), past.from(3)), (Some(at(1)), None));
        let often = (2..9).fold(plan, |plan, n| plan.changed(n.to_string().into(), 4, at(n * 10)));
        let kept: Vec<&str> = often.past.iter().map(|past| &*past.schedule).collect();
        assert_eq!(kept, ["4", "5", "6", "7"]);
    }
}
