//! Handing over while runs end. Whoever still runs something of a job that it leaves, or cannot serve,
//! stays registered, or others would take its runs for crashed; but it runs nothing new, so its shards
//! are to be dealt to others meanwhile.
//!
//! It says so by a mark that lives as long as its session. Leaders watch the marks. ElasticJob's do not
//! know them; they are not asked to deal anew either, as they would hold all shards up until each run
//! has ended. So nothing else depends on a mark: without it, shards wait until the instance has left.

use crate::Phase;
use crate::alarms::Alarm;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::turn::Turn;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Op, SessionId};
use std::time::Duration;

/// How long a change of the mark waits of which nobody knows whether it was made.
const PAUSE: Duration = Duration::from_millis(500);

/// One job's mark of this instance, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handover {
    mark: Mark,
    /// Whether a change of it is under way. There is one at a time.
    is_sending: bool,
}

/// A mark goes with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    #[default]
    None,
    Made(SessionId),
    /// An answer is missing.
    Maybe(SessionId),
    /// The instance was taken off, or the job removed.
    Refused(SessionId),
}

impl Mark {
    fn under(self, session: SessionId) -> Self {
        match self {
            Self::Made(of) | Self::Maybe(of) | Self::Refused(of) if of != session => Self::None,
            same => same,
        }
    }
}

impl Job {
    /// Whether it runs something of a job.
    pub(crate) fn is_busy_with(&self, turn: &mut Turn<'_>) -> bool {
        turn.runs.any(|run| run.ix == turn.ix)
    }

    /// Whether it leaves a job, or cannot serve it.
    pub(crate) fn goes(&self) -> bool {
        let job = self;
        job.leaving.is_some() || job.phase == Phase::Refused
    }

    /// Makes the mark, or takes it away.
    pub(crate) fn tend_mark(&mut self, turn: &mut Turn<'_>) {
        let Some(session) = turn.trust.session() else { return };
        if self.handover.is_sending {
            return;
        }
        let goes = self.goes();
        let is_wanted = goes && self.is_busy_with(turn) && self.is_registered(turn);
        match self.handover.mark.under(session) {
            Mark::None | Mark::Maybe(_) if is_wanted => self.make_mark(turn, session),
            Mark::Made(_) | Mark::Maybe(_) | Mark::Refused(_) if !goes => self.drop_mark(turn),
            _ => {}
        }
    }

    fn make_mark(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        let me = turn.settings.instance.clone();
        let mark = Op::create_for_session(self.key(turn, &Facet::Leaver(me.clone())), "");
        let is_on = Op::Check(self.key(turn, &Facet::Instance(me)), None);
        self.handover = Handover { mark: Mark::Maybe(session), is_sending: true };
        turn.link.gather(Member::new(Aim::Mark(turn.ix), vec![is_on, mark]));
    }

    fn drop_mark(&mut self, turn: &mut Turn<'_>) {
        let key = self.key(turn, &Facet::Leaver(turn.settings.instance.clone()));
        self.handover.is_sending = true;
        turn.link.gather(Member::new(Aim::Mark(turn.ix), vec![Op::Delete(key, None)]));
    }

    /// What takes the mark away with all else of this instance, if it may be there.
    pub(crate) fn without_mark(&mut self, turn: &mut Turn<'_>) -> Option<Op> {
        let session = turn.trust.session()?;
        let is_there = self.handover.mark.under(session) != Mark::None;
        let key = self.key(turn, &Facet::Leaver(turn.settings.instance.clone()));
        is_there.then(|| Op::Delete(key, None))
    }

    /// All else of this instance is gone; the mark with it, if it was there then. One that was on its
    /// way is taken away when it has come.
    pub(crate) fn mark_left(&mut self, turn: &mut Turn<'_>, ops: &[Op]) {
        let key = self.key(turn, &Facet::Leaver(turn.settings.instance.clone()));
        let handover = &mut self.handover;
        let was_deleted = ops.iter().any(|op| matches!(op, Op::Delete(gone, _) if *gone == key));
        if was_deleted && !handover.is_sending {
            handover.mark = Mark::None;
        }
    }

    pub(crate) fn mark_changed(&mut self, turn: &mut Turn<'_>, ops: &[Op]) {
        let session = turn.trust.session();
        let handover = &mut self.handover;
        handover.is_sending = false;
        let was_deleted = matches!(ops.last(), Some(Op::Delete(..)));
        handover.mark = session.filter(|_| !was_deleted).map_or(Mark::None, Mark::Made);
        turn.tend();
    }

    /// There was nothing to take away; or whoever was to be marked serves the job no more.
    pub(crate) fn mark_refused(&mut self, turn: &mut Turn<'_>, ops: &[Op]) {
        let session = turn.trust.session();
        let handover = &mut self.handover;
        handover.is_sending = false;
        let was_deleted = matches!(ops.last(), None | Some(Op::Delete(..)));
        handover.mark = session.filter(|_| !was_deleted).map_or(Mark::None, Mark::Refused);
        turn.tend();
    }

    pub(crate) fn mark_failed(&mut self, turn: &mut Turn<'_>, member: Member, failure: &Failure) {
        match failure {
            Failure::Unknown(_) | Failure::SessionEnded(_) => {
                let handover = &mut self.handover;
                handover.is_sending = false;
                // A deletion may not have been made, either.
                if let Mark::Made(session) | Mark::Refused(session) = handover.mark {
                    handover.mark = Mark::Maybe(session);
                }
                turn.alarms.add(turn.now.mono.plus(PAUSE), Alarm::Tend(turn.ix));
            }
            _ => turn.link.gather(member),
        }
    }

    /// Those who are to be dealt shards, of those who may be; `None` while that is not known.
    pub(crate) fn without_leavers(
        &mut self,
        turn: &mut Turn<'_>,
        mut live: Vec<InstanceId>,
    ) -> Option<Vec<InstanceId>> {
        if live.len() < 2 {
            return Some(live);
        }
        if !std::mem::replace(&mut self.follows_leavers, true) {
            self.follow(turn, Facet::Leavers);
        }
        let (me, job) = (&turn.settings.instance, &*self);
        let leavers = job.view.leavers.value()?;
        // Whoever deals does not leave, whatever mark it has yet to take away.
        live.retain(|instance| instance == me || !leavers.contains(instance));
        Some(live)
    }
}
