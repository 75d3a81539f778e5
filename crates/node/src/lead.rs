//! Leading a job: being elected, and dealing its shards to those who live.

use crate::Report;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::slot::Held;
use crate::turn::Turn;
use flockwork_core::assignment::{Deal, deal};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Index, Op, Stamp};

/// What is to be changed so that each shard has its instance.
struct Dealing {
    leader: Stamp,
    necessary: Option<Stamp>,
    plan: Option<(Plan, Stamp)>,
    moves: Vec<(ShardIndex, Option<Stamp>, InstanceId)>,
    surplus: Vec<ShardIndex>,
    instances: usize,
}

impl Job {
    pub(crate) fn lead(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let session = turn.trust.session();
        let job = &mut *self;
        let Some(leader) = job.view.leader.known() else { return };
        let is_enabled = job.is_enabled(&me);
        match leader {
            None if is_enabled == Some(true) => self.stand(turn),
            Some(held) if held.value == me && held.session == session => {
                let stamp = held.stamp;
                if is_enabled == Some(false) {
                    self.abdicate(turn, stamp);
                } else if let Some(dealing) = self.dealing(turn, stamp) {
                    self.assign(turn, dealing);
                }
            }
            _ => {}
        }
    }

    /// Stands for election: whoever makes the leader's node first leads.
    fn stand(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.under_way.elect, true) {
            return;
        }
        let key = self.key(turn, &Facet::Leader);
        let op = Op::create_for_session(key, turn.me.clone());
        turn.link.gather(Member::new(Aim::Elect(turn.ix), vec![op]));
    }

    /// Who waits for its runs to end before it leaves deals no shards meanwhile: another is to.
    pub(crate) fn give_up_lead(&mut self, turn: &mut Turn<'_>) {
        let session = turn.trust.session();
        let (me, job) = (&turn.settings.instance, &*self);
        let own =
            job.view.leader.held().filter(|held| held.value == *me && held.session == session);
        if let Some(stamp) = own.map(|held| held.stamp) {
            self.abdicate(turn, stamp);
        }
    }

    /// A switched-off server does not lead.
    fn abdicate(&mut self, turn: &mut Turn<'_>, stamp: Stamp) {
        if std::mem::replace(&mut self.under_way.elect, true) {
            return;
        }
        let op = Op::Delete(self.key(turn, &Facet::Leader), Some(stamp));
        turn.link.gather(Member::new(Aim::Elect(turn.ix), vec![op]));
    }

    /// What is to be dealt anew, once all that this depends on is known.
    fn dealing(&mut self, turn: &mut Turn<'_>, leader: Stamp) -> Option<Dealing> {
        let job = &mut *self;
        if job.under_way.assign {
            return None;
        }
        let config = job.config.clone()?;
        let live = job.eligible()?;
        let live = self.without_leavers(turn, live)?;
        let job = &mut *self;
        let held_plan = job.view.plan.known()?;
        let necessary = job.view.necessary.known()?.map(|held| held.stamp);
        let existing = job.view.sharding.value()?;
        let owners: Option<Vec<Option<&Held<InstanceId>>>> = job
            .shards
            .iter()
            .take(config.shards as usize)
            .map(|shard| shard.owner.known())
            .collect();
        let owners = owners?;
        let held: Vec<Option<InstanceId>> =
            owners.iter().map(|owner| owner.map(|held| held.value.clone())).collect();
        let dealt = deal(&Deal {
            job: &job.name,
            strategy: config.strategy,
            is_static: config.static_sharding,
            live: &live,
            held: &held,
            now_ms: turn.now.wall.as_millis(),
        });
        let moves: Vec<_> = (0..)
            .zip(dealt.into_iter().zip(owners))
            .filter_map(|(shard, (dealt, owner))| {
                let dealt = dealt?;
                let stays = owner.is_some_and(|held| held.value == dealt);
                (!stays).then(|| (shard, owner.map(|held| held.stamp), dealt))
            })
            .collect();
        let is_too_early = job.surplus_after.is_some_and(|at| turn.now.mono < at);
        let surplus: Vec<_> = match is_too_early {
            true => Vec::new(),
            false => existing.range(config.shards..).copied().collect(),
        };
        let agrees = held_plan.is_some_and(|plan| plan.value.agrees(&job.schedule, config.shards));
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
    fn assign(&mut self, turn: &mut Turn<'_>, dealing: Dealing) {
        let is_rest_settled = self.plan_in_force().is_some()
            && dealing.moves.is_empty()
            && dealing.necessary.is_none();
        let mut ops = vec![
            Op::Check(self.key(turn, &Facet::Leader), Some(dealing.leader)),
            self.next_plan(turn, dealing.plan),
        ];
        if let Some(stamp) = dealing.necessary {
            // Only the request that was seen: one made meanwhile stands, and is served next.
            ops.push(Op::Delete(self.key(turn, &Facet::Necessary), Some(stamp)));
        }
        let limits = turn.link.limits();
        let mut moved = 0;
        for (shard, stamp, instance) in dealing.moves {
            let made = self.place(turn, shard, stamp, &instance);
            let bytes: usize = ops.iter().chain(&made).map(Op::bytes).sum();
            if ops.len() + made.len() > limits.max_ops.min(300) || bytes > limits.max_bytes {
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
            ops.extend(self.drop_shard(turn, dealing.surplus[at % dealing.surplus.len()]));
        }
        let job = &mut *self;
        job.under_way.assign = true;
        let name = job.name.clone();
        if moved > 0 {
            turn.report(Report::Assigned { job: name, moved, instances: dealing.instances });
        }
        turn.link.gather(Member::new(Aim::Assign(turn.ix), ops));
    }

    /// The plan of the next generation. It is written on the stamp of the one it follows, so of two
    /// that deal at once, one is refused.
    fn next_plan(&mut self, turn: &Turn<'_>, plan: Option<(Plan, Stamp)>) -> Op {
        let now = turn.now.wall;
        let key = self.key(turn, &Facet::Plan);
        let job = &mut *self;
        let (schedule, shards) =
            (job.schedule.clone(), job.config.as_ref().map_or(1, |config| config.shards));
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
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        stamp: Option<Stamp>,
        instance: &InstanceId,
    ) -> Vec<Op> {
        let owner = self.key(turn, &Facet::Owner(shard));
        let value = instance.to_string();
        if let Some(stamp) = stamp {
            return vec![Op::Set(owner, value.into(), Some(stamp))];
        }
        let exists = self.view.sharding.value().is_some_and(|all| all.contains(&shard));
        let make = Op::create(self.key(turn, &Facet::Shard(shard)), "");
        let own = Op::create(owner, value);
        if exists { vec![own] } else { vec![make, own] }
    }

    /// Takes a shard away that the definition no longer has. While it still runs this is refused,
    /// and tried again when its job is next tended.
    fn drop_shard(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> Vec<Op> {
        let known = self.shards.get(shard as usize);
        let has_owner = known.is_none_or(|shard| !shard.owner.is_absent());
        let is_disabled = known.is_some_and(|shard| shard.disabled.held().is_some());
        let mut ops = Vec::new();
        if has_owner {
            ops.push(Op::Delete(self.key(turn, &Facet::Owner(shard)), None));
        }
        if is_disabled {
            ops.push(Op::Delete(self.key(turn, &Facet::Disabled(shard)), None));
        }
        ops.push(Op::Delete(self.key(turn, &Facet::Shard(shard)), None));
        ops
    }

    /// This instance leads, or no longer stands in the way of one that does.
    pub(crate) fn elected(&mut self, turn: &mut Turn<'_>, ops: &[Op], index: Index) {
        let me = turn.settings.instance.clone();
        let session = turn.trust.session();
        let job = &mut *self;
        job.under_way.elect = false;
        if matches!(ops.first(), Some(Op::Create { .. })) {
            let stamp = Stamp { created: index, modified: index, version: 0 };
            job.view.leader.wrote(Some(Held { value: me, stamp, session }));
            let name = job.name.clone();
            turn.report(Report::Leading(name));
        } else {
            self.look(turn, Facet::Leader);
        }
        turn.tend();
    }

    /// Takes in what an assignment has written, without waiting to be told of it.
    pub(crate) fn assigned(&mut self, turn: &mut Turn<'_>, ops: &[Op], index: Index) {
        self.under_way.assign = false;
        let mut touched = Vec::new();
        for op in ops {
            let Some((_, facet)) = turn.settings.namespace.parse(op.key()) else { continue };
            match (op, &facet) {
                (Op::Create { value, .. } | Op::Set(_, value, _), Facet::Owner(shard)) => {
                    let old = match op {
                        Op::Set(_, _, stamp) => *stamp,
                        _ => None,
                    };
                    self.wrote_owner(*shard, value, old, index);
                    touched.push(*shard);
                }
                (Op::Check(..), _) => {}
                _ => self.look(turn, facet),
            }
        }
        self.look(turn, Facet::Sharding);
        for shard in touched {
            self.owner_read(turn, shard);
        }
        turn.tend();
    }

    fn wrote_owner(&mut self, shard: ShardIndex, value: &[u8], old: Option<Stamp>, index: Index) {
        let Ok(owner) = InstanceId::new(&String::from_utf8_lossy(value)) else { return };
        let stamp = old.map_or(Stamp { created: index, modified: index, version: 0 }, |old| {
            Stamp { modified: index, version: old.version + 1, ..old }
        });
        if let Some(shard) = self.shard(shard) {
            shard.owner.wrote(Some(Held { value: owner, stamp, session: None }));
        }
    }
}
