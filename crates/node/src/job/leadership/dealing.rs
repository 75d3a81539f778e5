//! What an assignment is to change, and what it goes by.

use crate::mirror::{Held, Mirror, Slot};
use crate::turn::Turn;
use flockwork_core::assignment::{Deal, deal};
use flockwork_core::config::{JobConfig, Strategy};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::plan::Plan;
use flockwork_registry::Stamp;
use std::collections::VecDeque;

/// The changes after which each shard has its instance.
#[derive(Debug)]
pub(super) struct Dealing {
    pub(super) basis: Basis,
    pub(super) necessary: Option<Stamp>,
    pub(super) plan: Option<(Plan, Stamp)>,
    pub(super) moves: VecDeque<Move>,
    pub(super) surplus: Vec<ShardIndex>,
}

/// What is left of a dealing that did not fit into one commit. It goes on as long as what it was based on
/// stands: of a job with very many shards, finding out what is to be moved takes longer than moving some.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) basis: Basis,
    pub(super) moves: VecDeque<Move>,
}

/// What a dealing goes by, apart from who has each shard: each move is made on the state of its owner's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Basis {
    /// The leadership under which it is made.
    pub(super) leader: Stamp,
    /// The instances that are dealt shards.
    pub(super) live: Vec<InstanceId>,
    shards: u32,
    strategy: Strategy,
    is_static: bool,
}

/// A shard that changes its instance.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) shard: ShardIndex,
    /// The state of the key that names its owner, if there is one.
    pub(super) old: Option<Stamp>,
    pub(super) to: InstanceId,
    /// Whether the shard has its folder in the registry.
    pub(super) exists: bool,
}

impl Basis {
    pub(super) fn new(leader: Stamp, live: Vec<InstanceId>, config: &JobConfig) -> Self {
        let (strategy, is_static) = (config.strategy, config.static_sharding);
        Self { leader, live, shards: config.shards, strategy, is_static }
    }
}

/// Returns the shards that are to change their instance, once the owner of each shard is known.
pub(super) fn moves(
    turn: &Turn<'_>,
    mirror: &Mirror,
    config: &JobConfig,
    live: &[InstanceId],
) -> Option<VecDeque<Move>> {
    let known = |shard| mirror.owner(shard).and_then(Slot::known);
    let owners: Option<Vec<Option<&Held<InstanceId>>>> = (0..config.shards).map(known).collect();
    let owners = owners?;
    let existing = mirror.sharding().value()?;
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
        let to = dealt?;
        let stays = owner.is_some_and(|held| held.value == to);
        let old = owner.map(|held| held.stamp);
        (!stays).then(|| Move { shard, old, to, exists: existing.contains(&shard) })
    });
    Some(moves.collect())
}
