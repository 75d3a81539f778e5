//! P7: what is over stays over.
//!
//! A fire of a shard whose run ended for good (well, or with no further attempt to come) is never
//! run again: not because a node left, stood still or came back.

use crate::story::{Claimed, How, Stories, Story};
use crate::trace::Line;
use crate::verdict::Verdict;

/// The invariant's name.
pub const NAME: &str = "P7 over is over";

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    for story in stories.shards.values() {
        for (at, claimed) in story.claims.iter().enumerate() {
            if claimed.claim.attempt < 2 {
                continue;
            }
            if let Some(what) = was_over(story, at, claimed) {
                return Verdict::breach(trace, claimed.made, what);
            }
        }
    }
    Verdict::Valid
}

fn was_over(story: &Story<'_>, at: usize, claimed: &Claimed<'_>) -> Option<String> {
    let attempt = claimed.claim.attempt;
    if story.before(claimed.change).claim.is_none() {
        return Some(format!("attempt {attempt} of a fire that was over"));
    }
    // What was taken back never was.
    let undone = |c: &&Claimed<'_>| c.closed.is_some_and(|closing| closing.how == How::Undone);
    let before = story.claims[..at].iter().rev().find(|c| !undone(c))?;
    let is_same = before.claim.fire == claimed.claim.fire;
    // How it was closed by then: a claim that was taken and given back may be closed again later.
    let closing = before.closed.filter(|closing| is_same && closing.change <= claimed.change)?;
    let change = &story.changes[closing.change];
    let succeeded =
        change.change.new.as_ref().is_some_and(|new| new.counts.ok > change.base.counts.ok);
    succeeded.then(|| format!("attempt {attempt} after attempt {} succeeded", attempt - 1))
}
