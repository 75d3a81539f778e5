//! Foreign claims: runs elsewhere, runs whose instance is gone, and attempts that were released to be tried
//! again.
//!
//! Each shard has a keeper that looks after the record: the shard's owner or, if that is gone, an instance on
//! which all agree. An instance counts as gone when it is known not to be registered. The commit checks that
//! once more, so a belief that is out of date changes nothing.

use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::account::{Claim, ClaimState};
use flockwork_core::config::{JobConfig, RetryOn};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::{Index, Request, Scope};
use std::time::Duration;

/// This node's memory of a foreign claim.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    /// Whether the mark of a run elsewhere is watched, to learn of its end.
    is_mark_watched: bool,
    /// The commit of the released attempt that was last seen, and when the attempt was first seen.
    released: Option<Box<(Index, Mono)>>,
}

/// The action that a foreign claim needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No action is needed; what changes that is reported to this node.
    Nothing,
    /// The claim is looked at again after a while.
    ReconsiderIn(Duration),
    /// The mark of the run tells when the run is over.
    FollowMark,
    /// The claim's fire is run again, here.
    ClaimAgain,
    /// The claim's fire is over, for this reason: a code and words for people.
    Close(&'static str, &'static str),
}

impl Foreign {
    /// Returns what to do about a claim in a shard's record.
    pub(crate) fn decide(
        &mut self,
        turn: &Turn<'_>,
        (shard, claim): (ShardIndex, &Claim),
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Decision {
        match &claim.state {
            ClaimState::Released { to, not_before, .. } => {
                self.about_released(turn, (shard, claim), (to, *not_before), facts, mirror)
            }
            ClaimState::Held => about_held(turn.instance(), (shard, claim), facts, mirror),
        }
    }

    fn about_released(
        &mut self,
        turn: &Turn<'_>,
        (shard, claim): (ShardIndex, &Claim),
        (to, not_before): (&InstanceId, Timestamp),
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Decision {
        let me = turn.instance();
        let is_keeper = || mirror.keeper(shard).as_ref() == Some(me);
        let is_gone = mirror.is_live(to) == Some(false);
        let is_for_me = to == me || (is_gone && is_keeper());
        if !is_for_me {
            let again = Decision::ReconsiderIn(turn.settings.reconcile_interval);
            return if is_keeper() { again } else { Decision::Nothing };
        }
        let wait = self.back_off_left(turn, (shard, claim), not_before, facts, mirror);
        if !wait.is_zero() {
            return Decision::ReconsiderIn(wait);
        }
        let Some(config) = facts.config else { return Decision::Nothing };
        let failed_here = claim.instance == *me && !config.failover;
        if to != me && failed_here && config.retry.on == RetryOn::Other {
            return Decision::Close(
                "NO_OTHER_INSTANCE",
                "no other instance is left to try it again",
            );
        }
        Decision::ClaimAgain
    }

    /// Returns how long a released attempt is still to wait: until its instant, and never longer than the
    /// whole back-off since the attempt was first seen here. The clock that named the instant may have been
    /// hours ahead.
    fn back_off_left(
        &mut self,
        turn: &Turn<'_>,
        (shard, claim): (ShardIndex, &Claim),
        not_before: Timestamp,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Duration {
        let by_wall = not_before.since(turn.now.wall);
        let Some(config) = facts.config else { return by_wall };
        let Some(held) = mirror.record(shard).and_then(|record| record.held()) else {
            return by_wall;
        };
        let commit = held.stamp.modified;
        let known = self.released.take().filter(|known| known.0 == commit);
        let known = known.unwrap_or_else(|| Box::new((commit, turn.now.mono)));
        let since = self.released.insert(known).1;
        let longest = config.retry.delay_after(claim.attempt);
        by_wall.min(since.plus(longest).since(turn.now.mono))
    }

    /// Watches the mark of a run elsewhere, to learn at once when the run is over.
    pub(crate) fn follow_mark(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        shard: ShardIndex,
    ) {
        if !std::mem::replace(&mut self.is_mark_watched, true) {
            let key = turn.key(&Facet::Running(shard));
            turn.outbox.watch(turn.job, Request::Watch(key, Scope::Value));
            // The mark may have gone before the watch was set.
            mirror.read(turn, Facet::Running(shard));
        }
    }

    /// Stops watching the mark, which is gone.
    pub(crate) fn mark_is_gone(&mut self, turn: &mut Turn<'_>, mirror: &Mirror, shard: ShardIndex) {
        if std::mem::take(&mut self.is_mark_watched) {
            mirror.unwatch(turn, &Facet::Running(shard));
        }
    }
}

fn about_held(
    me: &InstanceId,
    (shard, claim): (ShardIndex, &Claim),
    facts: &Facts<'_>,
    mirror: &Mirror,
) -> Decision {
    let is_forgotten = claim.instance == *me;
    let Some(is_live) = mirror.is_live(&claim.instance) else { return Decision::Nothing };
    if !is_forgotten && mirror.keeper(shard).as_ref() != Some(me) {
        return Decision::Nothing;
    }
    if is_live && !is_forgotten {
        return Decision::FollowMark;
    }
    let Some(config) = facts.config else { return Decision::Nothing };
    let may_take_over = config.failover && claim.crashes < JobConfig::MAX_TAKEOVERS;
    let may_retry = claim.attempt - claim.crashes <= config.retry.times;
    match may_take_over || may_retry {
        true => Decision::ClaimAgain,
        false => Decision::Close("CRASHED", "its instance is gone"),
    }
}

/// Returns whether a record's claim waits for the instant at which the instance tries it again.
pub(crate) fn is_released_to(stored: Option<&Stored>, me: &InstanceId) -> bool {
    let claim = stored.and_then(|stored| stored.record.claim.as_ref());
    claim.is_some_and(|claim| matches!(&claim.state, ClaimState::Released { to, .. } if to == me))
}

/// Returns whether a record tells of the end of a claim of the instance.
pub(crate) fn is_ended_by(stored: &Stored, me: &InstanceId, nonce: u64) -> bool {
    let was_last =
        stored.record.last.as_ref().is_some_and(|last| last.instance == *me && last.nonce == nonce);
    was_last && !stored.record.is_held_by(me, nonce)
}

#[cfg(test)]
mod tests;
