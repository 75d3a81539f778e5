//! The handover of shards while runs end. An instance that still runs something of a job which it leaves or
//! cannot serve stays registered, or other instances would take its runs for crashed. But it runs nothing
//! new, so its shards are to be dealt to other instances meanwhile.
//!
//! The instance says so by a mark that lives as long as its session. Leaders watch the marks. ElasticJob's
//! leaders do not know the marks. They are not asked to deal anew either, because they would hold all shards
//! up until each run has ended. So nothing else depends on a mark: without it, shards wait until the instance
//! has left.

use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Key, Op, SessionId};
use std::time::Duration;

/// How long the mark waits after a change if it is not known whether the change was made.
const PAUSE: Duration = Duration::from_millis(500);

/// The mark of this instance on one job, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handover {
    mark: Mark,
    /// Whether a change of the mark is under way. There is one change at a time.
    is_sending: bool,
}

/// The state of a mark. A mark goes with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    #[default]
    None,
    Made(SessionId),
    /// The answer about the mark is missing.
    Maybe(SessionId),
    /// The instance was taken off, or the job was removed.
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
    /// Returns the changes whose answers the handover waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_sending.then_some(JobChange::Handover).into_iter()
    }

    /// Makes the mark if it is wanted, or takes it away. `goes` says whether this instance leaves the job or
    /// cannot serve it. `is_wanted` says whether this instance, in addition, is registered and still runs
    /// something of the job.
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

    /// Returns the deletion of the mark, if the mark may exist, to go with all else of this instance.
    pub(crate) fn without(&self, turn: &Turn<'_>) -> Option<Op> {
        let is_there = self.mark.under(turn.session()?) != Mark::None;
        is_there.then(|| Op::Delete(own_key(turn), None))
    }

    /// Notes that all else of this instance is gone, and the mark with it if it existed then. A mark that was
    /// on its way is taken away when it has come.
    pub(crate) fn left(&mut self, turn: &Turn<'_>, ops: &[Op]) {
        let key = own_key(turn);
        let was_deleted = ops.iter().any(|op| matches!(op, Op::Delete(gone, _) if *gone == key));
        if was_deleted && !self.is_sending {
            self.mark = Mark::None;
        }
    }

    /// Handles the verdict on a change of the mark.
    pub(crate) fn answered(&mut self, turn: &mut Turn<'_>, change: Change, verdict: &Verdict) {
        let session = turn.session().filter(|_| !change.ends_in_deletion());
        match verdict {
            Verdict::Done(_) => self.becomes(turn, session.map_or(Mark::None, Mark::Made)),
            // The mark was absent; or the instance that was to be marked no longer serves the job.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::outbox::Purpose;
    use crate::rig::{ME, Rig, SESSION, instance};
    use flockwork_registry::{Index, Why};

    const DONE: Verdict = Verdict::Done(Index(9));
    const REFUSED: Verdict = Verdict::Refused(Why::Absent, None);
    const NEXT: SessionId = SessionId(8);

    fn own() -> Facet {
        Facet::Leaver(instance(ME))
    }

    /// What is sent for an instance that goes, and is to be marked or not.
    fn sent(rig: &mut Rig, handover: &mut Handover, goes: bool, is_wanted: bool) -> Sent {
        handover.reconcile(&mut rig.turn(), goes, is_wanted);
        match &rig.sent()[..] {
            [] => Sent::Nothing,
            [change] if rig.deleted(change) == [own()] => Sent::Deletion,
            [change] if rig.written(change) == [own()] => Sent::Mark,
            other => panic!("{other:?}"),
        }
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Sent {
        Nothing,
        Mark,
        Deletion,
    }

    /// A mark that was sent, and what became of it.
    fn marked(verdict: &Verdict) -> (Rig, Handover) {
        let (mut rig, mut handover) = (Rig::new(), Handover::default());
        handover.reconcile(&mut rig.turn(), true, true);
        let change = rig.sent_one();
        handover.answered(&mut rig.turn(), change, verdict);
        (rig, handover)
    }

    #[test]
    fn a_mark_is_made_where_one_is_wanted_by_whoever_is_registered() {
        let (mut rig, mut handover) = (Rig::new(), Handover::default());
        for (goes, is_wanted) in [(false, false), (true, false)] {
            assert_eq!(sent(&mut rig, &mut handover, goes, is_wanted), Sent::Nothing);
        }
        handover.reconcile(&mut rig.turn(), true, true);
        let change = rig.sent_one();
        assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Handover));
        let is_on = Op::Check(rig.turn().key(&Facet::Instance(instance(ME))), None);
        let mark = Op::create_for_session(rig.turn().key(&own()), "");
        assert_eq!(change.ops, [is_on, mark]);
        for goes in [true, false] {
            let sent = sent(&mut rig, &mut handover, goes, goes);
            assert_eq!(sent, Sent::Nothing, "one change at a time");
        }
        assert_eq!(handover.awaited().collect::<Vec<_>>(), [JobChange::Handover]);
    }

    #[test]
    fn what_became_of_a_mark_says_what_is_done_next() {
        for (verdict, when_wanted, when_it_stays) in [
            (DONE, Sent::Nothing, Sent::Deletion),
            (REFUSED, Sent::Nothing, Sent::Deletion),
            (Verdict::Unknown, Sent::Mark, Sent::Deletion),
            (Verdict::SessionEnded(SESSION), Sent::Mark, Sent::Deletion),
            (Verdict::TooLarge, Sent::Mark, Sent::Nothing),
        ] {
            let (mut rig, mut handover) = marked(&verdict);
            let next = sent(&mut rig, &mut handover, true, true);
            assert_eq!(next, when_wanted, "{verdict:?}");
            let (mut rig, mut handover) = marked(&verdict);
            let next = sent(&mut rig, &mut handover, false, false);
            assert_eq!(next, when_it_stays, "{verdict:?}");
            assert!(rig.is_job_marked() != rig.alarms.next().1.is_some(), "{verdict:?}");
        }
    }

    #[test]
    fn a_mark_that_the_registry_could_not_take_goes_out_once_more_and_is_waited_for() {
        let (mut rig, mut handover) = marked(&Verdict::NotTaken);
        assert_eq!(rig.purposes(), [Purpose::Job(JobIx(0), JobChange::Handover)]);
        assert_eq!(sent(&mut rig, &mut handover, true, true), Sent::Nothing);
    }

    #[test]
    fn a_mark_goes_with_its_session() {
        for verdict in [DONE, REFUSED, Verdict::Unknown] {
            let (mut rig, mut handover) = marked(&verdict);
            rig.trust.renew(rig.now, NEXT, rig.trust.until());
            assert!(handover.without(&rig.turn()).is_none(), "{verdict:?}");
            let next = sent(&mut rig, &mut handover, false, false);
            assert_eq!(next, Sent::Nothing, "{verdict:?}");
            let next = sent(&mut rig, &mut handover, true, true);
            assert_eq!(next, Sent::Mark, "{verdict:?}");
        }
        let (mut rig, mut handover) = marked(&Verdict::Unknown);
        rig.trust.end();
        assert_eq!(sent(&mut rig, &mut handover, true, true), Sent::Nothing, "no session");
    }

    #[test]
    fn a_mark_that_was_taken_away_is_gone_and_one_in_doubt_is_taken_away_again() {
        for (verdict, next) in
            [(DONE, Sent::Nothing), (REFUSED, Sent::Nothing), (Verdict::Unknown, Sent::Deletion)]
        {
            let (mut rig, mut handover) = marked(&DONE);
            handover.reconcile(&mut rig.turn(), false, false);
            let change = rig.sent_one();
            handover.answered(&mut rig.turn(), change, &verdict);
            let sent = sent(&mut rig, &mut handover, false, false);
            assert_eq!(sent, next, "{verdict:?}");
        }
    }

    #[test]
    fn whoever_leaves_takes_with_it_a_mark_that_may_be_there() {
        let gone = |rig: &mut Rig| Some(Op::Delete(rig.turn().key(&own()), None));
        for verdict in [DONE, REFUSED, Verdict::Unknown] {
            let (mut rig, handover) = marked(&verdict);
            assert_eq!(handover.without(&rig.turn()), gone(&mut rig), "{verdict:?}");
        }
        let (mut rig, mut handover) = (Rig::new(), Handover::default());
        assert_eq!(handover.without(&rig.turn()), None);
        handover.reconcile(&mut rig.turn(), true, true);
        assert_eq!(handover.without(&rig.turn()), gone(&mut rig), "it is on its way");
    }

    #[test]
    fn a_mark_that_went_with_the_leave_is_forgotten_unless_one_is_on_its_way() {
        for (later, was_deleted, next) in [
            (None, true, Sent::Nothing),
            (None, false, Sent::Deletion),
            (Some(DONE), true, Sent::Deletion),
            (Some(Verdict::Unknown), true, Sent::Deletion),
        ] {
            let (mut rig, mut handover) = (Rig::new(), Handover::default());
            handover.reconcile(&mut rig.turn(), true, true);
            let change = rig.sent_one();
            if later.is_none() {
                handover.answered(&mut rig.turn(), change.clone(), &DONE);
            }
            let ops: Vec<Op> = handover.without(&rig.turn()).into_iter().collect();
            handover.left(&rig.turn(), if was_deleted { &ops } else { &[] });
            if let Some(verdict) = &later {
                handover.answered(&mut rig.turn(), change, verdict);
            }
            let sent = sent(&mut rig, &mut handover, false, false);
            assert_eq!(sent, next, "{later:?} {was_deleted}");
        }
    }
}
