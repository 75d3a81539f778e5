//! For tests of a shard's duties: a job of two shards that is due each second, and shard 0 of it in any
//! stage of its life.

use super::Shard;
use super::ahead::Standing;
use super::claim::Claiming;
use super::ending::{Ended, Ending};
use super::keys::Keys;
use super::run::Running;
use super::state::State;
use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::outbox::Change;
use crate::rig::{OTHER, Rig, at, config, entry, facts, instance, mirror};
use crate::turn::Turn;
use flockwork_core::account::{Claim, ClaimState, Record};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Ending as Ends, Fire, Outcome, Source};
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_layout::record::{self, Stored};
use flockwork_registry::{Entry, Index, SessionId, Stamp};
use std::sync::Arc;

/// What comes due as the stage is set.
pub(super) const DUE: Fire = fire(10_000, Source::Schedule);
/// The commit by which a claim comes to stand.
pub(super) const CLAIMED: Index = Index(100);

/// One shard's scene. All fires before [`DUE`] are accounted.
pub(super) struct Scene {
    pub(super) rig: Rig,
    pub(super) mirror: Mirror,
    config: Arc<JobConfig>,
    /// How often the record was written.
    writes: u32,
}

pub(super) const fn fire(due: i64, source: Source) -> Fire {
    Fire { due: Timestamp::from_millis(due), source }
}

/// A claim of [`DUE`] that another instance holds.
pub(super) fn theirs() -> Claim {
    Claim {
        fire: DUE,
        attempt: 1,
        crashes: 0,
        instance: instance(OTHER),
        nonce: 5,
        at: DUE.due,
        mark_lasts: false,
        state: ClaimState::Held,
    }
}

/// The same, released to be tried again at once.
pub(super) fn released_to(id: &str) -> Claim {
    let (to, not_before) = (instance(id), at(0));
    let state = ClaimState::Released { to, not_before, is_signalled: true };
    Claim { state, ..theirs() }
}

/// A record that holds a claim, or none.
pub(super) fn holding(claim: Option<Claim>) -> Record {
    Record { watermark: at(9_000), claim, ..Record::default() }
}

/// A state of a key that was written by a commit.
pub(super) fn written_by(commit: u64) -> Stamp {
    Stamp { created: Index(1), modified: Index(commit), version: 3 }
}

/// How the code of a run failed.
pub(super) fn failed() -> Outcome {
    Outcome::of(Ends::Exited(3))
}

/// Shard 0 in a stage of its life.
pub(super) fn shard(state: State) -> Shard {
    Shard { state, was_mine: true, ..Shard::new(0) }
}

/// The stage's name.
pub(super) fn stage_of(shard: &Shard) -> String {
    let state = format!("{:?}", shard.state);
    state.split('(').next().unwrap_or_default().to_owned()
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::of(|_| {})
    }

    /// With another definition.
    pub(super) fn of(change: impl FnOnce(&mut JobConfig)) -> Self {
        let mut config = config("shardingTotalCount: 2\nprops:\n  flockwork.every: 1s");
        change(Arc::make_mut(&mut config));
        let mut rig = Rig::new();
        let mirror = mirror(&mut rig, &config);
        let mut scene = Self { rig, mirror, config, writes: 0 };
        scene.stores(holding(None));
        scene
    }

    /// Gives a duty its turn.
    pub(super) fn act<R>(
        &mut self,
        act: impl FnOnce(&mut Turn<'_>, &Facts<'_>, &mut Mirror) -> R,
    ) -> R {
        let Self { rig, mirror, config, .. } = self;
        act(&mut rig.turn(), &facts(config), mirror)
    }

    /// Another definition counts, of which nothing else was heard yet.
    pub(super) fn redefine(&mut self, change: impl FnOnce(&mut JobConfig)) {
        change(Arc::make_mut(&mut self.config));
    }

    /// The registry holds this record.
    pub(super) fn stores(&mut self, record: Record) -> Arc<Stored> {
        self.writes += 1;
        let stored = Stored { record, ..Stored::default() };
        let (value, version) = (record::encode(&stored), self.writes);
        let stamp = Stamp { version, ..written_by(version.into()) };
        self.mirror.holds(Facet::Record(0), Some(Entry { value, stamp, session: None }));
        Arc::new(stored)
    }

    /// The schedule is in force since another instant.
    pub(super) fn plans(&mut self, from: i64) {
        let schedule = self.config.schedule_fingerprint();
        let plan = Plan::new(schedule.as_str().into(), self.config.shards, at(from));
        self.mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan), 2)));
    }

    /// A key is no longer known.
    pub(super) fn doubts(&mut self, facet: Facet) {
        self.act(|turn, _, mirror| mirror.read(turn, facet));
        self.rig.asked();
    }

    /// Another session has followed.
    pub(super) fn another_session(&mut self) {
        self.rig.trust.renew(self.rig.now, SessionId(8), Mono::from_millis(70_000));
    }

    /// The one change that was sent.
    pub(super) fn sent_one(&mut self) -> Change {
        let mut sent = self.rig.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub(super) fn keys(&mut self) -> Keys {
        Keys::of(&self.rig.turn(), 0)
    }

    /// Claims a fire of the own shard.
    pub(super) fn first(&mut self, fire: Fire) -> Option<Claiming> {
        let keys = self.keys();
        self.act(|turn, facts, mirror| {
            let before = mirror.stored(0).unwrap();
            Claiming::first((turn, &keys, 0), facts, mirror, before, (fire, Vec::new()))
        })
    }

    /// Claims another run of a fire that this claim was made for.
    pub(super) fn again(&mut self, old: &Claim) -> Claiming {
        let keys = self.keys();
        let stored = self.stores(holding(Some(old.clone())));
        self.act(|turn, facts, mirror| {
            Claiming::again((turn, &keys, 0), facts, mirror, (&stored, old))
        })
    }

    /// The claim of a fire of the own shard stands.
    pub(super) fn standing(&mut self, fire: Fire) -> Standing {
        let claiming = self.first(fire).unwrap();
        self.stands(claiming)
    }

    /// A claim stands; what was sent for it is forgotten.
    pub(super) fn stands(&mut self, claiming: Claiming) -> Standing {
        self.rig.sent();
        let stamp = claiming.stamp(CLAIMED);
        let claim = claiming.into_claim();
        self.mirror.wrote_record(0, claim.after().clone(), stamp);
        Standing::new(claim, stamp)
    }

    /// The code of a claim runs; what was told of its start is forgotten.
    pub(super) fn runs(&mut self, claiming: Claiming) -> Box<Running> {
        let (claim, stamp) = self.stands(claiming).into_parts();
        let running =
            self.act(|turn, facts, _| Running::start(turn, claim, stamp, 0, facts.config.unwrap()));
        self.rig.effects.clear();
        Box::new(running)
    }

    /// The code of a claim has ended.
    pub(super) fn ends(&mut self, claiming: Claiming, outcome: Outcome) -> Box<Ended> {
        let running = self.runs(claiming);
        Box::new(running.ended(&mut self.rig.turn(), outcome))
    }

    /// The registry is told of an end.
    pub(super) fn tells(&mut self, ended: Box<Ended>) -> Ending {
        let keys = self.keys();
        self.act(|turn, facts, mirror| ended.tell(turn, (&keys, 0), facts, mirror))
    }
}
