//! P5: never early, and on time when all is well.
//!
//! * Code for a fire, on its first attempt, or where what went before was claimed ahead and ran no
//!   code, starts no sooner than the clock of its node shows the fire's instant. A clock that was set
//!   less than [`SET`] before may have shown it and not any more. Where the clock of who claimed it was
//!   ahead, who took it over waits for [`WAIT`] at most.
//! * Where the job has a listener, that holds of the first call of `before`: the fire is opened by the clock
//!   of who leads the job, and what shards do of it follows from that.
//! * A fire of the schedule is claimed no sooner than its job's definitions let it be, by the clock of who
//!   claims it.
//! * Where nothing went wrong and nothing was changed for [`CALM`], a fire starts within
//!   [`TOLERANCE`], or within that after it was opened, unless an earlier run of its shard was under way, on its node also one whose claim is
//!   lost, or its node had no place.

use crate::story::{Claimed, Stories, Story};
use crate::trace::{About, Call, Claim, Fact, Line, Part};
use crate::verdict::Verdict;
use crate::weather::Weather;
use std::collections::BTreeMap;

/// The invariant's name.
pub const NAME: &str = "P5 never early";

/// How late a fire may start when all is well: milliseconds.
pub const TOLERANCE: i64 = 2_000;
/// How long all must have been well: milliseconds.
pub const CALM: u64 = 60_000;
/// What is too little to tell, between what a clock shows and what it is asked for: milliseconds.
pub const MARGIN: i64 = 10;
/// For how long the setting of a clock excuses: milliseconds.
pub const SET: u64 = 120_000;

/// For how long what was claimed ahead and taken over waits for an instant that is far off: what any
/// claim is made ahead at most, less what clocks drift in that time. Milliseconds.
pub const WAIT: u64 = 9_950;

#[derive(Clone, Copy, Default)]
struct Clock {
    offset: i64,
    drift: i64,
    set_at: u64,
}

impl Clock {
    /// What it shows at an instant of the trace; and by how much that is too early for a fire, if it is.
    fn early(self, wall: i64, at: u64, due: i64) -> (i64, Option<i64>) {
        let since = at - self.set_at;
        let shown = wall + signed(at) + self.offset + signed(since) * self.drift / 1_000_000;
        let was_set = self.set_at > 0 && since < SET;
        (shown, (shown + MARGIN < due && !was_set).then_some(due - shown))
    }
}

/// Who calls again goes by what was written.
fn is_first_of_schedule(call: &Call) -> bool {
    call.part == Part::Before && call.attempt == 1 && !call.fire.is_triggered()
}

/// Where the fire of a claim had been opened for all shards, if it had.
fn opened(stories: &Stories<'_>, job: &str, claimed: &Claimed<'_>) -> Option<usize> {
    let opened = stories.listened.get(job)?.opened.get(&claimed.claim.fire).copied();
    opened.filter(|line| *line < claimed.made)
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let mut clocks: BTreeMap<u32, Clock> = BTreeMap::new();
    let wall = stories.over.1 - signed(stories.over.0);
    let (mut shown_at, mut early) = (BTreeMap::new(), BTreeMap::new());
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Clock { node, offset, drift } => {
                clocks.insert(*node, Clock { offset: *offset, drift: *drift, set_at: line.at });
            }
            Fact::Start(probe) if !probe.fire.is_triggered() => {
                let clock = clocks.get(&probe.node).copied().unwrap_or_default();
                let (shown, by) = clock.early(wall, line.at, probe.fire.due);
                shown_at.insert(at, shown);
                early.extend(by.map(|by| (at, by)));
            }
            Fact::CallBegins(call) if is_first_of_schedule(call) => {
                let clock = clocks.get(&call.node).copied().unwrap_or_default();
                if let (_, Some(by)) = clock.early(wall, line.at, call.fire.due) {
                    return Verdict::breach(trace, at, format!("before was called {by} ms early"));
                }
            }
            _ => {}
        }
    }
    if let Some((line, by)) = begun_early(trace, stories, &early) {
        return Verdict::breach(trace, line, format!("code started {by} ms early"));
    }
    if let Some((line, what)) = claimed_too_soon(stories) {
        return Verdict::breach(trace, line, what);
    }
    match late(trace, stories, (wall, &shown_at)) {
        Some((line, what)) => Verdict::breach(trace, line, what),
        None => Verdict::Valid,
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// The first code that started before it was due, of those for whose fire no code had run before.
fn begun_early(
    trace: &[Line],
    stories: &Stories<'_>,
    early: &BTreeMap<usize, i64>,
) -> Option<(usize, i64)> {
    let of_story = |(job, story): (&str, &Story<'_>)| {
        let is_fresh = |at: &usize| {
            let Claim { fire, attempt: 2.., .. } = story.claims[*at].claim else { return true };
            let mut before =
                story.claims[..*at].iter().filter(|earlier| earlier.claim.fire == *fire);
            before.all(|earlier| {
                let was_ahead = earlier.claim.at.is_some_and(|made| made < fire.due);
                was_ahead && earlier.starts.is_empty()
            })
        };
        let starts = (0..story.claims.len()).filter(is_fresh);
        let has_waited = |claimed: &Claimed<'_>, line: usize| {
            claimed.claim.attempt > 1 && trace[line].at - trace[claimed.made].at >= WAIT
        };
        let mut claims = starts.map(|at| &story.claims[at]);
        claims.find_map(|claimed| {
            let line = claimed.starts.first().copied()?;
            let is_opened = opened(stories, job, claimed).is_some();
            let by = early.get(&line).filter(|_| !is_opened && !has_waited(claimed, line))?;
            Some((line, *by))
        })
    };
    let all = stories.shards.iter().map(|((job, _), story)| (*job, story));
    all.filter_map(of_story).min()
}

fn claimed_too_soon(stories: &Stories<'_>) -> Option<(usize, String)> {
    stories.shards.iter().find_map(|((job, _), story)| {
        let most = stories.allowed.get(job).map_or(0, |allowed| signed(allowed.ahead));
        story.claims.iter().find_map(|claimed| {
            let claim = claimed.claim;
            let ahead = claim.at.map_or(0, |at| claim.fire.due - at);
            let is_first = claim.attempt == 1 && !claim.fire.is_triggered();
            (is_first && ahead > most && opened(stories, job, claimed).is_none())
                .then(|| (claimed.made, format!("claimed {ahead} ms ahead, {most} are allowed")))
        })
    })
}

/// What started late, by the clocks of the nodes.
fn late(
    trace: &[Line],
    stories: &Stories<'_>,
    (wall, shown_at): (i64, &BTreeMap<usize, i64>),
) -> Option<(usize, String)> {
    let weather = &stories.weather;
    for ((job, _), story) in &stories.shards {
        for (at, claimed) in story.claims.iter().enumerate() {
            let is_plain = claimed.claim.fire.source == "schedule" && claimed.claim.attempt == 1;
            let Some(line) = claimed.starts.first().copied().filter(|_| is_plain) else { continue };
            let due = u64::try_from(claimed.claim.fire.due - wall).unwrap_or(0);
            // Late by its node's clock, and not for having been set forward just then.
            let by_clock = shown_at.get(&line).map_or(0, |shown| shown - claimed.claim.fire.due);
            // That it is opened in time is judged by P22.
            let due = opened(stories, job, claimed).map_or(due, |open| due.max(trace[open].at));
            let late = by_clock.min(signed(trace[line].at) - signed(due));
            if late > TOLERANCE
                && was_calm(weather, due, trace[line].at)
                && was_free(trace, story, at, due)
                && had_room(trace, stories, claimed, due)
                && !was_leaving(&trace[..line], job, &claimed.claim.instance, due)
            {
                return Some((line, format!("code started {late} ms late though all was well")));
            }
        }
    }
    None
}

fn was_calm(weather: &Weather, due: u64, started: u64) -> bool {
    due >= CALM && weather.is_calm(due - CALM, started)
}

/// Whether an instance was marked as about to leave a job at an instant or since. If it is given the job once
/// more, it takes up what waited.
fn was_leaving(trace: &[Line], job: &str, instance: &str, since: u64) -> bool {
    let own = trace.iter().rev().filter_map(|line| match &line.fact {
        Fact::Mark(mark) if mark.job == job && mark.about == About::Leaver(instance.to_owned()) => {
            Some((line.at, mark.value.is_some()))
        }
        _ => None,
    });
    // The newest first: all since then, and the one that held at that instant.
    let mut is_older = false;
    own.take_while(|(at, _)| !std::mem::replace(&mut is_older, *at < since))
        .any(|(_, is_marked)| is_marked)
}

/// Whether no earlier run of the shard was under way, there or, its claim lost, on the same node.
fn was_free(trace: &[Line], story: &Story<'_>, at: usize, due: u64) -> bool {
    let own = &story.claims[at].claim.instance;
    let runs_on = |earlier: &Claimed<'_>| {
        let ended = earlier.ended.map_or(u64::MAX, |(line, _)| trace[line].at);
        earlier.claim.instance == *own && !earlier.starts.is_empty() && ended >= due
    };
    if story.claims[..at].iter().any(runs_on) {
        return false;
    }
    let before = story.claims[..at].last();
    before.is_none_or(|before| {
        let closed = before.closed.map(|closing| trace[closing.line].at);
        closed.is_some_and(|closed| closed < due) && !is_released(story, before)
    })
}

fn is_released(story: &Story<'_>, claimed: &Claimed<'_>) -> bool {
    let change = claimed.closed.map(|closing| story.changes[closing.change].change);
    change.and_then(|change| change.new.as_ref()).is_some_and(|new| new.claim.is_some())
}

/// Whether the node had a place for one more run all the while.
fn had_room(trace: &[Line], stories: &Stories<'_>, claimed: &Claimed<'_>, due: u64) -> bool {
    let mine = |claim: &Claimed<'_>| claim.claim.instance == claimed.claim.instance;
    let open = |claim: &&Claimed<'_>| {
        let closed = claim.closed.map_or(u64::MAX, |closing| trace[closing.line].at);
        mine(claim) && trace[claim.made].at <= trace[claimed.made].at && closed >= due
    };
    let under_way = stories.shards.values().flat_map(|story| &story.claims).filter(open).count();
    let slots = trace.iter().find_map(|line| match &line.fact {
        Fact::Node { instance, slots, .. } if *instance == claimed.claim.instance => Some(*slots),
        _ => None,
    });
    (under_way as u64) < slots.unwrap_or(0)
}
