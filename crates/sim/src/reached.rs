//! States worth reaching: a simulation in which they never come up proves little.

use crate::outcome::Counts;
use flockwork_checker::story::{Claimed, How, Stories, Story};
use flockwork_checker::trace::{About, Fact, Line, Mark, Part, Stage};
use std::collections::{BTreeMap, BTreeSet};

/// States that need no listener.
const STATES: [&str; 79] = [
    "a request through a node was made",
    "a request through a node was not made",
    "a request through a node had an answer that was lost",
    "a claim was taken over",
    "a claim was taken over on another node",
    "a claim was closed as crashed",
    "a claim was taken back",
    "a fire was claimed ahead and run",
    "a fire was claimed ahead and given back",
    "a fire was claimed ahead by a node that died",
    "a run was tried again on another node",
    "a run was tried again on the same node",
    "a run ended after its claim was taken",
    "a run under a new session ended its old claim",
    "fires were misfired",
    "one run made up for fires held up",
    "fires were skipped",
    "fires were missed",
    "a missed fire was caught up on",
    "a run was asked for",
    "a shard moved to another node",
    "a node that waited to leave handed a shard over",
    "a node that waited to leave stayed",
    "the schedule changed",
    "the number of shards changed",
    "a commit arrived after its connection broke",
    "a commit took effect after its answer was lost",
    "a session outlived its connection",
    "a session ended under living runs",
    "a session ended during a pause",
    "a node learned that its session was over",
    "a crash kills runs",
    "no node lived",
    "a node drained and left",
    "a run was cancelled by its time-out",
    "a run was stopped as its session was lost",
    "a claim whose answer was lost was committed and run",
    "a claim whose answer was lost was never made",
    "a claim went with its job",
    "a clock was set back",
    "a clock was set forward",
    "a record was set back",
    "a record was set back beside instants that ran",
    "a schedule that was to begin later began at once",
    "a commit found the disk full",
    "a connection broke with requests under way",
    "a definition was edited in the registry",
    "a definition was of a newer release",
    "a definition was replaced",
    "a job was added while others ran",
    "a job was removed while it ran",
    "a node was suspended",
    "a node withdrew a job",
    "a removed job was made anew",
    "a request was refused",
    "a run did not stop when told to",
    "a refusal was told under the next session",
    "a run was stopped as its job was removed",
    "a run was stopped by a shutdown",
    "a server was switched off",
    "an operator took an instance off a job",
    "a job's instances were removed before its definition",
    "an instance was taken off while it ran",
    "a session ended in a one-way partition",
    "a session outlived a restart of the registry",
    "all nodes were restarted in turn",
    "an end was superseded",
    "answers stood still",
    "requests stood still",
    "the registry restarted",
    "the registry stood still",
    "a multi was done and its answer lost on the wire",
    "a reply was cut in the middle",
    "a request came after its session had moved",
    "a request was cut in the middle",
    "a server behind what was seen was left",
    "a server was killed",
    "a session moved to another server",
    "a session was refused after a reset of the ensemble",
];

/// The same, where jobs have listeners.
const OF_LISTENERS: [&str; 6] = [
    "a listener's before timed out",
    "a listener's before was repeated elsewhere",
    "a listener's after was called again",
    "a fire was passed as its before had failed",
    "a fire with a listener was asked for",
    "a fire was closed as a shard had no owner",
];

/// The same, where jobs run scripts.
const OF_SCRIPTS: [&str; 4] = [
    "a host could not start a script from the beginning",
    "a host could not start a script any more",
    "an instance said why it may not serve a job",
    "an instance served a job that it could not serve before",
];

/// All states that 300 seeds must reach.
#[must_use]
pub fn states() -> Vec<&'static str> {
    STATES.iter().chain(&OF_LISTENERS).chain(&OF_SCRIPTS).copied().collect()
}

/// Counts the states that the trace tells of.
pub(crate) fn count(trace: &[Line], stories: &Stories<'_>, counts: &mut Counts) {
    for story in stories.shards.values() {
        for at in 0..story.claims.len() {
            claim(trace, story, at, counts);
        }
        for change in &story.changes {
            let Some(new) = &change.change.new else { continue };
            let old = &change.base.counts;
            counts.reach_if("fires were misfired", new.counts.misfired > old.misfired);
            counts.reach_if("fires were skipped", new.counts.skipped > old.skipped);
            counts.reach_if("fires were missed", new.counts.missed > old.missed);
            counts.reach_if("a record was set back", change.is_set_back());
            let has_run = change.is_set_back() && !new.ran.is_empty();
            counts.reach_if("a record was set back beside instants that ran", has_run);
            let begins = change.is_set_back() && new.begins.is_some();
            counts.reach_if("a schedule that was to begin later began at once", begins);
        }
    }
    plans(trace, counts);
    leavers(trace, counts);
    listeners(trace, counts);
    scripts(trace, counts);
    lost_claims(trace, stories, counts);
}

fn claim(trace: &[Line], story: &Story<'_>, at: usize, counts: &mut Counts) {
    let claimed = &story.claims[at];
    counts.claims += 1;
    match claimed.claim.fire.source.as_str() {
        "misfire" => counts.reach("one run made up for fires held up"),
        "catch-up" => counts.reach("a missed fire was caught up on"),
        "trigger" => counts.reach("a run was asked for"),
        _ => {}
    }
    ahead(claimed, counts);
    let next = story.claims.get(at + 1);
    let goes_on =
        next.filter(|next| next.claim.fire == claimed.claim.fire && next.claim.attempt > 1);
    let elsewhere = goes_on.is_some_and(|next| next.claim.instance != claimed.claim.instance);
    match claimed.closed.map(|closing| closing.how) {
        Some(How::Taken) => {
            counts.takeovers += u64::from(goes_on.is_some());
            counts.reach_if("a claim was taken over", goes_on.is_some());
            counts.reach_if("a claim was taken over on another node", elsewhere);
            counts.reach_if("a claim was closed as crashed", goes_on.is_none());
        }
        Some(How::Undone) => counts.reach("a claim was taken back"),
        Some(How::Removed) => counts.reach("a claim went with its job"),
        Some(How::Ended) if goes_on.is_some() => {
            counts.reach_if("a run was tried again on another node", elsewhere);
            counts.reach_if("a run was tried again on the same node", !elsewhere);
        }
        Some(How::Ended) | None => {}
    }
    sessions(trace, story, claimed, counts);
}

fn ahead(claimed: &Claimed<'_>, counts: &mut Counts) {
    let claim = claimed.claim;
    if claim.at.is_none_or(|at| claim.fire.due <= at) || claim.fire.is_triggered() {
        return;
    }
    let has_run = !claimed.starts.is_empty();
    counts.reach_if("a fire was claimed ahead and run", has_run);
    match claimed.closed.map(|closing| closing.how) {
        Some(How::Undone) => counts.reach("a fire was claimed ahead and given back"),
        Some(How::Taken) if !has_run => {
            counts.reach("a fire was claimed ahead by a node that died");
        }
        _ => {}
    }
}

fn sessions(_: &[Line], story: &Story<'_>, claimed: &Claimed<'_>, counts: &mut Counts) {
    let Some(closing) = claimed.closed else { return };
    let after = claimed.ended.is_some_and(|(line, _)| line > closing.line);
    counts.reach_if("a run ended after its claim was taken", after && closing.how == How::Taken);
    let session = |change: usize| story.changes[change].change.session;
    let moved_on = session(claimed.change) != session(closing.change);
    counts.reach_if(
        "a run under a new session ended its old claim",
        moved_on && closing.how == How::Ended,
    );
}

fn plans(trace: &[Line], counts: &mut Counts) {
    let mut last = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for line in trace {
        match &line.fact {
            Fact::Plan(plan) => {
                if let Some((schedule, shards)) =
                    last.insert(&plan.job, (&plan.schedule, plan.shards))
                {
                    counts.reach_if("the schedule changed", *schedule != plan.schedule);
                    counts.reach_if("the number of shards changed", shards != plan.shards);
                }
            }
            Fact::End { .. } => counts.completed += 1,
            Fact::Mark(mark) => {
                let About::Owner(shard) = mark.about else { continue };
                let before = owners.insert((&mark.job, shard), mark.value.as_ref());
                let moved =
                    before.flatten().is_some_and(|owner| Some(owner) != mark.value.as_ref());
                counts.reach_if("a shard moved to another node", moved);
            }
            _ => {}
        }
    }
}

/// Those who wait for their runs before they leave a job.
fn leavers(trace: &[Line], counts: &mut Counts) {
    let marks = || {
        trace.iter().filter_map(|line| match &line.fact {
            Fact::Mark(mark) => Some(mark),
            _ => None,
        })
    };
    let is_gone = |mark: &&Mark| mark.value.is_none();
    let left: BTreeSet<(&str, u64)> = marks()
        .filter(|mark| is_gone(mark) && matches!(mark.about, About::Instance(_)))
        .map(|mark| (&*mark.job, mark.index))
        .collect();
    let (mut leaving, mut owners) = (BTreeSet::new(), BTreeMap::new());
    for mark in marks() {
        match (&mark.about, &mark.value) {
            (About::Leaver(id), Some(_)) => drop(leaving.insert((&*mark.job, id.as_str()))),
            (About::Leaver(id), None) => {
                leaving.remove(&(&*mark.job, id.as_str()));
                let stayed = !left.contains(&(&*mark.job, mark.index));
                counts.reach_if("a node that waited to leave stayed", stayed);
            }
            (About::Owner(shard), Some(owner)) => {
                let before = owners.insert((&*mark.job, *shard), owner.as_str());
                let handed =
                    before.is_some_and(|old| old != owner && leaving.contains(&(&*mark.job, old)));
                counts.reach_if("a node that waited to leave handed a shard over", handed);
            }
            _ => {}
        }
    }
}

/// What became of fires whose job has a listener, and of its calls.
fn listeners(trace: &[Line], counts: &mut Counts) {
    let mut called = BTreeMap::new();
    for line in trace {
        match &line.fact {
            Fact::CallBegins(call) => {
                let of = (&call.job, call.part, &call.fire);
                let before = called.insert(of, &call.instance);
                let is_again = before.is_some() && call.part == Part::After;
                counts.reach_if("a listener's after was called again", is_again);
                let moved = before.is_some_and(|before| *before != call.instance);
                let is_moved = moved && call.part == Part::Before;
                counts.reach_if("a listener's before was repeated elsewhere", is_moved);
            }
            Fact::CallEnds { call, code } => {
                let timed_out = call.part == Part::Before && code == "TIMED_OUT";
                counts.reach_if("a listener's before timed out", timed_out);
            }
            Fact::Stage(change) => match &change.stage {
                Some(Stage::Passed { reason, .. }) if reason == "BEFORE_FAILED" => {
                    counts.reach("a fire was passed as its before had failed");
                }
                Some(Stage::Open { fire, .. }) if fire.is_triggered() => {
                    counts.reach("a fire with a listener was asked for");
                }
                Some(Stage::Closing { .. }) => {
                    counts.reach("a fire was closed as a shard had no owner");
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Who could not start a script, and what it said.
fn scripts(trace: &[Line], counts: &mut Counts) {
    let mut said = BTreeSet::new();
    for line in trace {
        match &line.fact {
            Fact::Script { can: false, .. } => counts.reach(match line.at {
                0 => "a host could not start a script from the beginning",
                _ => "a host could not start a script any more",
            }),
            Fact::Mark(Mark { job, about: About::Ineligible(id), value: Some(_), .. }) => {
                counts.reach("an instance said why it may not serve a job");
                said.insert((job, id));
            }
            Fact::Mark(Mark { job, about: About::Instance(id), value: Some(_), .. }) => {
                let could_not = said.remove(&(job, id));
                counts
                    .reach_if("an instance served a job that it could not serve before", could_not);
            }
            _ => {}
        }
    }
}

fn lost_claims(trace: &[Line], stories: &Stories<'_>, counts: &mut Counts) {
    let lost: BTreeSet<u64> = trace
        .iter()
        .filter_map(|line| match &line.fact {
            Fact::Fault(flockwork_checker::trace::Fault::LostAnswer { index, .. }) => *index,
            _ => None,
        })
        .collect();
    let claims = stories.shards.values().flat_map(|story| &story.claims);
    let run = claims.filter(|c| lost.contains(&c.epoch) && !c.starts.is_empty()).count();
    for _ in 0..run {
        counts.reach("a claim whose answer was lost was committed and run");
    }
    for _ in 0..counts.lost_and_not_claimed {
        counts.reach("a claim whose answer was lost was never made");
    }
}
