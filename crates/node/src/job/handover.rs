//! Handing over while runs end. Whoever still runs something of a job that it leaves, or cannot serve,
//! stays registered, or others would take its runs for crashed; but it runs nothing new, so its shards
//! are to be dealt to others meanwhile.
//!
//! It says so by a mark that lives as long as its session. Leaders watch the marks. ElasticJob's do not
//! know them; they are not asked to deal anew either, as they would hold all shards up until each run
//! has ended. So nothing else depends on a mark: without it, shards wait until the instance has left.

use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Key, Op, SessionId};
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

impl Handover {
    /// The changes whose answers it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_sending.then_some(JobChange::Handover).into_iter()
    }

    /// Makes the mark where one is wanted, or takes it away. `goes`: whether this instance leaves the job,
    /// or cannot serve it; `is_wanted`: whether it also still runs something of it, registered.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>, goes: bool, is_wanted: bool) {
        let Some(session) = turn.session() else { return };
        if self.is_sending {
            return;
        }
        match self.mark.under(session) {
            Mark::None | Mark::Maybe(_) if is_wanted => self.make(turn, session),
            Mark::Made(_) | Mark::Maybe(_) | Mark::Refused(_) if !goes => self.drop_mark(turn),
            _ => {}
        }
    }

    fn make(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        let is_on = Op::Check(turn.key(&Facet::Instance(turn.instance().clone())), None);
        let mark = Op::create_for_session(own_key(turn), "");
        *self = Self { mark: Mark::Maybe(session), is_sending: true };
        turn.send_for_job(JobChange::Handover, vec![is_on, mark]);
    }

    fn drop_mark(&mut self, turn: &mut Turn<'_>) {
        self.is_sending = true;
        turn.send_for_job(JobChange::Handover, vec![Op::Delete(own_key(turn), None)]);
    }

    /// What takes the mark away with all else of this instance, if it may be there.
    pub(crate) fn without(&self, turn: &Turn<'_>) -> Option<Op> {
        let is_there = self.mark.under(turn.session()?) != Mark::None;
        is_there.then(|| Op::Delete(own_key(turn), None))
    }

    /// All else of this instance is gone; the mark with it, if it was there then. One that was on its
    /// way is taken away when it has come.
    pub(crate) fn left(&mut self, turn: &Turn<'_>, ops: &[Op]) {
        let key = own_key(turn);
        let was_deleted = ops.iter().any(|op| matches!(op, Op::Delete(gone, _) if *gone == key));
        if was_deleted && !self.is_sending {
            self.mark = Mark::None;
        }
    }

    /// A change of the mark was made, or not.
    pub(crate) fn answered(&mut self, turn: &mut Turn<'_>, change: Change, verdict: &Verdict) {
        let session = turn.session().filter(|_| !change.ends_in_deletion());
        match verdict {
            Verdict::Done(_) => self.becomes(turn, session.map_or(Mark::None, Mark::Made)),
            // There was nothing to take away; or whoever was to be marked serves the job no more.
            Verdict::Refused(..) => {
                self.becomes(turn, session.map_or(Mark::None, Mark::Refused));
            }
            Verdict::TooLarge => self.becomes(turn, Mark::None),
            Verdict::Unknown | Verdict::SessionEnded(_) => {
                self.is_sending = false;
                // A deletion may not have been made, either.
                if let Mark::Made(session) | Mark::Refused(session) = self.mark {
                    self.mark = Mark::Maybe(session);
                }
                turn.mark_job_in(PAUSE);
            }
            Verdict::NotTaken => turn.send_again(change),
        }
    }

    fn becomes(&mut self, turn: &mut Turn<'_>, mark: Mark) {
        *self = Self { mark, is_sending: false };
        turn.mark_job();
    }
}

fn own_key(turn: &Turn<'_>) -> Key {
    turn.key(&Facet::Leaver(turn.instance().clone()))
}
