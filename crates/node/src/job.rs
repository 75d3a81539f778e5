//! One job on this node: what the registry holds about it, as far as this node has read it.

use crate::clock::JobClock;
use crate::handover::Handover;
use crate::slot::Slot;
use crate::{Phase, Settings};
use flockwork_core::account::{Hold, Note};
use flockwork_core::config::JobConfig;
use flockwork_core::execution::RunId;
use flockwork_core::id::{InstanceId, JobName, ShardIndex};
use flockwork_core::schedule::Memo;
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::document;
use flockwork_layout::plan::Plan;
use flockwork_layout::record::Stored;
use flockwork_registry::{Index, Key, SessionId, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A job's place in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobIx(pub(crate) u32);

/// What the registry holds about a job as a whole.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) implementation: Slot<String>,
    pub(crate) config: Slot<bytes::Bytes>,
    pub(crate) own_tree: Slot<()>,
    pub(crate) instances: Slot<BTreeSet<InstanceId>>,
    pub(crate) servers: BTreeMap<String, Slot<bool>>,
    pub(crate) leader: Slot<InstanceId>,
    pub(crate) necessary: Slot<()>,
    pub(crate) sharding: Slot<BTreeSet<ShardIndex>>,
    pub(crate) plan: Slot<Plan>,
    pub(crate) trigger: Slot<()>,
    pub(crate) retries: Slot<BTreeSet<ShardIndex>>,
    /// Who is to be dealt nothing: followed by leaders.
    pub(crate) leavers: Slot<BTreeSet<InstanceId>>,
}

/// The keys that each run of a shard writes, spelled once.
#[derive(Clone, Debug)]
pub(crate) struct ShardKeys {
    pub(crate) instance: Key,
    pub(crate) plan: Key,
    pub(crate) owner: Key,
    pub(crate) record: Key,
    pub(crate) running: Key,
}

/// What this node knows about one shard.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Its keys, once it was claimed here.
    pub(crate) keys: Option<Box<ShardKeys>>,
    pub(crate) owner: Slot<InstanceId>,
    pub(crate) disabled: Slot<()>,
    pub(crate) record: Slot<Arc<Stored>>,
    /// Until when it could not run here, and why.
    pub(crate) hold: Option<Hold>,
    /// Its run here, from the claim's sending until its end is known.
    pub(crate) run: Option<RunId>,
    /// A change of its record other than a run's that is under way: the record as it will be, and
    /// what became of which fires.
    pub(crate) accounting: Option<(Arc<Stored>, Vec<Note>)>,
    /// Whether it was assigned to this instance when last heard of.
    pub(crate) was_mine: bool,
    /// Someone asked for a run that has not been claimed yet.
    pub(crate) is_triggered: bool,
    /// That came while a claim was under way, and is done with if the claim comes to stand.
    pub(crate) is_ask_open: bool,
    /// The due instant under which it waits for a free place.
    pub(crate) waits_since: Option<Timestamp>,
    /// The mark of a run elsewhere is watched, to learn of its end.
    pub(crate) is_mark_watched: bool,
    /// A claim was refused because of a mark: none is made until that is known to be gone.
    pub(crate) is_mark_in_the_way: bool,
    /// The released attempt that was last seen, by its commit, and when it was first seen.
    pub(crate) released: Option<(Index, Mono)>,
    /// When it is looked at again, whatever happens.
    pub(crate) look_at: Option<Mono>,
    /// The last outcome's code here.
    pub(crate) last_code: Option<&'static str>,
    /// Fires claimed here.
    pub(crate) ran: u64,
}

impl Shard {
    /// Whether nothing new can be done about it yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.run.is_some() || self.is_accounting() || self.is_mark_in_the_way
    }

    /// Whether a change of its record other than a run's is under way.
    pub(crate) fn is_accounting(&self) -> bool {
        self.accounting.is_some()
    }
}

/// Which changes of a job's own nodes are under way, so that none is sent twice.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one change under way")]
pub(crate) struct UnderWay {
    pub(crate) tree: bool,
    pub(crate) config: bool,
    pub(crate) register: bool,
    pub(crate) elect: bool,
    pub(crate) assign: bool,
    pub(crate) trigger: bool,
    pub(crate) leave: bool,
}

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: JobName,
    /// Its definition was found in the registry since it was given to this node.
    pub(crate) was_found: bool,
    /// The definition this node came with.
    pub(crate) offered: Arc<JobConfig>,
    /// That one as a document, from its making until one counts.
    pub(crate) document: Option<bytes::Bytes>,
    /// Whether that one replaces the registry's.
    pub(crate) applies: bool,
    pub(crate) phase: Phase,
    /// Whether it has.
    pub(crate) is_applied: bool,
    /// The definition that counts.
    pub(crate) config: Option<Arc<JobConfig>>,
    /// That definition as the registry holds it.
    pub(crate) config_read: bytes::Bytes,
    /// When the definition was made that was last read.
    pub(crate) defined_at: Option<Index>,
    /// Its schedule as text.
    pub(crate) schedule: Arc<str>,
    pub(crate) view: View,
    pub(crate) shards: Vec<Shard>,
    /// The session under which this instance is registered.
    pub(crate) registered: Option<SessionId>,
    pub(crate) under_way: UnderWay,
    pub(crate) clock_note: JobClock,
    pub(crate) handover: Handover,
    /// Whether those who wait to leave are watched.
    pub(crate) follows_leavers: bool,
    /// Where it was told to go: no new run, then leave.
    pub(crate) leaving: Option<&'static str>,
    /// Whether it was given anew meanwhile: once it has been left, it is joined again.
    pub(crate) comes_back: bool,
    /// Whether this instance's own node is gone though its session lives, as last heard.
    pub(crate) is_unlisted: bool,
    /// Whether it was left because this instance's node was gone.
    pub(crate) was_taken_off: bool,
    /// The request to run now that is being answered.
    pub(crate) trigger: Option<Stamp>,
    /// The instances last seen, to notice who is gone.
    pub(crate) seen: BTreeSet<InstanceId>,
    /// Whether reads that gave no answer are to be sent again.
    pub(crate) is_reread_due: bool,
    /// Whether it is read again from time to time.
    pub(crate) is_reconciled: bool,
    /// Whether reads and watches were sent.
    pub(crate) is_watched: bool,
    /// Whether the own server was last seen switched off.
    pub(crate) was_disabled: bool,
    /// When shards too many may be taken away again: one of them still ran.
    pub(crate) surplus_after: Option<Mono>,
    /// Which shard too many is taken away next, by its place among them.
    pub(crate) next_surplus: usize,
    /// The next due instant that the timer knows of.
    pub(crate) next: Option<Timestamp>,
    /// How it was found.
    pub(crate) memo: Memo,
}

impl Job {
    pub(crate) fn new(offered: Arc<JobConfig>, applies: bool) -> Self {
        Self {
            name: offered.name.clone(),
            offered,
            document: None,
            was_found: false,
            applies,
            phase: Phase::Joining,
            is_applied: false,
            config: None,
            config_read: bytes::Bytes::new(),
            defined_at: None,
            schedule: Arc::default(),
            view: View::default(),
            shards: Vec::new(),
            registered: None,
            under_way: UnderWay::default(),
            clock_note: JobClock::default(),
            handover: Handover::default(),
            follows_leavers: false,
            leaving: None,
            comes_back: false,
            is_unlisted: false,
            was_taken_off: false,
            trigger: None,
            seen: BTreeSet::new(),
            is_reread_due: false,
            is_reconciled: false,
            is_watched: false,
            was_disabled: false,
            surplus_after: None,
            next_surplus: 0,
            next: None,
            memo: Memo::default(),
        }
    }

    /// It is offered once more, perhaps otherwise.
    pub(crate) fn offer(&mut self, fresh: Self, settings: &Settings) {
        (self.offered, self.document, self.applies) = (fresh.offered, None, fresh.applies);
        // Compared with the registry's once more.
        (self.config_read, self.was_found) = (bytes::Bytes::new(), false);
        if matches!(self.phase, Phase::Refused | Phase::Left | Phase::Removed) {
            (self.phase, self.leaving) = (Phase::Joining, None);
        } else if self.leaving.is_some() {
            self.stay(&settings.instance);
        }
    }

    /// The definition this node came with, as a document.
    pub(crate) fn offered_document(&mut self) -> bytes::Bytes {
        let offered = &self.offered;
        self.document.get_or_insert_with(|| document::encode(offered).into()).clone()
    }

    /// How many shards count now.
    pub(crate) fn count(&self) -> usize {
        self.config.as_ref().map_or(0, |config| config.shards as usize)
    }

    pub(crate) fn shard(&mut self, shard: ShardIndex) -> Option<&mut Shard> {
        self.shards.get_mut(shard as usize)
    }

    /// Whether an instance's server is known to be switched on.
    pub(crate) fn is_enabled(&self, instance: &InstanceId) -> Option<bool> {
        let server = self.view.servers.get(instance.server())?;
        Some(server.known()?.is_some_and(|held| held.value))
    }

    /// The instances that may take shards, in descending order; `None` while that is not known.
    pub(crate) fn eligible(&self) -> Option<Vec<InstanceId>> {
        let mut eligible = Vec::new();
        for instance in self.view.instances.value()?.iter().rev() {
            if self.is_enabled(instance)? {
                eligible.push(instance.clone());
            }
        }
        Some(eligible)
    }

    /// The same as last heard, whether or not it still stands: for a choice that whoever is chosen,
    /// or else the shard's keeper, makes good.
    pub(crate) fn last_eligible(&self) -> Vec<InstanceId> {
        let is_on = |instance: &InstanceId| {
            self.view.servers.get(instance.server()).and_then(Slot::last_seen) == Some(&true)
        };
        let instances = self.view.instances.last_seen().into_iter().flatten().rev();
        instances.filter(|instance| is_on(instance)).cloned().collect()
    }

    /// Who looks after a shard's record: its owner, or, if that is gone, one that the shard's
    /// number chooses among those that live. `None` while that is not known.
    pub(crate) fn keeper(&self, shard: ShardIndex) -> Option<InstanceId> {
        let live = self.view.instances.value()?;
        let owner = self.shards.get(shard as usize)?.owner.known()?;
        if let Some(owner) = owner.filter(|owner| live.contains(&owner.value)) {
            return Some(owner.value.clone());
        }
        let eligible = self.eligible()?;
        let at = (shard as usize).checked_rem(eligible.len())?;
        eligible.get(at).cloned()
    }

    /// The plan, once it is that of the definition that counts.
    pub(crate) fn plan_in_force(&self) -> Option<&Plan> {
        let config = self.config.as_ref()?;
        self.view.plan.value().filter(|plan| plan.agrees(&self.schedule, config.shards))
    }
}
