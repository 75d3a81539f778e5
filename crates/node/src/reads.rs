//! Reads: which keys of a job a node believes something about, and how that belief is renewed.

use crate::alarms::Alarm;
use crate::job::{Job, Shard};
use crate::node::REREAD_AFTER;
use crate::slot::{Held, Slot};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_core::id::{BadInstanceId, InstanceId, ShardIndex};
use flockwork_layout::keys::{Facet, shard};
use flockwork_layout::{plan, record};
use flockwork_registry::{Answer, Entry, Request, Scope};
use std::sync::Arc;

/// Calls `$act` with the slot of a facet; facets without a slot give `$otherwise`.
macro_rules! with_slot {
    ($job:expr, $facet:expr, $slot:ident => $act:expr, $otherwise:expr) => {
        match $facet {
            Facet::Job => {
                let $slot = &mut $job.view.implementation;
                $act
            }
            Facet::Config => {
                let $slot = &mut $job.view.config;
                $act
            }
            Facet::OwnJob => {
                let $slot = &mut $job.view.own_tree;
                $act
            }
            Facet::Instances => {
                let $slot = &mut $job.view.instances;
                $act
            }
            Facet::Leader => {
                let $slot = &mut $job.view.leader;
                $act
            }
            Facet::Necessary => {
                let $slot = &mut $job.view.necessary;
                $act
            }
            Facet::Sharding => {
                let $slot = &mut $job.view.sharding;
                $act
            }
            Facet::Plan => {
                let $slot = &mut $job.view.plan;
                $act
            }
            Facet::Trigger(_) => {
                let $slot = &mut $job.view.trigger;
                $act
            }
            Facet::Retries => {
                let $slot = &mut $job.view.retries;
                $act
            }
            Facet::Leavers => {
                let $slot = &mut $job.view.leavers;
                $act
            }
            Facet::Server(ip) => {
                let $slot = $job.view.servers.entry(ip.clone()).or_default();
                $act
            }
            Facet::Owner(i) => match $job.shard(*i) {
                Some(shard) => {
                    let $slot = &mut shard.owner;
                    $act
                }
                None => $otherwise,
            },
            Facet::Disabled(i) => match $job.shard(*i) {
                Some(shard) => {
                    let $slot = &mut shard.disabled;
                    $act
                }
                None => $otherwise,
            },
            Facet::Record(i) => match $job.shard(*i) {
                Some(shard) => {
                    let $slot = &mut shard.record;
                    $act
                }
                None => $otherwise,
            },
            _ => $otherwise,
        }
    };
}

impl Job {
    /// Reads a key of a job, unless that is under way.
    pub(crate) fn look(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        if !doubt(job, &facet, &me) {
            return;
        }
        let key = turn.settings.namespace.key(&job.name, &facet);
        let request = if is_list(&facet) { Request::Children(key) } else { Request::Get(key) };
        turn.link.read(turn.ix, facet, request);
    }

    /// Reads a shard's record, unless it is known or being read.
    pub(crate) fn look_quietly(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        let is_unread = match &facet {
            Facet::Record(shard) => {
                self.shard(*shard).is_some_and(|shard| shard.record.is_unread())
            }
            _ => true,
        };
        if is_unread {
            self.look(turn, facet);
        }
    }

    /// Watches a key of a job and reads it.
    pub(crate) fn follow(&mut self, turn: &mut Turn<'_>, facet: Facet) {
        let key = turn.settings.namespace.key(&self.name, &facet);
        turn.link.watch(Request::Watch(key, scope(&facet)));
        self.look(turn, facet);
    }

    pub(crate) fn heard_read(&mut self, turn: &mut Turn<'_>, facet: &Facet, answer: Answer) {
        match facet {
            Facet::Running(shard) => return self.mark_read(turn, *shard, &answer),
            Facet::Instance(_) => return self.own_node_read(turn, &answer),
            _ => {}
        }
        match self.read_answered(turn, facet, answer) {
            Ok(()) => self.learned(turn, facet),
            Err(Unreadable::NotAnswered) => {
                if !std::mem::replace(&mut self.is_reread_due, true) {
                    turn.alarms.add(turn.now.mono.plus(REREAD_AFTER), Alarm::Reread(turn.ix));
                }
            }
            Err(Unreadable::NotUnderstood { text, is_new }) => {
                if is_new {
                    turn.trouble(Some(&self.name), "NOT_READABLE", format!("{facet:?}: {text}"));
                }
                if let Facet::Record(shard) = facet {
                    self.record_not_understood(turn, *shard);
                }
            }
        }
    }

    /// Something was learned about the job.
    fn learned(&mut self, turn: &mut Turn<'_>, facet: &Facet) {
        match facet {
            // Nothing about the job as a whole follows from it.
            Facet::Record(shard) => return self.record_read(turn, *shard),
            Facet::Config => self.definition_read(turn),
            Facet::Owner(shard) => self.owner_read(turn, *shard),
            Facet::Instances => self.instances_read(turn),
            Facet::Retries => self.retries_read(turn),
            _ => {}
        }
        turn.tend();
    }

    /// Reads that gave no answer are sent again.
    pub(crate) fn reread_unanswered(&mut self, turn: &mut Turn<'_>) {
        self.is_reread_due = false;
        self.reread(turn);
    }

    /// Watches a key no more.
    pub(crate) fn unfollow(&mut self, turn: &mut Turn<'_>, facet: &Facet) {
        let key = turn.settings.namespace.key(&self.name, facet);
        turn.link.watch(Request::Unwatch(key, scope(facet)));
    }

    /// Reads everything again that is believed about a job.
    pub(crate) fn reread(&mut self, turn: &mut Turn<'_>) {
        for facet in self.believed(turn) {
            self.look(turn, facet);
        }
    }

    /// The same under a new session, whose registry may be another one behind the same address.
    pub(crate) fn read_anew(&mut self, turn: &mut Turn<'_>) {
        for facet in self.believed(turn) {
            self.look(turn, facet.clone());
            let job = &mut *self;
            with_slot!(job, &facet, slot => slot.forget_state(), ());
        }
        // Also the records of shards that are others': an attempt of theirs may be released to this
        // node. What is under a run of its own is known by what it wrote.
        let is_kept = |shard: &Shard| {
            let is_free = shard.run.is_none() && !shard.is_accounting();
            is_free && !shard.was_mine && shard.record.last_seen().is_some()
        };
        let shards = (0..).zip(&self.shards);
        let kept: Vec<ShardIndex> =
            shards.filter(|(_, shard)| is_kept(shard)).map(|(i, _)| i).collect();
        for shard in kept {
            self.look(turn, Facet::Record(shard));
            self.shards[shard as usize].record.forget_state();
        }
    }

    fn believed(&self, turn: &Turn<'_>) -> Vec<Facet> {
        let job = self;
        let mut facets = vec![
            Facet::Config,
            Facet::Job,
            Facet::OwnJob,
            Facet::Instances,
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Plan,
            Facet::Trigger(turn.settings.instance.clone()),
            Facet::Retries,
        ];
        facets.extend(job.follows_leavers.then_some(Facet::Leavers));
        facets.extend(job.view.servers.keys().cloned().map(Facet::Server));
        for (i, shard) in (0..).zip(&job.shards) {
            facets.extend([Facet::Owner(i), Facet::Disabled(i)]);
            // A record under a run of our own is known by what we wrote, until that is refused.
            let may_have_changed = match shard.run {
                Some(run) => self.is_in_doubt(turn, run),
                None => shard.was_mine && !shard.is_accounting(),
            };
            if may_have_changed {
                facets.push(Facet::Record(i));
            }
        }
        facets
    }

    /// A read was answered. What cannot be read stays unknown, and is said.
    pub(crate) fn read_answered(
        &mut self,
        turn: &mut Turn<'_>,
        facet: &Facet,
        answer: Answer,
    ) -> Result<(), Unreadable> {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        if let Answer::Failed(_) = answer {
            forget(job, facet, &me);
            return Err(Unreadable::NotAnswered);
        }
        let (again, result) = match take(job, facet, answer, &me) {
            Ok(again) => (again, Ok(())),
            Err(text) => {
                let is_new = with_slot!(job, facet, slot => slot.not_understood(), true);
                (false, Err(Unreadable::NotUnderstood { text, is_new }))
            }
        };
        if again {
            let key = turn.settings.namespace.key(&job.name, facet);
            let request = if is_list(facet) { Request::Children(key) } else { Request::Get(key) };
            turn.link.read(turn.ix, facet.clone(), request);
        }
        result
    }
}

/// Why a key stays unknown.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The registry gave no answer.
    NotAnswered,
    /// What it holds makes no sense to this release.
    NotUnderstood {
        /// Why.
        text: String,
        /// Whether it could be read before.
        is_new: bool,
    },
}

fn is_list(facet: &Facet) -> bool {
    matches!(facet, Facet::Instances | Facet::Sharding | Facet::Retries | Facet::Leavers)
}

fn scope(facet: &Facet) -> Scope {
    if is_list(facet) { Scope::Children } else { Scope::Value }
}

/// Doubts what is believed of a key; says whether to read it. Another instance's trigger is none
/// of this node's business.
pub(crate) fn doubt(job: &mut Job, facet: &Facet, me: &InstanceId) -> bool {
    match facet {
        Facet::Trigger(instance) if instance != me => false,
        // Not believed, only read: whether a run elsewhere is over, whether this node is registered.
        Facet::Running(_) | Facet::Instance(_) => true,
        _ => with_slot!(job, facet, slot => slot.doubt(), false),
    }
}

fn forget(job: &mut Job, facet: &Facet, me: &InstanceId) {
    if !matches!(facet, Facet::Trigger(instance) if instance != me) {
        with_slot!(job, facet, slot => slot.read_failed(), ());
    }
}

/// Takes an answer in; says whether the key must be read again.
fn take(job: &mut Job, facet: &Facet, answer: Answer, me: &InstanceId) -> Result<bool, String> {
    match answer {
        Answer::Entry(entry) => take_entry(job, facet, entry, me),
        Answer::Children(names) => Ok(take_list(job, facet, names.unwrap_or_default(), me)),
        other => Err(format!("{other:?} is no answer to a read")),
    }
}

fn take_entry(
    job: &mut Job,
    facet: &Facet,
    entry: Option<Entry>,
    me: &InstanceId,
) -> Result<bool, String> {
    let unit = |_: &Bytes| Ok(());
    let instance = |value: &Bytes| {
        let id = instance(&String::from_utf8_lossy(value), me);
        id.map_err(|error| error.to_string())
    };
    let view = &mut job.view;
    match facet {
        Facet::Job => put(&mut view.implementation, entry, text),
        Facet::Config => put(&mut view.config, entry, |value| Ok(value.clone())),
        Facet::OwnJob => put(&mut view.own_tree, entry, unit),
        Facet::Leader => put(&mut view.leader, entry, instance),
        Facet::Necessary => put(&mut view.necessary, entry, unit),
        Facet::Trigger(_) => put(&mut view.trigger, entry, unit),
        Facet::Plan => put(&mut view.plan, entry, |value| {
            let plan = plan::decode(value).map_err(|error| error.to_string())?;
            Ok(plan.sharing(&job.schedule))
        }),
        // Only what reads ENABLED is: an unknown status is shown and not assigned to.
        Facet::Server(ip) => put(view.servers.entry(ip.clone()).or_default(), entry, |value| {
            Ok(value.as_ref() == b"ENABLED")
        }),
        Facet::Owner(i) => on_shard(job, *i, |shard| put(&mut shard.owner, entry, instance)),
        Facet::Disabled(i) => on_shard(job, *i, |shard| put(&mut shard.disabled, entry, unit)),
        Facet::Record(i) => on_shard(job, *i, |shard| {
            put(&mut shard.record, entry, |value| {
                record::decode(value).map(Arc::new).map_err(|error| error.to_string())
            })
        }),
        _ => Ok(false),
    }
}

fn on_shard(
    job: &mut Job,
    shard: ShardIndex,
    act: impl FnOnce(&mut Shard) -> Result<bool, String>,
) -> Result<bool, String> {
    job.shard(shard).map_or(Ok(false), act)
}

fn put<T>(
    slot: &mut Slot<T>,
    entry: Option<Entry>,
    read: impl FnOnce(&Bytes) -> Result<T, String>,
) -> Result<bool, String> {
    let same = entry.as_ref().and_then(|entry| slot.read_same(entry.stamp));
    if let Some(again) = same {
        return Ok(again);
    }
    let held = match entry {
        None => None,
        Some(Entry { value, stamp, session }) => {
            Some(Held { value: read(&value)?, stamp, session })
        }
    };
    Ok(slot.read(held))
}

fn text(value: &Bytes) -> Result<String, String> {
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// An instance by its id. The own one is kept once for all jobs: it is compared at every fire.
fn instance(text: &str, me: &InstanceId) -> Result<InstanceId, BadInstanceId> {
    if text == me.as_str() { Ok(me.clone()) } else { InstanceId::new(text) }
}

/// Names that are none of ours (`sharding/abc`) are passed over.
fn take_list(job: &mut Job, facet: &Facet, names: Vec<String>, me: &InstanceId) -> bool {
    let shards = |names: Vec<String>| names.iter().filter_map(|name| shard(name)).collect();
    let ids =
        |names: Vec<String>| names.iter().filter_map(|name| instance(name, me).ok()).collect();
    match facet {
        Facet::Instances => job.view.instances.read(Some(plain(ids(names)))),
        Facet::Leavers => job.view.leavers.read(Some(plain(ids(names)))),
        Facet::Sharding => job.view.sharding.read(Some(plain(shards(names)))),
        Facet::Retries => job.view.retries.read(Some(plain(shards(names)))),
        _ => false,
    }
}

fn plain<T>(value: T) -> Held<T> {
    Held { value, stamp: flockwork_registry::Stamp::default(), session: None }
}
