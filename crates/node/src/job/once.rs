//! How far the listener of a job has come: what the registry says of it, and how it is written. One write is
//! under way at a time. Shards go by it, requests to run the job now are noted in it, and the job's leader
//! moves it on.

use crate::facts::Gate;
use crate::mirror::{Mirror, stamp_after, written_over};
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use flockwork_layout::guarantee::{self, Guarantee, Stage};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Op, Stamp};

/// The writes of one job's document.
#[derive(Debug, Default)]
pub(crate) struct Once {
    is_writing: bool,
}

/// The document as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) value: Guarantee,
    /// The state of the document; `None` if there is none yet.
    pub(crate) stamp: Option<Stamp>,
}

impl Once {
    /// Returns the changes whose answers are waited for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_writing.then_some(JobChange::Once).into_iter()
    }

    /// Returns the document; `None` while it is not known or is being written.
    pub(crate) fn stands(&self, mirror: &Mirror) -> Option<Stands> {
        let known = mirror.once().known().filter(|_| !self.is_writing)?;
        Some(match known {
            Some(held) => Stands { value: held.value.clone(), stamp: Some(held.stamp) },
            None => Stands { value: Guarantee::default(), stamp: None },
        })
    }

    /// Writes the document over the state that stands, together with other operations.
    pub(crate) fn write(
        &mut self,
        turn: &mut Turn<'_>,
        stands: Option<Stamp>,
        value: &Guarantee,
        mut with: Vec<Op>,
    ) {
        let (key, value) = (turn.key(&Facet::Once), guarantee::encode(value));
        with.push(match stands {
            None => Op::create(key, value),
            stamp => Op::Set(key, value, stamp),
        });
        self.is_writing = true;
        turn.send_for_job(JobChange::Once, with);
    }

    /// Deletes the document, as the job has no listener any more.
    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>, stands: Stamp, mut with: Vec<Op>) {
        with.push(Op::Delete(turn.key(&Facet::Once), Some(stands)));
        self.is_writing = true;
        turn.send_for_job(JobChange::Once, with);
    }

    /// Handles the verdict on a write.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        if let Verdict::Done(index) = verdict {
            let old = written_over(&change, &Facet::Once, turn);
            if let (Some(old), Some(value)) = (old, written(&change)) {
                mirror.wrote_once(value, stamp_after(old, *index));
            }
            turn.mark_job();
        }
        let based_on = [Facet::Once, Facet::Leader, Facet::Trigger(turn.instance().clone())];
        self.is_writing = !mirror.is_over(turn, change, verdict, &based_on);
    }

    /// Notes that the job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        self.is_writing = false;
    }
}

/// Returns which due fires the shards of a job that has a listener may run.
pub(crate) fn gate_of(mirror: &Mirror) -> Gate {
    let Some(held) = mirror.once().held() else { return Gate::Shut };
    match held.value.stage {
        Stage::Open { fire, shards } => Gate::Open(fire, shards, held.stamp),
        Stage::Passed(passed) => Gate::Passed(passed),
        Stage::Closed | Stage::Repeated { .. } | Stage::Closing { .. } => Gate::Shut,
    }
}

/// Returns the document as a change has written it.
fn written(change: &Change) -> Option<Guarantee> {
    match change.ops.last()? {
        Op::Create { value, .. } | Op::Set(_, value, _) => guarantee::decode(value).ok(),
        Op::Check(..) | Op::CheckAbsent(_) | Op::Delete(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::JobIx;
    use crate::outbox::Purpose;
    use crate::rig::{Rig, at, config, entry, mirror, stamp};
    use flockwork_core::account::{Fate, Passed, Reason};
    use flockwork_core::execution::{Fire, Source};
    use flockwork_registry::{Index, Why};

    const LINES: &str = "shardingTotalCount: 1\nprops:\n  flockwork.every: 1s";
    const FIRE: Fire = Fire { due: at(9_000), source: Source::Schedule };

    fn with_listener() -> String {
        format!("{LINES}\n  flockwork.listener.on_failure: skip")
    }

    fn guarantee(stage: Stage) -> Guarantee {
        Guarantee { stage, ..Guarantee::default() }
    }

    #[test]
    fn shards_go_by_the_stage() {
        let passed = Passed {
            first: at(1),
            through: at(2),
            fate: Fate::Skipped,
            reason: Reason::BeforeFailed,
        };
        let table = [
            (Stage::Closed, Gate::Shut),
            (Stage::Repeated { fire: FIRE, attempt: 2 }, Gate::Shut),
            (Stage::Open { fire: FIRE, shards: 1 }, Gate::Open(FIRE, 1, stamp(2))),
            (Stage::Closing { fire: FIRE, shards: 1 }, Gate::Shut),
            (Stage::Passed(passed), Gate::Passed(passed)),
        ];
        let mut rig = Rig::new();
        let mut mirror = mirror(&mut rig, &config(&with_listener()));
        assert_eq!(gate_of(&mirror), Gate::Shut, "nothing is known yet");
        for (version, (stage, gates)) in (0..).zip(table) {
            let value = guarantee::encode(&guarantee(stage));
            mirror.holds(Facet::Once, Some(entry(value, version)));
            assert_eq!(gate_of(&mirror), gates, "{stage:?}");
        }
        mirror.holds(Facet::Once, None);
        assert_eq!(gate_of(&mirror), Gate::Shut);
    }

    #[test]
    fn one_write_is_under_way_and_what_it_made_is_known_at_once() {
        let mut rig = Rig::new();
        let mut mirror = mirror(&mut rig, &config(&with_listener()));
        let mut once = Once::default();
        assert_eq!(once.stands(&mirror), None, "it was not read");
        mirror.holds(Facet::Once, None);
        let nothing = Stands { value: Guarantee::default(), stamp: None };
        assert_eq!(once.stands(&mirror), Some(nothing));
        for (stands, index) in [(None, 8), (Some(stamp_after(None, Index(8))), 9)] {
            let value = guarantee(Stage::Open { fire: FIRE, shards: index });
            once.write(&mut rig.turn(), stands, &value, Vec::new());
            assert_eq!(once.stands(&mirror), None, "it is being written");
            let change = rig.sent_one();
            assert_eq!(change.purpose, Purpose::Job(JobIx(0), JobChange::Once));
            let done = Verdict::Done(Index(index.into()));
            once.answered(&mut rig.turn(), &mut mirror, change, &done);
            let stamp = Some(stamp_after(stands, Index(index.into())));
            assert_eq!(once.stands(&mirror), Some(Stands { value, stamp }));
            assert!(rig.is_job_marked());
        }
    }

    #[test]
    fn a_write_that_may_not_stand_is_read_again() {
        for verdict in [Verdict::Refused(Why::Changed, Some(Facet::Once)), Verdict::Unknown] {
            let mut rig = Rig::new();
            let mut mirror = mirror(&mut rig, &config(&with_listener()));
            mirror.holds(Facet::Once, None);
            let mut once = Once::default();
            once.write(&mut rig.turn(), None, &Guarantee::default(), Vec::new());
            let change = rig.sent_one();
            once.answered(&mut rig.turn(), &mut mirror, change, &verdict);
            assert_eq!((once.awaited().count(), once.stands(&mirror)), (0, None), "{verdict:?}");
            assert!(rig.asked().contains(&Facet::Once), "{verdict:?}");
        }
    }
}
