//! P20: releases get along.
//!
//! * Fields of a newer release stay in a record and in a plan, whoever writes it, as long as the job
//!   is there.
//! * A definition that this release cannot read is not run by it: nothing is claimed and run that
//!   came due [`NOTICED`] and the sessions' time-out after it was written.

use crate::story::Stories;
use crate::trace::{Fact, Line};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P20 releases get along";

/// How long a node may take to learn of it: milliseconds.
pub const NOTICED: u64 = 30_000;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let mut plans: BTreeMap<&str, &[String]> = BTreeMap::new();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    let mut newer: BTreeMap<&str, u64> = BTreeMap::new();
    let patience = stories.weather.timeout + NOTICED;
    for (at, line) in trace.iter().enumerate() {
        let lost = match &line.fact {
            Fact::Record(change) => match (&change.old, &change.new) {
                (Some(old), Some(new)) => lost(&old.unknown, &new.unknown),
                _ => None,
            },
            // What is written after its job was removed goes with the rest of it.
            Fact::Plan(plan) if gone.contains(&*plan.job) => None,
            Fact::Plan(plan) => {
                let old = plans.insert(&plan.job, &plan.unknown);
                old.and_then(|old| lost(old, &plan.unknown))
            }
            Fact::Config(config) => {
                if config.document.is_none() {
                    plans.remove(&*config.job);
                    gone.insert(&*config.job);
                } else {
                    gone.remove(&*config.job);
                }
                match config.is_newer {
                    true => newer.entry(&config.job).or_insert(line.at),
                    false => &mut newer.remove(&*config.job).unwrap_or_default(),
                };
                None
            }
            Fact::Start(probe) if probe.attempt == 1 => {
                let since = newer.get(&*probe.job);
                if since.is_some_and(|since| since + patience < line.at) {
                    let what = "code started under a definition of a newer release";
                    return Verdict::breach(trace, at, what);
                }
                None
            }
            _ => None,
        };
        if let Some(name) = lost {
            return Verdict::breach(trace, at, format!("the field {name:?} was lost"));
        }
    }
    Verdict::Valid
}

fn lost<'a>(old: &'a [String], new: &[String]) -> Option<&'a String> {
    old.iter().find(|name| !new.contains(name))
}
