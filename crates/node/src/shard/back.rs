//! Claims that are given back because nothing was started: the record becomes what it was.

use super::claim::OwnClaim;
use super::keys::Keys;
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::record;
use flockwork_registry::{Op, Stamp};

/// A claim that is being given back.
#[derive(Debug)]
pub(crate) struct TakingBack {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    /// Whether the claim's undoing was sent, and what became of that is not known.
    is_sent: bool,
}

impl TakingBack {
    /// Begins to give back the claim that the record holds under this stamp.
    pub(crate) fn new(claim: Box<OwnClaim>, stamp: Stamp) -> Self {
        Self { claim, stamp, is_sent: false }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    /// The stamp that the claim gave to the record, on which its undoing is demanded.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns whether the undoing is under way, or was when that was last heard of.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Sends the undoing, unless it is under way. Without a session the undoing waits for one.
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

    /// Notes that the undoing was not made, or that this is not known.
    pub(crate) fn is_not_sent(&mut self) {
        self.is_sent = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::shard::scene::{DUE, Scene};
    use flockwork_layout::keys::Facet;

    /// A claim of the scene's shard that is to be given back.
    fn to_give_back(scene: &mut Scene) -> TakingBack {
        scene.standing(DUE).take_back()
    }

    fn send(scene: &mut Scene, back: &mut TakingBack) {
        let keys = scene.keys();
        back.send(&mut scene.rig.turn(), &keys, 0);
    }

    #[test]
    fn the_record_becomes_what_it_was_and_the_mark_goes() {
        let mut scene = Scene::new();
        let before = scene.mirror.stored(0).unwrap();
        let mut back = to_give_back(&mut scene);
        send(&mut scene, &mut back);
        let (keys, change) = (scene.keys(), scene.sent_one());
        let undo = ShardChange::Undo(back.claim().id());
        assert_eq!(change.purpose, Purpose::Shard(JobIx(0), 0, undo));
        assert_eq!(
            change.ops,
            [
                Op::Set(keys.record, record::encode(&before), Some(back.stamp())),
                Op::Delete(keys.running, None),
            ]
        );
    }

    #[test]
    fn a_claim_is_given_back_under_a_session_alone() {
        let mut scene = Scene::new();
        let mut back = to_give_back(&mut scene);
        scene.rig.trust.end();
        send(&mut scene, &mut back);
        assert!(scene.rig.sent().is_empty() && !back.is_sent());
        scene.another_session();
        send(&mut scene, &mut back);
        assert!(scene.rig.sent().len() == 1 && back.is_sent());
    }

    #[test]
    fn the_undoing_is_sent_once_and_again_after_it_was_not_made() {
        let mut scene = Scene::new();
        let mut back = to_give_back(&mut scene);
        for (is_not_made, sent) in [(false, 1), (false, 0), (true, 1), (false, 0)] {
            if is_not_made {
                back.is_not_sent();
                assert!(!back.is_sent());
            }
            send(&mut scene, &mut back);
            assert_eq!(scene.rig.sent().len(), sent, "{is_not_made}");
        }
    }

    #[test]
    fn a_mark_that_went_with_its_session_is_not_taken_away() {
        for (failover, deleted) in [(false, vec![]), (true, vec![Facet::Running(0)])] {
            let mut scene = Scene::of(|config| config.failover = failover);
            let mut back = to_give_back(&mut scene);
            scene.another_session();
            send(&mut scene, &mut back);
            let change = scene.sent_one();
            assert_eq!(scene.rig.deleted(&change), deleted, "{failover}");
        }
    }
}
