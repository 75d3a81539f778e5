//! P17: who stops, or takes itself off a job, leaves nothing behind. Code is that of shards and of listeners.
//!
//! * Nothing starts in a process after it was told to stop.
//! * When it has left, no code of it runs, and no claim of it is held that code had run under. One
//!   that another took, and gave back after the leaver had been refused, is no longer its to end:
//!   P6 wants it seen to.
//! * Nobody takes itself off a job while code of it runs there: others would take that for gone, and
//!   run it again beside it. (A session that ends takes its node off, too; it commits nothing after.)
//! * Who is told to stop leaves within [`Weather::recovery`](crate::weather::Weather::recovery), which begins anew
//!   with whatever goes wrong meanwhile.

use crate::story::Stories;
use crate::trace::{About, Call, Fact, Fault, Fire, Line, Mark, Part, Probe};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub const NAME: &str = "P17 clean stop";

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let mut told: BTreeMap<u32, usize> = BTreeMap::new();
    let mut running: BTreeMap<u32, BTreeSet<Code<'_>>> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Drain { node } => drop(told.insert(*node, at)),
            Fact::Node { node, .. } => {
                told.remove(node);
                running.remove(node);
            }
            Fact::Fault(Fault::Crash { node, .. }) => {
                told.remove(node);
                running.remove(node);
            }
            Fact::Exit { node, instance } => {
                told.remove(node);
                if running.get(node).is_some_and(|runs| !runs.is_empty()) {
                    return Verdict::breach(trace, at, "it left while its code ran");
                }
                if let Some(held) = held_by(stories, instance, at) {
                    return Verdict::breach(trace, held, "its holder left, and it is still held");
                }
            }
            fact => match (begins(fact), ends(fact)) {
                (Some((node, ..)), _) if told.contains_key(&node) => {
                    return Verdict::breach(
                        trace,
                        at,
                        "code started after its node was told to stop",
                    );
                }
                (Some((node, _, code)), _) if !ended.contains(&code) => {
                    running.entry(node).or_default().insert(code);
                }
                (_, Some((node, _, code))) => {
                    running.entry(node).or_default().remove(&code);
                    ended.insert(code);
                }
                _ => {}
            },
        }
    }
    if let Some((line, what)) = left_a_job_early(trace) {
        return Verdict::breach(trace, line, what);
    }
    let weather = &stories.weather;
    let late = told
        .values()
        .find(|line| weather.calm_for(trace[**line].at, weather.recovery()) < stories.over.0);
    match late {
        Some(line) => Verdict::breach(trace, *line, "told to stop, and it never left"),
        None => Verdict::Valid,
    }
}

/// Code under way: of which job, of which shard or call, under which token.
type Code<'a> = (&'a str, Of<'a>, u64);

/// Whose code it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of<'a> {
    Shard(u32),
    Call(Part, &'a Fire, u32),
}

fn of_shard(probe: &Probe) -> (u32, &str, Code<'_>) {
    (probe.node, &probe.instance, (&probe.job, Of::Shard(probe.shard), probe.epoch))
}

fn of_call(call: &Call) -> (u32, &str, Code<'_>) {
    let of = Of::Call(call.part, &call.fire, call.attempt);
    (call.node, &call.instance, (&call.job, of, call.epoch))
}

/// The code that starts: on which node and instance, and which.
fn begins(fact: &Fact) -> Option<(u32, &str, Code<'_>)> {
    match fact {
        Fact::Start(probe) => Some(of_shard(probe)),
        Fact::CallBegins(call) => Some(of_call(call)),
        _ => None,
    }
}

fn ends(fact: &Fact) -> Option<(u32, &str, Code<'_>)> {
    match fact {
        Fact::End { probe, .. } => Some(of_shard(probe)),
        Fact::CallEnds { call, .. } => Some(of_call(call)),
        _ => None,
    }
}

/// Where an instance took itself off a job while its code ran.
fn left_a_job_early(trace: &[Line]) -> Option<(usize, String)> {
    let last_commit = last_commits(trace);
    let mut registered: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut running: BTreeMap<&str, BTreeSet<Code<'_>>> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Fault(Fault::Crash { instance, .. }) => drop(running.remove(&**instance)),
            Fact::Mark(Mark {
                job, session, index, about: About::Instance(who), value, ..
            }) => {
                let known = registered.remove(&(&**job, &**who));
                if value.is_some() {
                    registered.insert((job, who), *session);
                    continue;
                }
                // A session that ends takes its marks along, and commits nothing after.
                let goes_on = last_commit.get(session).is_some_and(|last| last > index);
                let runs = running.get(&**who);
                let is_running = runs.is_some_and(|runs| runs.iter().any(|(of, ..)| of == job));
                if known == Some(*session) && *session != 0 && goes_on && is_running {
                    return Some((at, format!("it took itself off {job} while its code ran")));
                }
            }
            fact => match (begins(fact), ends(fact)) {
                (Some((_, instance, code)), _) if !ended.contains(&code) => {
                    running.entry(instance).or_default().insert(code);
                }
                (_, Some((_, instance, code))) => {
                    running.entry(instance).or_default().remove(&code);
                    ended.insert(code);
                }
                _ => {}
            },
        }
    }
    None
}

/// The last commit of each session.
fn last_commits(trace: &[Line]) -> BTreeMap<u64, u64> {
    let commit = |line: &Line| match &line.fact {
        Fact::Record(change) => Some((change.session, change.index)),
        Fact::Stage(change) => Some((change.session, change.index)),
        Fact::Mark(mark) => Some((mark.session, mark.index)),
        _ => None,
    };
    trace.iter().filter_map(commit).collect()
}

/// The line of a claim that an instance held at a line.
fn held_by(stories: &Stories<'_>, instance: &str, at: usize) -> Option<usize> {
    let claims = stories.shards.values().flat_map(|story| &story.claims);
    let held = claims.into_iter().find(|claimed| {
        claimed.claim.instance == instance
            && claimed.made < at
            && !claimed.starts.is_empty()
            && !claimed.was_lost
            && claimed.closed.is_none_or(|closing| closing.line > at)
    });
    held.map(|claimed| claimed.made)
}
