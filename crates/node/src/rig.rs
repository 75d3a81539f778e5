//! For tests of one duty: all that a turn is made of, without a node.

use crate::alarms::Alarms;
use crate::capacity::Capacity;
use crate::dirty::Dirty;
use crate::facts::{Facts, Gate};
use crate::history::History;
use crate::mirror::Mirror;
use crate::names::JobIx;
use crate::outbox::{Change, Outbox, Purpose};
use crate::registry_clock::RegistryClock;
use crate::trust::Trust;
use crate::turn::Turn;
use crate::{Effect, Report, Settings};
use bytes::Bytes;
use flockwork_core::config::JobConfig;
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::schedule::Memo;
use flockwork_core::time::{Mono, Now, Timestamp};
use flockwork_layout::document;
use flockwork_layout::keys::{Facet, Namespace};
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Clock, Entry, Limits, Op, SessionId, Stamp};
use std::sync::Arc;
use std::time::Duration;

/// The rig of a job named `j` on the instance [`ME`].
pub(crate) struct Rig {
    pub(crate) settings: Settings,
    pub(crate) now: Now,
    pub(crate) trust: Trust,
    pub(crate) capacity: Capacity,
    pub(crate) alarms: Alarms,
    pub(crate) effects: Vec<Effect>,
    me: Bytes,
    name: JobName,
    history: History,
    clock: RegistryClock,
    outbox: Outbox,
    dirty: Dirty,
}

/// This instance.
pub(crate) const ME: &str = "10.0.0.1@-@1-a";
/// Another one, on another server.
pub(crate) const OTHER: &str = "10.0.0.2@-@1-b";
/// This instance's session.
pub(crate) const SESSION: SessionId = SessionId(7);

/// An instance by its id.
pub(crate) fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

/// A stamp with this version.
pub(crate) fn stamp(version: u32) -> Stamp {
    Stamp { version, ..Stamp::default() }
}

/// An instant.
pub(crate) const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What the registry holds at a key, written so often.
pub(crate) fn entry(value: impl Into<Bytes>, version: u32) -> Entry {
    Entry { value: value.into(), stamp: stamp(version), session: None }
}

/// The definition of the job, from lines of its document.
pub(crate) fn config(lines: &str) -> Arc<JobConfig> {
    implemented("x", lines)
}

/// The same of a job that runs a script.
pub(crate) fn script(lines: &str) -> Arc<JobConfig> {
    implemented("SCRIPT", lines)
}

fn implemented(implementation: &str, lines: &str) -> Arc<JobConfig> {
    let name = JobName::new("j").unwrap();
    let reading = document::Reading {
        name: &name,
        implementation,
        default_zone: None,
        now: Timestamp::default(),
    };
    let text = format!("jobName: j\n{lines}\n");
    let checked = document::decode(text.as_bytes(), reading);
    Arc::new(checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems)))
}

impl Rig {
    /// At 10,000 ms of both clocks, with a session that is proven for a minute more.
    pub(crate) fn new() -> Self {
        let settings = Settings {
            instance: instance(ME),
            namespace: Namespace::new("ns").unwrap(),
            limits: Limits {
                max_ops: 100,
                max_bytes: 60_000,
                max_value: 10_000,
                max_in_flight: 64,
            },
            clock: Clock::Told,
            max_running: 8,
            reconcile_interval: Duration::from_secs(60),
        };
        let now = Now { wall: at(10_000), mono: Mono::from_millis(10_000) };
        let mut trust = Trust::default();
        trust.renew(now, SESSION, Mono::from_millis(70_000));
        Self {
            me: ME.into(),
            name: JobName::new("j").unwrap(),
            outbox: Outbox::new(settings.limits),
            capacity: Capacity::new(settings.max_running),
            alarms: Alarms::default(),
            history: History::default(),
            clock: RegistryClock::default(),
            dirty: Dirty::default(),
            effects: Vec::new(),
            settings,
            now,
            trust,
        }
    }

    pub(crate) fn turn(&mut self) -> Turn<'_> {
        Turn {
            now: self.now,
            job: JobIx(0),
            name: &self.name,
            settings: &self.settings,
            me: &self.me,
            is_draining: false,
            trust: &self.trust,
            history: &mut self.history,
            clock: &mut self.clock,
            outbox: &mut self.outbox,
            alarms: &mut self.alarms,
            capacity: &mut self.capacity,
            dirty: &mut self.dirty,
            effects: &mut self.effects,
        }
    }

    /// Time passes on both clocks.
    pub(crate) fn pass(&mut self, millis: u64) {
        let time = Duration::from_millis(millis);
        self.now = Now { wall: self.now.wall.plus(time), mono: self.now.mono.plus(time) };
    }

    /// The changes that were sent since this was last asked, in their order.
    pub(crate) fn sent(&mut self) -> Vec<Change> {
        self.outbox.drop_changes()
    }

    /// What they are for.
    pub(crate) fn purposes(&mut self) -> Vec<Purpose> {
        self.sent().into_iter().map(|change| change.purpose).collect()
    }

    /// What is read or watched, since this was last asked.
    pub(crate) fn asked(&mut self) -> Vec<Facet> {
        let namespace = self.settings.namespace.clone();
        let keys = self.outbox.asked();
        keys.iter().filter_map(|key| namespace.parse(key)).map(|(_, facet)| facet).collect()
    }

    /// The shards that were marked since this was last asked.
    pub(crate) fn marked(&mut self) -> Vec<ShardIndex> {
        std::iter::from_fn(|| self.dirty.next_shard()).collect()
    }

    /// Whether the job was marked since this was last asked.
    pub(crate) fn is_job_marked(&mut self) -> bool {
        std::iter::from_fn(|| self.dirty.next_job()).count() > 0
    }

    /// What was reported since this was last asked.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        let reports = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Report(report) => Some(report),
            _ => None,
        });
        reports.collect()
    }

    /// What a change deletes.
    pub(crate) fn deleted(&self, change: &Change) -> Vec<Facet> {
        let deleted = change.ops.iter().filter(|op| matches!(op, Op::Delete(..)));
        self.facets(deleted)
    }

    /// What a change makes or writes.
    pub(crate) fn written(&self, change: &Change) -> Vec<Facet> {
        let written = change.ops.iter().filter(|op| matches!(op, Op::Create { .. } | Op::Set(..)));
        self.facets(written)
    }

    /// What a change demands.
    pub(crate) fn checked(&self, change: &Change) -> Vec<Facet> {
        let checked =
            change.ops.iter().filter(|op| matches!(op, Op::Check(..) | Op::CheckAbsent(_)));
        self.facets(checked)
    }

    fn facets<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Vec<Facet> {
        let parse = |op: &Op| self.settings.namespace.parse(op.key()).map(|(_, facet)| facet);
        ops.filter_map(parse).collect()
    }
}

/// A mirror of the job as it is served by this instance and [`OTHER`]: this one has all shards, nothing
/// was accounted yet, and the plan in force begins at 1,000 ms.
pub(crate) fn mirror(rig: &mut Rig, config: &JobConfig) -> Mirror {
    let mut mirror = Mirror::default();
    let schedule = config.schedule_fingerprint();
    let plan = Plan::new(schedule.as_str().into(), config.shards, at(1_000));
    mirror.adopt(&mut rig.turn(), schedule, config.shards);
    mirror.lists(Facet::Instances, &[ME, OTHER]);
    mirror.lists(Facet::Retries, &[]);
    for server in [ME, OTHER] {
        let server = instance(server).server().to_owned();
        mirror.holds(Facet::Server(server), Some(entry("ENABLED", 1)));
    }
    mirror.holds(Facet::Config, Some(entry(document::encode(config), 1)));
    mirror.holds(Facet::Plan, Some(entry(plan::encode(&plan), 1)));
    for shard in 0..config.shards {
        mirror.holds(Facet::Owner(shard), Some(entry(ME, 1)));
        mirror.holds(Facet::Disabled(shard), None);
        mirror.holds(Facet::Record(shard), None);
    }
    rig.asked();
    mirror
}

/// What the shards of that job go by.
pub(crate) fn facts(config: &Arc<JobConfig>) -> Facts<'_> {
    Facts {
        config: Some(config),
        is_served: true,
        goes: false,
        is_registered: true,
        next: None,
        memo: Memo::default(),
        gate: Gate::None,
    }
}

impl Rig {
    /// The one change that was sent since this was last asked.
    pub(crate) fn sent_one(&mut self) -> Change {
        let [change] = self.sent().try_into().unwrap();
        change
    }
}
