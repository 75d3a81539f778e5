//! The wait for a free place, in the order of due instants.

use crate::turn::Turn;
use flockwork_core::execution::Fire;
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;

/// The due instant under which a shard waits, if it waits.
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

    /// Notes that there is a place for the shard.
    pub(crate) fn admitted(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::rig::{Rig, at};
    use crate::shard::scene::fire;
    use flockwork_core::execution::Source;

    const WHOSE: (JobIx, ShardIndex) = (JobIx(0), 3);

    #[test]
    fn a_shard_waits_once_under_the_instant_that_came_first() {
        let (mut rig, mut place) = (Rig::new(), Place::default());
        for due in [5_000, 6_000, 5_000] {
            place.wait(&mut rig.turn(), 3, fire(due, Source::Schedule));
            assert_eq!(place.waits_since(), Some(at(5_000)));
        }
        assert_eq!(rig.capacity.waiting(), 1);
        assert!(rig.capacity.waits(at(5_000), WHOSE));
    }

    #[test]
    fn whoever_waits_no_more_has_left_the_queue() {
        let (mut rig, mut place) = (Rig::new(), Place::default());
        place.wait_no_more(&mut rig.turn(), 3);
        place.wait(&mut rig.turn(), 3, fire(5_000, Source::Schedule));
        place.wait_no_more(&mut rig.turn(), 3);
        assert_eq!((place.waits_since(), rig.capacity.waiting()), (None, 0));
    }

    #[test]
    fn whoever_was_admitted_may_wait_again() {
        let (mut rig, mut place) = (Rig::new(), Place::default());
        place.wait(&mut rig.turn(), 3, fire(5_000, Source::Schedule));
        assert_eq!(rig.capacity.admit(), Some(WHOSE));
        place.admitted();
        assert_eq!(place.waits_since(), None);
        place.wait(&mut rig.turn(), 3, fire(7_000, Source::Schedule));
        assert!(rig.capacity.waits(at(7_000), WHOSE));
    }
}
