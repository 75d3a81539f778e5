//! P21: who is given a job serves it, if it may.
//!
//! When nothing went wrong and nothing was changed for the sessions' time-out and [`SETTLED`], each
//! living process is registered for each job that it was given before that, and not told to leave
//! since, if the job is defined in a way that this release can serve, and without a listener where it was
//! given none, and if its host can start the job's script, and unless it says that it has no function for a job
//! that was edited to need one. (Whoever was taken off a job and
//! given it again joins it when what it still runs of it has ended.)
//!
//! A process whose host has not been able to start the script for that long is not registered for the job, once
//! what it runs of it has ended, and says why.

use crate::story::Stories;
use crate::trace::{About, Call, Fact, Fault, Line, Probe};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P21 all join";

/// How long beyond the time-out it may take: milliseconds.
pub const SETTLED: u64 = 20_000;

#[derive(Default)]
struct Cluster<'a> {
    /// The processes that are there and were not told to stop, by node.
    living: BTreeMap<u32, &'a str>,
    /// Which jobs each was given, and when.
    given: BTreeMap<(u32, &'a str), u64>,
    /// The jobs that are defined, and whether with a listener.
    defined: BTreeMap<&'a str, bool>,
    /// Which processes were given which jobs with a listener last.
    listeners: BTreeSet<(u32, &'a str)>,
    /// Who is registered for which job.
    registered: BTreeSet<(&'a str, &'a str)>,
    /// Who says why it may not serve which job.
    says: BTreeSet<(&'a str, &'a str)>,
    /// Who says that its program has no function for which job, whose definition names no script.
    has_no_function: BTreeSet<(&'a str, &'a str)>,
    /// Whether a node's host can start the script of a job, and since when.
    scripts: BTreeMap<(u32, &'a str), (bool, u64)>,
    /// Code that runs, by job and instance, and when the last ended.
    running: BTreeMap<(&'a str, &'a str), (u32, u64)>,
}

impl<'a> Cluster<'a> {
    fn take(&mut self, at: u64, fact: &'a Fact) {
        match fact {
            Fact::Node { node, instance, .. } => {
                self.gone(*node);
                self.living.insert(*node, instance);
            }
            Fact::Drain { node } | Fact::Exit { node, .. } => self.gone(*node),
            Fact::Fault(Fault::Crash { node, .. }) => self.gone(*node),
            Fact::Job(job) => {
                let Some(node) = job.node else { return };
                self.given.entry((node, &job.job)).or_insert(at);
                match job.listener {
                    Some(_) => self.listeners.insert((node, &job.job)),
                    None => self.listeners.remove(&(node, &*job.job)),
                };
            }
            Fact::Withdraw { node, job } => drop(self.given.remove(&(*node, &**job))),
            Fact::Config(config) => {
                if config.document.is_some() && !config.is_newer {
                    self.defined.insert(&config.job, config.listener.is_some());
                } else {
                    self.defined.remove(&*config.job);
                }
            }
            Fact::Mark(mark) => {
                if let About::Ineligible(instance) = &mark.about {
                    let why = mark.value.as_deref().unwrap_or_default();
                    match why.contains("JOB_NOT_REGISTERED") {
                        true => self.has_no_function.insert((&mark.job, instance)),
                        false => self.has_no_function.remove(&(&*mark.job, &**instance)),
                    };
                }
                let (of, instance) = match &mark.about {
                    About::Instance(instance) => (&mut self.registered, instance),
                    About::Ineligible(instance) => (&mut self.says, instance),
                    _ => return,
                };
                match mark.value.is_some() {
                    true => of.insert((&mark.job, instance)),
                    false => of.remove(&(&*mark.job, &**instance)),
                };
            }
            Fact::Script { node, job, can } => {
                self.scripts.insert((*node, job), (*can, at));
            }
            Fact::Start(Probe { job, instance, .. })
            | Fact::CallBegins(Call { job, instance, .. }) => {
                self.running.entry((job, instance)).or_default().0 += 1;
            }
            Fact::End { probe: Probe { job, instance, .. }, .. }
            | Fact::CallEnds { call: Call { job, instance, .. }, .. } => {
                let (count, last) = self.running.entry((job, instance)).or_default();
                (*count, *last) = (count.saturating_sub(1), at);
            }
            _ => {}
        }
    }

    fn gone(&mut self, node: u32) {
        self.living.remove(&node);
        self.given.retain(|(of, _), _| *of != node);
    }

    /// Who does not serve what it was given by `calm`, or serves what it may not.
    fn missing(&self, calm: u64) -> Option<String> {
        self.given.iter().filter(|(_, at)| **at <= calm).find_map(|((node, job), _)| {
            let (can, since) = self.scripts.get(&(*node, *job)).copied().unwrap_or((true, 0));
            let instance = self.living.get(node)?;
            let of = (*job, *instance);
            let ended = self.running.get(&of).map_or(0, |(count, last)| match count {
                0 => *last,
                _ => u64::MAX,
            });
            // Who has no listener cannot serve a job whose definition has one.
            let is_able = |has_one: &bool| {
                let has_listener = !has_one || self.listeners.contains(&(*node, *job));
                has_listener && !self.has_no_function.contains(&of)
            };
            let is_registered = self.registered.contains(&of);
            let wrong = match self.defined.get(job).filter(|_| since <= calm && ended <= calm) {
                None => return None,
                Some(_) if !can && is_registered => {
                    "serves it, and its host cannot start its script"
                }
                Some(_) if !can && !self.says.contains(&of) => {
                    "does not say why it may not serve it"
                }
                Some(has_one) if can && is_able(has_one) && !is_registered => "does not serve it",
                Some(_) => return None,
            };
            Some(format!("n{node} was given {job} and {wrong}"))
        })
    }
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let settled = stories.weather.timeout + SETTLED;
    let mut cluster = Cluster::default();
    let mut last = 0;
    for (at, line) in trace.iter().enumerate() {
        if disturbs(&line.fact) {
            // What stands at the end of a calm span has had all of it to come about.
            let calm = line.at.checked_sub(settled).filter(|from| *from >= last);
            let calm =
                calm.filter(|from| stories.weather.is_calm(*from, line.at.saturating_sub(1)));
            if let Some(what) = calm.and_then(|calm| cluster.missing(calm)) {
                return Verdict::breach(trace, at, what);
            }
            last = line.at;
        }
        cluster.take(line.at, &line.fact);
    }
    Verdict::Valid
}

fn disturbs(fact: &Fact) -> bool {
    match fact {
        Fact::Mark(mark) => matches!(mark.about, About::Instance(_)),
        Fact::Fault(_)
        | Fact::Config(_)
        | Fact::Node { .. }
        | Fact::Clock { .. }
        | Fact::Drain { .. }
        | Fact::Exit { .. }
        | Fact::Healed
        | Fact::Over { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Config, Job};

    #[test]
    fn who_was_told_to_leave_is_missed_only_once_it_was_given_the_job_again() {
        let job = || "j".to_owned();
        let config = Fact::Config(Config {
            job: job(),
            index: 1,
            session: 1,
            guard: None,
            document: Some(String::new()),
            is_newer: false,
            listener: None,
        });
        let node = Fact::Node { node: 1, instance: "a".to_owned(), slots: 1, timeout: 1 };
        let given = Fact::Job(Job { job: job(), node: Some(1), ..Job::default() });
        let withdrawn = Fact::Withdraw { node: 1, job: job() };
        let mut cluster = Cluster::default();
        cluster.take(0, &config);
        cluster.take(0, &node);
        cluster.take(1, &given);
        assert!(cluster.missing(0).is_none() && cluster.missing(1).is_some());
        cluster.take(2, &withdrawn);
        assert_eq!(cluster.missing(3), None);
        cluster.take(4, &given);
        assert!(cluster.missing(3).is_none() && cluster.missing(4).is_some());
        cluster.gone(1);
        assert_eq!(cluster.missing(4), None);
    }
}
