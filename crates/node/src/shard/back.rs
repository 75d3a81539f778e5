//! Claims that are given back, as nothing was started: the record becomes what it was.

use super::claim::OwnClaim;
use super::keys::Keys;
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::record;
use flockwork_registry::{Op, Stamp};

/// One that is being given back.
#[derive(Debug)]
pub(crate) struct TakingBack {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    /// Whether its undoing was sent, and what became of that is not known.
    is_sent: bool,
}

impl TakingBack {
    /// Of the claim that the record holds under this stamp.
    pub(crate) fn new(claim: Box<OwnClaim>, stamp: Stamp) -> Self {
        Self { claim, stamp, is_sent: false }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    /// The stamp of the record as it was before the claim.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether its undoing is under way, or was when that was last heard of.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Sends the undoing, unless it is under way; without a session it waits for one.
    pub(crate) fn send(&mut self, turn: &mut Turn<'_>, keys: &Keys, shard: ShardIndex) {
        if turn.session().is_none() || std::mem::replace(&mut self.is_sent, true) {
            return;
        }
        let value = record::encode(self.claim.before());
        let mut ops = vec![Op::Set(keys.record.clone(), value, Some(self.stamp))];
        if self.claim.mark_stands(turn.session()) {
            ops.push(Op::Delete(keys.running.clone(), None));
        }
        let change = ShardChange::Undo(self.claim.id());
        turn.send(Purpose::Shard(turn.job, shard, change), ops);
    }

    /// It was not made, or nobody knows whether it was.
    pub(crate) fn is_not_sent(&mut self) {
        self.is_sent = false;
    }
}
