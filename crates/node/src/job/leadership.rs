//! Leading a job: being elected, and dealing its shards to those who live.

use crate::Report;
use crate::alarms::Alarm;
use crate::mirror::{Held, Mirror, Slot};
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use flockwork_core::assignment::{Deal, deal};
use flockwork_core::config::JobConfig;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::time::Mono;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Index, Op, Stamp};
use std::time::Duration;

/// Operations in one assignment: what is left follows in the next.
const MOST_OPS: usize = 300;
/// How long a shard that still runs is left alone before it is tried again to take it away.
const SURPLUS_PAUSE: Duration = Duration::from_secs(1);

/// One job's leadership, as far as it is this instance's.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    /// Whether this instance is becoming the leader, or ceasing to be.
    is_electing: bool,
    /// Whether an assignment is under way.
    is_assigning: bool,
    /// When shards too many may be taken away again: one of them still ran.
    surplus_after: Option<Mono>,
    /// Which shard too many is taken away next, by its place among them.
    next_surplus: usize,
}

/// What is to be changed so that each shard has its instance.
struct Dealing {
    leader: Stamp,
    necessary: Option<Stamp>,
    plan: Option<(Plan, Stamp)>,
    moves: Vec<(ShardIndex, Option<Stamp>, InstanceId)>,
    surplus: Vec<ShardIndex>,
    instances: usize,
}

impl Leadership {
    /// The changes whose answers it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        let elect = self.is_electing.then_some(JobChange::Elect);
        elect.into_iter().chain(self.is_assigning.then_some(JobChange::Assign))
    }

    /// Stands for election where nobody leads, and deals the shards where this instance does.
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
            Some(held) if !is_own(turn, held) => {}
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

    /// Stands for election: whoever makes the leader's node first leads.
    fn stand(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.is_electing, true) {
            let op = Op::create_for_session(turn.key(&Facet::Leader), turn.me.clone());
            turn.send_for_job(JobChange::Elect, vec![op]);
        }
    }

    /// Who waits for its runs to end before it leaves deals no shards meanwhile: another is to.
    pub(crate) fn give_up(&mut self, turn: &mut Turn<'_>, mirror: &Mirror) {
        if let Some(held) = mirror.leader().held().filter(|held| is_own(turn, held)) {
            self.abdicate(turn, held.stamp);
        }
    }

    /// A switched-off server does not lead.
    fn abdicate(&mut self, turn: &mut Turn<'_>, stamp: Stamp) {
        if !std::mem::replace(&mut self.is_electing, true) {
            let op = Op::Delete(turn.key(&Facet::Leader), Some(stamp));
            turn.send_for_job(JobChange::Elect, vec![op]);
        }
    }

    /// What is to be dealt anew, once all that this depends on is known.
    fn dealing(
        &self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        config: &JobConfig,
        leader: Stamp,
    ) -> Option<Dealing> {
        if self.is_assigning {
            return None;
        }
        let live = without_leavers(turn, mirror, mirror.eligible()?)?;
        let mirror = &*mirror;
        let held_plan = mirror.plan().known()?;
        let necessary = mirror.necessary().known()?.map(|held| held.stamp);
        let existing = mirror.sharding().value()?;
        let moves = moves(turn, mirror, config, &live)?;
        let is_too_early = self.surplus_after.is_some_and(|at| turn.now.mono < at);
        let surplus: Vec<_> = match is_too_early {
            true => Vec::new(),
            false => existing.range(config.shards..).copied().collect(),
        };
        let agrees =
            held_plan.is_some_and(|plan| plan.value.agrees(mirror.schedule(), config.shards));
        // Someone lives, whatever a clock that was ahead has written: else all that comes due until
        // then would count as missed.
        let is_alive = held_plan.is_none_or(|plan| plan.value.alive <= turn.now.wall);
        let is_settled =
            moves.is_empty() && surplus.is_empty() && agrees && is_alive && necessary.is_none();
        let plan = held_plan.map(|plan| (plan.value.clone(), plan.stamp));
        let instances = live.len();
        (!is_settled).then_some(Dealing { leader, necessary, plan, moves, surplus, instances })
    }

    /// Deals as much as fits one commit. What is left follows when that is known to stand; each
    /// shard has one owner at any time, so no one need wait for the whole.
    fn assign(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        config: &JobConfig,
        dealing: Dealing,
    ) {
        let is_rest_settled = mirror.plan_in_force(config.shards).is_some()
            && dealing.moves.is_empty()
            && dealing.necessary.is_none();
        let mut ops = vec![
            Op::Check(turn.key(&Facet::Leader), Some(dealing.leader)),
            next_plan(turn, mirror, config, dealing.plan),
        ];
        if let Some(stamp) = dealing.necessary {
            // Only the request that was seen: one made meanwhile stands, and is served next.
            ops.push(Op::Delete(turn.key(&Facet::Necessary), Some(stamp)));
        }
        let limits = turn.outbox.limits();
        let mut moved = 0;
        for (shard, stamp, instance) in dealing.moves {
            let made = place(turn, mirror, shard, stamp, &instance);
            let bytes: usize = ops.iter().chain(&made).map(Op::bytes).sum();
            if ops.len() + made.len() > limits.max_ops.min(MOST_OPS) || bytes > limits.max_bytes {
                break;
            }
            moved += 1;
            ops.extend(made);
        }
        // One at a time and only when nothing else is to be done: a shard that still runs cannot be
        // taken away, and must not hold up the rest.
        if is_rest_settled && !dealing.surplus.is_empty() {
            let at = self.next_surplus;
            self.next_surplus = at.wrapping_add(1);
            ops.extend(drop_shard(turn, mirror, dealing.surplus[at % dealing.surplus.len()]));
        }
        self.is_assigning = true;
        if moved > 0 {
            let (job, instances) = (turn.name.clone(), dealing.instances);
            turn.report(Report::Assigned { job, moved, instances });
        }
        turn.send_for_job(JobChange::Assign, ops);
    }

    /// This instance leads, or no longer stands in the way of one that does; or neither was made.
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

    /// An assignment was made, or not. Gives the shards that it gave to someone.
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
            return take_in(turn, mirror, &change.ops, *index);
        }
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

    /// The job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        (self.is_electing, self.is_assigning) = (false, false);
    }
}

fn is_own(turn: &Turn<'_>, leader: &Held<InstanceId>) -> bool {
    leader.value == *turn.instance() && leader.session == turn.session()
}

/// Those who are to be dealt shards, of those who may be; `None` while that is not known.
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
    // Whoever deals does not leave, whatever mark it has yet to take away.
    live.retain(|instance| instance == turn.instance() || !leavers.contains(instance));
    Some(live)
}

/// Which shards are to change their instance, once it is known whose each is.
fn moves(
    turn: &Turn<'_>,
    mirror: &Mirror,
    config: &JobConfig,
    live: &[InstanceId],
) -> Option<Vec<(ShardIndex, Option<Stamp>, InstanceId)>> {
    let known = |shard| mirror.owner(shard).and_then(Slot::known);
    let owners: Option<Vec<Option<&Held<InstanceId>>>> = (0..config.shards).map(known).collect();
    let owners = owners?;
    let held: Vec<Option<InstanceId>> =
        owners.iter().map(|owner| owner.map(|held| held.value.clone())).collect();
    let dealt = deal(&Deal {
        job: turn.name,
        strategy: config.strategy,
        is_static: config.static_sharding,
        live,
        held: &held,
        now_ms: turn.now.wall.as_millis(),
    });
    let moves = (0..).zip(dealt.into_iter().zip(owners)).filter_map(|(shard, (dealt, owner))| {
        let dealt = dealt?;
        let stays = owner.is_some_and(|held| held.value == dealt);
        (!stays).then(|| (shard, owner.map(|held| held.stamp), dealt))
    });
    Some(moves.collect())
}

/// The plan of the next generation. It is written on the stamp of the one it follows, so of two
/// that deal at once, one is refused.
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

fn place(
    turn: &Turn<'_>,
    mirror: &Mirror,
    shard: ShardIndex,
    stamp: Option<Stamp>,
    instance: &InstanceId,
) -> Vec<Op> {
    let owner = turn.key(&Facet::Owner(shard));
    let value = instance.to_string();
    if let Some(stamp) = stamp {
        return vec![Op::Set(owner, value.into(), Some(stamp))];
    }
    let exists = mirror.sharding().value().is_some_and(|all| all.contains(&shard));
    let make = Op::create(turn.key(&Facet::Shard(shard)), "");
    let own = Op::create(owner, value);
    if exists { vec![own] } else { vec![make, own] }
}

/// Takes a shard away that the definition no longer has. While it still runs this is refused,
/// and tried again when its job is next looked at.
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
    mirror.read(turn, Facet::Sharding);
    given
}

#[cfg(test)]
mod tests;
