//! P6: a run whose process died is taken over in time.
//!
//! A claim whose holder died is closed within the session's time-out and [`TOLERANCE`]: by a further
//! attempt where the job takes over, otherwise perhaps as crashed. Whenever something goes wrong or is
//! changed meanwhile, that time begins anew.

use crate::p04_nothing_invented::MOST_TAKEOVERS;
use crate::story::{Claimed, How, Stories, Story};
use crate::trace::Line;
use crate::verdict::Verdict;

/// The invariant's name.
pub const NAME: &str = "P6 taken over";

/// How long beyond the time-out it may take: for the registry to notice, for a place to be free at
/// the one who takes over. Milliseconds.
pub const TOLERANCE: u64 = 75_000;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let weather = &stories.weather;
    let long = weather.timeout + TOLERANCE;
    for ((job, shard), story) in &stories.shards {
        if !stories.is_looked_after(job, *shard) {
            continue;
        }
        // One that never started is judged by P10.
        for claimed in story.claims.iter().filter(|claimed| !claimed.starts.is_empty()) {
            let Some(death) = death_during(stories, claimed) else { continue };
            let deadline = weather.calm_for(trace[death].at, long);
            let closed = claimed.closed.map_or(u64::MAX, |closing| trace[closing.line].at);
            if closed > deadline && deadline < stories.over.0 {
                let what = format!("its holder died at line {death}, nobody took it over in time");
                return Verdict::breach(trace, claimed.made, what);
            }
            if must_go_on(stories, job, claimed) && was_given_up(story, claimed) {
                let what = "its holder died; its job takes over, and it was closed as crashed";
                return Verdict::breach(trace, claimed.made, what.to_owned());
            }
        }
    }
    Verdict::Valid
}

/// Whether a run that crashed is to be run again, whatever definition was in force.
fn must_go_on(stories: &Stories<'_>, job: &str, claimed: &Claimed<'_>) -> bool {
    let always = stories.allowed.get(job).is_some_and(|allowed| allowed.always_failover);
    always && claimed.claim.crashes < MOST_TAKEOVERS
}

/// Whether someone else closed a claim without another attempt.
fn was_given_up(story: &Story<'_>, claimed: &Claimed<'_>) -> bool {
    let Some(closing) = claimed.closed.filter(|closing| closing.how == How::Taken) else {
        return false;
    };
    let left = story.changes[closing.change].change.new.as_ref();
    left.is_some_and(|record| record.claim.is_none())
}

/// The line at which the holder of a claim died, while it held it.
fn death_during(stories: &Stories<'_>, claimed: &Claimed<'_>) -> Option<usize> {
    let death = *stories.dead.get(&*claimed.claim.instance)?;
    let is_open = claimed.closed.is_none_or(|closing| closing.line > death);
    (death > claimed.made && is_open).then_some(death)
}
