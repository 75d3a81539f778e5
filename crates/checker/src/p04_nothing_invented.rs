//! P4: nothing is invented.
//!
//! * A first attempt is for a fire that the schedule in force makes due (which of them, is judged by
//!   P18), or for one that someone asked this instance for and that no one ran yet. Where the job has a
//!   listener, one fire is opened for a request, and each shard runs it wherever it is: any instance of
//!   the job must have been asked.
//! * A further attempt follows the attempt before it, of the same fire, after that failed or was
//!   found crashed, and only as often as the definition allows. That none follows what is over, is
//!   judged by P7.
//! * Code is told the fire, attempt and shard of its claim, and starts once under it.

use crate::story::{Allowed, Claimed, How, Stories, Story, held_claim};
use crate::trace::{About, Fact, Line};
use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// The invariant's name.
pub const NAME: &str = "P4 nothing invented";

/// How often a crashed run may be taken over in one fire.
pub const MOST_TAKEOVERS: u32 = 8;

/// Stands for all instances of a job together.
const ANYBODY: &str = "";

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let asked = asked_for(trace);
    for ((job, _), story) in &stories.shards {
        let allowed = stories.allowed.get(job).copied().unwrap_or_default();
        let mut run_on_request = BTreeMap::new();
        for at in 0..story.claims.len() {
            let claimed = &story.claims[at];
            let fits = match claimed.claim.attempt {
                0 => Err("attempts are counted from 1".to_owned()),
                1 if claimed.claim.fire.is_triggered() && stories.listened.contains_key(job) => {
                    let asked = asked.iter().filter(|((of, _), _)| of == job);
                    let asked: Vec<usize> = asked.flat_map(|(_, lines)| lines).copied().collect();
                    was_asked_for(&asked, (story, at), ANYBODY, &mut run_on_request)
                }
                1 if claimed.claim.fire.is_triggered() => {
                    let asked = asked.get(&(*job, &*claimed.claim.instance)).map(Vec::as_slice);
                    let who = &*claimed.claim.instance;
                    was_asked_for(asked.unwrap_or_default(), (story, at), who, &mut run_on_request)
                }
                // Its maker saw that it was made on what no longer stood, and ran nothing.
                1 if claimed.is_taken_back() => Ok(()),
                1 => was_due(stories, story, claimed),
                _ => follows(story, at, allowed),
            };
            if let Err(what) = fits.and_then(|()| ran_as_claimed(trace, claimed)) {
                return Verdict::breach(trace, claimed.made, what);
            }
        }
    }
    Verdict::Valid
}

/// When someone asked an instance to run a job: lines, ascending.
fn asked_for(trace: &[Line]) -> BTreeMap<(&str, &str), Vec<usize>> {
    let mut asked: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, line) in trace.iter().enumerate() {
        let Fact::Mark(mark) = &line.fact else { continue };
        if let (About::Trigger(instance), Some(_)) = (&mark.about, &mark.value) {
            asked.entry((&mark.job, instance)).or_default().push(at);
        }
    }
    asked
}

/// Each request to an instance, or to any, is good for one run of each shard.
fn was_asked_for<'a>(
    asked: &[usize],
    (story, at): (&Story<'a>, usize),
    who: &'a str,
    taken: &mut BTreeMap<&'a str, usize>,
) -> Result<(), String> {
    let claimed = &story.claims[at];
    let before = asked.iter().filter(|line| **line < claimed.made).count();
    let taken = taken.entry(who).or_default();
    if *taken >= before {
        return Err(format!("claimed as asked for, {before} times asked, {taken} times run"));
    }
    // What never started is not what was asked for, and may be claimed once more.
    *taken += usize::from(!claimed.starts.is_empty());
    Ok(())
}

fn was_due(stories: &Stories<'_>, story: &Story<'_>, claimed: &Claimed<'_>) -> Result<(), String> {
    let change = &story.changes[claimed.change];
    let due = claimed.claim.fire.due;
    let (now, earlier) = stories.due(change, due - 1, due)?;
    // A clock that was ahead may have opened it for all shards before the schedule changed.
    let listened = stories.listened.get(&*change.change.job);
    let opened = listened.and_then(|of| of.opened.get(&claimed.claim.fire));
    let was_opened = opened.is_some_and(|line| *line < claimed.made);
    if now + earlier == 0 && !(was_opened && stories.was_ever_due(change, due)) {
        return Err(format!("claimed a fire at {due}, which is not due"));
    }
    Ok(())
}

/// Whether a further attempt may be made.
fn follows(story: &Story<'_>, at: usize, allowed: Allowed) -> Result<(), String> {
    let claimed = &story.claims[at];
    let attempts = claimed.claim.attempt;
    let earlier = story.claims[..at].iter().rev();
    // What was taken back never was.
    let mut earlier = earlier.filter(|c| c.closed.is_none_or(|closing| closing.how != How::Undone));
    let Some(before) = earlier.next() else {
        return Err(format!("attempt {attempts} without one before it"));
    };
    if before.claim.fire != claimed.claim.fire || before.claim.attempt + 1 != attempts {
        return Err(format!("attempt {attempts} follows attempt {}", before.claim.attempt));
    }
    is_allowed(story, before, claimed, allowed)
}

/// Of the runs before this one, those that crashed may be made up for by failover, all others by
/// retries alone. A run counts as crashed if its instance was gone, or cut it off itself.
fn is_allowed(
    story: &Story<'_>,
    before: &Claimed<'_>,
    claimed: &Claimed<'_>,
    allowed: Allowed,
) -> Result<(), String> {
    let (attempts, crashes) = (claimed.claim.attempt, claimed.claim.crashes);
    let change = &story.changes[claimed.change];
    let replaced = change.change.old.as_ref().and_then(held_claim) == Some(before.claim);
    // A holder may take up again what it had lost and was given back.
    let is_others = change.writer != Some(&*before.claim.instance);
    let was_taken = replaced && (is_others || before.was_lost);
    let last = change.change.old.as_ref().and_then(|old| old.last.as_ref());
    let code = last.filter(|_| !replaced).map(|last| last.code.as_str());
    let was_cut = matches!(code, Some("SESSION_LOST" | "SHUTDOWN" | "CRASHED"));
    let may_count = allowed.failover && (was_taken || was_cut);
    let crashes_rose = crashes - before.claim.crashes.min(crashes);
    let failures = attempts.saturating_sub(1 + crashes);
    let most = if allowed.failover { MOST_TAKEOVERS } else { 0 };
    let fits =
        crashes_rose <= u32::from(may_count) && crashes <= most && failures <= allowed.retries;
    match fits {
        true => Ok(()),
        false => Err(format!(
            "attempt {attempts} with {crashes} crashes is not allowed ({allowed:?}, {code:?})"
        )),
    }
}

fn ran_as_claimed(trace: &[Line], claimed: &Claimed<'_>) -> Result<(), String> {
    if claimed.starts.len() > 1 {
        return Err(format!("code started {} times under one claim", claimed.starts.len()));
    }
    let Some(Fact::Start(probe)) = claimed.starts.first().map(|at| &trace[*at].fact) else {
        return Ok(());
    };
    let same = probe.fire == claimed.claim.fire && probe.attempt == claimed.claim.attempt;
    match same {
        true => Ok(()),
        false => Err(format!(
            "code was told {:?} attempt {}, the claim says otherwise",
            probe.fire, probe.attempt
        )),
    }
}
