//! Tending a job: from what is known of it, what is to be done next. Called whenever something was
//! learned; each call does what it can and leaves the rest until more is known.

use crate::Phase;
use crate::alarms::Alarm;
use crate::job::{Job, JobIx, ShardKeys};
use crate::machine::{Node, Turn};
use flockwork_core::account::{Hold, Reason};
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_layout::record;
use flockwork_registry::Key;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// How often all that is believed about a job is read again, if it does not say itself.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(10);

fn reconcile_interval(job: &Job) -> Duration {
    let config = job.config.as_ref().unwrap_or(&job.offered);
    config.reconcile_interval.unwrap_or(RECONCILE_INTERVAL)
}

impl Node {
    pub(crate) fn tend(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        if self.trust.session().is_none() {
            return;
        }
        if !std::mem::replace(&mut self.job(ix).is_reconciled, true) {
            let first = self.first_reconcile(ix);
            self.alarms.add(turn.now.mono.plus(first), Alarm::Reconcile(ix));
        }
        self.tend_mark(ix);
        if self.job(ix).leaving.is_some() {
            return self.tend_leaving(turn, ix);
        }
        let job = self.job(ix);
        let is_defined = job.view.config.held().is_some();
        let is_gone = job.was_found && job.view.config.is_absent();
        match job.phase {
            Phase::Left | Phase::Leaving => {}
            Phase::Removed if is_defined => {
                self.job(ix).phase = Phase::Joining;
                self.tend_joining(turn, ix);
            }
            Phase::Removed => {}
            // Nobody but who offers it anew brings back what was there and is not any more.
            Phase::Joining | Phase::Refused if is_gone => self.job_removed(turn, ix),
            Phase::Joining | Phase::Refused => self.tend_joining(turn, ix),
            Phase::Serving => self.tend_serving(turn, ix),
        }
        self.give_back_stale(ix);
    }

    fn tend_joining(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        if self.make_tree(turn, ix) {
            return;
        }
        match self.adopt(turn, ix) {
            true => self.register(turn, ix),
            false if self.job(ix).phase == Phase::Refused => self.deregister(turn, ix),
            false => {}
        }
    }

    fn tend_serving(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        if self.job(ix).view.config.is_absent() {
            return self.job_removed(turn, ix);
        }
        if !self.adopt(turn, ix) {
            return;
        }
        if !self.is_registered(ix) {
            return self.register(turn, ix);
        }
        let view = &self.job(ix).view;
        let is_certain = view.instances.known().is_some() && view.config.known().is_some();
        if self.job(ix).is_unlisted {
            // What was defined anew was removed before, and this instance with it.
            if !is_certain {
                return;
            }
            self.cancel_for_others(turn, ix);
            self.leave(ix, "an operator took this instance off");
            self.job(ix).was_taken_off = true;
            return;
        }
        self.tend_clock(turn, ix);
        self.lead(turn, ix);
        self.follow_servers(ix);
        self.note_server_status(turn, ix);
        self.answer_trigger(turn, ix);
        self.arm(turn, ix);
        for shard in 0..self.job(ix).count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider(turn, ix, shard);
        }
    }

    /// The keys that a run of a shard writes.
    pub(crate) fn keys(&mut self, ix: JobIx, shard: ShardIndex) -> &ShardKeys {
        let (namespace, job) = (&self.settings.namespace, &mut self.jobs[ix.0 as usize]);
        let (name, me) = (&job.name, &self.settings.instance);
        job.shards[shard as usize].keys.get_or_insert_with(|| {
            Box::new(ShardKeys {
                instance: namespace.key(name, &Facet::Instance(me.clone())),
                plan: namespace.key(name, &Facet::Plan),
                owner: namespace.key(name, &Facet::Owner(shard)),
                record: namespace.key(name, &Facet::Record(shard)),
                running: namespace.key(name, &Facet::Running(shard)),
            })
        })
    }

    pub(crate) fn key(&self, ix: JobIx, facet: &Facet) -> Key {
        self.settings.namespace.key(&self.jobs[ix.0 as usize].name, facet)
    }

    /// When a job is first read again: jobs that were joined together are not read together, or claims
    /// would queue behind the reads of thousands.
    fn first_reconcile(&mut self, ix: JobIx) -> Duration {
        let job = &self.jobs[ix.0 as usize];
        let mut hasher = DefaultHasher::new();
        (job.name.as_str(), &self.me).hash(&mut hasher);
        let interval = reconcile_interval(job);
        let half = interval / 2;
        half + half.mul_f64((hasher.finish() % 1_000) as f64 / 1_000.0)
    }

    /// Reads everything again: with all watches lost, a node still comes to know.
    pub(crate) fn reconcile(&mut self, turn: &Turn<'_>, ix: JobIx) {
        let interval = reconcile_interval(self.job(ix));
        self.alarms.add(turn.now.mono.plus(interval), Alarm::Reconcile(ix));
        if self.trust.session().is_some() {
            self.reread(ix);
            // Clocks drift: compared again, also where nothing is committed.
            self.job(ix).clock.is_note_due = true;
            self.untended.insert(ix);
        }
    }

    /// Follows the status of each server that an instance runs on.
    fn follow_servers(&mut self, ix: JobIx) {
        let job = self.job(ix);
        let Some(instances) = job.view.instances.value() else { return };
        let unknown: Vec<String> = instances
            .iter()
            .map(InstanceId::server)
            .filter(|server| !job.view.servers.contains_key(*server))
            .map(str::to_owned)
            .collect();
        for server in unknown {
            self.follow(ix, Facet::Server(server));
        }
    }

    /// What came due while this server was switched off is not made up for.
    fn note_server_status(&mut self, turn: &Turn<'_>, ix: JobIx) {
        let me = self.settings.instance.clone();
        let job = self.job(ix);
        let Some(is_enabled) = job.is_enabled(&me) else { return };
        if std::mem::replace(&mut job.was_disabled, !is_enabled) && is_enabled {
            for shard in &mut job.shards {
                shard.hold = Some(Hold { until: turn.now.wall, reason: Reason::Disabled });
            }
        }
    }

    /// Sets the timer to the job's next due instant.
    pub(crate) fn arm(&mut self, turn: &Turn<'_>, ix: JobIx) {
        let job = &mut self.jobs[ix.0 as usize];
        let now = turn.now.wall;
        if job.next.is_some_and(|next| next > now) {
            return;
        }
        let mut memo = job.memo;
        let (Some(plan), Some(config)) = (job.plan_in_force(), &job.config) else { return };
        let mut first_after = |instant| {
            let first_of = |from| memo.search(&config.schedule, instant, from);
            plan.begins().filter_map(first_of).min()
        };
        // From the fire that is due now: what comes after it is asked again when it is settled.
        let mut next = first_after(job.next.unwrap_or(now));
        if next.is_some_and(|next| next <= now) {
            next = first_after(now);
        }
        (job.next, job.memo) = (next, memo);
        if let Some(next) = next {
            self.alarms.add_due(next, ix);
            let ahead = next.minus(config.claim_ahead);
            if now < ahead && ahead < next {
                self.alarms.add_due(ahead, ix);
            }
        }
    }

    /// What a shard's record holds now; a new one, if there is none yet.
    pub(crate) fn record_of(
        &mut self,
        ix: JobIx,
        shard: ShardIndex,
    ) -> Option<Arc<record::Stored>> {
        let job = self.job(ix);
        let known = job.shards.get(shard as usize)?.record.known()?;
        Some(known.map_or_else(Arc::default, |held| held.value.clone()))
    }
}
