//! Changes of a shard's record that no run is claimed with: what became of fires that are not run, and of
//! runs whose instance is gone.

use super::keys::{Keys, write_record};
use super::last::closed;
use crate::mirror::Mirror;
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use crate::{Account, Report};
use flockwork_core::account::{Claim, ClaimState, Note};
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::Op;
use std::sync::Arc;

/// One that is under way.
#[derive(Debug)]
pub(crate) struct Accounting {
    /// The record as it will be.
    stored: Arc<Stored>,
    /// What became of which fires.
    notes: Vec<Note>,
}

impl Accounting {
    /// Writes down what became of fires that no run is claimed for.
    pub(crate) fn of_fires(
        turn: &mut Turn<'_>,
        (keys, shard): (&Keys, ShardIndex),
        mirror: &Mirror,
        mut stored: Arc<Stored>,
        notes: Vec<Note>,
    ) -> Option<Self> {
        Arc::make_mut(&mut stored).record.account(&notes);
        // What was due follows from the plan: one that is out of date accounts nothing.
        let plan = mirror.plan().held()?.stamp;
        let check = Op::Check(keys.plan.clone(), Some(plan));
        let write = write_record(keys, mirror, shard, &stored);
        Some(Self::send(turn, shard, (stored, notes), vec![check, write]))
    }

    /// Writes down that a fire is over though it was not done, for the reason with this code.
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

    /// Takes a mark away that a run has left behind. The record stays as it is.
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

    pub(crate) fn into_parts(self) -> (Arc<Stored>, Vec<Note>) {
        (self.stored, self.notes)
    }
}

/// The condition that the instance which held a claim is gone.
pub(crate) fn still_gone(turn: &Turn<'_>, claim: &Claim) -> Option<Op> {
    let is_others = claim.instance != *turn.instance();
    let is_wanted = claim.state == ClaimState::Held && is_others;
    is_wanted.then(|| Op::CheckAbsent(turn.key(&Facet::Instance(claim.instance.clone()))))
}

/// What takes the mark of a released attempt away.
pub(crate) fn without_retry(turn: &Turn<'_>, shard: ShardIndex, old: &Claim) -> Option<Op> {
    let is_signalled = matches!(old.state, ClaimState::Released { is_signalled: true, .. });
    is_signalled.then(|| Op::Delete(turn.key(&Facet::Retry(shard)), None))
}

/// Tells what became of fires, once that is certain.
pub(crate) fn report(turn: &mut Turn<'_>, shard: ShardIndex, notes: &[Note]) {
    for note in notes {
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
