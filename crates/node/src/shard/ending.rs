//! The end of a run: what it makes of the shard's record (done, failed for good, or to be tried again), and
//! how the registry is told.

use super::claim::OwnClaim;
use super::keys::Keys;
use super::last::{end_of, last};
use crate::Report;
use crate::facts::Facts;
use crate::mirror::{Mirror, stamp_after};
use crate::outbox::{Purpose, ShardChange};
use crate::turn::Turn;
use flockwork_core::account::{Claim, ClaimState, Last};
use flockwork_core::config::{JobConfig, RetryOn};
use flockwork_core::execution::{CancelReason, Ending as Ends, OUTPUT_TAIL_BYTES, Outcome, Run};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::{self, Stored};
use flockwork_registry::{Index, Op, Stamp};
use std::sync::Arc;
use std::time::Duration;

/// A run whose code has ended; the registry is to be told.
#[derive(Debug)]
pub(crate) struct Ended {
    claim: Box<OwnClaim>,
    stamp: Stamp,
    run: Arc<Run>,
    outcome: Outcome,
    took: Duration,
}

/// An ended run of which the registry is being told, or may have been.
#[derive(Debug)]
pub(crate) struct Ending {
    ended: Box<Ended>,
    /// The record as the end is to write it.
    record: Arc<Stored>,
}

impl Ended {
    pub(crate) fn new(
        claim: Box<OwnClaim>,
        stamp: Stamp,
        run: Arc<Run>,
        outcome: Outcome,
        took: Duration,
    ) -> Self {
        Self { claim, stamp, run, outcome, took }
    }

    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.claim
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Tells the registry of the run's end.
    pub(crate) fn tell(
        self: Box<Self>,
        turn: &mut Turn<'_>,
        (keys, shard): (&Keys, ShardIndex),
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Ending {
        let ending = self.untried(turn, shard, facts, mirror);
        let Ending { ended, record } = &ending;
        let claim = &ended.claim;
        let value = record::encode(record);
        // Most ends write the record and take the mark away.
        let mut ops = Vec::with_capacity(2);
        ops.push(Op::Set(keys.record.clone(), value, Some(ended.stamp)));
        if claim.mark_stands(turn.session()) {
            ops.push(Op::Delete(keys.running.clone(), None));
        }
        if claim.is_taken_over() && claim.is_of(turn.session()) {
            ops.push(Op::Delete(turn.key(&Facet::Failover(shard)), None));
        }
        if let Some(ClaimState::Released { to, is_signalled: true, .. }) =
            record.record.claim.as_ref().map(|claim| &claim.state)
        {
            ops.push(Op::create(turn.key(&Facet::Retry(shard)), to.to_string()));
        }
        let change = ShardChange::End(claim.id());
        turn.send(Purpose::Shard(turn.job, shard, change), ops);
        ending
    }

    /// Returns the end as it is to be told, which is not sent: the record is to be read first.
    pub(crate) fn untried(
        self: Box<Self>,
        turn: &Turn<'_>,
        shard: ShardIndex,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Ending {
        let next = Next::of(&self, turn, shard, facts, mirror);
        let record = self.record(turn, next);
        Ending { ended: self, record }
    }

    /// Returns the record as the end is to write it.
    fn record(&self, turn: &Turn<'_>, next: Next) -> Arc<Stored> {
        let ending = &self.outcome.ending;
        let mut stored = self.claim.after().clone();
        let record = &mut Arc::make_mut(&mut stored).record;
        let claim = record.claim.take().expect("a claim's record holds the claim");
        let mut code = ending.code();
        match next {
            Next::Done => record.counts.succeeded += 1,
            Next::Over(instead) => {
                record.counts.failed += 1;
                code = instead.unwrap_or(code);
            }
            Next::Again { to, not_before, counts_as_crash } => {
                record.counts.failed += 1;
                let is_signalled = to != *turn.instance();
                let mut released = claim.clone();
                released.crashes += u32::from(counts_as_crash);
                released.state = ClaimState::Released { to, not_before, is_signalled };
                record.claim = Some(released);
            }
        }
        let text = if ending.is_success() { String::new() } else { ending.to_string() };
        let tail = end_of(&self.outcome.output_tail, OUTPUT_TAIL_BYTES).to_owned();
        record.last = Some(Arc::new(Last {
            output_tail: tail,
            rows: self.outcome.rows,
            bytes: self.outcome.bytes,
            started: claim.begins(),
            ..last(claim, code, &text, turn.now.wall)
        }));
        stored
    }
}

impl Ending {
    pub(crate) fn claim(&self) -> &OwnClaim {
        &self.ended.claim
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.ended.run
    }

    /// Returns the stamp of the record that the end has written, if the commit with this index made it.
    pub(crate) fn stamp(&self, index: Index) -> Stamp {
        stamp_after(Some(self.ended.stamp), index)
    }

    /// Returns the ended run, of which the registry was not told after all.
    pub(crate) fn untold(self) -> Box<Ended> {
        self.ended
    }

    /// Reports the end, which the registry knows as `found` there or as it was told. Returns the record as it
    /// is now.
    pub(crate) fn known(self, turn: &mut Turn<'_>, found: Option<Arc<Stored>>) -> Arc<Stored> {
        let Self { ended, record } = self;
        let record = found.unwrap_or(record);
        let retry = record.record.claim.as_ref().and_then(|claim| match &claim.state {
            ClaimState::Released { to, not_before, .. } => Some((to.clone(), *not_before)),
            ClaimState::Held => None,
        });
        let Ended { run, outcome, took, .. } = *ended;
        turn.report(Report::Ended { run, outcome, took, retry });
        record
    }

    /// Reports that another instance took the shard before the end was known: the outcome counts for nothing.
    pub(crate) fn superseded(self, turn: &mut Turn<'_>) {
        let Ended { run, outcome, .. } = *self.ended;
        turn.report(Report::Superseded { run, outcome });
    }
}

/// The consequence of a run's end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// No run follows: the run did what it was to do.
    Done,
    /// No run follows, for the reason with this code if it is not the ending's own.
    Over(Option<&'static str>),
    /// Another run of the same fire follows.
    Again { to: InstanceId, not_before: Timestamp, counts_as_crash: bool },
}

impl Next {
    fn of(
        ended: &Ended,
        turn: &Turn<'_>,
        shard: ShardIndex,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) -> Self {
        let (claim, ending) = (ended.claim.claim(), &ended.outcome.ending);
        if ending.is_success() {
            return Self::Done;
        }
        let Some(config) = facts.config else { return Self::Over(None) };
        let other = other_instance(mirror, turn.instance(), shard, claim.attempt);
        // An instance that goes tries nothing again itself; the shard may have another owner by now.
        let heir = || heir(mirror, turn.instance(), shard);
        let other = if facts.goes { heir().or(other) } else { other };
        let now = turn.now.wall;
        Self::after_failure(config, (claim, ending), (turn.instance(), facts.goes, other), now)
    }

    fn after_failure(
        config: &JobConfig,
        (claim, ending): (&Claim, &Ends),
        (me, goes, other): (&InstanceId, bool, Option<InstanceId>),
        now: Timestamp,
    ) -> Self {
        // The node, not the run, is to blame: as with a crash, the run is taken elsewhere at once.
        let was_cut = matches!(
            ending,
            Ends::Cancelled(CancelReason::Shutdown | CancelReason::SessionLost) | Ends::Crashed(_)
        );
        if was_cut && config.failover && claim.crashes < JobConfig::MAX_TAKEOVERS {
            let to = other.unwrap_or_else(|| me.clone());
            return Self::Again { to, not_before: now, counts_as_crash: true };
        }
        let failures = claim.attempt - claim.crashes;
        if matches!(ending, Ends::Cancelled(CancelReason::Removed)) || failures > config.retry.times
        {
            return Self::Over(None);
        }
        let to = match (config.retry.on, other) {
            (RetryOn::Same, Some(other)) if goes => other,
            (RetryOn::Same, _) | (RetryOn::PreferOther, None) => me.clone(),
            (RetryOn::Other | RetryOn::PreferOther, Some(other)) => other,
            (RetryOn::Other, None) => return Self::Over(Some("NO_OTHER_INSTANCE")),
        };
        let not_before = now.plus(config.retry.delay_after(failures));
        Self::Again { to, not_before, counts_as_crash: false }
    }
}

/// Returns another instance that owns the shard, if there is one and it may take shards.
fn heir(mirror: &Mirror, me: &InstanceId, shard: ShardIndex) -> Option<InstanceId> {
    let owner = mirror.owner(shard)?.value()?;
    (owner != me && mirror.last_eligible().contains(owner)).then(|| owner.clone())
}

/// Returns another instance that may take shards, chosen by the shard and the attempt.
fn other_instance(
    mirror: &Mirror,
    me: &InstanceId,
    shard: ShardIndex,
    attempt: u32,
) -> Option<InstanceId> {
    let mut others = mirror.last_eligible();
    others.retain(|instance| instance != me);
    let at = (shard as usize + attempt as usize).checked_rem(others.len())?;
    Some(others.swap_remove(at))
}

#[cfg(test)]
mod tests;
