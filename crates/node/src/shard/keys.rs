//! The keys that each run of a shard writes, spelled once, and how the shard's record is written.

use crate::mirror::{Held, Mirror};
use crate::turn::Turn;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_layout::record::{self, Stored};
use flockwork_registry::{Key, Op};
use std::sync::Arc;

/// The keys of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) instance: Key,
    pub(crate) plan: Key,
    pub(crate) owner: Key,
    pub(crate) record: Key,
    pub(crate) running: Key,
}

impl Keys {
    pub(crate) fn of(turn: &Turn<'_>, shard: ShardIndex) -> Self {
        Self {
            instance: turn.key(&Facet::Instance(turn.instance().clone())),
            plan: turn.key(&Facet::Plan),
            owner: turn.key(&Facet::Owner(shard)),
            record: turn.key(&Facet::Record(shard)),
            running: turn.key(&Facet::Running(shard)),
        }
    }
}

/// Returns the operation that writes a record over the state that was read.
pub(crate) fn write_record(keys: &Keys, mirror: &Mirror, shard: ShardIndex, stored: &Stored) -> Op {
    let held: Option<&Held<Arc<Stored>>> = mirror.record(shard).and_then(|record| record.held());
    let (key, value) = (keys.record.clone(), record::encode(stored));
    match held.map(|held| held.stamp) {
        None => Op::create(key, value),
        stamp => Op::Set(key, value, stamp),
    }
}
