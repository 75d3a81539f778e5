//! The verdicts on a shard's changes.

use super::accounting::{self, Accounting};
use super::ahead::Standing;
use super::claim::Claiming;
use super::state::State;
use super::{News, Shard};
use crate::facts::Facts;
use crate::mirror::{Mirror, stamp_after, written_over};
use crate::outbox::{Change, PAUSE, ShardChange, Verdict};
use crate::turn::Turn;
use flockwork_core::execution::RunId;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Index, Stamp};

impl Shard {
    /// Handles the verdict on a change of the shard.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (what, change, verdict): (ShardChange, Change, &Verdict),
    ) -> Option<News> {
        match what {
            ShardChange::Account => self.account_answered(turn, mirror, &change, verdict),
            // The change is of a run that is over in another way.
            ShardChange::Claim(run) | ShardChange::End(run) | ShardChange::Undo(run)
                if self.state.run_id() != Some(run) =>
            {
                None
            }
            ShardChange::Claim(run) => self.claim_answered(turn, facts, mirror, (run, verdict)),
            ShardChange::End(_) => {
                self.end_answered(turn, facts, mirror, (change, verdict));
                None
            }
            ShardChange::Undo(run) => {
                self.undo_answered(turn, facts, mirror, (run, change, verdict));
                None
            }
        }
    }

    pub(super) fn claim_answered(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (run, verdict): (RunId, &Verdict),
    ) -> Option<News> {
        let claiming = match self.leave_stage() {
            State::Claiming(claiming) => claiming,
            // The event is about a run that has gone on since, or is over.
            other => {
                self.enter(other);
                return None;
            }
        };
        match verdict {
            Verdict::Done(index) => {
                let stamp = claiming.stamp(*index);
                self.claimed(turn, mirror, claiming, stamp);
            }
            Verdict::Unknown => {
                self.enter(State::Doubted(claiming));
                mirror.read(turn, Facet::Record(self.index));
            }
            Verdict::Refused(_, facet) => {
                self.abandon(turn, facts, run);
                let news = self.claim_refused(turn, mirror, facet.as_ref());
                self.reconsider_in(turn, turn.settings.reconcile_interval);
                return news;
            }
            Verdict::TooLarge => self.abandon(turn, facts, run),
            Verdict::SessionEnded(_) | Verdict::NotTaken => {
                self.abandon(turn, facts, run);
                self.reconsider_in(turn, PAUSE);
            }
        }
        None
    }

    /// Notes that the claim stands, as its answer or the record says.
    pub(super) fn claimed(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        claiming: Claiming,
        stamp: Stamp,
    ) {
        let claim = claiming.into_claim();
        mirror.wrote_record(self.index, claim.after().clone(), stamp);
        self.enter(State::Standing(Standing::new(claim, stamp)));
        turn.mark_shard(self.index);
    }

    pub(super) fn claim_refused(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        facet: Option<&Facet>,
    ) -> Option<News> {
        let mut news = None;
        match facet {
            Some(Facet::Running(_)) => {
                self.enter(State::Blocked);
                mirror.read(turn, Facet::Record(self.index));
                mirror.read(turn, Facet::Running(self.index));
            }
            Some(Facet::Owner(_)) => mirror.read(turn, Facet::Owner(self.index)),
            Some(Facet::Plan) => mirror.read(turn, Facet::Plan),
            Some(Facet::Once) => mirror.read(turn, Facet::Once),
            Some(Facet::Leader) => mirror.read(turn, Facet::Leader),
            Some(Facet::Instance(instance)) => {
                news = refused_as_gone(turn, mirror, instance);
                mirror.read(turn, Facet::Record(self.index));
            }
            _ => mirror.read(turn, Facet::Record(self.index)),
        }
        news
    }

    pub(super) fn end_answered(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (change, verdict): (Change, &Verdict),
    ) {
        if matches!(verdict, Verdict::Refused(..) | Verdict::TooLarge) {
            return self.superseded(turn, facts, mirror);
        }
        let ending = match self.leave_stage() {
            State::Ending(ending) => ending,
            // The event is about a run that has gone on since, or is over.
            other => {
                self.enter(other);
                return;
            }
        };
        match verdict {
            Verdict::Done(index) => {
                let stamp = ending.stamp(*index);
                self.end_known(turn, facts, mirror, (ending, None, stamp));
            }
            Verdict::Unknown => {
                self.enter(State::EndDoubted(ending));
                mirror.read(turn, Facet::Record(self.index));
            }
            // The end is told again under the next session, which may have come before this answer.
            _ if verdict.is_of_the_past(turn.session()) => {
                self.tell(turn, facts, mirror, ending.untold());
            }
            Verdict::SessionEnded(_) => self.enter(State::Ended(ending.untold())),
            _ => {
                self.enter(State::Ending(ending));
                turn.send_again(change);
            }
        }
    }

    pub(super) fn undo_answered(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &mut Mirror,
        (run, change, verdict): (RunId, Change, &Verdict),
    ) {
        let State::TakingBack(back) = &mut self.state else { return };
        match verdict {
            Verdict::Done(index) => {
                let (before, stamp) = (back.claim().before().clone(), back.stamp());
                self.abandon(turn, facts, run);
                mirror.wrote_record(self.index, before, stamp_after(Some(stamp), *index));
                turn.mark_shard(self.index);
            }
            // Another instance has taken the shard over meanwhile, it seems; or it is not known whether the
            // undoing was made.
            Verdict::Refused(..) | Verdict::Unknown => {
                back.is_not_sent();
                mirror.read(turn, Facet::Record(self.index));
            }
            Verdict::TooLarge => self.superseded(turn, facts, mirror),
            Verdict::SessionEnded(_) => {
                back.is_not_sent();
                if verdict.is_of_the_past(turn.session()) {
                    self.tell_again(turn, facts, mirror);
                }
            }
            Verdict::NotTaken => turn.send_again(change),
        }
    }

    pub(super) fn account_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: &Change,
        verdict: &Verdict,
    ) -> Option<News> {
        let accounting = match self.leave_stage() {
            State::Accounting(accounting) => accounting,
            // The event is about a run that has gone on since, or is over.
            other => {
                self.enter(other);
                return None;
            }
        };
        match verdict {
            Verdict::Done(index) => {
                self.accounted(turn, mirror, accounting, (change, *index));
                None
            }
            Verdict::TooLarge => None,
            Verdict::Refused(_, facet) => {
                mirror.read(turn, Facet::Record(self.index));
                match facet {
                    Some(Facet::Instance(instance)) => refused_as_gone(turn, mirror, instance),
                    Some(Facet::Plan) => {
                        mirror.read(turn, Facet::Plan);
                        None
                    }
                    _ => None,
                }
            }
            Verdict::Unknown | Verdict::SessionEnded(_) | Verdict::NotTaken => {
                mirror.read(turn, Facet::Record(self.index));
                None
            }
        }
    }

    pub(super) fn accounted(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        accounting: Accounting,
        (change, index): (&Change, Index),
    ) {
        let (stored, notes) = accounting.into_parts();
        if let Some(old) = written_over(change, &Facet::Record(self.index), turn) {
            mirror.wrote_record(self.index, stored, stamp_after(old, index));
        }
        if !notes.is_empty() {
            self.is_held_up_no_more();
        }
        accounting::report(turn, self.index, &notes);
        turn.mark_shard(self.index);
        turn.mark_job();
    }
}

/// Handles a change that was refused because this instance is gone, whatever was read, or because another
/// instance is not gone.
fn refused_as_gone(
    turn: &mut Turn<'_>,
    mirror: &mut Mirror,
    instance: &InstanceId,
) -> Option<News> {
    mirror.read(turn, Facet::Instances);
    (instance == turn.instance()).then_some(News::ThisInstanceIsGone)
}

#[cfg(test)]
mod tests;
