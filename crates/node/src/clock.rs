//! The node's wall clock beside the registry's, for jobs that limit the difference.
//!
//! A commit that gives an entry a value is answered with what the registry's clock showed when it
//! was made: some time between its sending and its answer. So the difference is known to within the
//! time the answer took, and a clock is said to differ only if it surely does. The instance's note,
//! which others read, is written for the sake of that answer, too.

use crate::Report;
use crate::alarms::Alarm;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_core::account::{Hold, Reason};
use flockwork_core::time::{Mono, Now};
use flockwork_layout::clock::{ClockNote, difference, encode};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Clock, Failure, Lifetime, Op, SessionId, Why};
use std::time::Duration;

/// How often a difference that is too great is measured anew, and how long a note waits that could
/// not be written: soon enough for people who set a clock, rarely enough to be no load.
const PROBE: Duration = Duration::from_secs(5);

/// The registry's clock, as far as this node knows it.
#[derive(Debug, Default)]
pub(crate) struct RegistryClock {
    /// What it shows when the monotonic clock shows zero: at least and at most, in milliseconds.
    bounds: Option<(i64, i64)>,
    /// When a note was last written to measure it.
    probed: Option<Mono>,
}

impl RegistryClock {
    /// It showed `at` some time between the two.
    pub(crate) fn told(&mut self, at: i64, sent: Mono, heard: Mono) {
        let (least, most) = (at.saturating_sub(millis(heard)), at.saturating_sub(millis(sent)));
        // An answer that took long and contradicts nothing says less than what was known.
        let says_less = self.bounds.is_some_and(|(from, to)| least <= from && to <= most);
        if !says_less {
            self.bounds = Some((least, most));
        }
    }

    /// By how many milliseconds the wall clock is ahead of it at least; behind, if negative.
    fn ahead(&self, now: Now) -> Option<i64> {
        let (least, most) = self.bounds?;
        let own = now.wall.as_millis().saturating_sub(millis(now.mono));
        let (at_least, at_most) = (own.saturating_sub(most), own.saturating_sub(least));
        Some(if at_most < 0 { at_most } else { at_least.max(0) })
    }
}

/// One job's concern with it.
#[derive(Debug, Default)]
pub(crate) struct JobClock {
    /// By how much the node's clock is ahead, where that is too much.
    pub(crate) differs: Option<i64>,
    /// The session under which this instance's note exists.
    note: Option<SessionId>,
    pub(crate) is_note_due: bool,
    pub(crate) is_writing: bool,
    /// Whether it is looked at again by and by.
    is_probing: bool,
    /// Whether it was told that nothing can be compared.
    is_untold_said: bool,
}

impl JobClock {
    /// The job is served no more; an alarm that is set still comes. Gives what was there.
    pub(crate) fn forget(&mut self) -> Self {
        let fresh = Self { is_probing: self.is_probing, ..Self::default() };
        std::mem::replace(self, fresh)
    }
}

impl Job {
    /// Whether this node's clock is, as far as is known, near enough to the registry's for a job.
    /// That it is not, or is again, is told once.
    pub(crate) fn clock_agrees(&mut self, turn: &mut Turn<'_>) -> bool {
        let job: &Self = self;
        let limit = job.config.as_ref().and_then(|config| config.max_time_difference);
        if limit.is_none() && job.clock_note.differs.is_none() {
            return true;
        }
        let ahead = limit.and_then(|limit| {
            let ahead = turn.clock.ahead(turn.now)?;
            (u128::from(ahead.unsigned_abs()) > limit.as_millis()).then_some(ahead)
        });
        let before = std::mem::replace(&mut self.clock_note.differs, ahead);
        match (before, ahead) {
            (None, Some(ahead)) => self.clock_differs(turn, limit.unwrap_or_default(), ahead),
            (Some(_), None) => self.clock_agrees_again(turn),
            _ => {}
        }
        ahead.is_none()
    }

    fn clock_differs(&mut self, turn: &mut Turn<'_>, limit: Duration, ahead: i64) {
        let job = &mut *self;
        job.clock_note.is_note_due = true;
        let name = job.name.clone();
        let text = format!(
            "this node's clock is {}, max_time_difference is {} ms: it takes up nothing of this job \
             until they agree; set the clock of this host, or of the registry's",
            difference(ahead),
            limit.as_millis()
        );
        turn.trouble(Some(&name), "CLOCK_DIFFERS", text);
        if !std::mem::replace(&mut self.clock_note.is_probing, true) {
            turn.alarms.add(turn.now.mono.plus(PROBE), Alarm::Clock(turn.ix));
        }
        turn.tend();
    }

    /// What came due meanwhile is known to have been held up by that.
    fn clock_agrees_again(&mut self, turn: &mut Turn<'_>) {
        let hold = Hold { until: turn.now.wall, reason: Reason::ClockDiffers };
        let job = &mut *self;
        job.clock_note.is_note_due = true;
        for shard in job.shards.iter_mut().filter(|shard| shard.run.is_none()) {
            shard.hold = Some(hold);
        }
        let name = job.name.clone();
        turn.report(Report::ClockAgrees(name));
        turn.tend();
    }

    /// Writes this instance's note, where one is due.
    pub(crate) fn tend_clock(&mut self, turn: &mut Turn<'_>) {
        self.clock_agrees(turn);
        let job: &Self = self;
        let limit = job.config.as_ref().and_then(|config| config.max_time_difference);
        let session = turn.trust.session();
        let has_note = job.clock_note.note.is_some() && job.clock_note.note == session;
        match turn.settings.clock {
            _ if limit.is_none() && !has_note => {}
            Clock::OfThisHost => {}
            Clock::Untold => self.clock_is_untold(turn),
            Clock::Told if job.clock_note.is_writing => {}
            Clock::Told if limit.is_some() && has_note && !job.clock_note.is_note_due => {}
            Clock::Told => self.write_clock_note(turn, limit, has_note),
        }
    }

    fn clock_is_untold(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        if std::mem::replace(&mut job.clock_note.is_untold_said, true) {
            return;
        }
        let name = job.name.clone();
        let text = "max_time_difference is not looked at: this registry tells no time with which a \
                    node's clock could be compared";
        turn.trouble(Some(&name), "CLOCK_NOT_TOLD", text.to_owned());
    }

    fn write_clock_note(&mut self, turn: &mut Turn<'_>, limit: Option<Duration>, has_note: bool) {
        let key = self.key(turn, &Facet::Clock(turn.settings.instance.clone()));
        let differs = self.clock_note.differs.is_some();
        let ahead = turn.clock.ahead(turn.now);
        let ops = match limit {
            None => vec![Op::Delete(key, None)],
            Some(limit) => {
                let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let value = encode(&ClockNote { limit, ahead, differs });
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
        turn.clock.probed = Some(turn.now.mono);
        let clock = &mut self.clock_note;
        (clock.is_writing, clock.is_note_due) = (true, false);
        turn.link.gather(Member::new(Aim::Clock(turn.ix), ops));
    }

    pub(crate) fn clock_note_written(&mut self, turn: &mut Turn<'_>, ops: &[Op]) {
        let session = turn.trust.session();
        let clock = &mut self.clock_note;
        clock.is_writing = false;
        let exists = !matches!(ops.first(), Some(Op::Delete(..)));
        clock.note = session.filter(|_| exists);
        turn.tend();
        // The answer came after the job was left, or removed: what it tells of goes, too.
        if self.registered != session {
            let gone = self.without_clock_note(turn).into_iter().collect::<Vec<_>>();
            if !gone.is_empty() {
                self.clock_note.is_writing = true;
                turn.link.gather(Member::new(Aim::Clock(turn.ix), gone));
            }
        }
    }

    /// It is there already, as an answer was lost, or no longer.
    pub(crate) fn clock_note_refused(&mut self, turn: &mut Turn<'_>, why: Why) {
        let session = turn.trust.session();
        self.clock_note.note = session.filter(|_| why == Why::Exists);
        self.write_clock_note_later(turn);
    }

    pub(crate) fn clock_note_failed(
        &mut self,
        turn: &mut Turn<'_>,
        member: Member,
        failure: &Failure,
    ) {
        match failure {
            Failure::Unknown(_) | Failure::SessionEnded(_) => self.write_clock_note_later(turn),
            _ => turn.link.gather(member),
        }
    }

    fn write_clock_note_later(&mut self, turn: &mut Turn<'_>) {
        let clock = &mut self.clock_note;
        (clock.is_writing, clock.is_note_due) = (false, true);
        turn.alarms.add(turn.now.mono.plus(PROBE), Alarm::Tend(turn.ix));
    }

    /// A clock that differs is looked at again; one job's note measures it for all.
    pub(crate) fn probe_clock(&mut self, turn: &mut Turn<'_>) {
        if self.clock_note.differs.is_none() {
            self.clock_note.is_probing = false;
            return;
        }
        let is_fresh = turn.clock.probed.is_some_and(|at| turn.now.mono.since(at) < PROBE);
        self.clock_note.is_note_due |= !is_fresh;
        turn.alarms.add(turn.now.mono.plus(PROBE), Alarm::Clock(turn.ix));
        turn.tend();
    }

    /// What takes this instance's note away, if there is one.
    pub(crate) fn without_clock_note(&mut self, turn: &mut Turn<'_>) -> Option<Op> {
        let session = turn.trust.session();
        let clock = self.clock_note.forget();
        let key = self.key(turn, &Facet::Clock(turn.settings.instance.clone()));
        // Or on its way there.
        let is_there = clock.is_writing || (clock.note.is_some() && clock.note == session);
        is_there.then(|| Op::Delete(key, None))
    }
}

fn millis(mono: Mono) -> i64 {
    i64::try_from(mono.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_core::time::Timestamp;

    fn at(wall: i64, mono: u64) -> Now {
        Now { wall: Timestamp::from_millis(wall), mono: Mono::from_millis(mono) }
    }

    #[test]
    fn a_difference_is_what_it_is_at_least() {
        let mut clock = RegistryClock::default();
        assert_eq!(clock.ahead(at(10_000, 0)), None, "nothing is known");
        // It showed 10,000 at some time from 100 to 300.
        clock.told(10_000, Mono::from_millis(100), Mono::from_millis(300));
        for (wall, ahead) in
            [(9_000, -1_000), (10_000, 0), (10_200, 0), (10_201, 1), (15_200, 5_000)]
        {
            assert_eq!(clock.ahead(at(wall, 300)), Some(ahead), "{wall}");
        }
        // Later, by the monotonic clock; and a wall clock that was set is noticed without asking.
        assert_eq!(clock.ahead(at(70_200, 60_300)), Some(0));
        assert_eq!(clock.ahead(at(130_200, 60_300)), Some(60_000));
    }

    #[test]
    fn a_slow_answer_takes_nothing_away_and_a_contradiction_counts() {
        let mut clock = RegistryClock::default();
        clock.told(10_000, Mono::from_millis(100), Mono::from_millis(110));
        clock.told(12_000, Mono::from_millis(110), Mono::from_millis(9_000));
        assert_eq!(clock.ahead(at(15_000, 2_100)), Some(3_000));
        // Its clock was set, or another server leads.
        clock.told(20_000, Mono::from_millis(9_000), Mono::from_millis(9_010));
        assert_eq!(clock.ahead(at(20_005, 9_010)), Some(0));
    }
}
