//! Requests to run now. Each one that is seen leads to one run of each shard here, or to a refusal
//! that is reported; it is taken away only after the runs are claimed.

use crate::Report;
use crate::job::Job;
use crate::link::{Aim, Member};
use crate::runs::Stage;
use crate::turn::Turn;
use flockwork_core::config::Overlap;
use flockwork_core::execution::RunId;
use flockwork_layout::keys::Facet;
use flockwork_registry::Op;

impl Job {
    /// Answers a request to run now, if there is one.
    pub(crate) fn answer_trigger(&mut self, turn: &mut Turn<'_>) {
        // Where the clocks differ it waits until they agree.
        let differs = self.clock_note.differs.is_some();
        if !turn.may_start() || self.under_way.trigger || differs {
            return;
        }
        let job = &mut *self;
        let Some(stamp) = job.view.trigger.held().map(|held| held.stamp) else { return };
        if job.trigger != Some(stamp) {
            // Not knowing whose a shard is, is not knowing that it is not ours.
            if !self.knows_shards(turn) {
                return;
            }
            self.trigger = Some(stamp);
            self.take_trigger(turn);
        }
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        let count = job.count();
        for shard in &mut job.shards {
            let is_lost =
                shard.owner.known().is_some_and(|owner| owner.is_none_or(|held| held.value != me));
            shard.is_triggered &= !is_lost && shard.disabled.held().is_none();
        }
        if job.shards.iter().take(count).any(|shard| shard.is_triggered) {
            return;
        }
        job.under_way.trigger = true;
        let key = self.key(turn, &Facet::Trigger(turn.settings.instance.clone()));
        turn.link.gather(Member::new(Aim::Trigger(turn.ix), vec![Op::Delete(key, Some(stamp))]));
    }

    fn knows_shards(&mut self, turn: &mut Turn<'_>) -> bool {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        job.is_enabled(&me).is_some()
            && job
                .shards
                .iter()
                .take(job.count())
                .all(|shard| shard.owner.known().is_some() && shard.disabled.known().is_some())
    }

    fn take_trigger(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let (runs, job) = (&turn.runs, &mut *self);
        let is_open = |id: &RunId| {
            let stage = runs.get(id).map(|run| run.stage);
            matches!(
                stage,
                Some(Stage::Claiming | Stage::Doubted | Stage::Ahead | Stage::TakingBack)
            )
        };
        let Some(config) = job.config.clone() else { return };
        let is_enabled = job.is_enabled(&me) == Some(true);
        let mut refused = None;
        let mut taken = 0;
        let mut owned = 0;
        for shard in job.shards.iter_mut().take(config.shards as usize) {
            if shard.owner.value() != Some(&me) {
                continue;
            }
            owned += 1;
            if !is_enabled || shard.disabled.held().is_some() {
                refused = Some("DISABLED");
            } else if shard.run.is_some_and(|id| !is_open(&id)) && config.overlap == Overlap::Skip {
                refused = Some("OVERLAP");
            } else {
                // A claim that does not stand yet is no run that the request could be skipped for.
                shard.is_ask_open = shard.run.is_some() && config.overlap == Overlap::Skip;
                // While it runs, one run follows, whatever the number of requests.
                shard.is_triggered = true;
                taken += 1;
            }
        }
        if owned == 0 {
            refused = Some("NO_SHARDS_HERE");
        }
        let job = job.name.clone();
        turn.report(Report::Triggered { job, shards: taken, refused });
    }

    pub(crate) fn trigger_answered(&mut self, turn: &mut Turn<'_>) {
        self.under_way.trigger = false;
        self.look(turn, Facet::Trigger(turn.settings.instance.clone()));
    }
}
