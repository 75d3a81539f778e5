//! P10: unknown is not no.
//!
//! * Code, of a shard or of a listener, starts only in a process that was told its session is proven, before the instant until
//!   which it is; never while it was told that it is not.
//! * A claim that was committed is never forgotten: by the end its code has started, or it was
//!   closed, if its job still has the shard; whatever became of the answer that should have told
//!   its maker.
//! * A claim that is taken back was not run, and none is claimed anew by who holds it and has not
//!   run it.

use crate::story::{Claimed, How, Stories, Story, held_claim};
use crate::trace::{Call, Fact, Line, Probe, Unseen};
use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// The invariant's name.
pub const NAME: &str = "P10 unknown is not no";

/// How long a claim may be held before its code starts: milliseconds. Above it, it was forgotten.
pub const TOLERANCE: u64 = 10_000;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    let shows_trust = !stories.unseen.contains(&Unseen::Trust);
    if let Some((line, what)) = shows_trust.then(|| untrusted_start(trace)).flatten() {
        return Verdict::breach(trace, line, what);
    }
    for ((job, shard), story) in &stories.shards {
        // A shard that the definition no longer has is looked after when it has it again.
        let plan = stories.plans.get(job).and_then(|plans| plans.last());
        let is_counted = plan.is_some_and(|plan| *shard < plan.shards);
        for claimed in &story.claims {
            let forgotten = is_counted
                && claimed.starts.is_empty()
                && claimed.closed.is_none()
                && trace[claimed.made].at + TOLERANCE <= stories.over.0;
            if forgotten {
                let what = "the claim was committed, and its maker forgot it";
                return Verdict::breach(trace, claimed.made, what);
            }
            if claimed.starts.is_empty() && is_claimed_again_by_its_maker(story, claimed) {
                let what = "its maker claimed anew what it held, and had not run";
                return Verdict::breach(trace, claimed.made, what);
            }
            let undone = claimed.closed.is_some_and(|closing| closing.how == How::Undone);
            if let Some(line) = claimed.starts.first().filter(|_| undone) {
                return Verdict::breach(trace, *line, "code ran under a claim that was taken back");
            }
        }
    }
    Verdict::Valid
}

/// Whether the holder itself put another claim of its own in the place of one that it held: it had
/// taken it for not made.
fn is_claimed_again_by_its_maker(story: &Story<'_>, claimed: &Claimed<'_>) -> bool {
    let Some(closing) = claimed.closed.filter(|closing| closing.how == How::Ended) else {
        return false;
    };
    let next = story.changes[closing.change].change.new.as_ref().and_then(held_claim);
    next.is_some_and(|next| next.instance == claimed.claim.instance)
}

fn untrusted_start(trace: &[Line]) -> Option<(usize, String)> {
    let mut trusted: BTreeMap<u32, u64> = BTreeMap::new();
    for (at, line) in trace.iter().enumerate() {
        match &line.fact {
            Fact::Trust { node, until, .. } => {
                trusted.insert(*node, *until);
            }
            // A new process knows nothing of its forerunner's session.
            Fact::Distrust { node } | Fact::Node { node, .. } => {
                trusted.remove(node);
            }
            Fact::Start(Probe { node, .. }) | Fact::CallBegins(Call { node, .. }) => match trusted
                .get(node)
            {
                None => return Some((at, "code started without a proven session".to_owned())),
                Some(until) if line.at >= *until => {
                    let late = line.at - until;
                    return Some((at, format!("code started {late} ms after the trust had ended")));
                }
                Some(_) => {}
            },
            _ => {}
        }
    }
    None
}
