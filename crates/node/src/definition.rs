//! A job's nodes and its definition: made where there are none, adopted or refused where there are.

use crate::differences::differences;
use crate::job::{Job, Shard};
use crate::link::{Aim, Member};
use crate::turn::Turn;
use crate::{Phase, Report};
use bytes::Bytes;
use flockwork_core::config::JobConfig;
use flockwork_core::schedule::Memo;
use flockwork_layout::document;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::Op;
use std::sync::Arc;

impl Job {
    /// Makes a new job's nodes, all or none; says whether that is under way.
    pub(crate) fn make_tree(&mut self, turn: &mut Turn<'_>) -> bool {
        let job = &mut *self;
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
            job.defined_at = None;
            if job.view.implementation.is_absent() {
                let value = Bytes::from(job.offered.implementation.clone());
                facets.push((Facet::Job, value));
            }
            facets.push((Facet::Config, job.offered_document()));
            if let Some(stamp) = old_plan {
                // A job of this name was removed: nothing was due while there was none.
                let schedule = job.offered.schedule_fingerprint();
                let plan = Plan::new(schedule.into(), job.offered.shards, turn.now.wall);
                let key = turn.settings.namespace.key(&job.name, &Facet::Plan);
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
            ops.push(Op::create(self.key(turn, &facet), value));
        }
        self.under_way.tree = true;
        turn.link.gather(Member::new(Aim::Tree(turn.ix), ops));
        true
    }

    /// A definition was read. One that was made anew shows that the job was removed meanwhile, even
    /// if that was never seen. It came with nodes that nobody watches, and what was read of those may
    /// be older. (A read of them under way is not: it was asked after this one.)
    pub(crate) fn definition_read(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        let Some(made) = job.view.config.held().map(|held| held.stamp.created) else { return };
        let before = job.defined_at.replace(made);
        if before == Some(made) {
            return;
        }
        if before.is_some() {
            self.made_anew(turn);
        }
        if !self.view.implementation.is_being_read() {
            self.look(turn, Facet::Job);
        }
        if !self.view.own_tree.is_being_read() {
            self.look(turn, Facet::OwnJob);
        }
    }

    /// The job is another one now. Whoever left it because its node was gone from the old one may have
    /// seen a removal that began with that, and joins this one.
    fn made_anew(&mut self, turn: &mut Turn<'_>) {
        let job = &mut *self;
        if std::mem::take(&mut job.was_taken_off) {
            job.comes_back |= job.leaving.is_some();
            if job.phase == Phase::Left {
                job.phase = Phase::Joining;
            }
        }
        match job.phase {
            _ if job.leaving.is_some() => self.cancel_removed(turn),
            Phase::Joining | Phase::Serving | Phase::Refused => self.job_removed(turn),
            Phase::Leaving | Phase::Left | Phase::Removed => {}
        }
    }

    /// Takes the registry's definition as the one that counts; says whether one counts.
    pub(crate) fn adopt(&mut self, turn: &mut Turn<'_>) -> bool {
        let job = &mut *self;
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
            return self.refuse(turn, read, "IMPLEMENTATION_CONFLICT", text);
        }
        if job.offered_document() == read {
            let offered = job.offered.clone();
            return self.adopt_decoded(turn, read, offered);
        }
        let reading = document::Reading {
            name: &job.name,
            implementation: &implementation,
            default_zone: None,
            now: turn.now.wall,
        };
        let checked = document::decode(&read, reading);
        if let Some(decoded) = checked.config {
            return self.adopt_decoded(turn, read, Arc::new(decoded));
        }
        let errors = || checked.problems.iter().filter(|problem| problem.is_error());
        let text: Vec<String> = errors().map(ToString::to_string).collect();
        let code = errors().next().map_or("INVALID_CONFIG", |problem| problem.code.as_str());
        self.refuse(turn, read, code, text.join("; "))
    }

    fn adopt_decoded(&mut self, turn: &mut Turn<'_>, read: Bytes, decoded: Arc<JobConfig>) -> bool {
        let job = &mut *self;
        let is_own = Arc::ptr_eq(&decoded, &job.offered);
        let differences = if is_own { Vec::new() } else { differences(&decoded, &job.offered) };
        if job.under_way.config {
            return false;
        }
        if !differences.is_empty() && job.applies {
            let stamp = job.view.config.held().map(|held| held.stamp);
            let document = job.offered_document();
            job.under_way.config = true;
            let key = self.key(turn, &Facet::Config);
            turn.link
                .gather(Member::new(Aim::Config(turn.ix), vec![Op::Set(key, document, stamp)]));
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
            self.shards.push(Shard::default());
            self.follow(turn, Facet::Owner(shard));
            self.follow(turn, Facet::Disabled(shard));
        }
        let applied = std::mem::take(&mut self.is_applied);
        if is_first || applied {
            turn.report(Report::Serving { job: name, differences, applied });
        }
        turn.tend();
        true
    }

    /// The registry's definition cannot be served. It is looked at again when it changes.
    fn refuse(
        &mut self,
        turn: &mut Turn<'_>,
        read: Bytes,
        code: &'static str,
        text: String,
    ) -> bool {
        let job = &mut *self;
        if job.phase != Phase::Refused || job.config_read != read {
            let name = job.name.clone();
            turn.report(Report::Refused { job: name, code, text });
        }
        let job = &mut *self;
        job.phase = Phase::Refused;
        job.config_read = read;
        job.next = None;
        self.deregister(turn);
        false
    }
}
