//! P8: every shard has one that may run it.
//!
//! When nothing went wrong and nothing was changed for the sessions' time-out and [`SETTLED`], each
//! shard of each plan belongs to an instance that is registered, whose server is switched on and that
//! does not wait to leave, if the job has any such; and no request to deal anew is that old. Shards
//! that stay with their server belong to some instance, be it there or not.

use crate::story::Stories;
use crate::trace::{About, Fact, Line, Mark};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P8 all assigned";

/// How long beyond the time-out it may take: milliseconds.
pub const SETTLED: u64 = 20_000;

#[derive(Default)]
struct Job<'a> {
    shards: u32,
    is_static: bool,
    is_served: bool,
    /// Since when the shards are to be dealt anew.
    asked: Option<u64>,
    instances: BTreeSet<&'a str>,
    disabled: BTreeSet<&'a str>,
    leavers: BTreeSet<&'a str>,
    owners: BTreeMap<u32, &'a str>,
}

impl<'a> Job<'a> {
    fn take(&mut self, at: u64, mark: &'a Mark) {
        let value = mark.value.as_deref();
        match &mark.about {
            About::Instance(id) if value.is_some() => drop(self.instances.insert(id)),
            About::Instance(id) => drop(self.instances.remove(&**id)),
            About::Server(ip) if value == Some("DISABLED") => drop(self.disabled.insert(ip)),
            About::Server(ip) => drop(self.disabled.remove(&**ip)),
            About::Owner(shard) => {
                match value {
                    Some(owner) => self.owners.insert(*shard, owner),
                    None => self.owners.remove(shard),
                };
            }
            About::Necessary => self.asked = value.map(|_| self.asked.unwrap_or(at)),
            About::Leaver(id) if value.is_some() => drop(self.leavers.insert(id)),
            About::Leaver(id) => drop(self.leavers.remove(&**id)),
            _ => {}
        }
    }

    fn is_enabled(&self, instance: &str) -> bool {
        !self.disabled.contains(server(instance))
    }

    /// What is wrong with it, if all was as it should be since `calm`.
    fn fault(&self, calm: u64) -> Option<String> {
        let mut eligible = self.instances.iter().filter(|id| self.is_enabled(id)).peekable();
        if !self.is_served || eligible.peek().is_none() {
            return None;
        }
        let stays = eligible.any(|id| !self.leavers.contains(id));
        if self.asked.is_some_and(|at| at <= calm) {
            return Some("shards are still to be dealt anew".to_owned());
        }
        (0..self.shards).find_map(|shard| match self.owners.get(&shard) {
            None => Some(format!("shard {shard} belongs to nobody")),
            Some(_) if self.is_static => None,
            Some(owner) if !self.instances.contains(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which is gone"))
            }
            Some(owner) if !self.is_enabled(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which is switched off"))
            }
            Some(owner) if stays && self.leavers.contains(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which waits to leave"))
            }
            Some(_) => None,
        })
    }
}

fn server(instance: &str) -> &str {
    instance.split_once("@-@").map_or(instance, |(server, _)| server)
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let mut jobs: BTreeMap<&str, Job<'_>> = BTreeMap::new();
    let settled = stories.weather.timeout + SETTLED;
    let mut last = 0;
    for (at, line) in trace.iter().enumerate() {
        if disturbs(&line.fact) {
            // What stands at the end of a calm span has had all of it to come about.
            let calm = line.at.checked_sub(settled).filter(|from| *from >= last);
            let calm =
                calm.filter(|from| stories.weather.is_calm(*from, line.at.saturating_sub(1)));
            if let Some(calm) = calm {
                let fault = jobs.iter().find_map(|(name, job)| Some((name, job.fault(calm)?)));
                if let Some((name, what)) = fault {
                    return Verdict::breach(trace, at, format!("{name}: {what}"));
                }
            }
            last = line.at;
        }
        match &line.fact {
            Fact::Job(job) => jobs.entry(&job.job).or_default().is_static |= job.is_static,
            Fact::Plan(plan) => jobs.entry(&plan.job).or_default().shards = plan.shards,
            Fact::Config(config) => {
                jobs.entry(&config.job).or_default().is_served =
                    config.document.is_some() && !config.is_newer;
            }
            Fact::Mark(mark) => jobs.entry(&mark.job).or_default().take(line.at, mark),
            _ => {}
        }
    }
    Verdict::Valid
}

fn disturbs(fact: &Fact) -> bool {
    match fact {
        Fact::Mark(mark) => {
            matches!(mark.about, About::Instance(_) | About::Server(_) | About::Leaver(_))
        }
        Fact::Fault(_)
        | Fact::Config(_)
        | Fact::Node { .. }
        | Fact::Clock { .. }
        | Fact::Drain { .. }
        | Fact::Exit { .. }
        | Fact::Plan(_)
        | Fact::Healed
        | Fact::Over { .. } => true,
        _ => false,
    }
}
