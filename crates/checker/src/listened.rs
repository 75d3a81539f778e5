//! One job's listener, as it follows from a trace: its calls, how far the fires have come, who leads.

use crate::trace::{
    About, Call, Config, Fact, Fault, Fire, Line, Listener, Part, Stage, StageChange,
};
use std::collections::BTreeMap;

/// All that a trace tells of one job's listener.
#[derive(Debug, Default)]
pub struct Listened<'a> {
    /// Its calls, in the order of their begins.
    pub calls: Vec<Called<'a>>,
    /// By line, every change of how far its fires have come, in commit order.
    pub stages: Vec<(usize, &'a StageChange)>,
    /// By line, where each fire was opened first.
    pub opened: BTreeMap<&'a Fire, usize>,
    /// Whether some definition lets shards run although `before` failed.
    pub runs_on_failure: bool,
    /// By line, who leads the job from then on.
    leaders: Vec<(usize, Option<&'a str>)>,
    /// By line, whether the definition has a listener from then on.
    defined: Vec<(usize, bool)>,
    /// By line, how many shards the job has by its plan from then on.
    shards: Vec<(usize, u32)>,
    /// Lines at which the definition went.
    removed: Vec<usize>,
    /// The longest time-outs, of `before` and of `after`: milliseconds.
    longest: (u64, u64),
    has_one: bool,
}

/// One call.
#[derive(Debug)]
pub struct Called<'a> {
    /// What it was told.
    pub call: &'a Call,
    /// The line of its begin.
    pub begun: usize,
    /// The line at which it was told to stop.
    pub stopped: Option<usize>,
    /// The line of its end, and how it ended.
    pub ended: Option<(usize, &'a str)>,
    /// The line at which its process died or left.
    pub gone: Option<usize>,
}

impl Called<'_> {
    /// The line from which on nothing of it runs; none if it runs to the end.
    #[must_use]
    pub fn over(&self) -> Option<usize> {
        self.ended.map(|(line, _)| line).or(self.gone)
    }

    /// Whether it runs at a line.
    #[must_use]
    pub fn runs_at(&self, line: usize) -> bool {
        self.begun < line && self.over().is_none_or(|over| over > line)
    }
}

/// Reads the jobs that have a listener at some time.
#[must_use]
pub fn read(trace: &[Line]) -> BTreeMap<&str, Listened<'_>> {
    let mut jobs: BTreeMap<&str, Listened<'_>> = BTreeMap::new();
    for (at, line) in trace.iter().enumerate() {
        take(at, &line.fact, &mut jobs);
    }
    jobs.retain(|_, job| job.has_one);
    jobs
}

fn take<'a>(at: usize, fact: &'a Fact, jobs: &mut BTreeMap<&'a str, Listened<'a>>) {
    match fact {
        Fact::Job(job) => jobs.entry(&job.job).or_default().allow(job.listener.as_ref()),
        Fact::Config(config) => jobs.entry(&config.job).or_default().define(at, config),
        Fact::Plan(plan) => jobs.entry(&plan.job).or_default().shards.push((at, plan.shards)),
        Fact::Stage(change) => jobs.entry(&change.job).or_default().moved(at, change),
        Fact::Mark(mark) if mark.about == About::Leader => {
            jobs.entry(&mark.job).or_default().leaders.push((at, mark.value.as_deref()));
        }
        Fact::CallBegins(call) => {
            let job = jobs.entry(&call.job).or_default();
            let (stopped, ended, gone) = (None, None, None);
            job.calls.push(Called { call, begun: at, stopped, ended, gone });
            job.has_one = true;
        }
        Fact::CallStopped(call) => {
            if let Some(called) = jobs.get_mut(&*call.job).and_then(|job| job.running(call)) {
                called.stopped.get_or_insert(at);
            }
        }
        Fact::CallEnds { call, code } => {
            if let Some(called) = jobs.get_mut(&*call.job).and_then(|job| job.running(call)) {
                called.ended = Some((at, code));
            }
        }
        Fact::Fault(Fault::Crash { instance, .. }) | Fact::Exit { instance, .. } => {
            let calls = jobs.values_mut().flat_map(|job| &mut job.calls);
            for called in calls.filter(|called| called.call.instance == *instance) {
                if called.ended.is_none() {
                    called.gone.get_or_insert(at);
                }
            }
        }
        _ => {}
    }
}

impl<'a> Listened<'a> {
    fn allow(&mut self, listener: Option<&Listener>) {
        let Some(listener) = listener else { return };
        self.has_one = true;
        self.runs_on_failure |= listener.runs_on_failure;
        self.longest.0 = self.longest.0.max(listener.before_timeout);
        self.longest.1 = self.longest.1.max(listener.after_timeout);
    }

    fn define(&mut self, at: usize, config: &Config) {
        self.allow(config.listener.as_ref());
        if config.document.is_none() {
            self.removed.push(at);
        } else if !config.is_newer {
            // What cannot be read, or is not there, is run by nobody and switches nothing.
            self.defined.push((at, config.listener.is_some()));
        }
    }

    fn moved(&mut self, at: usize, change: &'a StageChange) {
        self.has_one = true;
        self.stages.push((at, change));
        if let Some(Stage::Open { fire, .. }) = &change.stage {
            self.opened.entry(fire).or_insert(at);
        }
    }

    /// The call that goes on under this name. Calls of one name are told apart by their order.
    fn running(&mut self, call: &Call) -> Option<&mut Called<'a>> {
        self.calls.iter_mut().find(|called| called.call == call && called.over().is_none())
    }

    /// How far the fires have come at a line; none while nothing says so.
    #[must_use]
    pub fn stage_at(&self, line: usize) -> Option<&'a StageChange> {
        let before = self.stages.partition_point(|(at, _)| *at <= line);
        self.stages[..before].last().map(|(_, change)| *change)
    }

    /// Up to which instant fires were opened or passed at a line, if that is later than `now`: by a clock that
    /// was ahead. What is due until then waits, and is accounted when that fire runs.
    #[must_use]
    pub fn ahead_at(&self, line: usize, now: i64) -> Option<i64> {
        self.stage_at(line).map(|stage| stage.through).filter(|through| *through > now)
    }

    /// The fire that is open, or being closed, at a line.
    #[must_use]
    pub fn running_at(&self, line: usize) -> Option<&'a Fire> {
        self.stage_at(line)?.stage.as_ref()?.running()
    }

    /// Which leadership it is at a line, from 0, and who leads.
    #[must_use]
    pub fn leader_at(&self, line: usize) -> (usize, Option<&'a str>) {
        let term = self.leaders.partition_point(|(at, _)| *at <= line);
        (term, self.leaders[..term].last().and_then(|(_, who)| *who))
    }

    /// The line since which whoever leads at a line does.
    #[must_use]
    pub fn led_since(&self, line: usize) -> Option<usize> {
        let term = self.leader_at(line).0;
        self.leaders[..term].last().map(|(at, _)| *at)
    }

    /// Whether the job has a shard at a line.
    #[must_use]
    pub fn has_shard(&self, line: usize, shard: u32) -> bool {
        let by_then = self.shards.partition_point(|(at, _)| *at <= line);
        self.shards[..by_then].last().is_some_and(|(_, shards)| shard < *shards)
    }

    /// Since which line the job has not had a shard any more.
    #[must_use]
    pub fn without_shard_since(&self, line: usize, shard: u32) -> Option<usize> {
        let by_then = self.shards.partition_point(|(at, _)| *at <= line);
        let without = self.shards[..by_then].iter().rev();
        without.take_while(|(_, shards)| shard >= *shards).last().map(|(at, _)| *at)
    }

    /// How often the job was removed by a line.
    #[must_use]
    pub fn life_at(&self, line: usize) -> usize {
        self.removed.partition_point(|at| *at <= line)
    }

    /// Whether the definition has had a listener for so long at a line, or always.
    #[must_use]
    pub fn has_listener_for(&self, trace: &[Line], line: usize, long: u64) -> bool {
        let by_then = self.defined.partition_point(|(at, _)| *at <= line);
        let run = self.defined[..by_then].iter().rev().take_while(|(_, has_one)| *has_one);
        match run.last() {
            None => false,
            Some(first) if self.defined.first() == Some(first) => true,
            Some((since, _)) => trace[*since].at + long <= trace[line].at,
        }
    }

    /// Whether whoever made a call need not have heard yet, by a time after, that it leads no more or that
    /// the job was removed.
    #[must_use]
    pub fn is_unheard(&self, trace: &[Line], called: &Called<'_>, timeout: u64) -> bool {
        let is_recent = |at: usize| trace[called.begun].at <= trace[at].at + timeout;
        let (term, _) = self.leader_at(called.begun);
        let was_replaced = (0..term).rev().take_while(|term| is_recent(self.leaders[*term].0));
        let led =
            |term: usize| term > 0 && self.leaders[term - 1].1 == Some(&*called.call.instance);
        let removed = &self.removed[..self.life_at(called.begun)];
        was_replaced.into_iter().any(led) || removed.last().is_some_and(|at| is_recent(*at))
    }

    /// The longest time-out that any definition gave a part: milliseconds.
    #[must_use]
    pub fn longest(&self, part: Part) -> u64 {
        match part {
            Part::Before => self.longest.0,
            Part::After => self.longest.1,
        }
    }
}
