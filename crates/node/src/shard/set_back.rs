//! A shard whose record, or whose schedule's beginning, lies beyond the clocks: a clock was ahead.

use super::Shard;
use super::accounting::Accounting;
use super::keys::Keys;
use super::state::State;
use crate::facts::{Facts, Gate};
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::account::{AHEAD, Note, Policy, Record, set_back};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::Timestamp;
use flockwork_layout::plan::{MOST_PAST, Plan};
use flockwork_layout::record::Stored;
use flockwork_registry::Clock;
use std::sync::Arc;
use std::time::Duration;

/// How soon the registry's clock is asked for again where it is not known yet.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Shard {
    /// Takes back what a clock that was ahead has accounted of a free shard that this node owns. Returns
    /// whether that is under way.
    ///
    /// The fires of a job with a listener are opened for all of its shards together: one shard cannot go back
    /// alone.
    pub(super) fn set_back(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        stored: &Arc<Stored>,
    ) -> bool {
        let Some(plan) = mirror.plan_in_force(facts.shards()) else { return false };
        let (planned, watermark) = (plan.from(self.index), stored.record.watermark);
        let reached = watermark.max(planned);
        if reached <= turn.now.wall.plus(AHEAD) || facts.gate != Gate::None {
            return false;
        }
        let Some(config) = facts.config else { return false };
        if !self.is_beyond_the_registry(turn, reached) {
            return false;
        }
        let policy = Policy { memo: facts.memo, ..Policy::of(config, planned) };
        let since = (planned_first(plan, self.index), planned);
        let Some(back) = set_back(&policy, &stored.record, since, turn.now.wall) else {
            return false;
        };
        self.send_back(turn, mirror, stored.clone(), back)
    }

    /// Returns whether an instant surely lies beyond the registry's clock, too, where that can be known.
    fn is_beyond_the_registry(&mut self, turn: &mut Turn<'_>, reached: Timestamp) -> bool {
        if turn.settings.clock != Clock::Told {
            return true;
        }
        match turn.clock.shows_at_most(turn.now.mono) {
            Some(at_most) => reached > at_most.plus(AHEAD),
            // Each answer to a commit tells it.
            None => {
                self.reconsider_in(turn, ASK_AGAIN);
                false
            }
        }
    }

    fn send_back(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        stored: Arc<Stored>,
        back: (Record, Note),
    ) -> bool {
        let shard = self.index;
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::of(turn, shard)));
        let at = (&**keys, shard);
        let accounting = Accounting::of_set_back(turn, at, mirror, stored, back);
        let is_sent = accounting.is_some();
        if let Some(accounting) = accounting {
            self.state = State::Accounting(accounting);
        }
        is_sent
    }

    /// Returns whether the shard is being set back.
    pub(crate) fn goes_back(&self) -> bool {
        matches!(&self.state, State::Accounting(accounting) if accounting.is_set_back())
    }
}

/// Returns since when the first schedule was in force for a shard, of those that are known. Where as many as are
/// kept were replaced, there may have been others long before.
fn planned_first(plan: &Plan, shard: ShardIndex) -> Timestamp {
    if plan.past.len() >= MOST_PAST {
        return Timestamp::default();
    }
    let past = plan.past.iter().filter_map(|past| past.from(shard));
    past.min().unwrap_or_else(|| plan.from(shard)).min(plan.from(shard))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::outbox::{Purpose, ShardChange};
    use crate::rig::{at, stamp};
    use crate::shard::scene::{Scene, holding, shard, stage_of};
    use flockwork_core::time::Mono;
    use flockwork_layout::record::decode;
    use flockwork_registry::Op;

    /// A shard that is accounted up to an hour later; the node's clock shows 10 s.
    fn an_hour_ahead() -> Record {
        Record { watermark: at(3_610_000), ..holding(None) }
    }

    fn go_back(scene: &mut Scene, record: Record) -> (Shard, bool) {
        let (stored, mut shard) = (scene.stores(record), shard(State::Free));
        let is_under_way =
            scene.act(|turn, facts, mirror| shard.set_back(turn, facts, mirror, &stored));
        (shard, is_under_way)
    }

    /// A scene whose schedule began at 2 s, and whose registry's clock shows what the node's does.
    fn scene() -> Scene {
        let mut scene = Scene::new();
        scene.plans(2_000);
        scene.rig.turn().clock.told(10_000, Mono::from_millis(10_000), Mono::from_millis(10_000));
        scene
    }

    #[test]
    fn a_record_far_ahead_is_set_back_by_its_owner_on_the_plan_it_was_due_by() {
        let mut scene = scene();
        let (shard, is_under_way) = go_back(&mut scene, an_hour_ahead());
        assert!(is_under_way);
        assert_eq!(stage_of(&shard), "Accounting");
        let change = scene.sent_one();
        assert_eq!(change.purpose, Purpose::Shard(JobIx(0), 0, ShardChange::Account));
        let keys = scene.keys();
        let [plan, owner, Op::Set(_, value, Some(_))] = &change.ops[..] else {
            panic!("{:?}", change.ops)
        };
        assert_eq!(*plan, Op::Check(keys.plan.clone(), Some(stamp(2))));
        assert!(matches!(owner, Op::Check(key, Some(_)) if *key == keys.owner));
        assert_eq!(decode(value).unwrap().record.watermark, at(10_000));
        assert!(shard.goes_back());
    }

    #[test]
    fn a_record_within_five_seconds_is_waited_for() {
        for (through, is_set_back) in [(15_000, false), (15_001, true)] {
            let record = Record { watermark: at(through), ..holding(None) };
            assert_eq!(go_back(&mut scene(), record).1, is_set_back, "{through}");
        }
    }

    #[test]
    fn a_record_that_is_not_beyond_the_registrys_clock_stays() {
        for (shows, is_set_back) in [(10_000, true), (3_604_999, true), (3_605_000, false)] {
            let mut scene = scene();
            let now = Mono::from_millis(10_000);
            scene.rig.turn().clock.told(shows, now, now);
            assert_eq!(go_back(&mut scene, an_hour_ahead()).1, is_set_back, "{shows}");
        }
    }

    #[test]
    fn a_registry_whose_clock_is_not_known_yet_is_asked_again_and_one_that_tells_none_is_not() {
        for (clock, is_set_back) in
            [(Clock::Told, false), (Clock::Untold, true), (Clock::OfThisHost, true)]
        {
            let mut scene = Scene::new();
            scene.plans(2_000);
            scene.rig.settings.clock = clock;
            let (shard, is_under_way) = go_back(&mut scene, an_hour_ahead());
            assert_eq!(is_under_way, is_set_back, "{clock:?}");
            assert_eq!(shard.reconsider_at.is_some(), !is_set_back, "{clock:?}");
        }
    }

    #[test]
    fn a_shard_whose_job_has_a_listener_goes_back_with_the_whole_job_only() {
        let mut scene = scene();
        let (stored, mut shard) = (scene.stores(an_hour_ahead()), shard(State::Free));
        let is_under_way = scene.act(|turn, facts, mirror| {
            let facts = Facts { gate: Gate::Shut, ..*facts };
            shard.set_back(turn, &facts, mirror, &stored)
        });
        assert!(!is_under_way);
    }
}
