//! Requests to run now. Each one that is seen leads to one run of each shard here, or to a refusal
//! that is reported; it is taken away only after the runs are claimed.

use crate::Report;
use crate::mirror::{Mirror, Slot};
use crate::outbox::{Change, JobChange, Verdict};
use crate::shard::Shard;
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::id::ShardIndex;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Op, Stamp};

/// One job's request.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    /// The one that is being answered.
    taken: Option<Stamp>,
    /// Whether it is being taken away.
    is_sending: bool,
}

impl Trigger {
    /// The changes whose answers it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_sending.then_some(JobChange::Trigger).into_iter()
    }

    /// Answers a request to run now, if there is one.
    pub(crate) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        config: &JobConfig,
        shards: &mut [Shard],
    ) {
        if !turn.may_start() || self.is_sending {
            return;
        }
        let Some(stamp) = mirror.trigger().held().map(|held| held.stamp) else { return };
        if self.taken != Some(stamp) {
            // Not knowing whose a shard is, is not knowing that it is not ours.
            if !knows_shards(turn, mirror, config.shards) {
                return;
            }
            self.taken = Some(stamp);
            take(turn, mirror, config, shards);
        }
        let counted = config.shards as usize;
        let mut is_open = false;
        for (at, shard) in shards.iter_mut().enumerate() {
            is_open |= shard.is_still_asked(mirror, turn.instance()) && at < counted;
        }
        if is_open {
            return;
        }
        self.is_sending = true;
        let key = turn.key(&own(turn));
        turn.send_for_job(JobChange::Trigger, vec![Op::Delete(key, Some(stamp))]);
    }

    /// The request was taken away, or not.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        let own = own(turn);
        self.is_sending = !mirror.is_over(turn, change, verdict, std::slice::from_ref(&own));
        if matches!(verdict, Verdict::Done(_)) {
            mirror.read(turn, own);
        }
    }

    /// The job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        self.is_sending = false;
    }
}

fn own(turn: &Turn<'_>) -> Facet {
    Facet::Trigger(turn.instance().clone())
}

fn knows_shards(turn: &Turn<'_>, mirror: &Mirror, shards: u32) -> bool {
    let is_known = |shard: ShardIndex| {
        let owner = mirror.owner(shard).and_then(Slot::known);
        owner.is_some() && mirror.is_off(shard).is_some()
    };
    mirror.is_enabled(turn.instance()).is_some() && (0..shards).all(is_known)
}

fn take(turn: &mut Turn<'_>, mirror: &Mirror, config: &JobConfig, shards: &mut [Shard]) {
    let is_enabled = mirror.is_enabled(turn.instance()) == Some(true);
    let (mut refused, mut taken, mut owned) = (None, 0, 0);
    for (index, shard) in (0..config.shards).zip(shards) {
        let owner = mirror.owner(index).and_then(Slot::value);
        if owner != Some(turn.instance()) {
            continue;
        }
        owned += 1;
        let refusal = match is_enabled {
            true => shard.asked(mirror, config.overlap),
            false => Some("DISABLED"),
        };
        match refusal {
            Some(code) => refused = Some(code),
            None => taken += 1,
        }
    }
    if owned == 0 {
        refused = Some("NO_SHARDS_HERE");
    }
    turn.report(Report::Triggered { job: turn.name.clone(), shards: taken, refused });
}
