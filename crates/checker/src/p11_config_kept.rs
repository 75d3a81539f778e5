//! P11: a definition is never lost.
//!
//! * A definition that replaces another demands that other to be still in place.
//! * A node makes a definition, or replaces one, only by what it was given; it replaces one only if
//!   it was told to.
//! * At the end the plan is that of the definition.

use crate::story::Stories;
use crate::trace::{Config, Fact, Job, Line, Unseen};
use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// The invariant's name.
pub const NAME: &str = "P11 definitions kept";

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let shows_guards = !stories.unseen.contains(&Unseen::Guards);
    let mut last: BTreeMap<&str, &Config> = BTreeMap::new();
    let mut nodes: BTreeMap<u64, u32> = BTreeMap::new();
    let mut given: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Trust { node, session, .. } => drop(nodes.insert(*session, *node)),
            Fact::Job(job) => given.entry(&job.job).or_default().push(job),
            Fact::Config(config) => {
                let before = last.insert(&config.job, config).filter(|c| c.document.is_some());
                let node = nodes.get(&config.session).copied();
                let given = given.get(&*config.job).map_or(&[][..], Vec::as_slice);
                let demanded = before.filter(|_| shows_guards);
                if let Err(what) = may_be_written(config, (before, demanded), node, given) {
                    return Verdict::breach(trace, at, what);
                }
            }
            _ => {}
        }
    }
    let last = last.values().filter(|config| config.document.is_some() && !config.is_newer);
    for config in last {
        if let Err(what) = is_in_force(stories, config, &given) {
            return Verdict::breach(trace, trace.len() - 1, what);
        }
    }
    Verdict::Valid
}

fn may_be_written(
    config: &Config,
    (before, demanded): (Option<&Config>, Option<&Config>),
    node: Option<u32>,
    given: &[&Job],
) -> Result<(), String> {
    let Some(document) = &config.document else { return Ok(()) };
    if let Some(before) = demanded.filter(|before| config.guard != Some(before.index)) {
        return Err(format!("it replaced commit {} without demanding it", before.index));
    }
    let Some(node) = node else { return Ok(()) };
    let fits = |job: &&&Job| {
        job.node == Some(node) && job.document == *document && (job.apply || before.is_none())
    };
    match given.iter().any(|job| fits(&job)) {
        true => Ok(()),
        false => Err(format!("node {node} wrote a definition that it was not told to write")),
    }
}

fn is_in_force(
    stories: &Stories<'_>,
    config: &Config,
    given: &BTreeMap<&str, Vec<&Job>>,
) -> Result<(), String> {
    let job = &*config.job;
    let is_served = stories.served.contains(job);
    let (Some(plan), Some(given)) = (stories.plans.get(job).and_then(|p| p.last()), given.get(job))
    else {
        return Ok(());
    };
    let Some(defined) =
        given.iter().rev().find(|job| Some(&job.document) == config.document.as_ref())
    else {
        return Ok(());
    };
    let agrees = plan.schedule == defined.schedule && plan.shards == defined.shards;
    match agrees || !is_served {
        true => Ok(()),
        false => Err(format!("{job}: the plan is not that of the definition at the end")),
    }
}
