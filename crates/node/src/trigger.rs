//! Requests to run now. Each one that is seen leads to one run of each shard here, or to a refusal
//! that is reported; it is taken away only after the runs are claimed.

use crate::Report;
use crate::job::JobIx;
use crate::link::{Aim, Member};
use crate::machine::{Node, Turn};
use crate::runs::Stage;
use flockwork_core::config::Overlap;
use flockwork_core::execution::RunId;
use flockwork_layout::keys::Facet;
use flockwork_registry::Op;

impl Node {
    /// Answers a request to run now, if there is one.
    pub(crate) fn answer_trigger(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        // Where the clocks differ it waits until they agree.
        let differs = self.job(ix).clock.differs.is_some();
        if !self.may_start(turn.now) || self.job(ix).under_way.trigger || differs {
            return;
        }
        let job = self.job(ix);
        let Some(stamp) = job.view.trigger.held().map(|held| held.stamp) else { return };
        if job.trigger != Some(stamp) {
            // Not knowing whose a shard is, is not knowing that it is not ours.
            if !self.knows_shards(ix) {
                return;
            }
            self.job(ix).trigger = Some(stamp);
            self.take_trigger(turn, ix);
        }
        let me = self.settings.instance.clone();
        let job = self.job(ix);
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
        let key = self.key(ix, &Facet::Trigger(self.settings.instance.clone()));
        self.link.gather(Member::new(Aim::Trigger(ix), vec![Op::Delete(key, Some(stamp))]));
    }

    fn knows_shards(&mut self, ix: JobIx) -> bool {
        let me = self.settings.instance.clone();
        let job = self.job(ix);
        job.is_enabled(&me).is_some()
            && job
                .shards
                .iter()
                .take(job.count())
                .all(|shard| shard.owner.known().is_some() && shard.disabled.known().is_some())
    }

    fn take_trigger(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        let me = self.settings.instance.clone();
        let (runs, job) = (&self.runs, &mut self.jobs[ix.0 as usize]);
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

    pub(crate) fn trigger_answered(&mut self, ix: JobIx) {
        self.job(ix).under_way.trigger = false;
        self.look(ix, Facet::Trigger(self.settings.instance.clone()));
    }
}
