//! Waiting for a free place, in the order of due instants.

use crate::turn::Turn;
use flockwork_core::execution::Fire;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;

/// The due instant under which a shard waits, if it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place(Option<Timestamp>);

impl Place {
    pub(crate) fn waits_since(self) -> Option<Timestamp> {
        self.0
    }

    pub(crate) fn wait(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, fire: Fire) {
        if self.0.is_none() {
            self.0 = Some(fire.due);
            turn.capacity.wait(fire.due, (turn.job, shard));
        }
    }

    pub(crate) fn wait_no_more(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if let Some(due) = self.0.take() {
            turn.capacity.wait_no_more(due, (turn.job, shard));
        }
    }

    /// There is a place for it.
    pub(crate) fn admitted(&mut self) {
        self.0 = None;
    }
}
