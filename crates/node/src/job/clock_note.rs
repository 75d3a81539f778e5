//! The node's wall clock beside the registry's, for a job that limits the difference, and what this
//! instance says of it. Its note is for others to read, and is written for the sake of its answer, too:
//! that measures the registry's clock.

use crate::Report;
use crate::alarms::Alarm;
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_layout::clock::{ClockNote as Note, difference, encode};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Clock, Lifetime, Op, SessionId, Why};
use std::time::Duration;

/// How often a difference that is too great is measured anew, and how long a note waits that could
/// not be written: soon enough for people who set a clock, rarely enough to be no load.
const PROBE: Duration = Duration::from_secs(5);

/// One job's concern with it.
#[derive(Debug, Default)]
pub(crate) struct ClockNote {
    /// By how much the node's clock is ahead, where that is too much.
    differs: Option<i64>,
    /// The session under which this instance's note exists.
    note: Option<SessionId>,
    is_due: bool,
    is_writing: bool,
    /// Whether it is looked at again by and by.
    is_probing: bool,
    /// Whether it was told that nothing can be compared.
    is_untold_said: bool,
}

/// How the clocks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// As far as is known, they are near enough.
    Agree,
    /// They are again, since now: what came due meanwhile was held up by that.
    AgreeAgain,
    /// They are not.
    Differ,
}

impl ClockNote {
    /// The changes whose answers it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_writing.then_some(JobChange::ClockNote).into_iter()
    }

    /// By how much the node's clock is ahead, where that is too much.
    pub(crate) fn differs(&self) -> Option<i64> {
        self.differs
    }

    /// Compares the clocks. That they differ, or agree again, is told once.
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

    /// The note is due: clocks drift, and are compared again also where nothing is committed.
    pub(crate) fn is_due(&mut self) {
        self.is_due = true;
    }

    /// Writes this instance's note, where one is due.
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
                // Made empty and then given its value: only that is answered with a time.
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

    /// The note was written, or not. `is_registered` says whether this instance still serves the job.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        change: Change,
        verdict: &Verdict,
        is_registered: bool,
    ) {
        match verdict {
            Verdict::Done(_) => self.written(turn, &change, is_registered),
            // It is there already, as an answer was lost, or no longer.
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
        // The answer came after the job was left, or removed: what it tells of goes, too.
        if !is_registered && let Some(gone) = self.without(turn) {
            self.is_writing = true;
            turn.send_for_job(JobChange::ClockNote, vec![gone]);
        }
    }

    fn write_later(&mut self, turn: &mut Turn<'_>) {
        (self.is_writing, self.is_due) = (false, true);
        turn.mark_job_in(PROBE);
    }

    /// A clock that differs is looked at again; one job's note measures it for all.
    pub(crate) fn probe(&mut self, turn: &mut Turn<'_>) {
        if self.differs.is_none() {
            self.is_probing = false;
            return;
        }
        self.is_due |= !turn.clock.was_probed_within(turn.now, PROBE);
        turn.alarm_in(PROBE, Alarm::Clock(turn.job));
        turn.mark_job();
    }

    /// What takes this instance's note away, if there is one, or one is on its way there.
    pub(crate) fn without(&mut self, turn: &Turn<'_>) -> Option<Op> {
        let before = self.forget();
        let is_there =
            before.is_writing || (before.note.is_some() && before.note == turn.session());
        is_there.then(|| Op::Delete(own_key(turn), None))
    }

    /// The job is served no more; an alarm that is set still comes. Gives what was there.
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
