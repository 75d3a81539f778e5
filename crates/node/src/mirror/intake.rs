//! The intake of the registry's answers: the layout reads the form of each key.

use super::{Held, Mirror, Slot};
use bytes::Bytes;
use flockwork_core::id::{BadInstanceId, InstanceId};
use flockwork_layout::keys::{Facet, shard};
use flockwork_layout::{guarantee, plan, record};
use flockwork_registry::{Answer, Entry};
use std::sync::Arc;

/// The reason why a key stays unknown.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The registry gave no answer.
    NotAnswered,
    /// The value of the key makes no sense to this release.
    NotUnderstood {
        /// The reason why the value makes no sense.
        text: String,
        /// Whether the key could be read before.
        is_new: bool,
    },
}

impl Mirror {
    /// Takes an answer in. Returns whether the key must be read again.
    pub(super) fn take(
        &mut self,
        facet: &Facet,
        answer: Answer,
        me: &InstanceId,
    ) -> Result<bool, String> {
        match answer {
            Answer::Entry(entry) => self.take_entry(facet, entry, me),
            Answer::Children(names) => Ok(self.take_list(facet, &names.unwrap_or_default(), me)),
            other => Err(format!("{other:?} is no answer to a read")),
        }
    }

    fn take_entry(
        &mut self,
        facet: &Facet,
        entry: Option<Entry>,
        me: &InstanceId,
    ) -> Result<bool, String> {
        let unit = |_: &Bytes| Ok(());
        let instance = |value: &Bytes| {
            let id = instance(&String::from_utf8_lossy(value), me);
            Ok(id.unwrap_or_else(|_| nobody()))
        };
        let schedule = &self.schedule;
        match facet {
            Facet::Job => put(Some(&mut self.implementation), entry, text),
            Facet::Config => put(Some(&mut self.config), entry, |value| Ok(value.clone())),
            Facet::OwnJob => put(Some(&mut self.own_tree), entry, unit),
            Facet::Leader => put(Some(&mut self.leader), entry, instance),
            Facet::Necessary => put(Some(&mut self.necessary), entry, unit),
            Facet::Trigger(_) => put(Some(&mut self.trigger), entry, unit),
            Facet::Plan => put(Some(&mut self.plan), entry, |value| {
                let plan = plan::decode(value).map_err(|error| error.to_string())?;
                Ok(plan.sharing(schedule))
            }),
            Facet::Once => put(Some(&mut self.once), entry, |value| {
                guarantee::decode(value).map_err(|error| error.to_string())
            }),
            // Only the value ENABLED switches a server on. An unknown status is shown, and the server gets no
            // shards.
            Facet::Server(ip) => {
                let slot = self.servers.entry(ip.clone()).or_default();
                put(Some(slot), entry, |value| Ok(value.as_ref() == b"ENABLED"))
            }
            Facet::Owner(i) => {
                put(self.shards.get_mut(*i as usize).map(|it| &mut it.owner), entry, instance)
            }
            Facet::Disabled(i) => {
                put(self.shards.get_mut(*i as usize).map(|it| &mut it.disabled), entry, unit)
            }
            Facet::Record(i) => {
                put(self.shards.get_mut(*i as usize).map(|it| &mut it.record), entry, |value| {
                    record::decode(value).map(Arc::new).map_err(|error| error.to_string())
                })
            }
            _ => Ok(false),
        }
    }

    /// Takes a list in. Names that Flockwork does not use (`sharding/abc`) are passed over.
    fn take_list(&mut self, facet: &Facet, names: &[String], me: &InstanceId) -> bool {
        let shards = || names.iter().filter_map(|name| shard(name)).collect();
        let ids = || names.iter().filter_map(|name| instance(name, me).ok()).collect();
        match facet {
            Facet::Instances => self.instances.read(Some(plain(ids()))),
            Facet::Leavers => self.leavers.read(Some(plain(ids()))),
            Facet::Sharding => self.sharding.read(Some(plain(shards()))),
            Facet::Retries => self.retries.read(Some(plain(shards()))),
            _ => false,
        }
    }
}

/// Stands for a text that names no instance. Nobody of that name lives, so what is assigned to it, or led by
/// it, is assigned or led anew.
pub(super) const NOBODY: &str = "nobody@-@unreadable";

fn nobody() -> InstanceId {
    InstanceId::new(NOBODY).expect("it reads like an id")
}

/// Takes the state of a key in, if the mirror has a slot for it.
fn put<T>(
    slot: Option<&mut Slot<T>>,
    entry: Option<Entry>,
    read: impl FnOnce(&Bytes) -> Result<T, String>,
) -> Result<bool, String> {
    let Some(slot) = slot else { return Ok(false) };
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

/// Reads the id of an instance. This instance's own id is kept once for all jobs: it is compared at every
/// fire.
fn instance(text: &str, me: &InstanceId) -> Result<InstanceId, BadInstanceId> {
    if text == me.as_str() { Ok(me.clone()) } else { InstanceId::new(text) }
}

fn plain<T>(value: T) -> Held<T> {
    Held { value, stamp: flockwork_registry::Stamp::default(), session: None }
}
