//! P22: a job's listener is called once around each fire.
//!
//! Of a job whose definition has a listener:
//! * code of a shard runs for a fire only after a call of `before` for it has ended well, or has failed
//!   where shards run all the same; and its first attempt is claimed only while that fire is open, or by
//!   the leader that is opening it;
//! * `after` is called while its fire is open or being closed, when no shard runs it or is to be tried
//!   again, and none starts from then on. Only a run whose claim is another's by then may go on. Where no
//!   shard may start any more, or the job does not have the shard any more, what its instance, being gone,
//!   left or was to try again is given up;
//! * one fire is under way at a time, and one call: another is made only when whoever made the one before
//!   no longer leads, or has told it to stop. Only the leader calls, and each leader's token is greater than
//!   those before it;
//! * `before` is not called for a fire that was opened or passed or that a shard runs, nor more than [`MOST_CALLS`] times, and its
//!   calls are counted upwards. Where a fire was not due yet, by its clock, when another began to lead, that
//!   one cannot know that it was called for, and counts anew;
//! * when all is well nothing waits for ever (`waits`).
//!
//! Not judged is a run of a shard that was taken away before the one leads who calls: a leader reads the records
//! of the shards that the job has.
//!
//! Who leads no more, or whose job was removed, need not have heard of that for the sessions' time-out; what
//! it calls meanwhile is not judged.

mod waits;

use crate::listened::{Called, Listened};
use crate::story::{Claimed, How, Stories, Story};
use crate::trace::{Fact, Fire, Line, Part, Stage};
use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// The invariant's name.
pub const NAME: &str = "P22 listener";

/// How often `before` is called for one fire: once, and three times more where its node is gone.
pub const MOST_CALLS: u32 = 4;

/// How long beyond the sessions' time-out a node may take to learn that a job has got a listener:
/// milliseconds.
pub const NOTICED: u64 = 30_000;

type Breach = Option<(usize, String)>;

/// Judges a trace.
#[must_use]
pub fn judge(trace: &[Line], stories: &Stories<'_>) -> Verdict {
    for (name, job) in &stories.listened {
        let of_job = Of { trace, stories, name, job };
        let broken = of_job.called_wrongly().or_else(|| of_job.ran_outside());
        if let Some((line, what)) = broken {
            return Verdict::breach(trace, line, format!("{name}: {what}"));
        }
    }
    match waits::waits_for_ever(trace, stories) {
        Some((line, what)) => Verdict::breach(trace, line, what),
        None => Verdict::Valid,
    }
}

/// One job of a trace.
struct Of<'a> {
    trace: &'a [Line],
    stories: &'a Stories<'a>,
    name: &'a str,
    job: &'a Listened<'a>,
}

impl<'a> Of<'a> {
    fn shards(&self) -> impl Iterator<Item = &'a Story<'a>> {
        let name = self.name;
        let all = self.stories.shards.iter();
        all.filter(move |((job, _), _)| *job == name).map(|(_, story)| story)
    }

    fn called_wrongly(&self) -> Breach {
        let timeout = self.stories.weather.timeout;
        let heard = |called: &&Called<'_>| !self.job.is_unheard(self.trace, called, timeout);
        let calls: Vec<&Called<'_>> = self.job.calls.iter().filter(heard).collect();
        let of_one = calls.iter().find_map(|called| {
            let what = self
                .not_the_leaders(called)
                .or_else(|| self.at_a_wrong_time(called))
                .or_else(|| self.beside_another(called));
            what.map(|what| (called.begun, what)).or_else(|| self.before_the_last_shard(called))
        });
        of_one.or_else(|| self.counted_wrongly(&calls))
    }

    fn not_the_leaders(&self, called: &Called<'_>) -> Option<String> {
        let (_, leader) = self.job.leader_at(called.begun);
        let call = called.call;
        (leader != Some(&*call.instance))
            .then(|| format!("{} called it, {leader:?} leads", call.instance))
    }

    /// By how far the fires had come when a call began.
    fn at_a_wrong_time(&self, called: &Called<'_>) -> Option<String> {
        let fire = &called.call.fire;
        let running = self.job.running_at(called.begun);
        match (called.call.part, running) {
            (Part::After, Some(running)) if running == fire => None,
            (Part::After, _) => Some(format!("after was called for {fire:?}, {running:?} is open")),
            (Part::Before, Some(running)) => {
                Some(format!("before was called for {fire:?} while {running:?} is open"))
            }
            (Part::Before, None) if self.was_decided(fire, called.begun) => {
                Some(format!("before was called for {fire:?}, which was opened or passed"))
            }
            // A definition that has just lost its listener lets shards run at once.
            (Part::Before, None)
                if self.is_run(fire, called.begun)
                    && self.job.has_listener_for(self.trace, called.begun, 0) =>
            {
                Some(format!("before was called for {fire:?}, which a shard has claimed"))
            }
            (Part::Before, None) => None,
        }
    }

    /// Whether a claim of a fire stood at a line, in this life of the job. What was run before the job had a
    /// listener does not count.
    fn is_run(&self, fire: &Fire, line: usize) -> bool {
        let life = self.job.life_at(line);
        let claims = self.shards().flat_map(|story| &story.claims);
        claims.into_iter().any(|claimed| {
            let was_undone = claimed.closed.is_some_and(|closing| closing.how == How::Undone);
            let had_one = self.job.stage_at(claimed.made).is_some_and(|it| it.stage.is_some());
            claimed.claim.fire == *fire
                && claimed.made < line
                && had_one
                && !was_undone
                && self.job.life_at(claimed.made) == life
        })
    }

    /// Whether a fire was opened or passed by a line, in this life of the job.
    fn was_decided(&self, fire: &Fire, line: usize) -> bool {
        let life = self.job.life_at(line);
        let is_scheduled = !fire.is_triggered();
        let through = self.job.stage_at(line).filter(|stage| stage.stage.is_some());
        let is_through = through.is_some_and(|stage| is_scheduled && stage.through >= fire.due);
        let opened =
            self.job.stages.iter().take_while(|(at, _)| *at <= line).any(|(at, change)| {
                let running = change.stage.as_ref().and_then(Stage::running);
                running == Some(fire) && self.job.life_at(*at) == life
            });
        is_through || opened
    }

    fn beside_another(&self, called: &Called<'_>) -> Option<String> {
        let begun = called.begun;
        let (term, _) = self.job.leader_at(begun);
        let is_excused = |other: &&Called<'_>| {
            let was_stopped = other.stopped.is_some_and(|at| at < begun);
            let was_removed = self.job.life_at(other.begun) != self.job.life_at(begun);
            was_stopped || was_removed || self.job.leader_at(other.begun).0 != term
        };
        let mut others = self.job.calls.iter().filter(|other| other.runs_at(begun));
        let other = others.find(|other| !is_excused(other))?;
        let call = other.call;
        Some(format!("the call of {:?} for {:?} still goes on", call.part, call.fire))
    }

    /// A call of `after` while a shard runs its fire, or may still be tried again.
    fn before_the_last_shard(&self, called: &Called<'_>) -> Breach {
        let (begun, fire) = (called.begun, &called.call.fire);
        if called.call.part == Part::Before {
            return None;
        }
        let life = self.job.life_at(begun);
        self.shards().find_map(|story| {
            if let Some(what) = self.is_under_way(story, fire, begun) {
                return Some((begun, what));
            }
            // A job that has no listener any more runs what is pending as any other.
            let was_removed = |claimed: &Claimed<'_>| {
                let since = self.job.stages.iter().skip_while(|(at, _)| *at <= begun);
                since.take_while(|(at, _)| *at <= claimed.made).any(|(_, it)| it.stage.is_none())
            };
            let long = self.stories.weather.timeout + NOTICED;
            let of_fire = |claimed: &&Claimed<'_>| {
                claimed.claim.fire == *fire
                    && self.job.has_listener_for(self.trace, claimed.made, long)
                    && self.job.life_at(claimed.made) == life
                    && !was_removed(claimed)
            };
            story.claims.iter().filter(of_fire).find_map(|claimed| {
                let start = claimed.starts.first().copied().filter(|start| *start > begun)?;
                // One that started after its claim was closed is judged by P1.
                let stands = claimed.closed.is_none_or(|closing| closing.line > start);
                let what = format!("a shard started {fire:?} after its after was called");
                (claimed.made > begun || stands).then_some((start, what))
            })
        })
    }

    /// Whether the record of a shard has a run of a fire at a line, or one that is to be tried again.
    fn is_under_way(&self, story: &Story<'_>, fire: &Fire, line: usize) -> Option<String> {
        let changes = story.changes.partition_point(|change| change.line <= line);
        let last = story.changes[..changes].last()?;
        let claim = last.change.new.as_ref()?.claim.as_ref()?;
        if claim.fire != *fire || self.job.life_at(last.line) != self.job.life_at(line) {
            return None;
        }
        let stage = self.job.stage_at(line).and_then(|change| change.stage.as_ref());
        let is_closing = matches!(stage, Some(Stage::Closing { .. }));
        let is_lost = !claim.is_held() || !self.is_registered(&claim.instance, line);
        let shard = last.change.shard;
        // Nobody takes up what a shard left that the job does not have any more.
        let is_given_up = is_closing || !self.job.has_shard(line, shard);
        let gone = self.job.without_shard_since(line, shard);
        if gone.is_some_and(|gone| self.job.led_since(line).is_some_and(|led| led > gone)) {
            return None;
        }
        (!(is_given_up && is_lost)).then(|| {
            let how = if claim.is_held() { "runs" } else { "is to try" };
            format!("after was called for {fire:?}, which shard {shard} {how}")
        })
    }

    fn is_registered(&self, instance: &str, line: usize) -> bool {
        let all =
            self.stories.registered.get(&(self.name, instance)).map_or(&[][..], Vec::as_slice);
        let by_then = all.partition_point(|(at, _)| *at <= line);
        all[..by_then].last().is_some_and(|(_, is_there)| *is_there)
    }

    /// Calls of `before` are counted upwards for each fire, tokens for each leader.
    fn counted_wrongly(&self, calls: &[&Called<'_>]) -> Breach {
        let mut attempts: BTreeMap<(usize, &Fire), (usize, u32)> = BTreeMap::new();
        let mut token: Option<(usize, u64)> = None;
        calls.iter().find_map(|called| {
            let (call, line) = (called.call, called.begun);
            let (term, _) = self.job.leader_at(line);
            let last = token.replace((term, call.epoch));
            if let Some((last_term, last)) = last {
                let grows = if last_term == term { call.epoch >= last } else { call.epoch > last };
                if !grows {
                    return Some((line, format!("token {} follows token {last}", call.epoch)));
                }
            }
            if call.part == Part::After {
                return None;
            }
            let of = (self.job.life_at(line), &call.fire);
            let last = attempts.insert(of, (term, call.attempt));
            let is_known = |(of, _): &(usize, u32)| *of == term || self.was_due_by_then(called);
            let before = last.filter(is_known).map(|(_, attempt)| attempt);
            let is_counted = call.attempt > before.unwrap_or(0) && call.attempt <= MOST_CALLS;
            let what = || format!("call {} of before follows call {before:?}", call.attempt);
            (!is_counted).then(|| (line, what()))
        })
    }

    /// Whether a fire was due when whoever called it began to lead, by its own clock.
    fn was_due_by_then(&self, called: &Called<'_>) -> bool {
        let Some(line) = self.job.led_since(called.begun) else { return true };
        let clock = self.trace[..line].iter().rev().find_map(|it| match it.fact {
            Fact::Clock { node, offset, .. } if node == called.call.node => Some(offset),
            _ => None,
        });
        let (over, wall) = self.stories.over;
        let shown = wall.saturating_sub_unsigned(over - self.trace[line].at) + clock.unwrap_or(0);
        called.call.fire.is_triggered() || called.call.fire.due <= shown
    }

    /// Code of a shard that ran though `before` had not ended, or while its fire was not open.
    fn ran_outside(&self) -> Breach {
        let long = self.stories.weather.timeout + NOTICED;
        self.shards().flat_map(|story| &story.claims).find_map(|claimed| {
            let start = *claimed.starts.first()?;
            let is_judged = self.job.has_listener_for(self.trace, claimed.made, long);
            // A run that goes on in a later life of its job is none of that life's.
            let goes = claimed.closed.is_some_and(|closing| closing.how == How::Removed);
            if !is_judged || goes {
                return None;
            }
            let fire = &claimed.claim.fire;
            let stage = self.job.stage_at(claimed.made).and_then(|change| change.stage.as_ref());
            let is_open = matches!(stage, Some(Stage::Open { fire: open, .. }) if open == fire);
            if claimed.claim.attempt == 1 && !is_open && !self.is_being_opened(claimed) {
                return Some((claimed.made, format!("{fire:?} was claimed and is not open")));
            }
            // What was begun before the job had a listener is tried again without one.
            let is_fires = claimed.claim.attempt == 1 || self.job.opened.contains_key(fire);
            let is_called = !is_fires || self.was_called_before(fire, start);
            (!is_called).then(|| (start, format!("no before of {fire:?} had ended")))
        })
    }

    /// Whether a claim is of the leader that is about to write that the claim's fire is open.
    fn is_being_opened(&self, claimed: &Claimed<'_>) -> bool {
        let (_, leader) = self.job.leader_at(claimed.made);
        let fire = &claimed.claim.fire;
        leader == Some(&*claimed.claim.instance)
            && !fire.is_triggered()
            && self.was_called_before(fire, claimed.made)
    }

    /// Whether `before` had ended for a fire at a line, in a way that lets shards run.
    fn was_called_before(&self, fire: &Fire, line: usize) -> bool {
        let mut calls = self.job.calls.iter().filter(|called| {
            called.call.part == Part::Before && called.call.fire == *fire && called.begun < line
        });
        let ended = |called: &Called<'a>| called.ended.filter(move |(at, _)| *at < line);
        let ended_well = |called: &Called<'a>| ended(called).is_some_and(|(_, code)| code == "OK");
        let opened = self.job.opened.get(fire).copied().unwrap_or(line);
        match self.job.runs_on_failure {
            false => calls.any(ended_well),
            // It has failed too if it was told to stop, or when it was repeated often enough; or it could not
            // be called, as an earlier call did not stop.
            true => {
                let failed = |called: &Called<'a>| {
                    let was_stopped = called.stopped.is_some_and(|at| at < line);
                    let was_last = called.call.attempt >= MOST_CALLS;
                    ended(called).is_some() || was_stopped || was_last
                };
                calls.any(failed) || self.lingered(opened) || self.was_repeated_out(fire, opened)
            }
        }
    }

    /// Whether a call that was told to stop still went on at a line, or since the stage before: it takes a
    /// while to write down that nothing could be called.
    fn lingered(&self, line: usize) -> bool {
        let stages = self.job.stages.iter().map(|(at, _)| *at);
        let before = stages.take_while(|at| *at < line).last().unwrap_or(line);
        let lingers = |called: &Called<'_>| {
            let goes_on = called.runs_at(line) || called.runs_at(before);
            goes_on && called.stopped.is_some_and(|at| at < line)
        };
        self.job.calls.iter().any(lingers)
    }

    fn was_repeated_out(&self, fire: &Fire, line: usize) -> bool {
        let by_then = self.job.stages.iter().take_while(|(at, _)| *at < line);
        by_then.into_iter().any(|(_, change)| match &change.stage {
            Some(Stage::Repeated { fire: of, attempt }) => of == fire && *attempt >= MOST_CALLS,
            _ => false,
        })
    }
}
