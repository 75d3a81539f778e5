//! P1: one holder per epoch.
//!
//! In commit order, for each shard:
//! * commits are numbered upwards, and so are the claims' epochs;
//! * every change of the record demands the commit of the change before it, so a write made under
//!   an earlier claim is refused, never silently obeyed;
//! * a held claim is ended or replaced by its holder alone, or by others once the holder's instance
//!   is no longer registered; a claim is made in the name of the instance that writes it, while it
//!   is registered for the job under the session that writes (else others believe it gone);
//! * the holder ends a claim only after the code that ran under it has ended, and says of it what
//!   the code said;
//! * code starts while its claim stands in the registry, in the process of the claim's instance. Where
//!   somebody took that instance off the job while its session lived, others take its claims over at
//!   once, and it may start what it had claimed until it hears of that: for the time-out at the most,
//!   after which it does not trust its session any more.

use crate::story::{Change, Claimed, Closing, How, Stories, Story, held_claim};
use crate::trace::{Fact, Line, Probe, Unseen};
use crate::verdict::Verdict;

/// The invariant's name.
pub const NAME: &str = "P1 one holder";

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    for ((job, _), story) in &stories.shards {
        let shows_guards = !stories.unseen.contains(&Unseen::Guards);
        let broken = unfenced(story, shows_guards)
            .or_else(|| not_the_holders(story))
            .or_else(|| closed_too_early(story))
            .or_else(|| started_without(trace, stories, (job, story)));
        if let Some((line, what)) = broken {
            return Verdict::breach(trace, line, what);
        }
    }
    Verdict::Valid
}

type Breach = Option<(usize, String)>;

fn unfenced(story: &Story<'_>, shows_guards: bool) -> Breach {
    let mut last: Option<&Change<'_>> = None;
    for change in &story.changes {
        let index = change.change.index;
        let before = last.map(|last| last.change.index);
        if before.is_some_and(|before| index <= before) {
            return Some((change.line, format!("commit {index} comes after commit {before:?}")));
        }
        let exists = change.change.old.is_some();
        let goes = change.is_removed && change.change.new.is_none();
        if shows_guards && exists && !goes && change.change.guard != before {
            let guard = change.change.guard;
            return Some((
                change.line,
                format!("a write that demanded commit {guard:?} was obeyed at {before:?}"),
            ));
        }
        last = Some(change);
    }
    None
}

fn not_the_holders(story: &Story<'_>) -> Breach {
    story.changes.iter().find_map(|change| {
        let old = change.change.old.as_ref().and_then(held_claim);
        let new = change.change.new.as_ref().and_then(held_claim);
        if let Some(old) = old.filter(|old| new != Some(*old)) {
            let is_holder = change.writer == Some(&*old.instance);
            // With its job a claim goes, whoever holds it.
            let goes = change.is_removed && change.change.new.is_none();
            if !is_holder && !goes && change.holder_lives {
                let writer = change.writer.unwrap_or("an unknown session");
                let what = format!("{writer} closed the claim of {}, which lives", old.instance);
                return Some((change.line, what));
            }
        }
        // What a claim taken back leaves behind is not made by who takes it back.
        let restored = held_claim(&change.base);
        let made = new.filter(|new| old != Some(*new) && restored != Some(*new))?;
        let is_own = change.writer == Some(&*made.instance) && change.writer_is_registered;
        (!is_own).then(|| {
            let writer = change.writer.unwrap_or("an unknown session");
            let session = change.change.session;
            (
                change.line,
                format!(
                    "{writer} claimed as {}, not registered by session {session}",
                    made.instance
                ),
            )
        })
    })
}

/// The holder must not give a claim up while its code runs, nor tell another end than it had.
fn closed_too_early(story: &Story<'_>) -> Breach {
    story.claims.iter().find_map(|claimed| {
        let closing = claimed.closed.filter(|closing| closing.how == How::Ended)?;
        let start = claimed.starts.first()?;
        match claimed.ended {
            Some((line, code)) if line < closing.line => {
                let change = story.changes[closing.change].change;
                let last = change.new.as_ref()?.last.as_ref()?;
                let own = last.nonce == claimed.claim.nonce
                    && last.instance == claimed.claim.instance
                    && last.fire == claimed.claim.fire;
                let same = (last.code == "OK") == (code == "OK");
                (own && !same).then(|| {
                    (closing.line, format!("the code ended {code}, the record says {}", last.code))
                })
            }
            _ => Some((closing.line, format!("closed while its code runs (since line {start})"))),
        }
    })
}

fn started_without(
    trace: &[Line],
    stories: &Stories<'_>,
    (job, story): (&str, &Story<'_>),
) -> Breach {
    if let Some(line) = story.stray_starts.first() {
        return Some((*line, "code started without a claim of its epoch".to_owned()));
    }
    story.claims.iter().find_map(|claimed| {
        claimed.starts.iter().find_map(|line| {
            let Fact::Start(probe) = &trace[*line].fact else { return None };
            let offs = stories.taken_off.get(&(job, &*claimed.claim.instance));
            let (made, started) = (trace[claimed.made].at, trace[*line].at);
            let closed = claimed.closed.map_or(started, |closing| trace[closing.line].at);
            // Between the claim and its closing, which is what followed from it.
            let is_unheard = offs.into_iter().flatten().any(|off| {
                made <= *off && *off <= closed && started <= off + stories.weather.timeout
            });
            under_its_claim(claimed, (*line, is_unheard), probe).err().map(|what| (*line, what))
        })
    })
}

/// `is_unheard`: its instance was taken off by somebody, and need not have heard of that.
fn under_its_claim(
    claimed: &Claimed<'_>,
    (line, is_unheard): (usize, bool),
    probe: &Probe,
) -> Result<(), String> {
    if line < claimed.made {
        return Err(format!("code started before its claim was committed (line {})", claimed.made));
    }
    // That its job was removed meanwhile nobody can have told it.
    let counts = |closing: &Closing| {
        let is_told = closing.how != How::Removed && !(is_unheard && closing.how == How::Taken);
        closing.line < line && is_told
    };
    if let Some(closing) = claimed.closed.filter(counts) {
        let how = closing.how;
        return Err(format!("code started after its claim was closed ({how:?})"));
    }
    if probe.instance != claimed.claim.instance {
        return Err(format!("code started on another instance than {}", claimed.claim.instance));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{About, Claim, Fire, Mark, Record, RecordChange};

    const TIMEOUT: u64 = 6_000;
    const OFF: u64 = 2_000;

    fn mark(instance: &str, session: u64, lives_with: Option<u64>) -> Fact {
        Fact::Mark(Mark {
            job: "j".to_owned(),
            index: session,
            session,
            about: About::Instance(instance.to_owned()),
            value: lives_with.map(|_| String::new()),
            lives_with,
        })
    }

    fn claim(instance: &str, attempt: u32, (index, session): (u64, u64)) -> RecordChange {
        let claim = Claim { attempt, instance: instance.to_owned(), ..Claim::default() };
        let new = Some(Record { claim: Some(claim), ..Record::default() });
        RecordChange { job: "j".to_owned(), shard: 0, index, session, guard: None, old: None, new }
    }

    /// The claim of `a`, which lives under session 10, is taken over by `b` at 2.2 s; `a` starts then,
    /// and somebody takes it off the job at one time or another.
    fn judged((off, by): (u64, u64), started: u64) -> Verdict {
        let first = claim("a", 1, (100, 10));
        let second =
            RecordChange { guard: Some(100), old: first.new.clone(), ..claim("b", 2, (101, 11)) };
        let probe = Probe {
            node: 1,
            instance: "a".to_owned(),
            job: "j".to_owned(),
            shard: 0,
            fire: Fire::default(),
            attempt: 1,
            epoch: 100,
        };
        let facts = [
            (0, Fact::Node { node: 1, instance: "a".to_owned(), slots: 1, timeout: TIMEOUT }),
            (0, mark("a", 10, Some(10))),
            (0, mark("b", 11, Some(11))),
            (1_000, Fact::Record(Box::new(first))),
            (off, mark("a", by, None)),
            (2_200, Fact::Record(Box::new(second))),
            (started, Fact::Start(probe)),
        ];
        let mut trace: Vec<Line> = facts.into_iter().map(|(at, fact)| Line { at, fact }).collect();
        trace.sort_by_key(|line| line.at);
        judge(&trace, &Stories::read(&trace))
    }

    #[test]
    fn who_was_taken_off_may_start_what_it_claimed_until_it_must_have_heard() {
        let (someone, itself) = (1, 10);
        assert_eq!(judged((OFF, someone), OFF + TIMEOUT), Verdict::Valid);
        let too_late = judged((OFF, someone), OFF + TIMEOUT + 1);
        assert!(!too_late.is_valid(), "it trusts its session no more");
        assert!(!judged((OFF, itself), OFF + 500).is_valid(), "its session ended, or it left");
        assert!(!judged((OFF + 400, someone), OFF + 500).is_valid(), "that was not why");
    }
}
