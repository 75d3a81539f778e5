//! P8: every shard has one that may run it.
//!
//! When nothing went wrong and nothing was changed for the sessions' time-out and [`SETTLED`]:
//!
//! * each shard of each plan belongs to an instance that is registered, whose server is switched on
//!   and that has not waited so long to leave, if the job has any such; each such has its share;
//! * no request to deal anew is that old;
//! * who waits to leave has run something meanwhile.
//!
//! And where all was calm since, the time-out and [`HANDED_OVER`] after an instance began to wait to
//! leave it has no shard left that another could have; as long after its last run it waits no more.
//!
//! Shards that stay with their server belong to some instance, be it there or not.

use crate::story::Stories;
use crate::trace::{About, Call, Fact, Fault, Line, Mark, Probe};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The invariant's name.
pub const NAME: &str = "P8 all assigned";

/// How long beyond the time-out it may take: milliseconds.
pub const SETTLED: u64 = 20_000;

/// How long, beyond the time-out after which another leads, a shard may take from an instance that
/// waits to leave to another, and that instance to leave when it may: milliseconds.
pub const HANDED_OVER: u64 = 5_000;

/// What is looked at when its time has come.
struct Due<'a> {
    since: u64,
    job: &'a str,
    instance: &'a str,
}

#[derive(Default)]
struct Job<'a> {
    shards: u32,
    is_static: bool,
    is_served: bool,
    /// Since when the shards are to be dealt anew.
    asked: Option<u64>,
    instances: BTreeSet<&'a str>,
    disabled: BTreeSet<&'a str>,
    /// Since when they wait to leave.
    leavers: BTreeMap<&'a str, u64>,
    /// When that last changed of anybody.
    marked: Option<u64>,
    /// Code that runs, by instance; and since when there is none.
    running: BTreeMap<&'a str, u32>,
    idle: BTreeMap<&'a str, u64>,
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
            About::Leaver(id) => {
                self.marked = Some(at);
                match value {
                    Some(_) => self.leavers.insert(id, at),
                    None => self.leavers.remove(&**id),
                };
            }
            _ => {}
        }
    }

    fn is_enabled(&self, instance: &str) -> bool {
        !self.disabled.contains(server(instance))
    }

    fn started(&mut self, instance: &'a str) {
        *self.running.entry(instance).or_default() += 1;
    }

    fn ended(&mut self, at: u64, instance: &'a str) {
        let left = self.running.get(instance).copied().unwrap_or_default().saturating_sub(1);
        self.running.insert(instance, left);
        if left == 0 {
            self.idle.insert(instance, at);
        }
    }

    fn died(&mut self, instance: &str) {
        self.running.remove(instance);
    }

    /// What is wrong with it, if all was as it should be since `calm`.
    fn fault(&self, calm: u64) -> Option<String> {
        let eligible: Vec<&str> =
            self.instances.iter().copied().filter(|id| self.is_enabled(id)).collect();
        if !self.is_served || eligible.is_empty() {
            return None;
        }
        // Who takes its mark away may deal from then on.
        let stays = self.marked.is_none_or(|at| at <= calm)
            && eligible.iter().any(|id| !self.leavers.contains_key(id));
        if stays && self.asked.is_some_and(|at| at <= calm) {
            return Some("shards are still to be dealt anew".to_owned());
        }
        self.without_owner(calm, stays)
            .or_else(|| self.without_reason(calm))
            .or_else(|| self.without_share(&eligible, calm))
    }

    /// What is wrong with an instance that has waited to leave, or run nothing more, since then.
    fn handover(&self, due: &Due<'_>) -> Option<String> {
        let Due { since, instance, .. } = due;
        let marked = *self.leavers.get(instance)?;
        let has_others =
            self.instances.iter().any(|id| self.is_enabled(id) && !self.leavers.contains_key(id));
        let is_idle = self.idle.get(instance) == Some(since)
            && self.running.get(instance).is_none_or(|runs| *runs == 0);
        if !self.is_served || self.is_static || !self.instances.contains(instance) {
            return None;
        }
        if is_idle && marked <= *since {
            return Some(format!("{instance} waits to leave, and runs nothing"));
        }
        let owned = (0..self.shards).find(|i| self.owners.get(i) == Some(instance));
        let shard = owned.filter(|_| marked == *since && has_others)?;
        Some(format!("shard {shard} still belongs to {instance}, which waits to leave"))
    }

    fn without_owner(&self, calm: u64, may_move: bool) -> Option<String> {
        let leaves = |owner: &str| self.leavers.get(owner).is_some_and(|since| *since <= calm);
        (0..self.shards).find_map(|shard| match self.owners.get(&shard) {
            None => Some(format!("shard {shard} belongs to nobody")),
            Some(_) if self.is_static => None,
            Some(owner) if !self.instances.contains(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which is gone"))
            }
            Some(owner) if !self.is_enabled(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which is switched off"))
            }
            Some(owner) if may_move && leaves(owner) => {
                Some(format!("shard {shard} belongs to {owner}, which waits to leave"))
            }
            Some(_) => None,
        })
    }

    /// A mark that nobody takes away keeps an instance without shards for ever.
    fn without_reason(&self, calm: u64) -> Option<String> {
        self.leavers.iter().filter(|(_, since)| **since <= calm).find_map(|(id, _)| {
            let runs = self.running.get(id).is_some_and(|runs| *runs > 0);
            let idle = self.idle.get(id).copied().unwrap_or_default();
            (!runs && idle <= calm).then(|| format!("{id} waits to leave, and runs nothing"))
        })
    }

    /// Strategies deal each instance as much as each, and what is left over to some. (Not so
    /// `SINGLE_BALANCE`, for whoever comes while all owners live: no harness that is judged uses it.)
    fn without_share(&self, eligible: &[&str], calm: u64) -> Option<String> {
        let leaves = |id: &&&str| self.leavers.contains_key(**id);
        if self.is_static || self.marked.is_some_and(|at| at > calm) {
            return None;
        }
        let stay: Vec<&str> = eligible.iter().filter(|id| !leaves(id)).copied().collect();
        let share = self.shards as usize / stay.len().max(1);
        stay.into_iter().find_map(|id| {
            let own = (0..self.shards).filter(|i| self.owners.get(i) == Some(&id)).count();
            (own < share).then(|| format!("{id} has {own} shards of {}", self.shards))
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
    let handed_over = stories.weather.timeout + HANDED_OVER;
    let mut dues: VecDeque<Due<'_>> = VecDeque::new();
    for (at, line) in trace.iter().enumerate() {
        while let Some(due) = dues.pop_front_if(|due| due.since + handed_over < line.at) {
            let what = jobs.get(due.job).and_then(|job| job.handover(&due));
            if let Some(what) =
                what.filter(|_| stories.weather.is_calm(due.since + 1, due.since + handed_over))
            {
                return Verdict::breach(trace, at, format!("{}: {what}", due.job));
            }
        }
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
            Fact::Mark(mark) => {
                jobs.entry(&mark.job).or_default().take(line.at, mark);
                if let (About::Leaver(instance), Some(_)) = (&mark.about, &mark.value) {
                    dues.push_back(Due { since: line.at, job: &mark.job, instance });
                }
            }
            Fact::Start(probe) => jobs.entry(&probe.job).or_default().started(&probe.instance),
            // A call of the job's listener is waited for like a run.
            Fact::CallBegins(call) => jobs.entry(&call.job).or_default().started(&call.instance),
            Fact::End { probe: Probe { job: name, instance, .. }, .. }
            | Fact::CallEnds { call: Call { job: name, instance, .. }, .. } => {
                let job = jobs.entry(name).or_default();
                job.ended(line.at, instance);
                if job.leavers.contains_key(&**instance) {
                    dues.push_back(Due { since: line.at, job: name, instance });
                }
            }
            Fact::Fault(Fault::Crash { instance, .. }) => {
                jobs.values_mut().for_each(|job| job.died(instance));
            }
            _ => {}
        }
    }
    Verdict::Valid
}

fn disturbs(fact: &Fact) -> bool {
    match fact {
        Fact::Mark(mark) => matches!(mark.about, About::Instance(_) | About::Server(_)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_that_stays_has_its_share() {
        let owners = [(0, "a"), (1, "a"), (2, "a"), (3, "b")].into();
        let job = Job {
            shards: 4,
            is_served: true,
            instances: ["a", "b"].into(),
            owners,
            ..Job::default()
        };
        assert_eq!(job.fault(9).as_deref(), Some("b has 1 shards of 4"));
        let one_leaves = Job { leavers: [("b", 10)].into(), marked: Some(10), ..job };
        assert_eq!(one_leaves.fault(9), None, "not yet");
        let kept = Some("shard 3 belongs to b, which waits to leave");
        assert_eq!(one_leaves.fault(10).as_deref(), kept);
    }
}
