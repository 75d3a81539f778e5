//! How often a job with very many shards is looked at as a whole.
//!
//! Such a look takes time in proportion to the shards, and what is learned of any one of them asks for it. So
//! a job with many is looked at less often: what it learns meanwhile waits for the next look, and the other
//! jobs of the node do not wait for it.

use crate::alarms::Alarm;
use crate::turn::Turn;
use flockwork_core::time::Mono;
use std::time::Duration;

/// The shards of a job that is looked at whenever anything was learned: each look takes less than half a
/// millisecond.
const FEW: usize = 1_000;

/// The time from one look at a job to the next, for each of its shards: some four times of what a look takes.
const FOR_EACH_SHARD: Duration = Duration::from_micros(1);

/// The pace of one job.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The time from which the job may be looked at again.
    from: Mono,
    /// Whether an alarm is set for it.
    is_set: bool,
}

impl Pace {
    /// Returns whether a job with so many shards may be looked at as a whole now. Otherwise it is looked at as
    /// soon as it may be.
    pub(super) fn may_look(&mut self, turn: &mut Turn<'_>, shards: usize) -> bool {
        if shards <= FEW {
            return true;
        }
        if turn.now.mono < self.from {
            if !std::mem::replace(&mut self.is_set, true) {
                turn.alarm_at(self.from, Alarm::Reconcile(turn.job));
            }
            return false;
        }
        let shards = u32::try_from(shards).expect("shards are counted in 32 bits");
        self.from = turn.now.mono.plus(FOR_EACH_SHARD.saturating_mul(shards));
        self.is_set = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;

    #[test]
    fn a_job_with_few_shards_is_looked_at_whenever_it_is_marked() {
        let (mut rig, mut pace) = (Rig::new(), Pace::default());
        assert!((0..10).all(|_| pace.may_look(&mut rig.turn(), FEW)));
        assert_eq!(rig.alarms.next().1, None);
    }

    #[test]
    fn a_job_with_many_shards_is_looked_at_now_and_then_and_none_of_its_marks_is_lost() {
        let (mut rig, mut pace) = (Rig::new(), Pace::default());
        let mut looks = 0;
        for _ in 0..1_000 {
            looks += u32::from(pace.may_look(&mut rig.turn(), 50_000));
            rig.pass(1);
        }
        assert_eq!(looks, 20, "50 ms apart");
        // The last mark, which came between two looks, is followed by one.
        let at = rig.alarms.next().1.expect("an alarm");
        rig.pass(at.since(rig.now.mono).as_millis() as u64);
        assert!(pace.may_look(&mut rig.turn(), 50_000));
    }
}
