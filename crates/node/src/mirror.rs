//! A node's beliefs about one job's keys, and how they are renewed.
//!
//! A [`Mirror`] owns every [`Slot`] of a job. Duties ask the mirror what it knows. It changes by answers to
//! reads, and by what commits of this node have written.

mod intake;
mod slot;

pub(crate) use intake::Unreadable;
pub(crate) use slot::{Held, Slot};

use crate::outbox::{Change, Verdict};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::guarantee::Guarantee;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::Plan;
use flockwork_layout::record::Stored;
use flockwork_registry::{Answer, Index, Op, Request, Scope, Stamp, Why};
use slot::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most shards whose keys begin to be watched in one turn: they take about a millisecond.
const WATCHED_AT_ONCE: usize = 1_000;

/// The beliefs about one job's keys.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    implementation: Slot<String>,
    config: Slot<Bytes>,
    own_tree: Slot<()>,
    instances: Slot<BTreeSet<InstanceId>>,
    servers: BTreeMap<String, Slot<bool>>,
    leader: Slot<InstanceId>,
    necessary: Slot<()>,
    sharding: Slot<BTreeSet<ShardIndex>>,
    plan: Slot<Plan>,
    trigger: Slot<()>,
    retries: Slot<BTreeSet<ShardIndex>>,
    /// The instances that are to be dealt no shards. Only leaders watch them.
    leavers: Slot<BTreeSet<InstanceId>>,
    watches_leavers: bool,
    /// How far the listener has come. Only the instances of a job that has one watch it.
    once: Slot<Guarantee>,
    watches_once: bool,
    shards: Vec<ShardSlots>,
    /// How many of the shards have their keys watched, from the first one on.
    watched: usize,
    /// The schedule of the definition that counts, as text. Plans that name the same schedule share it.
    schedule: Arc<str>,
}

/// The slots of one shard's keys.
#[derive(Debug, Default)]
struct ShardSlots {
    owner: Slot<InstanceId>,
    disabled: Slot<()>,
    record: Slot<Arc<Stored>>,
}

/// How the mirror treats the record of a shard when all is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordIs {
    /// The record is known from what this node writes: a run or a change of this node is under way.
    Ours,
    /// This node looks after the record, or the record is in doubt.
    Followed,
    /// Another instance looks after the record.
    Others,
}

impl Mirror {
    /// Returns how many shards have their keys here.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn implementation(&self) -> &Slot<String> {
        &self.implementation
    }

    pub(crate) fn config(&self) -> &Slot<Bytes> {
        &self.config
    }

    pub(crate) fn own_tree(&self) -> &Slot<()> {
        &self.own_tree
    }

    pub(crate) fn instances(&self) -> &Slot<BTreeSet<InstanceId>> {
        &self.instances
    }

    /// Returns the slot of a host's status, once it is watched.
    pub(crate) fn server(&self, ip: &str) -> Option<&Slot<bool>> {
        self.servers.get(ip)
    }

    pub(crate) fn leader(&self) -> &Slot<InstanceId> {
        &self.leader
    }

    pub(crate) fn necessary(&self) -> &Slot<()> {
        &self.necessary
    }

    pub(crate) fn sharding(&self) -> &Slot<BTreeSet<ShardIndex>> {
        &self.sharding
    }

    pub(crate) fn plan(&self) -> &Slot<Plan> {
        &self.plan
    }

    pub(crate) fn trigger(&self) -> &Slot<()> {
        &self.trigger
    }

    pub(crate) fn retries(&self) -> &Slot<BTreeSet<ShardIndex>> {
        &self.retries
    }

    pub(crate) fn leavers(&self) -> &Slot<BTreeSet<InstanceId>> {
        &self.leavers
    }

    pub(crate) fn once(&self) -> &Slot<Guarantee> {
        &self.once
    }

    /// Returns the slot of a shard's owner, if there is such a shard.
    pub(crate) fn owner(&self, shard: ShardIndex) -> Option<&Slot<InstanceId>> {
        self.shards.get(shard as usize).map(|slots| &slots.owner)
    }

    pub(crate) fn record(&self, shard: ShardIndex) -> Option<&Slot<Arc<Stored>>> {
        self.shards.get(shard as usize).map(|slots| &slots.record)
    }

    /// Returns whether a shard is switched off; `None` while that is not known.
    pub(crate) fn is_off(&self, shard: ShardIndex) -> Option<bool> {
        let slots = self.shards.get(shard as usize)?;
        Some(slots.disabled.known()?.is_some())
    }

    /// Returns whether a shard is known to be switched off.
    pub(crate) fn is_surely_off(&self, shard: ShardIndex) -> bool {
        self.is_off(shard) == Some(true)
    }

    /// Returns what a shard's record holds now, or a new record if there is none yet; `None` while that is
    /// not known.
    pub(crate) fn stored(&self, shard: ShardIndex) -> Option<Arc<Stored>> {
        let known = self.record(shard)?.known()?;
        Some(known.map_or_else(Arc::default, |held| held.value.clone()))
    }

    /// Returns whether an instance's server is switched on; `None` while that is not known.
    pub(crate) fn is_enabled(&self, instance: &InstanceId) -> Option<bool> {
        let server = self.servers.get(instance.server())?;
        Some(server.known()?.is_some_and(|held| held.value))
    }

    /// Returns whether an instance serves the job; `None` while that is not known.
    pub(crate) fn is_live(&self, instance: &InstanceId) -> Option<bool> {
        Some(self.instances.value()?.contains(instance))
    }

    /// Returns the instances that may take shards, in descending order; `None` while that is not known.
    pub(crate) fn eligible(&self) -> Option<Vec<InstanceId>> {
        let mut eligible = Vec::new();
        for instance in self.instances.value()?.iter().rev() {
            if self.is_enabled(instance)? {
                eligible.push(instance.clone());
            }
        }
        Some(eligible)
    }

    /// Returns the instances that may take shards as last heard, in descending order, whether or not that
    /// still stands. That is enough for a choice that the chosen instance, or else the shard's keeper, makes
    /// good.
    pub(crate) fn last_eligible(&self) -> Vec<InstanceId> {
        let is_on = |instance: &InstanceId| {
            self.servers.get(instance.server()).and_then(Slot::last_seen) == Some(&true)
        };
        let instances = self.instances.last_seen().into_iter().flatten().rev();
        instances.filter(|instance| is_on(instance)).cloned().collect()
    }

    /// Returns the keeper of a shard: its owner or, if the owner is gone, an instance that the shard's number
    /// chooses among those that may take shards. `None` while that is not known.
    pub(crate) fn keeper(&self, shard: ShardIndex) -> Option<InstanceId> {
        let live = self.instances.value()?;
        let owner = self.owner(shard)?.known()?;
        if let Some(owner) = owner.filter(|owner| live.contains(&owner.value)) {
            return Some(owner.value.clone());
        }
        let eligible = self.eligible()?;
        let at = (shard as usize).checked_rem(eligible.len())?;
        eligible.get(at).cloned()
    }

    /// Returns the plan, once it is the plan of the definition that counts, which has so many shards.
    pub(crate) fn plan_in_force(&self, shards: u32) -> Option<&Plan> {
        self.plan.value().filter(|plan| plan.agrees(&self.schedule, shards))
    }

    /// Returns the schedule of the definition that counts, as text.
    pub(crate) fn schedule(&self) -> &Arc<str> {
        &self.schedule
    }

    /// Notes that another definition counts from here on, and begins to watch the keys of the shards that are
    /// new.
    pub(crate) fn adopt(&mut self, turn: &mut Turn<'_>, schedule: String, shards: u32) {
        if *self.schedule != *schedule {
            self.schedule = schedule.into();
        }
        let schedule = self.schedule.clone();
        self.plan.revise(|plan| plan.sharing(&schedule));
        let shards = self.shards.len().max(shards as usize);
        self.shards.resize_with(shards, ShardSlots::default);
        self.watch_shards(turn);
    }

    /// Watches the keys of more of the shards that are not watched yet. Returns whether any are left.
    pub(crate) fn watch_shards(&mut self, turn: &mut Turn<'_>) -> bool {
        let end = self.shards.len().min(self.watched + WATCHED_AT_ONCE);
        for shard in std::mem::replace(&mut self.watched, end)..end {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.watch(turn, Facet::Owner(shard));
            self.watch(turn, Facet::Disabled(shard));
        }
        self.watched < self.shards.len()
    }

    /// Notes that the list of shards has changed, and leaves it to whoever changes it to read it.
    pub(crate) fn doubt_sharding(&mut self) {
        self.sharding.doubt_unread();
    }

    /// Watches which instances wait to leave. Only leaders need to know.
    pub(crate) fn watch_leavers(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.watches_leavers, true) {
            self.watch(turn, Facet::Leavers);
        }
    }

    /// Watches how far the listener has come. Only the instances of a job that has one need to know.
    pub(crate) fn watch_once(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.watches_once, true) {
            self.watch(turn, Facet::Once);
        }
    }

    /// Watches the status of each server that an instance runs on.
    pub(crate) fn watch_servers(&mut self, turn: &mut Turn<'_>) {
        let Some(instances) = self.instances.value() else { return };
        let unknown: Vec<String> = instances
            .iter()
            .map(InstanceId::server)
            .filter(|server| !self.servers.contains_key(*server))
            .map(str::to_owned)
            .collect();
        for server in unknown {
            self.watch(turn, Facet::Server(server));
        }
    }

    /// Reads a key of the job, unless a read of it is under way.
    pub(crate) fn read(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        if self.doubt(&facet, turn.instance()) {
            self.ask(turn, facet);
        }
    }

    fn ask(&self, turn: &mut Turn<'_>, facet: Facet) {
        let key = turn.key(&facet);
        let request = if facet.is_list() { Request::Children(key) } else { Request::Get(key) };
        turn.outbox.read(turn.job, facet, request);
    }

    /// Reads a shard's record, unless it is known or being read.
    pub(crate) fn read_record_if_unread(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) {
        if self.record(shard).is_some_and(Slot::is_unread) {
            self.read(turn, Facet::Record(shard));
        }
    }

    /// Watches a key of the job and reads it.
    pub(crate) fn watch(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        let request = Request::Watch(turn.key(&facet), scope(&facet));
        turn.outbox.watch(turn.job, request);
        self.read(turn, facet);
    }

    /// Stops watching a key of the job.
    pub(crate) fn unwatch(&self, turn: &mut Turn<'_>, facet: &Facet) {
        let request = Request::Unwatch(turn.key(facet), scope(facet));
        turn.outbox.watch(turn.job, request);
    }

    /// Reads again all that is believed about the job.
    pub(crate) fn reread(&mut self, turn: &mut Turn<'_>, record: impl Fn(ShardIndex) -> RecordIs) {
        for facet in self.believed(turn, record) {
            self.read(turn, facet);
        }
    }

    /// Reads everything anew under a new session, whose registry may be another one behind the same address.
    pub(crate) fn read_anew(
        &mut self,
        turn: &mut Turn<'_>,
        record: impl Fn(ShardIndex) -> RecordIs,
    ) {
        for facet in self.believed(turn, &record) {
            self.read(turn, facet.clone());
            if let Some(slot) = self.slot(&facet) {
                slot.forget_state();
            }
        }
        // The records of other instances' shards are read, too: an attempt may be released to this node. A
        // record under a run of this node is known from what the node wrote.
        for shard in (0..).take(self.shards.len()) {
            let slots = &self.shards[shard as usize];
            if record(shard) == RecordIs::Others && slots.record.last_seen().is_some() {
                self.read(turn, Facet::Record(shard));
                self.shards[shard as usize].record.forget_state();
            }
        }
    }

    fn believed(&self, turn: &Turn<'_>, record: impl Fn(ShardIndex) -> RecordIs) -> Vec<Facet> {
        let mut facets = vec![
            Facet::Config,
            Facet::Job,
            Facet::OwnJob,
            Facet::Instances,
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Plan,
            Facet::Trigger(turn.instance().clone()),
            Facet::Retries,
        ];
        facets.extend(self.watches_leavers.then_some(Facet::Leavers));
        facets.extend(self.watches_once.then_some(Facet::Once));
        facets.extend(self.servers.keys().cloned().map(Facet::Server));
        for shard in (0..).take(self.shards.len()) {
            facets.extend([Facet::Owner(shard), Facet::Disabled(shard)]);
            if record(shard) == RecordIs::Followed {
                facets.push(Facet::Record(shard));
            }
        }
        facets
    }

    /// Takes in the answer to a read. A key that cannot be read stays unknown, and the error says so.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        facet: &Facet,
        answer: Answer,
    ) -> Result<(), Unreadable> {
        if let Answer::Failed(_) = answer {
            self.forget(facet, turn.instance());
            return Err(Unreadable::NotAnswered);
        }
        let named_nobody = self.names_nobody(facet);
        match self.take(facet, answer, turn.instance()) {
            Ok(is_old) => {
                if !named_nobody && self.names_nobody(facet) {
                    let text = format!("{facet:?}: it names no instance, and counts as nobody's");
                    turn.trouble("NOT_READABLE", text);
                }
                if is_old {
                    self.ask(turn, facet.clone());
                }
            }
            Err(text) => {
                let is_new = self.slot(facet).is_none_or(Any::not_understood);
                return Err(Unreadable::NotUnderstood { text, is_new });
            }
        }
        Ok(())
    }

    /// Returns whether a key that is to name an instance was last seen to name none.
    fn names_nobody(&self, facet: &Facet) -> bool {
        let slot = match facet {
            Facet::Leader => Some(&self.leader),
            Facet::Owner(shard) => self.owner(*shard),
            _ => None,
        };
        let seen = slot.and_then(Slot::last_seen);
        seen.is_some_and(|seen| seen.as_str() == intake::NOBODY)
    }

    /// Takes in that this instance leads.
    pub(crate) fn wrote_leader(&mut self, turn: &Turn<'_>, index: Index) {
        let (value, stamp) = (turn.instance().clone(), stamp_after(None, index));
        self.leader.wrote(Some(Held { value, stamp, session: turn.session() }));
    }

    /// Takes in the owner that an assignment has written over the state with stamp `old`.
    pub(crate) fn wrote_owner(
        &mut self,
        shard: ShardIndex,
        value: &[u8],
        old: Option<Stamp>,
        index: Index,
    ) {
        let Ok(value) = InstanceId::new(&String::from_utf8_lossy(value)) else { return };
        if let Some(slots) = self.shards.get_mut(shard as usize) {
            let stamp = stamp_after(old, index);
            slots.owner.wrote(Some(Held { value, stamp, session: None }));
        }
    }

    /// Takes in what a commit of this node has made of a shard's record.
    pub(crate) fn wrote_record(&mut self, shard: ShardIndex, value: Arc<Stored>, stamp: Stamp) {
        if let Some(slots) = self.shards.get_mut(shard as usize) {
            slots.record.wrote(Some(Held { value, stamp, session: None }));
        }
    }

    /// Takes in how far a commit of this node has brought the listener.
    pub(crate) fn wrote_once(&mut self, value: Guarantee, stamp: Stamp) {
        self.once.wrote(Some(Held { value, stamp, session: None }));
    }

    /// Handles the verdict on a change of the whole job. If the change was refused or is in doubt, what it
    /// was based on is read again. Returns whether the change is no longer under way.
    pub(crate) fn is_over(
        &mut self,
        turn: &mut Turn<'_>,
        change: Change,
        verdict: &Verdict,
        based_on: &[Facet],
    ) -> bool {
        match verdict {
            Verdict::Done(_) | Verdict::TooLarge => {}
            Verdict::NotTaken => {
                turn.send_again(change);
                return false;
            }
            Verdict::SessionEnded(_) => turn.mark_job(),
            Verdict::Refused(why, facet) => {
                if *why == Why::NoParent {
                    self.read(turn, Facet::Config);
                }
                self.read_basis(turn, based_on, facet.as_ref());
            }
            Verdict::Unknown => {
                self.read_basis(turn, based_on, None);
                for facet in
                    change.ops.iter().filter_map(|op| turn.facet(op.key())).collect::<Vec<_>>()
                {
                    self.read(turn, facet);
                }
            }
        }
        true
    }

    fn read_basis(&mut self, turn: &mut Turn<'_>, based_on: &[Facet], facet: Option<&Facet>) {
        for facet in based_on.iter().chain(facet.filter(|facet| !based_on.contains(facet))) {
            self.read(turn, facet.clone());
        }
        turn.mark_job();
    }

    /// Returns the slot of a facet, if the mirror has one.
    fn slot(&mut self, facet: &Facet) -> Option<&mut dyn Any> {
        Some(match facet {
            Facet::Job => &mut self.implementation,
            Facet::Config => &mut self.config,
            Facet::OwnJob => &mut self.own_tree,
            Facet::Instances => &mut self.instances,
            Facet::Leader => &mut self.leader,
            Facet::Necessary => &mut self.necessary,
            Facet::Sharding => &mut self.sharding,
            Facet::Plan => &mut self.plan,
            Facet::Trigger(_) => &mut self.trigger,
            Facet::Retries => &mut self.retries,
            Facet::Leavers => &mut self.leavers,
            Facet::Once => &mut self.once,
            Facet::Server(ip) => self.servers.entry(ip.clone()).or_default(),
            Facet::Owner(i) => &mut self.shards.get_mut(*i as usize)?.owner,
            Facet::Disabled(i) => &mut self.shards.get_mut(*i as usize)?.disabled,
            Facet::Record(i) => &mut self.shards.get_mut(*i as usize)?.record,
            _ => return None,
        })
    }

    /// Doubts the belief about a key. Returns whether the key is to be read. Another instance's trigger is
    /// ignored.
    fn doubt(&mut self, facet: &Facet, me: &InstanceId) -> bool {
        match facet {
            Facet::Trigger(instance) if instance != me => false,
            // These keys are only read: to learn whether a run elsewhere is over, and whether this node is
            // registered.
            Facet::Running(_) | Facet::Instance(_) => true,
            _ => self.slot(facet).is_some_and(Any::doubt),
        }
    }

    fn forget(&mut self, facet: &Facet, me: &InstanceId) {
        if matches!(facet, Facet::Trigger(instance) if instance != me) {
            return;
        }
        if let Some(slot) = self.slot(facet) {
            slot.read_failed();
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "a test names a key where it is used")]
impl Mirror {
    /// Believes that a key holds something, or nothing.
    pub(crate) fn holds(&mut self, facet: Facet, entry: Option<flockwork_registry::Entry>) {
        self.take(&facet, Answer::Entry(entry), &crate::rig::instance(crate::rig::ME)).unwrap();
    }

    /// Believes that a list names these.
    pub(crate) fn lists(&mut self, facet: Facet, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let answer = Answer::Children(Some(names));
        self.take(&facet, answer, &crate::rig::instance(crate::rig::ME)).unwrap();
    }
}

/// Returns the stamp that a commit gives to a key, written over the state with stamp `old`.
pub(crate) fn stamp_after(old: Option<Stamp>, index: Index) -> Stamp {
    let fresh = Stamp { created: index, modified: index, version: 0 };
    old.map_or(fresh, |old| Stamp { modified: index, version: old.version + 1, ..old })
}

/// Returns the stamp of the state that a change wrote over at a key; `Some(None)` if the change made the key,
/// and `None` if it did not write the key.
pub(crate) fn written_over(
    change: &Change,
    facet: &Facet,
    turn: &Turn<'_>,
) -> Option<Option<Stamp>> {
    let written = turn.key(facet);
    change.ops.iter().find_map(|op| match op {
        Op::Set(key, _, old) if *key == written => Some(*old),
        Op::Create { key, .. } if *key == written => Some(None),
        _ => None,
    })
}

fn scope(facet: &Facet) -> Scope {
    if facet.is_list() { Scope::Children } else { Scope::Value }
}

#[cfg(test)]
mod tests;
