//! P12: a request to run now is answered.
//!
//! Whoever takes a request away has run each of its shards for it: those that belonged to it and
//! were switched on from the request to its end, unless the job skips what comes due during a run,
//! and one was under way. That none is run twice for one request is judged by P4.
//!
//! Where the job has a listener, whoever takes a request away has noted it for the job as a whole; and each
//! shard that belonged to a living instance and was switched on while a fire was open for a request has run
//! that fire.

use crate::story::{Claimed, Stories};
use crate::trace::{About, Fact, Fire, Line, Mark, Stage, StageChange};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P12 asked and answered";

/// A request to an instance.
#[derive(Clone, Copy)]
struct Request {
    line: usize,
    /// The commit that made it.
    index: u64,
}

#[derive(Default)]
struct Seen<'a> {
    sessions: BTreeMap<u64, &'a str>,
    owners: BTreeMap<(&'a str, u32), (&'a str, usize)>,
    /// When a shard or the server of an instance was last switched, or the job changed.
    switched: BTreeMap<(&'a str, String), usize>,
    off: BTreeSet<(&'a str, String)>,
    asked: BTreeMap<(&'a str, &'a str), Request>,
    /// Since when an instance is registered for a job.
    registered: BTreeMap<(&'a str, &'a str), usize>,
    /// The fire that is open for a request, by job, since when.
    open: BTreeMap<&'a str, (&'a Fire, usize)>,
    changed: BTreeMap<&'a str, usize>,
    /// How many shards a job has by its plan.
    shards: BTreeMap<&'a str, u32>,
    skips: BTreeSet<&'a str>,
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let mut seen = Seen::default();
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Job(job) if job.overlap == "skip" => drop(seen.skips.insert(&job.job)),
            Fact::Config(config) => drop(seen.changed.insert(&config.job, at)),
            Fact::Plan(plan) => {
                seen.changed.insert(&plan.job, at);
                seen.shards.insert(&plan.job, plan.shards);
            }
            Fact::Mark(mark) => {
                let answered = seen.take(at, mark);
                let missing =
                    answered.and_then(|asked| seen.unanswered(trace, stories, mark, (asked, at)));
                if let Some(shard) = missing {
                    let what = format!("shard {shard} was asked for and did not run");
                    return Verdict::breach(trace, at, what);
                }
            }
            Fact::Stage(change) => {
                let closed = seen.moved(at, change);
                let missing = closed.and_then(|(fire, opened)| {
                    seen.left_out(stories, &change.job, (fire, opened, at))
                });
                if let Some(shard) = missing {
                    let what = format!("shard {shard} did not run the fire that was asked for");
                    return Verdict::breach(trace, at, what);
                }
            }
            _ => {}
        }
    }
    Verdict::Valid
}

impl<'a> Seen<'a> {
    /// Takes a change in; says since when a request stood that its instance took away.
    fn take(&mut self, at: usize, mark: &'a Mark) -> Option<Request> {
        let (job, value) = (&*mark.job, mark.value.as_deref());
        match &mark.about {
            About::Instance(id) => {
                self.sessions.extend(mark.lives_with.map(|session| (session, &**id)));
                match value {
                    Some(_) => self.registered.insert((job, id), at),
                    None => self.registered.remove(&(job, &**id)),
                };
            }
            About::Owner(shard) => {
                self.owners.insert((job, *shard), (value.unwrap_or_default(), at));
            }
            About::Disabled(shard) => self.switch(job, shard.to_string(), value.is_some(), at),
            About::Server(ip) => self.switch(job, ip.clone(), value == Some("DISABLED"), at),
            // Who waits to leave starts nothing.
            About::Leaver(id) => self.switch(job, id.clone(), value.is_some(), at),
            About::Trigger(id) if value.is_some() => {
                self.asked.insert((job, id), Request { line: at, index: mark.index });
            }
            About::Trigger(id) => {
                let asked = self.asked.remove(&(job, &**id))?;
                let is_own = self.sessions.get(&mark.session) == Some(&&**id);
                return is_own.then_some(asked);
            }
            _ => {}
        }
        None
    }

    /// How far a job's fire has come; says which fire is open no more that was opened for a request, since
    /// when.
    fn moved(&mut self, at: usize, change: &'a StageChange) -> Option<(&'a Fire, usize)> {
        let open = match &change.stage {
            Some(Stage::Open { fire, .. }) if fire.is_triggered() => Some(fire),
            _ => None,
        };
        let before = self.open.get(&*change.job).copied();
        match open {
            Some(fire) if before.is_some_and(|(same, _)| same == fire) => return None,
            Some(fire) => self.open.insert(&change.job, (fire, at)),
            None => self.open.remove(&*change.job),
        };
        // With the document its job goes.
        before.filter(|_| change.stage.is_some())
    }

    /// A shard that could have run a fire while it was open, and did not.
    fn left_out(
        &self,
        stories: &Stories<'_>,
        job: &'a str,
        (fire, opened, closed): (&Fire, usize, usize),
    ) -> Option<u32> {
        if self.changed.get(job).is_some_and(|at| *at >= opened) {
            return None;
        }
        (0..*self.shards.get(job)?).find(|shard| {
            let Some((owner, at)) = self.owners.get(&(job, *shard)) else { return false };
            let server = owner.split_once("@-@").map_or(*owner, |(server, _)| server);
            let is_there = self.registered.get(&(job, *owner)).is_some_and(|at| *at < opened);
            let is_on = self.is_on_since(job, shard.to_string(), opened)
                && self.is_on_since(job, server.to_owned(), opened)
                && self.is_on_since(job, (*owner).to_owned(), opened);
            let runs = |claimed: &Claimed<'_>| {
                claimed.claim.fire == *fire && (opened..closed).contains(&claimed.made)
            };
            let story = stories.shards.get(&(job, *shard));
            let was_run = story.is_some_and(|story| story.claims.iter().any(runs));
            *at < opened && is_there && is_on && !was_run
        })
    }

    fn switch(&mut self, job: &'a str, what: String, is_off: bool, at: usize) {
        self.switched.insert((job, what.clone()), at);
        match is_off {
            true => self.off.insert((job, what)),
            false => self.off.remove(&(job, what)),
        };
    }

    fn is_on_since(&self, job: &'a str, what: String, asked: usize) -> bool {
        let key = (job, what);
        !self.off.contains(&key) && self.switched.get(&key).is_none_or(|at| *at < asked)
    }

    /// A shard that the request was for, and that was not run for it.
    fn unanswered(
        &self,
        trace: &[Line],
        stories: &Stories<'_>,
        mark: &'a Mark,
        (Request { line: asked, index }, answered): (Request, usize),
    ) -> Option<u32> {
        let About::Trigger(instance) = &mark.about else { return None };
        let job = &*mark.job;
        let noted = stories.listened.get(job).and_then(|of| of.stage_at(answered));
        if noted.is_some_and(|stage| stage.asked >= index) {
            return None;
        }
        let server = instance.split_once("@-@").map_or(&**instance, |(server, _)| server);
        let is_same = self.changed.get(job).is_none_or(|at| *at < asked);
        if !is_same || !self.is_on_since(job, server.to_owned(), asked) {
            return None;
        }
        (0..*self.shards.get(job)?).find(|shard| {
            let owner = self.owners.get(&(job, *shard));
            let is_own = owner.is_some_and(|(owner, at)| owner == instance && *at < asked);
            let is_on = self.is_on_since(job, shard.to_string(), asked);
            is_own
                && is_on
                && !self.was_run(trace, stories, (job, *shard), instance, (asked, answered))
        })
    }

    fn was_run(
        &self,
        trace: &[Line],
        stories: &Stories<'_>,
        shard: (&'a str, u32),
        instance: &str,
        (asked, answered): (usize, usize),
    ) -> bool {
        let Some(story) = stories.shards.get(&shard) else { return false };
        let runs = |claimed: &Claimed<'_>| {
            claimed.claim.fire.is_triggered()
                && claimed.claim.instance == instance
                && (asked..answered).contains(&claimed.made)
        };
        // Of the end of a run its node may learn as late as its session lets it.
        let known = trace[asked].at.saturating_sub(stories.weather.timeout);
        let is_under_way = |claimed: &Claimed<'_>| {
            let closed = claimed.closed.map_or(u64::MAX, |closing| trace[closing.line].at);
            // Code may run on after its claim was taken.
            let ended = match (claimed.starts.first(), claimed.ended) {
                (None, _) => 0,
                (Some(_), None) => u64::MAX,
                (Some(_), Some((line, _))) => trace[line].at,
            };
            claimed.made < answered && closed.max(ended) >= known
        };
        let mut claims = story.claims.iter();
        let skips = self.skips.contains(shard.0);
        claims.any(|claimed| runs(claimed) || (skips && is_under_way(claimed)))
    }
}
