//! Claims of this node, from their sending until it is known whether they stand.

use super::accounting::{still_gone, without_retry};
use super::keys::{Keys, write_record};
use crate::facts::{Facts, Gate};
use crate::mirror::Mirror;
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use flockwork_core::account::{Claim, ClaimState, Fate, Note, Reason, Span};
use flockwork_core::config::{JobConfig, OnSessionLoss};
use flockwork_core::execution::{Fire, RunId, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::{Index, Lifetime, Op, SessionId, Stamp};
use std::sync::Arc;

/// A claim of this node, and what it is based on.
#[derive(Debug)]
pub(crate) struct OwnClaim {
    id: RunId,
    session: Option<SessionId>,
    basis: Basis,
    /// The record as it was before the claim.
    before: Arc<Stored>,
    /// The stamp of the record before the claim; `None` if there was no record.
    before_stamp: Option<Stamp>,
    /// The record as the claim writes it.
    after: Arc<Stored>,
    on_session_loss: OnSessionLoss,
}

/// What a claim is based on, and stands no longer without.
#[derive(Debug)]
enum Basis {
    /// A fire of an own shard, of which nothing has run.
    First {
        /// The assignment of the shard.
        dealt: Stamp,
        /// The instant since which the schedule by which the fire is due has been in force.
        from: Timestamp,
        /// The fates of the fires that the claim accounts, reported once its run begins.
        notes: Vec<Note>,
    },
    /// An earlier run of the fire, which failed or crashed.
    Again {
        /// Whether the earlier run crashed, so that the claim makes a mark of failover.
        is_taken_over: bool,
    },
}

/// A claim whose answer is not known yet.
#[derive(Debug)]
pub(crate) struct Claiming(Box<OwnClaim>);

impl OwnClaim {
    pub(crate) fn id(&self) -> RunId {
        self.id
    }

    /// Returns the claim as the record names it.
    pub(crate) fn claim(&self) -> &Claim {
        self.after.record.claim.as_ref().expect("a claim's record holds the claim")
    }

    pub(crate) fn before(&self) -> &Arc<Stored> {
        &self.before
    }

    pub(crate) fn after(&self) -> &Arc<Stored> {
        &self.after
    }

    /// Returns whether the claim is for the first run of a fire, on a shard of this node.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.basis, Basis::First { .. })
    }

    pub(crate) fn is_taken_over(&self) -> bool {
        matches!(self.basis, Basis::Again { is_taken_over: true })
    }

    pub(crate) fn is_of(&self, session: Option<SessionId>) -> bool {
        self.session == session
    }

    /// Returns whether the claim's mark is still there: a mark that does not last went with the session.
    pub(crate) fn mark_stands(&self, session: Option<SessionId>) -> bool {
        self.claim().mark_lasts || self.is_of(session)
    }

    /// Takes the fates of the fires that the claim accounts: only the first call returns them.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        match &mut self.basis {
            Basis::First { notes, .. } => std::mem::take(notes),
            Basis::Again { .. } => Vec::new(),
        }
    }

    pub(crate) fn must_stop_without_session(&self) -> bool {
        self.on_session_loss == OnSessionLoss::Stop
    }

    /// Sets what the run does when the session is lost. The definition may have changed since the claim was
    /// sent: the run goes by the one that counts now.
    pub(crate) fn on_session_loss(&mut self, now: OnSessionLoss) {
        self.on_session_loss = now;
    }

    /// Returns whether the schedule by which the fire is due has been in force since the same instant as at
    /// the claim.
    pub(crate) fn is_planned(&self, since: Option<Timestamp>) -> bool {
        match &self.basis {
            Basis::First { from, .. } => since == Some(*from),
            Basis::Again { .. } => true,
        }
    }

    /// Returns whether the assignment that the claim is based on is known to stand.
    pub(crate) fn is_dealt(&self, owner: Option<Stamp>) -> bool {
        match &self.basis {
            Basis::First { dealt, .. } => owner == Some(*dealt),
            Basis::Again { .. } => true,
        }
    }

    /// Returns whether a claim for a trigger, which is no longer held, stood and was not undone. Only the
    /// shard's owner counts triggers.
    pub(crate) fn was_answered_meanwhile(&self, found: Option<&Stored>) -> bool {
        let before = self.before.record.counts.triggered;
        let counted = found.is_some_and(|stored| stored.record.counts.triggered > before);
        self.claim().fire.source == Source::Trigger && counted
    }
}

impl Claiming {
    /// Claims a fire of a free shard that this node owns.
    pub(crate) fn first(
        (turn, keys, shard): (&mut Turn<'_>, &Keys, ShardIndex),
        facts: &Facts<'_>,
        mirror: &Mirror,
        before: Arc<Stored>,
        (fire, mut notes): (Fire, Vec<Note>),
    ) -> Option<Self> {
        let owner = mirror.owner(shard)?.held()?.stamp;
        let plan = mirror.plan().held()?.stamp;
        let from = mirror.plan_in_force(facts.shards())?.from(shard);
        let mut after = before.clone();
        let record = &mut Arc::make_mut(&mut after).record;
        match fire.source {
            Source::Trigger => {
                record.counts.ran += 1;
                record.counts.triggered += 1;
            }
            _ => notes.push(ran(fire)),
        }
        record.account(&notes);
        let mark_lasts = facts.fails_over();
        let id = turn.capacity.name_run();
        record.claim = Some(claim(turn, id, fire, mark_lasts));
        // The plan decides what is due. Other instances would take over a claim that is based on an outdated
        // plan if its answer is lost.
        let mut ops = vec![
            is_on(keys),
            Op::Check(keys.plan.clone(), Some(plan)),
            Op::Check(keys.owner.clone(), Some(owner)),
            write_record(keys, mirror, shard, &after),
            mark(turn, keys, mark_lasts),
        ];
        match facts.gate {
            Gate::Open(_, _, stamp) => ops.push(Op::Check(turn.key(&Facet::Once), Some(stamp))),
            Gate::Opening(_, leads) => ops.push(Op::Check(turn.key(&Facet::Leader), Some(leads))),
            Gate::None | Gate::Shut | Gate::Passed(_) => {}
        }
        let basis = Basis::First { dealt: owner, from, notes };
        Some(Self::send((turn, shard, id), (facts, mirror), (before, after), basis, ops))
    }

    /// Claims another run of a fire whose earlier run failed or crashed.
    pub(crate) fn again(
        (turn, keys, shard): (&mut Turn<'_>, &Keys, ShardIndex),
        facts: &Facts<'_>,
        mirror: &Mirror,
        (stored, old): (&Arc<Stored>, &Claim),
    ) -> Self {
        let has_crashed = old.state == ClaimState::Held;
        let lasts = facts.fails_over();
        let mark_lasts = lasts || (has_crashed && old.mark_lasts);
        // A crash that only a retry makes up for counts as a failure.
        let is_taken_over = has_crashed && lasts && old.crashes < JobConfig::MAX_TAKEOVERS;
        let crashes = old.crashes + u32::from(is_taken_over);
        let id = turn.capacity.name_run();
        let mut after = stored.clone();
        let record = &mut Arc::make_mut(&mut after).record;
        record.counts.crashed += u64::from(has_crashed);
        let next =
            Claim { attempt: old.attempt + 1, crashes, ..claim(turn, id, old.fire, mark_lasts) };
        record.claim = Some(next);
        let mut ops = vec![is_on(keys)];
        ops.extend(still_gone(turn, old));
        ops.push(write_record(keys, mirror, shard, &after));
        ops.push(match has_crashed && old.mark_lasts {
            true => Op::Set(keys.running.clone(), turn.me.clone(), None),
            false => mark(turn, keys, mark_lasts),
        });
        if has_crashed {
            let key = turn.key(&Facet::Failover(shard));
            ops.push(Op::create_for_session(key, turn.me.clone()));
        }
        ops.extend(without_retry(turn, shard, old));
        let records = (stored.clone(), after);
        let basis = Basis::Again { is_taken_over: has_crashed };
        Self::send((turn, shard, id), (facts, mirror), records, basis, ops)
    }

    fn send(
        (turn, shard, id): (&mut Turn<'_>, ShardIndex, RunId),
        (facts, mirror): (&Facts<'_>, &Mirror),
        (before, after): (Arc<Stored>, Arc<Stored>),
        basis: Basis,
        ops: Vec<Op>,
    ) -> Self {
        let before_stamp =
            mirror.record(shard).and_then(|record| record.held()).map(|held| held.stamp);
        turn.capacity.take(id, (turn.job, Some(shard)));
        turn.send(Purpose::Shard(turn.job, shard, ShardChange::Claim(id)), ops);
        let claim = Box::new(OwnClaim {
            id,
            session: turn.session(),
            basis,
            before,
            before_stamp,
            after,
            on_session_loss: facts.config.map_or(OnSessionLoss::Finish, |it| it.on_session_loss),
        });
        Self(claim)
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.0
    }

    /// Returns the stamp of the record that the claim has written, if the commit with this index made it.
    pub(crate) fn stamp(&self, index: Index) -> Stamp {
        crate::mirror::stamp_after(self.0.before_stamp, index)
    }

    pub(crate) fn into_claim(self) -> Box<OwnClaim> {
        self.0
    }
}

fn ran(fire: Fire) -> Note {
    let span = Span { first: fire.due, last: fire.due, fires: 1 };
    Note { fate: Fate::Ran, reason: Reason::Due, span }
}

/// Returns the first claim of a fire.
fn claim(turn: &Turn<'_>, id: RunId, fire: Fire, mark_lasts: bool) -> Claim {
    Claim {
        fire,
        attempt: 1,
        crashes: 0,
        instance: turn.instance().clone(),
        nonce: id.0,
        at: turn.now.wall,
        mark_lasts,
        state: ClaimState::Held,
    }
}

/// Returns the condition that this instance still serves the job: other instances take over what an instance
/// that was taken off has claimed.
fn is_on(keys: &Keys) -> Op {
    Op::Check(keys.instance.clone(), None)
}

/// Returns the operation that makes the mark of a run, in ElasticJob's form.
fn mark(turn: &Turn<'_>, keys: &Keys, lasts: bool) -> Op {
    Op::Create {
        key: keys.running.clone(),
        value: turn.me.clone(),
        lifetime: if lasts { Lifetime::Lasting } else { Lifetime::Session },
        sequence: false,
    }
}

#[cfg(test)]
mod tests;
