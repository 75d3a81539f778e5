//! One shard's claims, as they follow from a trace: who made each, what ran under it, how it closed.

use crate::due::Schedules;
use crate::listened::{self, Listened};
use crate::trace::{
    About, Claim, Fact, Fault, Job, Line, Mark, Past, Plan, Probe, Record, RecordChange, Unseen,
};
use crate::weather::Weather;
use std::collections::{BTreeMap, BTreeSet};

/// All that a trace tells, by shard.
#[derive(Debug, Default)]
pub struct Stories<'a> {
    /// Each shard's story, by job and shard.
    pub shards: BTreeMap<(&'a str, u32), Story<'a>>,
    /// The plans of each job, in commit order.
    pub plans: BTreeMap<&'a str, Vec<&'a Plan>>,
    /// Schedules by job and canonical text.
    pub schedules: Schedules,
    /// What a job's definitions allowed, over all of them.
    pub allowed: BTreeMap<&'a str, Allowed>,
    /// When the trace was over: on its own clock, and on the wall clock.
    pub over: (u64, i64),
    /// Instances that died, and the line of their death.
    pub dead: BTreeMap<&'a str, usize>,
    /// Jobs whose definition is gone from the registry at the end.
    pub removed: BTreeSet<&'a str>,
    /// When the cluster was left alone.
    pub weather: Weather,
    /// Jobs that some instance serves at the end.
    pub served: BTreeSet<&'a str>,
    /// When somebody else took an instance off a job, by job and instance: its session lived.
    pub taken_off: BTreeMap<(&'a str, &'a str), Vec<u64>>,
    /// Shards, by job, that wait at the end for the one place they are meant for.
    pub waiting: BTreeSet<(&'a str, u32)>,
    /// What the trace does not show.
    pub unseen: BTreeSet<Unseen>,
    /// By line, when an instance was registered for a job or no more.
    pub registered: BTreeMap<(&'a str, &'a str), Vec<(usize, bool)>>,
    /// The calls of the jobs that have a listener.
    pub listened: BTreeMap<&'a str, Listened<'a>>,
}

/// What may happen to a run that did not succeed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// It may be taken elsewhere after a crash.
    pub failover: bool,
    /// It must be: each definition that was given to anybody says so.
    pub always_failover: bool,
    /// How often it may be tried again.
    pub retries: u32,
    /// How long before it is due a fire may be claimed: milliseconds.
    pub ahead: u64,
}

/// One shard's story.
#[derive(Debug, Default)]
pub struct Story<'a> {
    /// Every change of its record, in commit order.
    pub changes: Vec<Change<'a>>,
    /// Every claim, in commit order.
    pub claims: Vec<Claimed<'a>>,
    /// Where claims were taken whose takers gave them back, by line.
    pub given_back: Vec<usize>,
    /// Starts without a claim of their epoch, by line.
    pub stray_starts: Vec<usize>,
    started: Vec<(usize, &'a Probe)>,
    ended: Vec<(usize, &'a Probe, &'a str)>,
}

/// A change of the record and what the registry held at that moment.
#[derive(Debug)]
pub struct Change<'a> {
    /// Its line.
    pub line: usize,
    /// The change.
    pub change: &'a RecordChange,
    /// The instance in whose session it was made, if it serves the job or did.
    pub writer: Option<&'a str>,
    /// Whether that instance was registered for the job under that very session.
    pub writer_is_registered: bool,
    /// Whether the instance of the claim that was held before was registered.
    pub holder_lives: bool,
    /// Whether its job's definition was gone from the registry.
    pub is_removed: bool,
    /// How many plans its job had had; the last of them was in force.
    pub plans: usize,
    /// What it must be compared with: the record as it was, or, if this change takes a claim back,
    /// as it was before that claim.
    pub base: Record,
}

impl Change<'_> {
    /// Whether it takes back what a clock that was ahead had accounted: of a shard that nobody has claimed.
    #[must_use]
    pub fn is_set_back(&self) -> bool {
        let is_free = |new: &Record| self.base.claim.is_none() && new.claim.is_none();
        self.goes_back() && self.change.new.as_ref().is_some_and(is_free)
    }

    /// Whether the watermark, or the beginning of the schedule, goes back.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        let is_back = |new: &Record| {
            let begins_anew = new.begins.is_some() && new.begins != self.base.begins;
            new.watermark < self.base.watermark || begins_anew
        };
        self.change.new.as_ref().is_some_and(is_back)
    }
}

/// A claim.
#[derive(Debug)]
pub struct Claimed<'a> {
    /// Where it was committed.
    pub made: usize,
    /// That change's place among the shard's changes.
    pub change: usize,
    /// Its fencing token.
    pub epoch: u64,
    /// The claim.
    pub claim: &'a Claim,
    /// The lines at which user code started under it.
    pub starts: Vec<usize>,
    /// Where that code ended, and how.
    pub ended: Option<(usize, &'a str)>,
    /// Whether it was taken by another who gave it back: its holder had lost it.
    pub was_lost: bool,
    /// How it was closed; none if it is held to the end.
    pub closed: Option<Closing>,
}

impl Claimed<'_> {
    /// Whether its maker took it back.
    #[must_use]
    pub fn is_taken_back(&self) -> bool {
        self.closed.is_some_and(|closing| closing.how == How::Undone)
    }
}

/// How a claim was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Where.
    pub line: usize,
    /// That change's place among the shard's changes.
    pub change: usize,
    /// How.
    pub how: How,
}

/// Ways to close a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By its holder, as it ended.
    Ended,
    /// By its holder, before anything ran.
    Undone,
    /// By someone else.
    Taken,
    /// With the job, which was removed.
    Removed,
}

impl<'a> Story<'a> {
    /// The record before a change, where there was none an empty one.
    #[must_use]
    pub fn before(&self, change: usize) -> Record {
        self.changes[change].change.old.clone().unwrap_or_default()
    }

    /// The places of the changes that made claims which were taken back.
    #[must_use]
    pub fn taken_back(&self) -> BTreeSet<usize> {
        let undone = |claimed: &&Claimed<'a>| claimed.is_taken_back();
        self.claims.iter().filter(undone).map(|claimed| claimed.change).collect()
    }

    /// Joins what code wrote with the claims by epoch, wherever in the trace it stands.
    fn join(&mut self) {
        let by_epoch: BTreeMap<u64, usize> =
            self.claims.iter().enumerate().map(|(at, claimed)| (claimed.epoch, at)).collect();
        for (line, probe) in std::mem::take(&mut self.started) {
            match by_epoch.get(&probe.epoch) {
                Some(at) => self.claims[*at].starts.push(line),
                None => self.stray_starts.push(line),
            }
        }
        for (line, probe, code) in std::mem::take(&mut self.ended) {
            if let Some(at) = by_epoch.get(&probe.epoch) {
                self.claims[*at].ended.get_or_insert((line, code));
            }
        }
    }

    /// The claim that is held.
    fn open_claim(&mut self) -> Option<&mut Claimed<'a>> {
        self.claims.iter_mut().rev().find(|claimed| claimed.closed.is_none())
    }

    /// A take-over that is taken back leaves the claim as if it had never been taken.
    fn reopen(&mut self, restored: &Claim) {
        let taken = |claimed: &&mut Claimed<'a>| {
            claimed.claim == restored && claimed.closed.is_some_and(|c| c.how == How::Taken)
        };
        if let Some(claimed) = self.claims.iter_mut().rev().find(taken) {
            claimed.was_lost = true;
            self.given_back.extend(claimed.closed.take().map(|closing| closing.line));
        }
    }
}

/// What the registry holds while the trace is read.
#[derive(Debug, Default)]
struct Held<'a> {
    /// Registered instances by job, with the session they live with.
    instances: BTreeMap<(&'a str, &'a str), Option<u64>>,
    /// Which instance runs on a node.
    nodes: BTreeMap<u32, &'a str>,
    /// Which instance a session belongs to: who was told of it, or registered under it.
    sessions: BTreeMap<u64, &'a str>,
    /// Whose each shard is.
    owners: BTreeMap<(&'a str, u32), &'a str>,
    /// Jobs whose shards wait for their place.
    fixed: BTreeSet<&'a str>,
}

impl<'a> Stories<'a> {
    /// Reads a trace.
    #[must_use]
    pub fn read(trace: &'a [Line]) -> Self {
        let weather = Weather::read(trace);
        let listened = listened::read(trace);
        let mut stories = Self { weather, listened, ..Self::default() };
        let mut held = Held::default();
        for (at, line) in trace.iter().enumerate() {
            stories.take(at, line, &mut held);
        }
        stories.served = held.instances.keys().map(|(job, _)| *job).collect();
        let waits = |((job, _), owner): &(&(&'a str, u32), &&'a str)| {
            held.fixed.contains(*job) && !held.instances.contains_key(&(*job, **owner))
        };
        stories.waiting = held.owners.iter().filter(waits).map(|(shard, _)| *shard).collect();
        for story in stories.shards.values_mut() {
            story.join();
        }
        stories
    }

    /// Whether, at the end, a shard is one of a job that some instance serves, and does not wait for a
    /// place that nobody is at.
    #[must_use]
    pub fn is_looked_after(&self, job: &str, shard: u32) -> bool {
        let plan = self.plans.get(job).and_then(|plans| plans.last());
        let is_counted = plan.is_some_and(|plan| shard < plan.shards);
        let waits = self.waiting.contains(&(job, shard));
        is_counted && !waits && self.served.contains(job) && !self.removed.contains(job)
    }

    fn take(&mut self, at: usize, line: &'a Line, held: &mut Held<'a>) {
        match &line.fact {
            Fact::Job(job) => {
                held.fixed.extend(job.is_static.then_some(&*job.job));
                self.define(job);
            }
            Fact::Plan(plan) => {
                self.plans.entry(&plan.job).or_default().push(plan);
            }
            Fact::Mark(mark) => self.mark((at, line.at), mark, held),
            Fact::Record(change) => self.change(at, change, held),
            Fact::Start(probe) => {
                self.shards.entry((&probe.job, probe.shard)).or_default().started.push((at, probe));
            }
            Fact::End { probe, code } => {
                let story = self.shards.entry((&probe.job, probe.shard)).or_default();
                story.ended.push((at, probe, code));
            }
            Fact::Fault(Fault::Crash { instance, .. }) => {
                self.dead.insert(instance, at);
            }
            Fact::Over { wall } => self.over = (line.at, *wall),
            Fact::Node { node, instance, .. } => {
                held.nodes.insert(*node, instance);
            }
            Fact::Trust { node, session, .. } => {
                let instance = held.nodes.get(node).copied();
                held.sessions.extend(instance.map(|instance| (*session, instance)));
            }
            Fact::Config(config) => {
                match config.document {
                    Some(_) => self.removed.remove(&*config.job),
                    None => self.removed.insert(&config.job),
                };
            }
            Fact::Unseen(what) => drop(self.unseen.insert(*what)),
            // A listener's calls are no runs of a shard.
            Fact::Stage(_)
            | Fact::CallBegins(_)
            | Fact::CallStopped(_)
            | Fact::CallEnds { .. }
            | Fact::Distrust { .. }
            | Fact::Fault(_)
            | Fact::Healed
            | Fact::Clock { .. }
            | Fact::Script { .. }
            | Fact::Withdraw { .. }
            | Fact::Drain { .. }
            | Fact::Exit { .. } => {}
        }
    }

    fn mark(&mut self, (line, at): (usize, u64), mark: &'a Mark, held: &mut Held<'a>) {
        let job = &*mark.job;
        let instance = match &mark.about {
            About::Owner(shard) => {
                match &mark.value {
                    Some(owner) => held.owners.insert((job, *shard), owner.as_str()),
                    None => held.owners.remove(&(job, *shard)),
                };
                return;
            }
            About::Instance(instance) => instance,
            _ => return,
        };
        let is_there = mark.value.is_some();
        self.registered.entry((job, instance)).or_default().push((line, is_there));
        if is_there {
            held.instances.insert((job, instance), mark.lives_with);
            held.sessions.extend(mark.lives_with.map(|session| (session, &**instance)));
        } else {
            let own = held.instances.remove(&(job, &**instance)).flatten();
            self.note_taken_off(own, mark, at);
        }
    }

    /// An instance's node is gone. (Session 0: the trace does not say by whom.)
    fn note_taken_off(&mut self, own: Option<u64>, mark: &'a Mark, at: u64) {
        let is_others = mark.session != 0 && own.is_some_and(|own| own != mark.session);
        if let (About::Instance(instance), true) = (&mark.about, is_others) {
            self.taken_off.entry((&mark.job, instance)).or_default().push(at);
        }
    }

    /// How many fires of a shard its job's schedules made due in `(after, through]`, at a change of
    /// its record: those of the plan in force, and those of earlier ones, each up to the instant at
    /// which the next plan was in force.
    ///
    /// # Errors
    /// A plan that is missing, or whose schedule nobody defined.
    pub fn due(&self, change: &Change<'_>, after: i64, through: i64) -> Result<(u64, u64), String> {
        self.due_beside(change, (after, through), &change.base.ran)
    }

    /// The same beside fires that lie in some spans.
    ///
    /// # Errors
    /// A plan that is missing, or whose schedule nobody defined.
    pub fn due_beside(
        &self,
        change: &Change<'_>,
        (after, through): (i64, i64),
        ran: &[(i64, i64)],
    ) -> Result<(u64, u64), String> {
        let (job, shard) = (&*change.change.job, change.change.shard);
        let (mut now, mut earlier) = (0, 0);
        let mut until = through;
        for (back, plan) in self.plans_before(change).rev().enumerate() {
            let named = self.schedules.named(job, &plan.schedule);
            let schedule = named.ok_or_else(|| format!("nobody defined {:?}", plan.schedule))?;
            let from = change.base.begins(plan.from(shard));
            let since = after.max(from);
            let is_some = until > since;
            let due = if is_some { schedule.count_without((since, until), ran) } else { 0 };
            *(if back == 0 { &mut now } else { &mut earlier }) += due;
            until = until.min(from);
            if until <= after {
                break;
            }
        }
        match change.plans {
            0 => Err("no plan is in force".to_owned()),
            _ => Ok((now, earlier)),
        }
    }

    /// How many fires of a shard that an earlier schedule made due must be accounted by a change of its record:
    /// what the plan in force keeps of that schedule. They are accounted by one schedule at a time.
    #[must_use]
    pub fn kept(&self, change: &Change<'_>, after: i64, through: i64) -> u64 {
        let (job, shard) = (&*change.change.job, change.change.shard);
        let Some(plan) = self.plans_before(change).next_back() else { return 0 };
        let of_one = |past: &Past| {
            let schedule = self.schedules.named(job, &past.schedule)?;
            let span = past.spans.iter().rev().find(|(first, _)| *first <= shard);
            let from = span.filter(|_| shard < past.shards)?.1;
            let since = after.max(change.base.begins(from));
            let until = through.min(past.until).min(change.base.begins(plan.from(shard)));
            (until > since).then(|| schedule.count_without((since, until), &change.base.ran))
        };
        plan.past.iter().filter_map(of_one).max().unwrap_or(0)
    }

    /// Whether some plan of a shard's job made an instant due, of those up to a change of its record.
    #[must_use]
    pub fn was_ever_due(&self, change: &Change<'_>, instant: i64) -> bool {
        let (job, shard) = (&*change.change.job, change.change.shard);
        self.plans_before(change).any(|plan| {
            let schedule = self.schedules.named(job, &plan.schedule);
            plan.from(shard) < instant && schedule.is_some_and(|due| due.is_due(instant))
        })
    }

    /// Whether a plan before the one in force at a change of a record made other instants due, or the same ones
    /// since another instant.
    #[must_use]
    pub fn was_planned_otherwise(&self, change: &Change<'_>) -> bool {
        let shard = change.change.shard;
        let what = |plan: &'a Plan| (&plan.schedule, plan.from(shard), shard < plan.shards);
        let mut plans = self.plans_before(change).rev().map(what);
        let now = plans.next();
        plans.any(|before| now != Some(before))
    }

    fn plans_before(&self, change: &Change<'_>) -> impl DoubleEndedIterator<Item = &'a Plan> {
        let all = self.plans.get(&*change.change.job).map_or(&[][..], Vec::as_slice);
        all[..change.plans].iter().copied()
    }

    fn define(&mut self, job: &'a Job) {
        self.schedules.learn(job);
        let first = Allowed { always_failover: true, ..Allowed::default() };
        let allowed = self.allowed.entry(&job.job).or_insert(first);
        allowed.failover |= job.failover;
        allowed.always_failover &= job.failover;
        allowed.retries = allowed.retries.max(job.retries);
        allowed.ahead = allowed.ahead.max(job.ahead);
    }

    fn change(&mut self, line: usize, change: &'a RecordChange, held: &Held<'a>) {
        let plans = self.plans.get(&*change.job).map_or(0, Vec::len);
        let is_removed = self.removed.contains(&*change.job);
        let story = self.shards.entry((&change.job, change.shard)).or_default();
        let writer = held.sessions.get(&change.session).copied();
        let old = change.old.as_ref().and_then(held_claim);
        let holder_lives =
            old.is_some_and(|claim| held.instances.contains_key(&(&*change.job, &*claim.instance)));
        let registered = writer.and_then(|of| held.instances.get(&(&*change.job, of)));
        let writer_is_registered = registered == Some(&Some(change.session));
        let place = story.changes.len();
        let undone = close(story, line, change, writer);
        let restored = undone.as_ref().and_then(|before| held_claim(before).cloned());
        let base = undone.unwrap_or_else(|| change.old.clone().unwrap_or_default());
        story.changes.push(Change {
            line,
            change,
            writer,
            writer_is_registered,
            holder_lives,
            is_removed,
            plans,
            base,
        });
        let made = change.new.as_ref().and_then(held_claim).filter(|new| old != Some(*new));
        if let Some(restored) = made.and(restored.filter(|restored| Some(restored) == made)) {
            story.reopen(&restored);
        } else if let Some(claim) = made {
            story.claims.push(Claimed {
                made: line,
                change: place,
                epoch: change.index,
                claim,
                starts: Vec::new(),
                ended: None,
                was_lost: false,
                closed: None,
            });
        }
    }
}

/// The claim that a record says is held.
#[must_use]
pub fn held_claim(record: &Record) -> Option<&Claim> {
    record.claim.as_ref().filter(|claim| claim.is_held())
}

/// Closes the open claim if this change does. If it takes it back, says what was before it.
fn close<'a>(
    story: &mut Story<'a>,
    line: usize,
    change: &'a RecordChange,
    writer: Option<&str>,
) -> Option<Record> {
    let place = story.changes.len();
    let open = story.claims.iter().rev().find(|claimed| claimed.closed.is_none())?;
    if change.new.as_ref().and_then(held_claim) == Some(open.claim) {
        return None;
    }
    let before = story.before(open.change);
    let by_holder = writer == Some(&*open.claim.instance);
    let how = match change.new.as_ref() {
        None => How::Removed,
        _ if !by_holder => How::Taken,
        Some(new) if takes_back(&before, new) => How::Undone,
        _ => How::Ended,
    };
    if let Some(open) = story.open_claim() {
        open.closed = Some(Closing { line, change: place, how });
    }
    (how == How::Undone).then_some(before)
}

/// Whether a record says that no run is over and none was claimed since an earlier state of it.
fn takes_back(before: &Record, now: &Record) -> bool {
    let over = now.counts.over() == before.counts.over() && now.last == before.last;
    over && now.counts.ran == before.counts.ran
}
