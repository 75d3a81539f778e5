//! How far the shards of a job have come with the fire that is open.
//!
//! A shard is done with a fire once its record has accounted the fire and holds no claim: that stays true
//! whatever was read. Whether a shard may still begin is less certain, as it may have begun unseen. So where
//! a fire is closed without each of its shards, that is written first: from then on no claim is taken, and
//! what is read after that is certain, too.

use crate::mirror::{Mirror, Slot};
use crate::shard::has_run;
use crate::turn::Turn;
use flockwork_core::account::is_due;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::{Fire, Source};
use flockwork_core::id::ShardIndex;
use flockwork_core::time::{Mono, Timestamp};
use flockwork_layout::keys::Facet;
use flockwork_layout::record::Stored;
use flockwork_registry::{Request, Scope, Stamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a shard that no instance can begin is waited for: shards are dealt anew by then.
const LAPSE_AFTER: Duration = Duration::from_secs(5);

/// The shards that a fire waits for.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The fire, and whether no shard begins it any more.
    of: Option<(Fire, bool)>,
    left: BTreeSet<ShardIndex>,
    /// Since when no instance can begin the shards that are left.
    lapsed_since: Option<Mono>,
}

/// What a fire waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Shards run, or may begin.
    Shards,
    /// Only shards that no instance can begin, for a good while.
    Nobody,
    /// Nothing.
    Nothing,
}

/// The state of a shard in a fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shard {
    Done,
    Runs,
    Unknown,
    MayBegin,
    /// No instance can begin it.
    Lapsed,
}

impl Progress {
    /// Returns what the fire waits for that is open for so many shards, or that no shard begins any more.
    pub(super) fn awaits(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        config: &JobConfig,
        (fire, shards, is_closing): (Fire, u32, bool),
    ) -> Awaits {
        if self.of != Some((fire, is_closing)) {
            *self = Self {
                of: Some((fire, is_closing)),
                left: (0..shards).collect(),
                lapsed_since: None,
            };
            if is_closing {
                // What was read before that was written may be older.
                self.left.iter().for_each(|shard| mirror.read(turn, Facet::Record(*shard)));
            }
        }
        let state = |shard: ShardIndex| state(mirror, config, shard, (fire, is_closing));
        self.left.retain(|shard| state(*shard) != Shard::Done);
        if self.left.is_empty() {
            return Awaits::Nothing;
        }
        if self.left.iter().any(|shard| state(*shard) != Shard::Lapsed) {
            self.lapsed_since = None;
            return Awaits::Shards;
        }
        let over = self.lapsed_since.get_or_insert(turn.now.mono).plus(LAPSE_AFTER);
        if turn.now.mono < over {
            turn.mark_job_in(over.since(turn.now.mono));
            return Awaits::Shards;
        }
        Awaits::Nobody
    }

    /// Notes what was heard of a shard's record. Returns whether the job is to be looked at as a whole.
    pub(super) fn heard(&mut self, mirror: &Mirror, config: &JobConfig, shard: ShardIndex) -> bool {
        let Some(of) = self.of else { return true };
        if state(mirror, config, shard, of) == Shard::Done {
            self.left.remove(&shard);
        }
        let goes_on = |shard: &ShardIndex| {
            matches!(state(mirror, config, *shard, of), Shard::Runs | Shard::MayBegin)
        };
        !self.left.iter().any(goes_on)
    }

    /// Notes that no fire is open.
    pub(super) fn is_over(&mut self) {
        *self = Self::default();
    }
}

fn state(
    mirror: &Mirror,
    config: &JobConfig,
    shard: ShardIndex,
    (fire, is_closing): (Fire, bool),
) -> Shard {
    let is_surplus = shard >= config.shards;
    let exists = mirror.sharding().value().map(|shards| shards.contains(&shard));
    if is_surplus && exists == Some(false) {
        // The leader takes a surplus shard away once it runs no more.
        return Shard::Done;
    }
    let Some(record) = mirror.record(shard) else {
        // It is one that this instance never knew, and can only wait for.
        return if is_closing { Shard::Done } else { Shard::Lapsed };
    };
    let Some(known) = record.known() else { return Shard::Unknown };
    let stored = known.map(|held| &*held.value);
    match stored.and_then(|stored| stored.record.claim.as_ref()) {
        // Nobody takes over what a surplus shard ran.
        Some(claim) if is_surplus && mirror.is_live(&claim.instance) == Some(false) => {
            if is_closing { Shard::Done } else { Shard::Lapsed }
        }
        Some(_) => Shard::Runs,
        None if is_surplus && !is_closing => Shard::Lapsed,
        None if is_closing || is_done(mirror, config, shard, (stored, fire)) => Shard::Done,
        None => unclaimed(mirror, config, shard, fire),
    }
}

/// Returns whether a shard without a claim has run or accounted a fire.
fn is_done(
    mirror: &Mirror,
    config: &JobConfig,
    shard: ShardIndex,
    (stored, fire): (Option<&Stored>, Fire),
) -> bool {
    match fire.source {
        Source::Trigger => stored.is_some_and(|stored| has_run(stored, fire)),
        _ if stored.is_some_and(|stored| ran_ahead(stored, fire.due)) => true,
        _ => accounted(mirror, config, shard, stored).is_some_and(|through| through >= fire.due),
    }
}

/// Returns up to when a shard's fires are accounted, or were no fires of it.
fn accounted(
    mirror: &Mirror,
    config: &JobConfig,
    shard: ShardIndex,
    stored: Option<&Stored>,
) -> Option<Timestamp> {
    let from = mirror.plan_in_force(config.shards)?.from(shard);
    Some(stored.map_or(from, |stored| stored.record.watermark.max(stored.record.begins(from))))
}

/// Returns whether a shard has run a fire by a clock that was ahead.
fn ran_ahead(stored: &Stored, due: Timestamp) -> bool {
    stored.record.ran_ahead().iter().any(|ran| ran.contains(due))
}

fn unclaimed(mirror: &Mirror, config: &JobConfig, shard: ShardIndex, fire: Fire) -> Shard {
    let is_none_of_its = match fire.source {
        Source::Trigger => mirror.is_surely_off(shard),
        _ => !is_due(&config.schedule, fire.due),
    };
    if is_none_of_its {
        return Shard::Lapsed;
    }
    let Some(owner) = mirror.owner(shard).and_then(Slot::known) else { return Shard::Unknown };
    let Some(owner) = owner else { return Shard::Lapsed };
    match (mirror.is_live(&owner.value), mirror.is_enabled(&owner.value)) {
        (Some(true), Some(true)) => Shard::MayBegin,
        (Some(false), _) | (_, Some(false)) => Shard::Lapsed,
        _ => Shard::Unknown,
    }
}

/// The records of the job's shards, as the leader follows them.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The shards of other instances whose records are watched.
    watched: BTreeSet<ShardIndex>,
}

impl Records {
    /// Watches the records of other instances' shards. The record of an own shard is known from what this
    /// instance writes.
    pub(super) fn follow(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror, shards: u32) {
        for shard in 0..shards {
            let Some(owner) = mirror.owner(shard).and_then(Slot::known) else { continue };
            let is_own = owner.is_some_and(|owner| owner.value == *turn.instance());
            let key = turn.key(&Facet::Record(shard));
            if is_own && self.watched.remove(&shard) {
                turn.outbox.watch(turn.job, Request::Unwatch(key, Scope::Value));
            } else if !is_own && self.watched.insert(shard) {
                mirror.watch(turn, Facet::Record(shard));
            }
            mirror.read_record_if_unread(turn, shard);
        }
    }

    /// Watches no record any more.
    pub(super) fn unfollow(&mut self, turn: &mut Turn<'_>) {
        for shard in std::mem::take(&mut self.watched) {
            let key = turn.key(&Facet::Record(shard));
            turn.outbox.watch(turn.job, Request::Unwatch(key, Scope::Value));
        }
    }

    /// Reads the watched records again, as watches may have been silent.
    pub(super) fn reread(&self, turn: &mut Turn<'_>, mirror: &mut Mirror) {
        for shard in &self.watched {
            mirror.read(turn, Facet::Record(*shard));
        }
    }
}

/// Returns up to when the fires of any shard are accounted, of those that count; `None` while a record is not
/// known.
pub(super) fn newest_accounted(
    mirror: &Mirror,
    config: &JobConfig,
    counts: impl Fn(ShardIndex, Timestamp, Stamp) -> bool,
) -> Option<Timestamp> {
    let mut newest = Timestamp::default();
    for shard in 0..config.shards {
        let Some(held) = mirror.record(shard)?.known()? else { continue };
        let watermark = held.value.record.watermark;
        if counts(shard, watermark, held.stamp) {
            newest = newest.max(watermark);
        }
    }
    Some(newest)
}

/// Returns the newest instant that a run of a shard had, if any has run; `None` while a record is not known.
pub(super) fn newest_due(mirror: &Mirror, config: &JobConfig) -> Option<Option<Timestamp>> {
    let mut newest = None;
    for shard in 0..config.shards {
        let stored: Option<&Arc<Stored>> = mirror.record(shard)?.known()?.map(|held| &held.value);
        let last = stored.and_then(|stored| stored.record.last.as_ref());
        newest = newest.max(last.map(|last| last.fire.due));
    }
    Some(newest)
}
