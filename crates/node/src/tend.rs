//! Tending a job: from what is known of it, what is to be done next. Called whenever something was
//! learned; each call does what it can and leaves the rest until more is known.

use crate::alarms::Alarm;
use crate::differences::differences;
use crate::job::{JobIx, Shard, ShardKeys};
use crate::link::{Aim, Member};
use crate::machine::{Node, Turn};
use crate::{Phase, Report};
use bytes::Bytes;
use flockwork_core::account::{Hold, Reason};
use flockwork_core::config::JobConfig;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_core::schedule::Memo;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_layout::{document, record};
use flockwork_registry::{Answer, Key, Op};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// How often all that is believed about a job is read again, if it does not say itself.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(10);

fn reconcile_interval(config: Option<&JobConfig>) -> Duration {
    config.and_then(|config| config.reconcile_interval).unwrap_or(RECONCILE_INTERVAL)
}

impl Node {
    pub(crate) fn tend(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        if self.trust.session().is_none() {
            return;
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
        if self.was_taken_off(ix) {
            self.cancel_for_others(turn, ix);
            return self.leave(ix, "an operator took this instance off");
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

    /// Makes a new job's nodes, all or none; says whether that is under way.
    fn make_tree(&mut self, turn: &Turn<'_>, ix: JobIx) -> bool {
        let job = &mut self.jobs[ix.0 as usize];
        if job.under_way.tree {
            return true;
        }
        let is_new = job.view.config.is_absent() && job.phase == Phase::Joining;
        let lacks_own = job.view.own_tree.is_absent() && job.phase == Phase::Joining;
        if !is_new && !lacks_own {
            return false;
        }
        let old_plan = job.view.plan.known().map(|held| held.map(|held| held.stamp));
        let (Some(old_plan), Some(_)) = (old_plan, job.view.implementation.known()) else {
            return is_new;
        };
        let mut facets = Vec::new();
        let mut ops = Vec::new();
        if is_new {
            if job.view.implementation.is_absent() {
                let value = Bytes::from(job.offered.implementation.clone());
                facets.push((Facet::Job, value));
            }
            facets.push((Facet::Config, job.offered_document()));
            if let Some(stamp) = old_plan {
                // A job of this name was removed: nothing was due while there was none.
                let schedule = job.offered.schedule_fingerprint();
                let plan = Plan::new(schedule.into(), job.offered.shards, turn.now.wall);
                let key = self.settings.namespace.key(&job.name, &Facet::Plan);
                ops.push(Op::Set(key, plan::encode(&plan), Some(stamp)));
            }
            let parents = [
                Facet::Instances,
                Facet::Servers,
                Facet::LeaderRoot,
                Facet::Election,
                Facet::ShardingFlags,
                Facet::Sharding,
                Facet::Triggers,
            ];
            facets.extend(parents.map(|facet| (facet, Bytes::new())));
        }
        if lacks_own {
            let own = [Facet::OwnJob, Facet::Records, Facet::Retries];
            facets.extend(own.map(|facet| (facet, Bytes::new())));
        }
        for (facet, value) in facets {
            ops.push(Op::create(self.key(ix, &facet), value));
        }
        self.job(ix).under_way.tree = true;
        self.link.gather(Member::new(Aim::Tree(ix), ops));
        true
    }

    /// Takes the registry's definition as the one that counts; says whether one counts.
    fn adopt(&mut self, turn: &mut Turn<'_>, ix: JobIx) -> bool {
        let job = self.job(ix);
        let Some(read) = job.view.config.value().cloned() else {
            return job.config.is_some() && job.phase == Phase::Serving;
        };
        job.was_found = true;
        if job.config.is_some() && job.config_read == read {
            return job.phase != Phase::Refused;
        }
        // What it means is not known without the other; what it meant before counts no more.
        let Some(implementation) = job.view.implementation.value().cloned() else { return false };
        if !implementation.is_empty() && implementation != job.offered.implementation {
            let text = format!(
                "the registry has it as {implementation:?}, this node as {:?}; give one of them \
                 another name",
                job.offered.implementation
            );
            return self.refuse(turn, ix, read, "IMPLEMENTATION_CONFLICT", text);
        }
        if job.offered_document() == read {
            let offered = job.offered.clone();
            return self.adopt_decoded(turn, ix, read, offered);
        }
        let reading = document::Reading {
            name: &job.name,
            implementation: &implementation,
            default_zone: None,
            now: turn.now.wall,
        };
        let checked = document::decode(&read, reading);
        if let Some(decoded) = checked.config {
            return self.adopt_decoded(turn, ix, read, Arc::new(decoded));
        }
        let errors = || checked.problems.iter().filter(|problem| problem.is_error());
        let text: Vec<String> = errors().map(ToString::to_string).collect();
        let code = errors().next().map_or("INVALID_CONFIG", |problem| problem.code.as_str());
        self.refuse(turn, ix, read, code, text.join("; "))
    }

    fn adopt_decoded(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        read: Bytes,
        decoded: Arc<JobConfig>,
    ) -> bool {
        let job = self.job(ix);
        let is_own = Arc::ptr_eq(&decoded, &job.offered);
        let differences = if is_own { Vec::new() } else { differences(&decoded, &job.offered) };
        if job.under_way.config {
            return false;
        }
        if !differences.is_empty() && job.applies {
            let stamp = job.view.config.held().map(|held| held.stamp);
            let document = job.offered_document();
            job.under_way.config = true;
            let key = self.key(ix, &Facet::Config);
            self.link.gather(Member::new(Aim::Config(ix), vec![Op::Set(key, document, stamp)]));
            return false;
        }
        let is_first = job.config.is_none();
        (job.config_read, job.document) = (read, None);
        let schedule = decoded.schedule_fingerprint();
        if *job.schedule != *schedule {
            job.schedule = schedule.into();
        }
        job.view.plan.revise(|plan| plan.sharing(&job.schedule));
        (job.next, job.memo) = (None, Memo::default());
        let shards = decoded.shards;
        job.config = Some(decoded);
        if job.phase == Phase::Refused {
            job.phase = Phase::Joining;
        }
        let known = u32::try_from(job.shards.len()).expect("shards are counted in 32 bits");
        let name = job.name.clone();
        for shard in known..shards {
            self.job(ix).shards.push(Shard::default());
            self.follow(ix, Facet::Owner(shard));
            self.follow(ix, Facet::Disabled(shard));
        }
        let applied = std::mem::take(&mut self.job(ix).is_applied);
        if is_first || applied {
            turn.report(Report::Serving { job: name, differences, applied });
        }
        self.untended.insert(ix);
        true
    }

    /// The registry's definition cannot be served. It is looked at again when it changes.
    fn refuse(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        read: Bytes,
        code: &'static str,
        text: String,
    ) -> bool {
        let job = self.job(ix);
        if job.phase != Phase::Refused || job.config_read != read {
            let name = job.name.clone();
            turn.report(Report::Refused { job: name, code, text });
        }
        let job = self.job(ix);
        job.phase = Phase::Refused;
        job.config_read = read;
        job.next = None;
        self.deregister(turn, ix);
        false
    }

    /// Whether others see this instance serve a job, and will go on to. Whoever is not registered
    /// under this session looks dead to them.
    pub(crate) fn is_registered(&mut self, ix: JobIx) -> bool {
        let session = self.trust.session();
        let job = self.job(ix);
        job.registered == session && !job.under_way.leave
    }

    /// Others must not count on an instance that runs nothing of a job. While it still does they must
    /// not take it for gone, or they would run again what runs here.
    pub(crate) fn deregister(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        if self.is_busy_with(ix) {
            return self.wait_to_leave(turn, ix);
        }
        let job = self.job(ix);
        if job.registered.is_none() || job.under_way.leave {
            return;
        }
        job.under_way.leave = true;
        let me = self.settings.instance.clone();
        let leads = self.job(ix).view.leader.last_seen() == Some(&me);
        let mut ops = vec![Op::Delete(self.key(ix, &Facet::Instance(me)), None)];
        if leads {
            ops.push(Op::Delete(self.key(ix, &Facet::Leader), None));
        }
        ops.extend(self.without_mark(ix));
        ops.extend(self.without_clock_note(ix));
        self.link.gather(Member::new(Aim::Leave(ix), ops));
    }

    /// Makes this instance known as one that serves the job. Whoever finds nobody else there also
    /// notes since when there is someone again.
    fn register(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        let me = self.settings.instance.clone();
        let job = self.job(ix);
        let server = job.view.servers.get(me.server()).and_then(|server| server.known());
        let (Some(instances), Some(server), Some(plan), Some(config)) =
            (job.view.instances.value(), server, job.view.plan.known(), job.config.clone())
        else {
            return;
        };
        // Whoever is about to be taken off is put on again once that is done.
        if job.under_way.register || job.under_way.leave || job.phase == Phase::Refused {
            return;
        }
        if instances.contains(&me) {
            // Ours, if the answer to a registration was lost; else the old session's, with which it
            // goes.
            job.under_way.register = true;
            return self.look(ix, Facet::Instance(me));
        }
        let is_first = instances.is_empty();
        let plan = plan.map(|held| (held.value.clone(), held.stamp));
        let lacks_server = server.is_none();
        job.under_way.register = true;
        let document = format!("jobInstanceId: {me}\nserverIp: {}\n", me.server());
        let mut ops =
            vec![Op::create_for_session(self.key(ix, &Facet::Instance(me.clone())), document)];
        let server = self.key(ix, &Facet::Server(me.server().to_owned()));
        // Who is registered where no server is would be dealt nothing: it may have gone with the job,
        // which is there again.
        ops.push(match (lacks_server, config.disabled) {
            (true, true) => Op::create(server, "DISABLED"),
            (true, false) => Op::create(server, "ENABLED"),
            (false, _) => Op::Check(server, None),
        });
        if is_first {
            ops.push(self.begin_life(turn, ix, plan));
        }
        self.link.gather(Member::new(Aim::Register(ix), ops));
    }

    /// Notes in the plan that from now on someone lives.
    fn begin_life(
        &mut self,
        turn: &Turn<'_>,
        ix: JobIx,
        plan: Option<(Plan, flockwork_registry::Stamp)>,
    ) -> Op {
        let key = self.key(ix, &Facet::Plan);
        let job = self.job(ix);
        let shards = job.config.as_ref().map_or(1, |config| config.shards);
        match plan {
            None => Op::create(
                key,
                plan::encode(&Plan::new(job.schedule.clone(), shards, turn.now.wall)),
            ),
            Some((plan, stamp)) => {
                let alive = turn.now.wall.max(plan.alive);
                Op::Set(key, plan::encode(&Plan { alive, ..plan }), Some(stamp))
            }
        }
    }

    /// This instance is registered under the present session.
    pub(crate) fn registered(&mut self, turn: &mut Turn<'_>, ix: JobIx) {
        let session = self.trust.session();
        let job = self.job(ix);
        job.under_way.register = false;
        job.registered = session;
        if job.phase == Phase::Left {
            // The answer came after it was left: what it tells of goes, too.
            (job.phase, job.leaving) = (Phase::Leaving, Some("it was left before"));
            self.untended.insert(ix);
            return;
        }
        if job.phase == Phase::Refused {
            // That it deregistered was lost, and did not happen.
            return self.deregister(turn, ix);
        }
        job.phase = Phase::Serving;
        if !std::mem::replace(&mut job.is_reconciled, true) {
            let first = self.first_reconcile(ix);
            self.alarms.add(turn.now.mono.plus(first), Alarm::Reconcile(ix));
        }
        let me = self.settings.instance.clone();
        for facet in [Facet::Instances, Facet::Plan, Facet::Server(me.server().to_owned())] {
            self.look(ix, facet);
        }
        // Attempts released for this instance waited for this.
        for shard in 0..self.job(ix).count() {
            let shard = ShardIndex::try_from(shard).expect("shards are counted in 32 bits");
            self.consider(turn, ix, shard);
        }
    }

    /// This instance's own node was read.
    pub(crate) fn own_node_read(&mut self, turn: &mut Turn<'_>, ix: JobIx, answer: &Answer) {
        let session = self.trust.session();
        self.job(ix).under_way.register = false;
        match answer {
            Answer::Entry(Some(entry)) if session.is_some() && entry.session == session => {
                self.registered(turn, ix);
            }
            _ => {
                self.look(ix, Facet::Instances);
                self.alarms.add(turn.now.mono.plus(Duration::from_millis(500)), Alarm::Tend(ix));
            }
        }
        self.untended.insert(ix);
    }

    /// Whether this instance's own node is gone though its session lives.
    pub(crate) fn was_taken_off(&mut self, ix: JobIx) -> bool {
        let me = self.settings.instance.clone();
        self.job(ix).view.instances.value().is_some_and(|live| !live.contains(&me))
    }

    /// When a job is first read again: jobs that were joined together are not read together, or claims
    /// would queue behind the reads of thousands.
    fn first_reconcile(&mut self, ix: JobIx) -> Duration {
        let job = &self.jobs[ix.0 as usize];
        let mut hasher = DefaultHasher::new();
        (job.name.as_str(), &self.me).hash(&mut hasher);
        let interval = reconcile_interval(job.config.as_deref());
        let half = interval / 2;
        half + half.mul_f64((hasher.finish() % 1_000) as f64 / 1_000.0)
    }

    /// Reads everything again: with all watches lost, a node still comes to know.
    pub(crate) fn reconcile(&mut self, turn: &Turn<'_>, ix: JobIx) {
        let interval = reconcile_interval(self.job(ix).config.as_deref());
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
        let Some(from) = job.plan_in_force().map(|plan| plan.from(0)) else { return };
        let Some(config) = &job.config else { return };
        // From the fire that is due now: what comes after it is asked again when it is settled.
        let mut next = job.memo.search(&config.schedule, job.next.unwrap_or(now), from);
        if next.is_some_and(|next| next <= now) {
            next = job.memo.search(&config.schedule, now, from);
        }
        job.next = next;
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
