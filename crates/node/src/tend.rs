//! Tending a job: from what is known of it, what is to be done next. Called whenever something was
//! learned; each call does what it can and leaves the rest until more is known.

use crate::Phase;
use crate::alarms::Alarm;
use crate::job::{Job, ShardKeys};
use crate::turn::Turn;
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

impl Job {
    pub(crate) fn tend(&mut self, turn: &mut Turn<'_>) {
        if turn.trust.session().is_none() {
            return;
        }
        if !std::mem::replace(&mut self.is_reconciled, true) {
            let first = self.first_reconcile(turn);
            turn.alarms.add(turn.now.mono.plus(first), Alarm::Reconcile(turn.ix));
        }
        self.tend_mark(turn);
        if self.leaving.is_some() {
            return self.tend_leaving(turn);
        }
        let job = &mut *self;
        let is_defined = job.view.config.held().is_some();
        let is_gone = job.was_found && job.view.config.is_absent();
        match job.phase {
            Phase::Left | Phase::Leaving => {}
            Phase::Removed if is_defined => {
                self.phase = Phase::Joining;
                self.tend_joining(turn);
            }
            Phase::Removed => {}
            // Nobody but who offers it anew brings back what was there and is not any more.
            Phase::Joining | Phase::Refused if is_gone => self.job_removed(turn),
            Phase::Joining | Phase::Refused => self.tend_joining(turn),
            Phase::Serving => self.tend_serving(turn),
        }
        self.give_back_stale(turn);
    }

    fn tend_joining(&mut self, turn: &mut Turn<'_>) {
        if self.make_tree(turn) {
            return;
        }
        match self.adopt(turn) {
            true => self.register(turn),
            false if self.phase == Phase::Refused => self.deregister(turn),
            false => {}
        }
    }

    fn tend_serving(&mut self, turn: &mut Turn<'_>) {
        if self.view.config.is_absent() {
            return self.job_removed(turn);
        }
        if !self.adopt(turn) {
            return;
        }
        if !self.is_registered(turn) {
            return self.register(turn);
        }
        let view = &self.view;
        let is_certain = view.instances.known().is_some() && view.config.known().is_some();
        if self.is_unlisted {
            // What was defined anew was removed before, and this instance with it.
            if !is_certain {
                return;
            }
            self.cancel_for_others(turn);
            self.leave(turn, "an operator took this instance off");
            self.was_taken_off = true;
            return;
        }
        self.tend_clock(turn);
        self.lead(turn);
        self.follow_servers(turn);
        self.note_server_status(turn);
        self.answer_trigger(turn);
        self.arm(turn);
        for shard in 0..self.count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider(turn, shard);
        }
    }

    /// The keys that a run of a shard writes.
    pub(crate) fn keys(&mut self, turn: &mut Turn<'_>, shard: ShardIndex) -> &ShardKeys {
        let (namespace, job) = (&turn.settings.namespace, &mut *self);
        let (name, me) = (&job.name, &turn.settings.instance);
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

    pub(crate) fn key(&self, turn: &Turn<'_>, facet: &Facet) -> Key {
        turn.settings.namespace.key(&self.name, facet)
    }

    /// When a job is first read again: jobs that were joined together are not read together, or claims
    /// would queue behind the reads of thousands.
    fn first_reconcile(&mut self, turn: &mut Turn<'_>) -> Duration {
        let job = self;
        let mut hasher = DefaultHasher::new();
        (job.name.as_str(), &turn.me).hash(&mut hasher);
        let interval = reconcile_interval(job);
        let half = interval / 2;
        half + half.mul_f64((hasher.finish() % 1_000) as f64 / 1_000.0)
    }

    /// Reads everything again: with all watches lost, a node still comes to know.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>) {
        let interval = reconcile_interval(self);
        turn.alarms.add(turn.now.mono.plus(interval), Alarm::Reconcile(turn.ix));
        if turn.trust.session().is_some() {
            self.reread(turn);
            // Clocks drift: compared again, also where nothing is committed.
            self.clock_note.is_note_due = true;
            turn.tend();
        }
    }

    /// Follows the status of each server that an instance runs on.
    fn follow_servers(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        let Some(instances) = job.view.instances.value() else { return };
        let unknown: Vec<String> = instances
            .iter()
            .map(InstanceId::server)
            .filter(|server| !job.view.servers.contains_key(*server))
            .map(str::to_owned)
            .collect();
        for server in unknown {
            self.follow(turn, Facet::Server(server));
        }
    }

    /// What came due while this server was switched off is not made up for.
    fn note_server_status(&mut self, turn: &mut Turn<'_>) {
        let me = turn.settings.instance.clone();
        let job = &mut *self;
        let Some(is_enabled) = job.is_enabled(&me) else { return };
        if std::mem::replace(&mut job.was_disabled, !is_enabled) && is_enabled {
            for shard in &mut job.shards {
                shard.hold = Some(Hold { until: turn.now.wall, reason: Reason::Disabled });
            }
        }
    }

    /// Sets the timer to the job's next due instant.
    pub(crate) fn arm(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
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
            turn.alarms.add_due(next, turn.ix);
            let ahead = next.minus(config.claim_ahead);
            if now < ahead && ahead < next {
                turn.alarms.add_due(ahead, turn.ix);
            }
        }
    }

    /// What a shard's record holds now; a new one, if there is none yet.
    pub(crate) fn record_of(&mut self, shard: ShardIndex) -> Option<Arc<record::Stored>> {
        let job = &mut *self;
        let known = job.shards.get(shard as usize)?.record.known()?;
        Some(known.map_or_else(Arc::default, |held| held.value.clone()))
    }

    /// The wall clock was set back: it shows instants again that the timers have passed, and what held
    /// fires up until an instant that it showed before is over.
    pub(crate) fn clock_was_set_back(&mut self, turn: &mut Turn<'_>) {
        self.next = None;
        for hold in self.shards.iter_mut().filter_map(|shard| shard.hold.as_mut()) {
            hold.until = hold.until.min(turn.now.wall);
        }
        turn.tend();
    }
}
