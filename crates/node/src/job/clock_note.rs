//! The node's wall clock beside the registry's, for a job that limits the difference, and this instance's
//! note about it. The note is for other instances to read. It is written for the sake of its answer, too,
//! which measures the registry's clock.

use crate::Report;
use crate::alarms::Alarm;
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Mono;
use flockwork_layout::clock::{ClockNote as Note, difference, encode};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Clock, Lifetime, Op, SessionId, Why};
use std::time::Duration;

/// How often a difference that is too great is measured anew, and how long a note that could not be written
/// waits: soon enough for people who set a clock, rarely enough to be no load.
const PROBE: Duration = Duration::from_secs(5);

/// How long no more is told of shards that are set back: those of one job are within moments of each other.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// The state of the clock note of one job.
#[derive(Debug, Default)]
pub(crate) struct ClockNote {
    /// By how much the node's clock is ahead, if that is too much.
    differs: Option<i64>,
    /// The session under which this instance's note exists.
    note: Option<SessionId>,
    is_due: bool,
    is_writing: bool,
    /// Whether the clock is measured again from time to time.
    is_probing: bool,
    /// Whether the node has reported that nothing can be compared.
    is_untold_said: bool,
    /// When the node has reported that a clock was ahead.
    told_ahead: Option<Mono>,
}

/// The result of comparing the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// The clocks are near enough, as far as is known.
    Agree,
    /// The clocks have just become near enough again: the difference held the shards up meanwhile.
    AgreeAgain,
    /// The clocks are not near enough.
    Differ,
}

impl ClockNote {
    /// Returns the changes whose answers the clock note waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_writing.then_some(JobChange::ClockNote).into_iter()
    }

    /// Returns by how much the node's clock is ahead, if that is too much.
    pub(crate) fn differs(&self) -> Option<i64> {
        self.differs
    }

    /// Compares the clocks. A difference, or its end, is reported once.
    pub(crate) fn compare(&mut self, turn: &mut Turn<'_>, limit: Option<Duration>) -> Agreement {
        if limit.is_none() && self.differs.is_none() {
            return Agreement::Agree;
        }
        let ahead = limit.and_then(|limit| {
            let ahead = turn.clock.ahead(turn.now)?;
            (u128::from(ahead.unsigned_abs()) > limit.as_millis()).then_some(ahead)
        });
        match (std::mem::replace(&mut self.differs, ahead), ahead) {
            (None, Some(ahead)) => self.told_to_differ(turn, limit.unwrap_or_default(), ahead),
            (Some(_), None) => {
                self.is_due = true;
                turn.report(Report::ClockAgrees(turn.name.clone()));
                turn.mark_job();
                return Agreement::AgreeAgain;
            }
            _ => {}
        }
        if ahead.is_none() { Agreement::Agree } else { Agreement::Differ }
    }

    fn told_to_differ(&mut self, turn: &mut Turn<'_>, limit: Duration, ahead: i64) {
        self.is_due = true;
        let text = format!(
            "this node's clock is {}, max_time_difference is {} ms: it takes up nothing of this job \
             until they agree; set the clock of this host, or of the registry's",
            difference(ahead),
            limit.as_millis()
        );
        turn.trouble("CLOCK_DIFFERS", text);
        if !std::mem::replace(&mut self.is_probing, true) {
            turn.alarm_in(PROBE, Alarm::Clock(turn.job));
        }
        turn.mark_job();
    }

    /// Reports that a shard is set back, as a clock was ahead: once for all shards of the job.
    pub(crate) fn was_ahead(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        let is_told = self.told_ahead.is_some_and(|told| turn.now.mono.since(told) < TOLD_FOR);
        if is_told {
            return;
        }
        self.told_ahead = Some(turn.now.mono);
        let text = format!(
            "a clock was ahead: shard {shard}, and perhaps others, was accounted beyond {}, which this node's \
             clock shows; it is set back: fires that were passed over are due again, and none that ran runs \
             again",
            turn.now.wall
        );
        turn.trouble("CLOCK_WAS_AHEAD", text);
    }

    /// Makes the note due: clocks drift, and are compared again even if nothing is committed.
    pub(crate) fn is_due(&mut self) {
        self.is_due = true;
    }

    /// Writes this instance's note, if the note is due.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>, limit: Option<Duration>) {
        let has_note = self.note.is_some() && self.note == turn.session();
        match turn.settings.clock {
            _ if limit.is_none() && !has_note => {}
            Clock::OfThisHost => {}
            Clock::Untold => self.nothing_can_be_compared(turn),
            Clock::Told if self.is_writing => {}
            Clock::Told if limit.is_some() && has_note && !self.is_due => {}
            Clock::Told => self.write(turn, limit, has_note),
        }
    }

    fn nothing_can_be_compared(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.is_untold_said, true) {
            return;
        }
        let text = "max_time_difference is not looked at: this registry tells no time with which a \
                    node's clock could be compared";
        turn.trouble("CLOCK_NOT_TOLD", text.to_owned());
    }

    fn write(&mut self, turn: &mut Turn<'_>, limit: Option<Duration>, has_note: bool) {
        let key = own_key(turn);
        let ops = match limit {
            None => vec![Op::Delete(key, None)],
            Some(limit) => {
                let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let ahead = turn.clock.ahead(turn.now);
                let value = encode(&Note { limit, ahead, differs: self.differs.is_some() });
                // The note is made empty and then given its value: only a write of a value is answered with a
                // time.
                let make = Op::Create {
                    key: key.clone(),
                    value: Bytes::new(),
                    lifetime: Lifetime::Session,
                    sequence: false,
                };
                let make = (!has_note).then_some(make);
                make.into_iter().chain([Op::Set(key, value, None)]).collect()
            }
        };
        turn.clock.is_probed(turn.now.mono);
        (self.is_writing, self.is_due) = (true, false);
        turn.send_for_job(JobChange::ClockNote, ops);
    }

    /// Handles the verdict on the note. `is_registered` says whether this instance still serves the job.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        change: Change,
        verdict: &Verdict,
        is_registered: bool,
    ) {
        match verdict {
            Verdict::Done(_) => self.written(turn, &change, is_registered),
            // The note exists already because an answer was lost, or it no longer exists.
            Verdict::Refused(why, _) => {
                self.note = turn.session().filter(|_| *why == Why::Exists);
                self.write_later(turn);
            }
            Verdict::Unknown | Verdict::SessionEnded(_) => self.write_later(turn),
            Verdict::NotTaken => turn.send_again(change),
            Verdict::TooLarge => self.is_writing = false,
        }
    }

    fn written(&mut self, turn: &mut Turn<'_>, change: &Change, is_registered: bool) {
        self.is_writing = false;
        let exists = !matches!(change.ops.first(), Some(Op::Delete(..)));
        self.note = turn.session().filter(|_| exists);
        turn.mark_job();
        // The answer came after the job was left or removed: the note goes, too.
        if !is_registered && let Some(gone) = self.without(turn) {
            self.is_writing = true;
            turn.send_for_job(JobChange::ClockNote, vec![gone]);
        }
    }

    fn write_later(&mut self, turn: &mut Turn<'_>) {
        (self.is_writing, self.is_due) = (false, true);
        turn.mark_job_in(PROBE);
    }

    /// Measures again a clock that differs. The note of one job measures it for all jobs.
    pub(crate) fn probe(&mut self, turn: &mut Turn<'_>) {
        if self.differs.is_none() {
            self.is_probing = false;
            return;
        }
        self.is_due |= !turn.clock.was_probed_within(turn.now, PROBE);
        turn.alarm_in(PROBE, Alarm::Clock(turn.job));
        turn.mark_job();
    }

    /// Returns the deletion of this instance's note, if the note exists or is being written.
    pub(crate) fn without(&mut self, turn: &Turn<'_>) -> Option<Op> {
        let before = self.forget();
        let is_there =
            before.is_writing || (before.note.is_some() && before.note == turn.session());
        is_there.then(|| Op::Delete(own_key(turn), None))
    }

    /// Forgets the note because the job is no longer served, and returns the state until now. An alarm that
    /// is set still comes.
    pub(crate) fn forget(&mut self) -> Self {
        let fresh = Self { is_probing: self.is_probing, ..Self::default() };
        std::mem::replace(self, fresh)
    }
}

fn own_key(turn: &Turn<'_>) -> flockwork_registry::Key {
    turn.key(&Facet::Clock(turn.instance().clone()))
}

#[cfg(test)]
mod tests;
