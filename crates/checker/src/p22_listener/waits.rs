//! That nothing of a listener waits for ever. When nothing went wrong and nothing was changed for the
//! sessions' time-out and [`TOLERANCE`]:
//! * a fire that is due is called for, opened or passed (after the heal: before it clocks may be wrong), and
//!   so is a request to run now;
//! * `after` is called for an open fire that each shard has run or accounted, and for one that is closing;
//! * what a call has ended as is written down;
//! * a call that ran into its time-out has been told to stop.

use crate::listened::{Called, Listened};
use crate::story::Stories;
use crate::trace::{About, Claim, Config, Fact, Fault, Fire, Line, Mark, Part, Plan, Record};
use crate::trace::{Stage, StageChange};
use std::collections::{BTreeMap, BTreeSet};

/// How long beyond the time-out it may take: as P6 says, for the registry to notice that a leader is gone,
/// for a place to be free at the next one. Milliseconds.
pub(super) const TOLERANCE: u64 = 75_000;

/// What is to happen next to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Awaited {
    /// `before` of a fire due at this instant, or later.
    Fire(i64),
    /// A fire for a request.
    Request(u64),
    /// `before` once more.
    Again(Fire, u32),
    /// `after`.
    After(Fire),
    /// What the last call has ended as.
    Written,
}

#[derive(Default)]
struct Job<'a> {
    has_listener: bool,
    instances: BTreeSet<&'a str>,
    leavers: BTreeSet<&'a str>,
    leader: Option<&'a str>,
    plan: Option<&'a Plan>,
    stage: Option<&'a StageChange>,
    records: BTreeMap<u32, &'a Record>,
    /// Who calls. A call that was told to stop is not waited for.
    calling: Vec<&'a str>,
    has_ended: bool,
    /// Since when, and what.
    awaited: Option<(u64, Awaited)>,
}

/// What waited too long.
pub(super) fn waits_for_ever(trace: &[Line], stories: &Stories<'_>) -> Option<(usize, String)> {
    let mut jobs: BTreeMap<&str, Job<'_>> =
        stories.listened.keys().map(|n| (*n, Job::default())).collect();
    if jobs.is_empty() {
        return None;
    }
    for (at, line) in trace.iter().enumerate() {
        if let Fact::Fault(Fault::Crash { instance, .. }) | Fact::Exit { instance, .. } = &line.fact
        {
            jobs.values_mut().for_each(|job| job.calling.retain(|who| *who != &**instance));
        }
        let Some((name, job)) =
            of_a_job(&line.fact).and_then(|name| Some((name, jobs.get_mut(name)?)))
        else {
            continue;
        };
        if let Some(what) = job.is_late(stories, line.at) {
            return Some((at, format!("{name}: {what}")));
        }
        let is_changed = job.take(&line.fact);
        job.look(stories, name, (line.at, is_changed));
    }
    let mut at_the_end = jobs.iter();
    let left =
        at_the_end.find_map(|(name, job)| Some((name, job.is_late(stories, stories.over.0)?)));
    let last = trace.len().saturating_sub(1);
    left.map(|(name, what)| (last, format!("{name}: {what}"))).or_else(|| too_long(trace, stories))
}

/// The job whose next step depends on a line.
fn of_a_job(fact: &Fact) -> Option<&str> {
    Some(match fact {
        Fact::Config(config) => &config.job,
        Fact::Plan(plan) => &plan.job,
        Fact::Stage(change) => &change.job,
        Fact::Record(change) => &change.job,
        Fact::CallBegins(call) | Fact::CallStopped(call) | Fact::CallEnds { call, .. } => &call.job,
        Fact::Mark(mark) => match mark.about {
            About::Instance(_) | About::Leaver(_) | About::Leader => &mark.job,
            _ => return None,
        },
        _ => return None,
    })
}

impl<'a> Job<'a> {
    /// Takes a line in; says whether it changes who is to do what.
    fn take(&mut self, fact: &'a Fact) -> bool {
        match fact {
            Fact::Config(config) => self.define(config),
            Fact::Plan(plan) => self.plan = Some(plan),
            Fact::Mark(mark) => self.mark(mark),
            Fact::Stage(change) => {
                (self.stage, self.has_ended) = (Some(&**change), false);
                return false;
            }
            Fact::Record(change) => {
                match &change.new {
                    Some(new) => self.records.insert(change.shard, new),
                    None => self.records.remove(&change.shard),
                };
                return false;
            }
            Fact::CallBegins(call) => {
                self.calling.push(&call.instance);
                self.has_ended = false;
                return false;
            }
            Fact::CallStopped(call) | Fact::CallEnds { call, .. } => {
                let place = self.calling.iter().position(|who| *who == call.instance);
                // Who leads next goes by what is written, and not by what another has called.
                self.has_ended |= place.is_some() && self.leader == Some(&*call.instance);
                place.map(|place| self.calling.remove(place));
                return false;
            }
            _ => {}
        }
        true
    }

    fn define(&mut self, config: &Config) {
        self.has_listener = config.listener.is_some() && !config.is_newer;
    }

    fn mark(&mut self, mark: &'a Mark) {
        let is_there = mark.value.is_some();
        let (of, id) = match &mark.about {
            About::Leader => {
                (self.leader, self.has_ended) = (mark.value.as_deref(), false);
                return;
            }
            About::Instance(id) => (&mut self.instances, id),
            About::Leaver(id) => (&mut self.leavers, id),
            _ => return,
        };
        match is_there {
            true => of.insert(id),
            false => of.remove(&**id),
        };
    }

    /// Finds out what is awaited from now on.
    fn look(&mut self, stories: &Stories<'_>, name: &str, (now, is_changed): (u64, bool)) {
        let next = self.next(stories, name);
        let is_same = self.awaited.as_ref().map(|(_, what)| what) == next.as_ref();
        if is_changed || !is_same {
            self.awaited = next.map(|what| (now, what));
        }
    }

    fn next(&self, stories: &Stories<'_>, name: &str) -> Option<Awaited> {
        let has_leader = self.instances.iter().any(|id| !self.leavers.contains(id));
        if !self.has_listener || !has_leader || !self.calling.is_empty() {
            return None;
        }
        if self.has_ended {
            return Some(Awaited::Written);
        }
        match self.stage.and_then(|change| change.stage.as_ref()) {
            Some(Stage::Repeated { fire, attempt }) => Some(Awaited::Again(fire.clone(), *attempt)),
            Some(Stage::Closing { fire }) => Some(Awaited::After(fire.clone())),
            Some(Stage::Open { fire, shards }) => {
                self.has_run(fire, *shards).then(|| Awaited::After(fire.clone()))
            }
            None | Some(Stage::Closed | Stage::Passed { .. }) => {
                let asked = self.stage.filter(|stage| stage.asked > stage.answered);
                asked
                    .map(|stage| Awaited::Request(stage.asked))
                    .or_else(|| self.next_due(stories, name))
            }
        }
    }

    fn next_due(&self, stories: &Stories<'_>, name: &str) -> Option<Awaited> {
        let plan = self.plan?;
        let from = (0..plan.shards).map(|shard| plan.from(shard)).min()?;
        let through = |shard| self.records.get(&shard).map_or(i64::MIN, |record| record.watermark);
        // A job that got its listener late has fires that shards accounted by themselves.
        let accounted = (0..plan.shards).map(through).min()?;
        let opened = self.stage.map_or(i64::MIN, |stage| stage.through);
        let schedule = stories.schedules.named(name, &plan.schedule)?;
        schedule.next_after(from.max(accounted).max(opened)).map(Awaited::Fire)
    }

    /// Whether each shard has run or accounted a fire, and none runs it or is to be tried again.
    fn has_run(&self, fire: &Fire, shards: u32) -> bool {
        let counted = self.plan.map_or(shards, |plan| plan.shards.min(shards));
        let is_over = |shard: u32| {
            let Some(record) = self.records.get(&shard) else { return false };
            let runs = |claim: &Claim| claim.fire == *fire;
            let is_accounted = match fire.is_triggered() {
                true => record.last.as_ref().is_some_and(|last| last.fire == *fire),
                false => record.watermark >= fire.due,
            };
            is_accounted && !record.claim.as_ref().is_some_and(runs)
        };
        (0..counted).all(is_over)
    }

    /// Says what should have happened by now.
    fn is_late(&self, stories: &Stories<'_>, now: u64) -> Option<String> {
        let (since, what) = self.awaited.as_ref()?;
        let weather = &stories.weather;
        let begin = match what {
            Awaited::Fire(due) => {
                let wall = stories.over.1.saturating_sub_unsigned(stories.over.0);
                let due = u64::try_from(due.saturating_sub(wall)).unwrap_or(0);
                // Clocks are right from then on.
                (*since).max(due).max(weather.healed?)
            }
            _ => *since,
        };
        let deadline = weather.calm_for(begin, weather.timeout + TOLERANCE);
        (deadline < now).then(|| format!("{what:?} was waited for since {begin} ms"))
    }
}

/// A call that was to be told to stop.
fn too_long(trace: &[Line], stories: &Stories<'_>) -> Option<(usize, String)> {
    let weather = &stories.weather;
    let is_late = |job: &Listened<'_>, called: &Called<'_>| {
        let long = job.longest(called.call.part) + weather.timeout + TOLERANCE;
        let deadline = weather.calm_for(trace[called.begun].at, long);
        let told = called.stopped.or(called.over()).map_or(stories.over.0, |line| trace[line].at);
        told > deadline
    };
    stories.listened.values().find_map(|job| {
        let called = job.calls.iter().find(|called| is_late(job, called))?;
        let part = if called.call.part == Part::Before { "before" } else { "after" };
        Some((called.begun, format!("{part} ran into its time-out and was not told to stop")))
    })
}
