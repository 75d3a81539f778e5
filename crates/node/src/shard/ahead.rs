//! Claims that stand, and whose code has not started: at once if the fire is due, and at its instant if it
//! was claimed before (`claim_ahead`): what the registry costs is paid by then, and at the due instant
//! nothing is left but to start the code.
//!
//! A claim made ahead is one like any other that is held a little longer: nobody else can run its fire. It
//! is made only where nothing else is to be decided about the shard, and is given back as soon as what it
//! was based on is known not to stand any more, at its instant also where that is in doubt: the fire is
//! then settled as if it had never been claimed. Whoever takes over such a claim waits for the instant as
//! well.

use super::back::TakingBack;
use super::claim::OwnClaim;
use crate::alarms::Alarm;
use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::account::{Claim, Hold, Policy, Settled, settle};
use flockwork_core::config::MAX_CLAIM_AHEAD;
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::record::Stored;
use flockwork_registry::{SessionId, Stamp};

/// A claim that stands.
#[derive(Debug)]
pub(crate) struct Standing {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    /// Whether its instant has come, or it has waited for as long as any claim does.
    has_waited: bool,
}

/// What becomes of a claim that stands, for its fire's instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It is due.
    No,
    /// It waits until then.
    Until(Timestamp),
    /// It is for an instant that is further off than claims are made ahead: the clock by which it was made
    /// was set back since.
    TooLong,
}

impl Standing {
    pub(crate) fn new(claim: Box<OwnClaim>, stamp: Stamp) -> Self {
        Self { claim, stamp, has_waited: false }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    /// Its instant has come.
    pub(crate) fn has_waited(self) -> Self {
        Self { has_waited: true, ..self }
    }

    /// Whether the shard must be this node's and switched on for its run to begin, as it was made ahead.
    /// What was taken over runs wherever its taker is.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.claim.is_first() && is_ahead(self.claim.claim())
    }

    /// Whether what it was based on still stands, as far as the shard goes. By the watch barrier, whatever
    /// changed the assignment, or the schedule in force, before the claim has been heard.
    pub(crate) fn stands(
        &self,
        session: Option<SessionId>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        shard: ShardIndex,
    ) -> bool {
        let since = mirror.plan_in_force(facts.shards()).map(|plan| plan.from(shard));
        let owner = mirror.owner(shard).and_then(|owner| owner.held()).map(|held| held.stamp);
        // A shard that the definition no longer has ends its run, and that is all.
        let is_counted = shard < facts.shards();
        self.claim.is_of(session)
            && self.claim.is_dealt(owner)
            && self.claim.is_planned(since)
            && is_counted
    }

    /// Whether it is to wait for its fire to come due.
    ///
    /// Where code ran for the fire already, it was due by somebody's clock. What took over a claim made
    /// ahead waits as well, but not longer, by a clock that is never set, than any claim is made ahead.
    pub(crate) fn wait(&self, now: Timestamp) -> Wait {
        let fire = self.claim.claim().fire;
        let ahead = fire.due.since(now);
        let before = self.claim.before().record.claim.as_ref();
        let has_begun = !self.claim.is_first() && !before.is_some_and(is_ahead);
        if self.has_waited || fire.source == Source::Trigger || ahead.is_zero() || has_begun {
            return Wait::No;
        }
        match self.claim.is_first() && ahead > MAX_CLAIM_AHEAD {
            true => Wait::TooLong,
            false => Wait::Until(fire.due),
        }
    }

    /// Sets the timers for its instant.
    pub(crate) fn wait_until(&self, turn: &mut Turn<'_>, due: Timestamp) {
        turn.start_at(due, self.claim.id());
        if !self.claim.is_first() {
            turn.alarm_in(MAX_CLAIM_AHEAD, Alarm::Begin(self.claim.id()));
        }
    }

    /// Whether it is known, not only no longer known otherwise, that its run cannot begin.
    pub(crate) fn is_known_stale(
        &self,
        turn: &Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        shard: ShardIndex,
    ) -> bool {
        let is_counted = shard < facts.shards();
        if !facts.is_served || !is_counted || !self.claim.is_of(turn.session()) {
            return true;
        }
        if !self.claim.is_first() {
            return false;
        }
        let owner = mirror.owner(shard).and_then(|owner| owner.known());
        let is_dealt_anew =
            owner.is_some_and(|held| !self.claim.is_dealt(held.map(|held| held.stamp)));
        let is_off =
            mirror.is_surely_off(shard) || mirror.is_enabled(turn.instance()) == Some(false);
        let is_planned_anew = mirror.plan().value().is_some_and(|plan| {
            !plan.agrees(mirror.schedule(), plan.shards)
                || !self.claim.is_planned(Some(plan.from(shard)))
        });
        is_dealt_anew || is_off || is_planned_anew
    }

    /// Whether it waits for an instant further off than claims are made ahead, as the wall clock was set
    /// back. What was taken over stays: nobody else would wait for less.
    pub(crate) fn is_far_ahead(&self, now: Timestamp) -> bool {
        self.claim.is_first() && self.claim.claim().fire.due.since(now) > MAX_CLAIM_AHEAD
    }

    pub(crate) fn take_back(self) -> TakingBack {
        TakingBack::new(self.claim, self.stamp)
    }

    pub(crate) fn into_parts(self) -> (Box<OwnClaim>, Stamp) {
        (self.claim, self.stamp)
    }
}

/// Whether nothing is pending for a shard now, and only this fire when it is due.
pub(crate) fn is_all_there_is(
    policy: &Policy<'_>,
    stored: &Stored,
    (alive, hold): (Timestamp, Option<Hold>),
    (now, due): (Timestamp, Timestamp),
) -> bool {
    let by = |instant| settle(policy, stored.record.watermark, alive, hold, instant);
    let run = Some(Fire { due, source: Source::Schedule });
    by(now) == Settled::default() && by(due) == Settled { notes: Vec::new(), run }
}

/// Whether a claim was made before its fire was due.
pub(crate) fn is_ahead(claim: &Claim) -> bool {
    claim.fire.source != Source::Trigger && claim.at < claim.fire.due
}
