//! The leadership of a job: being elected, and dealing the job's shards to the instances that live.

mod dealing;

use crate::Report;
use crate::alarms::Alarm;
use crate::mirror::{Held, Mirror};
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use dealing::{Basis, Dealing, Move, Rest};
use flockwork_core::config::JobConfig;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::Mono;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Index, Op, Stamp};
use std::collections::VecDeque;
use std::time::Duration;

/// The most operations in one assignment: the rest follows in the next one.
const MOST_OPS: usize = 300;
/// How long a shard that still runs is left alone before the leader tries again to take it away.
const SURPLUS_PAUSE: Duration = Duration::from_secs(1);

/// The leadership of one job, as far as it is this instance's.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    /// Whether this instance is becoming the leader, or ceasing to be.
    is_electing: bool,
    /// Whether an assignment is under way.
    is_assigning: bool,
    /// The time from which surplus shards may be taken away again, after one of them still ran.
    surplus_after: Option<Mono>,
    /// The position, among the surplus shards, of the shard that is taken away next.
    next_surplus: usize,
    /// What is left of a dealing that did not fit into one commit.
    rest: Option<Rest>,
}

impl Leadership {
    /// Returns the changes whose answers the leadership waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        let elect = self.is_electing.then_some(JobChange::Elect);
        elect.into_iter().chain(self.is_assigning.then_some(JobChange::Assign))
    }

    /// Stands for election if no instance leads, and deals the shards if this instance leads.
    pub(crate) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        config: &JobConfig,
    ) {
        let Some(leader) = mirror.leader().known() else { return };
        let is_enabled = mirror.is_enabled(turn.instance());
        match leader {
            None if is_enabled == Some(true) => self.stand(turn),
            None => {}
            Some(held) if held.session.is_none() && is_enabled == Some(true) => {
                self.depose(turn, held);
            }
            Some(held) if !is_own(turn, held) => self.drop_rest(turn, mirror),
            Some(held) => {
                let stamp = held.stamp;
                if is_enabled == Some(false) {
                    self.abdicate(turn, stamp);
                } else if let Some(dealing) = self.dealing(turn, mirror, config, stamp) {
                    self.assign(turn, mirror, config, dealing);
                }
            }
        }
    }

    /// Stands for election: the instance that makes the leader's entry first leads.
    fn stand(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.is_electing, true) {
            let op = Op::create_for_session(turn.key(&Facet::Leader), turn.me.clone());
            turn.send_for_job(JobChange::Elect, vec![op]);
        }
    }

    /// Gives the leadership up. An instance that waits for its runs to end before it leaves deals no shards
    /// meanwhile: another instance is to.
    pub(crate) fn give_up(&mut self, turn: &mut Turn<'_>, mirror: &Mirror) {
        if let Some(held) = mirror.leader().held().filter(|held| is_own(turn, held)) {
            self.abdicate(turn, held.stamp);
        }
    }

    /// Takes away a leader's entry that lives with no session: whoever it names was not elected, and it would
    /// stay for ever.
    fn depose(&mut self, turn: &mut Turn<'_>, held: &Held<InstanceId>) {
        if !std::mem::replace(&mut self.is_electing, true) {
            let text =
                format!("{} leads by an entry without a session; a leader is elected", held.value);
            turn.trouble("LEADER_LASTS", text);
            let op = Op::Delete(turn.key(&Facet::Leader), Some(held.stamp));
            turn.send_for_job(JobChange::Elect, vec![op]);
        }
    }

    /// Ends the leadership of this instance. A switched-off server does not lead.
    fn abdicate(&mut self, turn: &mut Turn<'_>, stamp: Stamp) {
        if !std::mem::replace(&mut self.is_electing, true) {
            let op = Op::Delete(turn.key(&Facet::Leader), Some(stamp));
            turn.send_for_job(JobChange::Elect, vec![op]);
        }
    }

    /// Returns what is to be dealt anew, once all that this depends on is known.
    fn dealing(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        config: &JobConfig,
        leader: Stamp,
    ) -> Option<Dealing> {
        if self.is_assigning {
            return None;
        }
        let live = without_leavers(turn, mirror, mirror.eligible()?)?;
        let held_plan = mirror.plan().known()?;
        let necessary = mirror.necessary().known()?.map(|held| held.stamp);
        let plan = held_plan.map(|plan| (plan.value.clone(), plan.stamp));
        let basis = Basis::new(leader, live, config);
        if self.rest.as_ref().is_some_and(|rest| rest.basis != basis) {
            self.drop_rest(turn, mirror);
        }
        if let Some(Rest { basis, moves }) = self.rest.take() {
            let surplus = Vec::new();
            return Some(Dealing { basis, necessary, plan, moves, surplus });
        }
        let mirror = &*mirror;
        let existing = mirror.sharding().value()?;
        let moves = dealing::moves(turn, mirror, config, &basis.live)?;
        let is_too_early = self.surplus_after.is_some_and(|at| turn.now.mono < at);
        let surplus: Vec<_> = match is_too_early {
            true => Vec::new(),
            false => existing.range(config.shards..).copied().collect(),
        };
        let agrees =
            plan.as_ref().is_some_and(|(plan, _)| plan.agrees(mirror.schedule(), config.shards));
        // An instance lives, whatever a clock that was ahead has written: otherwise all fires that come due
        // until then would count as missed.
        let is_alive = plan.as_ref().is_none_or(|(plan, _)| plan.alive <= turn.now.wall);
        let is_settled =
            moves.is_empty() && surplus.is_empty() && agrees && is_alive && necessary.is_none();
        (!is_settled).then_some(Dealing { basis, necessary, plan, moves, surplus })
    }

    /// Deals as much as fits one commit. The rest follows when that commit is known to stand. Each shard has
    /// one owner at any time, so no instance need wait for the whole.
    fn assign(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        config: &JobConfig,
        dealing: Dealing,
    ) {
        let Dealing { basis, necessary, plan, mut moves, surplus } = dealing;
        let is_rest_settled = mirror.plan_in_force(config.shards).is_some()
            && moves.is_empty()
            && necessary.is_none();
        let mut ops = vec![
            Op::Check(turn.key(&Facet::Leader), Some(basis.leader)),
            next_plan(turn, mirror, config, plan),
        ];
        if let Some(stamp) = necessary {
            // Only the request that was seen is deleted: a request that was made meanwhile stands, and is
            // served next.
            ops.push(Op::Delete(turn.key(&Facet::Necessary), Some(stamp)));
        }
        let moved = place_some(turn, &mut moves, &mut ops);
        // Surplus shards are taken away one at a time, and only when nothing else is to be done: a shard that
        // still runs cannot be taken away, and must not hold up the rest.
        if is_rest_settled && !surplus.is_empty() {
            let at = self.next_surplus;
            self.next_surplus = at.wrapping_add(1);
            ops.extend(drop_shard(turn, mirror, surplus[at % surplus.len()]));
        }
        self.is_assigning = true;
        if moved > 0 {
            let (job, instances) = (turn.name.clone(), basis.live.len());
            turn.report(Report::Assigned { job, moved, instances });
        }
        self.rest = (!moves.is_empty()).then_some(Rest { basis, moves });
        turn.send_for_job(JobChange::Assign, ops);
    }

    /// Returns whether more is to be dealt as soon as what was dealt is known to stand.
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Gives up what is left of a dealing: what it was based on does not stand. What has changed unread
    /// meanwhile is read.
    fn drop_rest(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        if self.rest.take().is_some() {
            mirror.read(turn, Facet::Sharding);
        }
    }

    /// Handles the verdict on standing for election, or on giving the leadership up.
    pub(crate) fn elect_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        let stood = matches!(change.ops.first(), Some(Op::Create { .. }));
        self.is_electing = !mirror.is_over(turn, change, verdict, &[Facet::Leader]);
        let Verdict::Done(index) = verdict else { return };
        if stood {
            mirror.wrote_leader(turn, *index);
            turn.report(Report::Leading(turn.name.clone()));
        } else {
            mirror.read(turn, Facet::Leader);
        }
        turn.mark_job();
    }

    /// Handles the verdict on an assignment. Returns the shards that it gave to an instance.
    pub(crate) fn assign_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) -> Vec<ShardIndex> {
        if let Verdict::Done(index) = verdict {
            self.is_assigning = false;
            turn.mark_job();
            let given = take_in(turn, mirror, &change.ops, *index);
            if !self.has_rest() {
                mirror.read(turn, Facet::Sharding);
            }
            return given;
        }
        self.drop_rest(turn, mirror);
        let based_on = [Facet::Leader, Facet::Plan, Facet::Sharding, Facet::Necessary];
        self.is_assigning = !mirror.is_over(turn, change, verdict, &based_on);
        if matches!(verdict, Verdict::Refused(..) | Verdict::Unknown) {
            // A shard that still runs cannot be taken away yet; nothing will tell when it can.
            let again = turn.now.mono.plus(SURPLUS_PAUSE);
            self.surplus_after = Some(again);
            turn.alarm_at(again, Alarm::Reconcile(turn.job));
        }
        Vec::new()
    }

    /// Notes that the job is gone from the registry.
    pub(crate) fn removed(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        (self.is_electing, self.is_assigning) = (false, false);
        self.drop_rest(turn, mirror);
    }
}

fn is_own(turn: &Turn<'_>, leader: &Held<InstanceId>) -> bool {
    leader.value == *turn.instance() && leader.session == turn.session()
}

/// Returns the instances that are to be dealt shards, of those that may be; `None` while that is not known.
fn without_leavers(
    turn: &mut Turn<'_>,
    mirror: &mut Mirror,
    mut live: Vec<InstanceId>,
) -> Option<Vec<InstanceId>> {
    if live.len() < 2 {
        return Some(live);
    }
    mirror.watch_leavers(turn);
    let leavers = mirror.leavers().value()?;
    // The instance that deals does not leave, whatever mark it has yet to take away.
    live.retain(|instance| instance == turn.instance() || !leavers.contains(instance));
    Some(live)
}

/// Returns the plan of the next generation. It is written on the stamp of the plan that it follows, so of two
/// leaders that deal at once, one is refused.
fn next_plan(
    turn: &Turn<'_>,
    mirror: &Mirror,
    config: &JobConfig,
    plan: Option<(Plan, Stamp)>,
) -> Op {
    let (key, now) = (turn.key(&Facet::Plan), turn.now.wall);
    let (schedule, shards) = (mirror.schedule().clone(), config.shards);
    match plan {
        None => Op::create(key, plan::encode(&Plan::new(schedule, shards, now))),
        Some((plan, stamp)) if plan.agrees(&schedule, shards) => {
            let alive = plan.alive.min(now);
            let next = Plan { generation: plan.generation + 1, alive, ..plan };
            Op::Set(key, plan::encode(&next), Some(stamp))
        }
        Some((plan, stamp)) => {
            Op::Set(key, plan::encode(&plan.changed(schedule, shards, now)), Some(stamp))
        }
    }
}

/// Adds the moves that fit one commit to its operations. Returns how many they are.
fn place_some(turn: &Turn<'_>, moves: &mut VecDeque<Move>, ops: &mut Vec<Op>) -> usize {
    let limits = turn.outbox.limits();
    let mut bytes: usize = ops.iter().map(Op::bytes).sum();
    let mut moved = 0;
    while let Some(next) = moves.front() {
        let made = place(turn, next);
        bytes += made.iter().map(Op::bytes).sum::<usize>();
        if ops.len() + made.len() > limits.max_ops.min(MOST_OPS) || bytes > limits.max_bytes {
            break;
        }
        moved += 1;
        ops.extend(made);
        moves.pop_front();
    }
    moved
}

fn place(turn: &Turn<'_>, shard: &Move) -> Vec<Op> {
    let owner = turn.key(&Facet::Owner(shard.shard));
    let value = shard.to.to_string();
    if let Some(stamp) = shard.old {
        return vec![Op::Set(owner, value.into(), Some(stamp))];
    }
    let make = Op::create(turn.key(&Facet::Shard(shard.shard)), "");
    let own = Op::create(owner, value);
    if shard.exists { vec![own] } else { vec![make, own] }
}

/// Returns the operations that take away a shard that the definition no longer has. While the shard still
/// runs they are refused, and tried again when the job is next looked at.
fn drop_shard(turn: &Turn<'_>, mirror: &Mirror, shard: ShardIndex) -> Vec<Op> {
    let has_owner = mirror.owner(shard).is_none_or(|owner| !owner.is_absent());
    let mut ops = Vec::new();
    if has_owner {
        ops.push(Op::Delete(turn.key(&Facet::Owner(shard)), None));
    }
    if mirror.is_surely_off(shard) {
        ops.push(Op::Delete(turn.key(&Facet::Disabled(shard)), None));
    }
    ops.push(Op::Delete(turn.key(&Facet::Shard(shard)), None));
    ops
}

/// Takes in what an assignment has written, without waiting to be told of it.
fn take_in(turn: &mut Turn<'_>, mirror: &mut Mirror, ops: &[Op], index: Index) -> Vec<ShardIndex> {
    let mut given = Vec::new();
    for op in ops {
        let Some(facet) = turn.facet(op.key()) else { continue };
        match (op, facet) {
            (Op::Create { value, .. }, Facet::Owner(shard)) => {
                mirror.wrote_owner(shard, value, None, index);
                given.push(shard);
            }
            (Op::Set(_, value, old), Facet::Owner(shard)) => {
                mirror.wrote_owner(shard, value, *old, index);
                given.push(shard);
            }
            (Op::Check(..), _) => {}
            (_, facet) => mirror.read(turn, facet),
        }
    }
    given
}

#[cfg(test)]
mod tests;
