//! Changes of a shard's record that claim no run: they account fires that are not run, and runs whose
//! instance is gone.

use super::keys::{Keys, write_record};
use super::last::closed;
use crate::mirror::Mirror;
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use crate::{Account, Report};
use flockwork_core::account::{Claim, ClaimState, Note, Reason, Record};
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::Op;
use std::sync::Arc;

/// An accounting of fires that is under way.
#[derive(Debug)]
pub(crate) struct Accounting {
    /// The record as it will be.
    stored: Arc<Stored>,
    /// The fates of the fires that are accounted.
    notes: Vec<Note>,
}

impl Accounting {
    /// Accounts fires that no run is claimed for.
    pub(crate) fn of_fires(
        turn: &mut Turn<'_>,
        (keys, shard): (&Keys, ShardIndex),
        mirror: &Mirror,
        mut stored: Arc<Stored>,
        notes: Vec<Note>,
    ) -> Option<Self> {
        Arc::make_mut(&mut stored).record.account(&notes);
        // The plan decides what was due: an outdated plan accounts nothing.
        let plan = mirror.plan().held()?.stamp;
        let check = Op::Check(keys.plan.clone(), Some(plan));
        let write = write_record(keys, mirror, shard, &stored);
        Some(Self::send(turn, shard, (stored, notes), vec![check, write]))
    }

    /// Sets the record back from where a clock that was ahead had brought it. `withdrawn` are the fires that
    /// are due again.
    pub(crate) fn of_set_back(
        turn: &mut Turn<'_>,
        (keys, shard): (&Keys, ShardIndex),
        mirror: &Mirror,
        mut stored: Arc<Stored>,
        (record, withdrawn): (Record, Note),
    ) -> Option<Self> {
        Arc::make_mut(&mut stored).record = record;
        let plan = mirror.plan().held()?.stamp;
        let owner = mirror.owner(shard)?.held()?.stamp;
        let ops = vec![
            Op::Check(keys.plan.clone(), Some(plan)),
            Op::Check(keys.owner.clone(), Some(owner)),
            write_record(keys, mirror, shard, &stored),
        ];
        Some(Self::send(turn, shard, (stored, vec![withdrawn]), ops))
    }

    /// Writes into the record that a fire is over although it was not done, for the reason with this code.
    pub(crate) fn of_claim(
        turn: &mut Turn<'_>,
        (keys, shard): (&Keys, ShardIndex),
        mirror: &Mirror,
        (stored, old): (&Stored, &Claim),
        (code, text): (&str, &str),
    ) -> Self {
        let has_crashed = old.state == ClaimState::Held;
        let mut record = closed(&stored.record, code, text, turn.now.wall);
        record.counts.crashed += u64::from(has_crashed);
        record.counts.failed += u64::from(has_crashed);
        let ended = Stored { record, unknown: stored.unknown.clone() };
        let mut ops: Vec<Op> = still_gone(turn, old).into_iter().collect();
        ops.push(write_record(keys, mirror, shard, &ended));
        if has_crashed && old.mark_lasts {
            ops.push(Op::Delete(keys.running.clone(), None));
        }
        ops.extend(without_retry(turn, shard, old));
        Self::send(turn, shard, (Arc::new(ended), Vec::new()), ops)
    }

    /// Takes away a mark that a run has left behind. The record stays as it is.
    pub(crate) fn of_mark(
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stored: Arc<Stored>,
        op: Op,
    ) -> Self {
        Self::send(turn, shard, (stored, Vec::new()), vec![op])
    }

    fn send(
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        (stored, notes): (Arc<Stored>, Vec<Note>),
        ops: Vec<Op>,
    ) -> Self {
        turn.send(Purpose::Shard(turn.job, shard, ShardChange::Account), ops);
        Self { stored, notes }
    }

    /// Returns whether it sets the record back.
    pub(crate) fn is_set_back(&self) -> bool {
        self.notes.first().is_some_and(|note| note.reason == Reason::ClockWasAhead)
    }

    pub(crate) fn into_parts(self) -> (Arc<Stored>, Vec<Note>) {
        (self.stored, self.notes)
    }
}

/// Returns the condition that the instance which held a claim is gone.
pub(crate) fn still_gone(turn: &Turn<'_>, claim: &Claim) -> Option<Op> {
    let is_others = claim.instance != *turn.instance();
    let is_wanted = claim.state == ClaimState::Held && is_others;
    is_wanted.then(|| Op::CheckAbsent(turn.key(&Facet::Instance(claim.instance.clone()))))
}

/// Returns the operation that takes away the mark of a released attempt.
pub(crate) fn without_retry(turn: &Turn<'_>, shard: ShardIndex, old: &Claim) -> Option<Op> {
    let is_signalled = matches!(old.state, ClaimState::Released { is_signalled: true, .. });
    is_signalled.then(|| Op::Delete(turn.key(&Facet::Retry(shard)), None))
}

/// Reports what became of fires, once that is certain.
pub(crate) fn report(turn: &mut Turn<'_>, shard: ShardIndex, notes: &[Note]) {
    for note in notes.iter().filter(|note| note.span.fires > 0) {
        turn.report(Report::Accounted(Account {
            job: turn.name.clone(),
            shard,
            fate: note.fate,
            reason: note.reason,
            fires: note.span.fires,
            first: note.span.first,
            last: note.span.last,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::rig::{ME, OTHER, at, instance, stamp};
    use crate::shard::scene::{Scene, holding, released_to, theirs};
    use flockwork_core::account::{Fate, Reason, Span};

    const ACCOUNT: Purpose = Purpose::Shard(JobIx(0), 0, ShardChange::Account);

    /// Two fires that were skipped as the shard was switched off.
    fn skipped() -> Note {
        let span = Span { first: at(10_000), last: at(11_000), fires: 2 };
        Note { fate: Fate::Skipped, reason: Reason::Disabled, span }
    }

    fn of_fires(scene: &mut Scene) -> Option<Accounting> {
        let keys = scene.keys();
        scene.act(|turn, _, mirror| {
            let stored = mirror.stored(0).unwrap();
            Accounting::of_fires(turn, (&keys, 0), mirror, stored, vec![skipped()])
        })
    }

    fn of_claim(scene: &mut Scene, old: &Claim) -> Accounting {
        let keys = scene.keys();
        let stored = scene.stores(holding(Some(old.clone())));
        scene.act(|turn, _, mirror| {
            let why = ("CRASHED", "its instance is gone");
            Accounting::of_claim(turn, (&keys, 0), mirror, (&stored, old), why)
        })
    }

    #[test]
    fn fires_are_accounted_on_the_plan_they_were_due_by() {
        let mut scene = Scene::new();
        scene.plans(2_000);
        let (stored, notes) = of_fires(&mut scene).unwrap().into_parts();
        let (keys, change) = (scene.keys(), scene.sent_one());
        assert_eq!(change.purpose, ACCOUNT);
        assert_eq!(
            change.ops,
            [
                Op::Check(keys.plan.clone(), Some(stamp(2))),
                write_record(&keys, &scene.mirror, 0, &stored),
            ]
        );
        assert_eq!((stored.record.watermark, stored.record.counts.skipped), (at(11_000), 2));
        assert_eq!(notes, [skipped()]);
    }

    #[test]
    fn nothing_is_accounted_while_the_plan_is_not_known() {
        let mut scene = Scene::new();
        scene.doubts(Facet::Plan);
        assert!(of_fires(&mut scene).is_none());
        assert!(scene.rig.sent().is_empty());
    }

    #[test]
    fn a_claim_is_closed_and_only_one_that_was_held_has_crashed() {
        let mine = Claim { instance: instance(ME), ..theirs() };
        for (old, crashed) in [(theirs(), 1), (mine, 1), (released_to(ME), 0)] {
            let (ended, notes) = of_claim(&mut Scene::new(), &old).into_parts();
            let record = &ended.record;
            assert_eq!(record.claim, None);
            assert_eq!(
                (record.counts.crashed, record.counts.failed),
                (crashed, crashed),
                "{old:?}"
            );
            let last = record.last.as_ref().unwrap();
            assert_eq!((&*last.code, last.ended), ("CRASHED", at(10_000)));
            assert_eq!(notes, []);
        }
    }

    #[test]
    fn a_claim_is_closed_only_if_its_instance_is_still_gone() {
        let mine = Claim { instance: instance(ME), ..theirs() };
        for (old, gone) in [(theirs(), Some(OTHER)), (mine, None), (released_to(OTHER), None)] {
            let mut scene = Scene::new();
            of_claim(&mut scene, &old);
            let change = scene.sent_one();
            let wanted: Vec<Facet> =
                gone.map(|id| Facet::Instance(instance(id))).into_iter().collect();
            assert_eq!(scene.rig.checked(&change), wanted, "{old:?}");
        }
    }

    #[test]
    fn the_marks_that_a_closed_claim_has_left_go_with_it() {
        let unsignalled = match released_to(ME) {
            Claim { state: ClaimState::Released { to, not_before, .. }, .. } => {
                ClaimState::Released { to, not_before, is_signalled: false }
            }
            held => panic!("{held:?}"),
        };
        let lasting = |old| Claim { mark_lasts: true, ..old };
        let table = [
            (theirs(), vec![]),
            (lasting(theirs()), vec![Facet::Running(0)]),
            (lasting(released_to(ME)), vec![Facet::Retry(0)]),
            (Claim { state: unsignalled, ..theirs() }, vec![]),
        ];
        for (old, deleted) in table {
            let mut scene = Scene::new();
            of_claim(&mut scene, &old);
            let change = scene.sent_one();
            assert_eq!(scene.rig.deleted(&change), deleted, "{old:?}");
            assert_eq!(scene.rig.written(&change), [Facet::Record(0)]);
        }
    }

    #[test]
    fn a_mark_is_taken_away_and_the_record_stays() {
        let mut scene = Scene::new();
        let stored = scene.mirror.stored(0).unwrap();
        let op = Op::Delete(scene.keys().running, Some(stamp(3)));
        let accounting = Accounting::of_mark(&mut scene.rig.turn(), 0, stored.clone(), op.clone());
        let change = scene.sent_one();
        assert_eq!((change.purpose, change.ops), (ACCOUNT, vec![op]));
        assert_eq!(accounting.into_parts(), (stored, vec![]));
    }

    #[test]
    fn each_fate_is_reported_with_its_fires() {
        let mut scene = Scene::new();
        let ran = Note { fate: Fate::Ran, reason: Reason::Due, ..skipped() };
        report(&mut scene.rig.turn(), 0, &[skipped(), ran]);
        let reports = scene.rig.reports();
        let told = reports.iter().map(|report| match report {
            Report::Accounted(it) => (it.fate, it.reason, it.fires, it.first, it.last),
            other => panic!("{other:?}"),
        });
        let span = (2, at(10_000), at(11_000));
        assert!(told.eq([
            (Fate::Skipped, Reason::Disabled, span.0, span.1, span.2),
            (Fate::Ran, Reason::Due, span.0, span.1, span.2),
        ]));
    }
}
