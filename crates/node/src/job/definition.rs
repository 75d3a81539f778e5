//! The tree and the definition of a job: made where there are none, adopted or refused where there are.

use super::differences::differences;
use super::looking::Looking;
use crate::alarms::Alarm;
use crate::history::{Absence, GATHERED_FOR, History};
use crate::mirror::Mirror;
use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_core::config::JobConfig;
use flockwork_core::eligibility::{Eligibility, Hindrance, Offer, may_serve};
use flockwork_core::execution::Work;
use flockwork_core::time::Mono;
use flockwork_layout::document;
use flockwork_layout::ineligible::{self, Reason};
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Index, Op, Stamp};
use std::sync::Arc;
use std::time::Duration;

/// How often all that is believed about a job is read again, if the job does not say.
const RESYNC_INTERVAL: Duration = Duration::from_mins(10);

/// The definitions of one job: the one that this node came with, and the one that counts.
#[derive(Debug)]
pub(crate) struct Definition {
    offered: Arc<JobConfig>,
    /// The offered definition as a document, from its making until a definition counts.
    document: Option<Bytes>,
    /// Whether the offered definition replaces the registry's.
    applies: bool,
    /// Whether the offered definition has replaced the registry's.
    is_applied: bool,
    /// Whether a definition was found in the registry since the job was given to this node.
    was_found: bool,
    /// The definition that counts.
    config: Option<Arc<JobConfig>>,
    /// The registry's definition that was last adopted or refused, as it stands there.
    adopted: Bytes,
    /// Why that definition was refused, if it was. It is read anew each time, as the reason may lie in another
    /// key or outside of the registry.
    refusal: Option<Vec<Reason>>,
    /// What is known of the script that the definition names.
    looking: Looking,
    /// The commit that made the definition that was last read.
    made_at: Option<Index>,
    /// The registry's history in which the definition was last read.
    read_in: u32,
    /// The read of the namespace's root that tells why the definition is gone, if it is.
    told_by: Option<u64>,
    /// Whether the definition went with what the registry lost, and is not there again.
    is_lost: bool,
    /// Whether the job's tree is being made.
    is_making: bool,
    /// Whether the definition is being written.
    is_writing: bool,
}

/// The result of adopting the registry's definition.
#[derive(Debug)]
pub(crate) enum Adoption {
    /// The registry's definition is not new: a definition counts already, or none does yet.
    None { counts: bool },
    /// Another definition counts from here on.
    Counts(Adopted),
    /// The definition cannot be served.
    Refused { is_new: bool, code: &'static str, text: String },
}

/// A definition that counts from here on.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// Whether people are to be told of the definition.
    pub(crate) is_told: bool,
    /// The differences from this node's own definition, for people.
    pub(crate) differences: Vec<String>,
    /// Whether the definition is this node's own, and has replaced another.
    pub(crate) applied: bool,
}

/// The result of reading a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The definition is of the job that was known, or there is none.
    Same,
    /// The job's definition was read for the first time.
    First,
    /// The definition was made anew: the job was removed meanwhile, even if that was never seen.
    MadeAnew,
}

impl Definition {
    pub(crate) fn new(offered: Arc<JobConfig>, applies: bool) -> Self {
        Self {
            offered,
            document: None,
            applies,
            is_applied: false,
            was_found: false,
            config: None,
            adopted: Bytes::new(),
            refusal: None,
            looking: Looking::default(),
            made_at: None,
            read_in: 0,
            told_by: None,
            is_lost: false,
            is_making: false,
            is_writing: false,
        }
    }

    /// Takes a definition that is offered once more, perhaps changed, to compare it with the registry's once
    /// more.
    pub(crate) fn offer(&mut self, offered: Arc<JobConfig>, applies: bool) {
        (self.offered, self.document, self.applies) = (offered, None, applies);
        (self.adopted, self.was_found) = (Bytes::new(), false);
    }

    /// Returns the changes whose answers the definition waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        let tree = self.is_making.then_some(JobChange::Tree);
        tree.into_iter().chain(self.is_writing.then_some(JobChange::Config))
    }

    /// Returns the definition that counts, if there is one.
    pub(crate) fn config(&self) -> Option<&Arc<JobConfig>> {
        self.config.as_ref()
    }

    /// Returns the number of shards that count now.
    pub(crate) fn shards(&self) -> u32 {
        self.config.as_ref().map_or(0, |config| config.shards)
    }

    /// Returns by how much a clock may differ.
    pub(crate) fn max_time_difference(&self) -> Option<Duration> {
        self.config.as_ref()?.max_time_difference
    }

    /// Returns how often all that is believed about the job is read again.
    pub(crate) fn resync_interval(&self) -> Duration {
        let config = self.config.as_ref().unwrap_or(&self.offered);
        config.reconcile_interval.unwrap_or(RESYNC_INTERVAL)
    }

    /// Returns whether the definition was in the registry, and is not any more.
    pub(crate) fn is_gone(&self, mirror: &Mirror) -> bool {
        self.was_found && mirror.config().is_absent()
    }

    /// Says why the definition is not there, though it was.
    pub(crate) fn absence(&mut self, history: &mut History) -> Absence {
        let told_by = *self.told_by.get_or_insert_with(|| history.want());
        history.absence(self.read_in, told_by)
    }

    /// Returns whether the registry has lost what it knew since the definition was read.
    pub(crate) fn is_outlived(&self, history: &History) -> bool {
        self.read_in != history.number()
    }

    /// Makes a new job's tree, as a whole or not at all. Returns whether that is under way. Only a node that
    /// offers a removed job anew may bring it back: `is_joining` says whether this node may.
    pub(crate) fn make_tree(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        is_joining: bool,
    ) -> bool {
        if self.is_making {
            return true;
        }
        let is_new = mirror.config().is_absent() && is_joining;
        let lacks_own = mirror.own_tree().is_absent() && is_joining;
        if !is_new && !lacks_own {
            return false;
        }
        let old_plan = mirror.plan().known().map(|held| held.map(|held| held.stamp));
        let (Some(old_plan), Some(_)) = (old_plan, mirror.implementation().known()) else {
            return is_new;
        };
        let mut ops = Vec::new();
        self.is_lost &= is_new;
        if is_new {
            self.made_at = None;
            let is_anonymous = mirror.implementation().is_absent();
            ops.extend(self.tree(turn, is_anonymous, old_plan));
        }
        if lacks_own {
            ops.extend(folders(turn, true));
        }
        self.is_making = true;
        turn.send_for_job(JobChange::Tree, ops);
        true
    }

    /// Returns the operations that make a job in ElasticJob's tree.
    fn tree(&mut self, turn: &Turn<'_>, is_anonymous: bool, old_plan: Option<Stamp>) -> Vec<Op> {
        let mut ops = Vec::new();
        if let Some(stamp) = old_plan {
            // A job of this name was removed: nothing was due while there was no job.
            let schedule = self.offered.schedule_fingerprint();
            let plan = Plan::new(schedule.into(), self.offered.shards, turn.now.wall);
            ops.push(Op::Set(turn.key(&Facet::Plan), plan::encode(&plan), Some(stamp)));
        }
        if is_anonymous {
            let value = Bytes::from(self.offered.implementation.clone());
            ops.push(Op::create(turn.key(&Facet::Job), value));
        }
        ops.push(Op::create(turn.key(&Facet::Config), self.offered_document()));
        ops.extend(folders(turn, false));
        ops
    }

    /// Returns the definition that this node came with, as a document.
    fn offered_document(&mut self) -> Bytes {
        let offered = &self.offered;
        self.document.get_or_insert_with(|| document::encode(offered).into()).clone()
    }

    /// Handles a definition that was read.
    pub(crate) fn read(&mut self, mirror: &Mirror, history: &History) -> Found {
        let Some(made) = mirror.config().held().map(|held| held.stamp.created) else {
            return Found::Same;
        };
        (self.read_in, self.told_by) = (history.number(), None);
        match self.made_at.replace(made) {
            Some(before) if before == made => Found::Same,
            Some(_) => Found::MadeAnew,
            None => Found::First,
        }
    }

    /// Takes the registry's definition as the one that counts. `is_served` and `is_refused` say how the job
    /// stands by now.
    pub(crate) fn adopt(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        (is_served, is_refused): (bool, bool),
    ) -> Adoption {
        let Some(read) = mirror.config().value().cloned() else {
            return Adoption::None { counts: self.config.is_some() && is_served };
        };
        self.was_found = true;
        if self.counts_still(turn, &read) {
            return Adoption::None { counts: !is_refused };
        }
        // The meaning of the definition is not known without the implementation; its earlier meaning no
        // longer counts.
        let Some(implementation) = mirror.implementation().value() else {
            return Adoption::None { counts: false };
        };
        match self.decoded(turn, &read, implementation) {
            Ok(decoded) => self.adopt_decoded(turn, mirror, (read, is_refused), decoded),
            Err(why) => self.refuse(read, is_refused, vec![why]),
        }
    }

    /// Returns whether the definition that counts is the one that was read, and nothing that is known by now
    /// keeps this node from serving it on.
    fn counts_still(&mut self, turn: &Turn<'_>, read: &Bytes) -> bool {
        let Some(config) = self.config.as_ref().filter(|_| self.refusal.is_none()) else {
            return false;
        };
        self.adopted == *read && self.looking.allows(turn.now.mono, config)
    }

    /// Refuses a definition. `why` holds at least one reason, the first of which names the refusal.
    fn refuse(
        &mut self,
        read: Bytes,
        was_refused: bool,
        why: Vec<(&'static str, String)>,
    ) -> Adoption {
        let code = why.first().map_or("INVALID_CONFIG", |(code, _)| code);
        let text = why.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
        let reason = |(code, text): (&str, String)| Reason { code: code.to_owned(), text };
        let why: Vec<Reason> = why.into_iter().map(reason).collect();
        let is_same = self.adopted == read && self.refusal.as_ref() == Some(&why);
        (self.adopted, self.refusal) = (read, Some(why));
        Adoption::Refused { is_new: !was_refused || !is_same, code, text }
    }

    /// Returns what the registry's definition means, or why that cannot be known.
    fn decoded(
        &mut self,
        turn: &Turn<'_>,
        read: &Bytes,
        implementation: &str,
    ) -> Result<Arc<JobConfig>, (&'static str, String)> {
        if self.offered_document() == read {
            return Ok(self.offered.clone());
        }
        let reading = document::Reading {
            name: turn.name,
            implementation,
            default_zone: None,
            now: turn.now.wall,
        };
        let checked = document::decode(read, reading);
        if let Some(decoded) = checked.config {
            return Ok(Arc::new(decoded));
        }
        let errors = || checked.problems.iter().filter(|problem| problem.is_error());
        let text: Vec<String> = errors().map(ToString::to_string).collect();
        let code = errors().next().map_or("INVALID_CONFIG", |problem| problem.code.as_str());
        Err((code, text.join("; ")))
    }

    fn adopt_decoded(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &Mirror,
        (read, is_refused): (Bytes, bool),
        decoded: Arc<JobConfig>,
    ) -> Adoption {
        let is_own = Arc::ptr_eq(&decoded, &self.offered);
        let differences = if is_own { Vec::new() } else { differences(&decoded, &self.offered) };
        if self.is_writing {
            return Adoption::None { counts: false };
        }
        // A definition replaces that of its own job, and not another job's of the same name.
        let implementations = self.implementations(mirror);
        let is_own_job = implementations.is_none_or(|(registry, own)| registry == own);
        if !differences.is_empty() && self.applies && is_own_job {
            let stamp = mirror.config().held().map(|held| held.stamp);
            let op = Op::Set(turn.key(&Facet::Config), self.offered_document(), stamp);
            self.is_writing = true;
            turn.send_for_job(JobChange::Config, vec![op]);
            return Adoption::None { counts: false };
        }
        self.looking.look_at(turn, &decoded);
        match self.may_serve(turn.now.mono, mirror, &decoded) {
            Eligibility::MayNot(why) => {
                let why = why.iter().map(|why| (why.code(), why.to_string())).collect();
                return self.refuse(read, is_refused, why);
            }
            // The script is being looked at. What counts until that is known counts on.
            Eligibility::NotKnown => return Adoption::None { counts: false },
            Eligibility::May => {}
        }
        let is_first = self.config.is_none();
        let was_refused = self.refusal.take().is_some();
        (self.adopted, self.document, self.config) = (read, None, Some(decoded));
        let applied = std::mem::take(&mut self.is_applied);
        let is_told = is_first || was_refused || applied;
        Adoption::Counts(Adopted { is_told, differences, applied })
    }

    /// Returns the implementation strings of the registry's job and of the offered one. A job of the registry
    /// that names none fits any.
    fn implementations<'a>(&'a self, mirror: &'a Mirror) -> Option<(&'a str, &'a str)> {
        let registry = mirror.implementation().value().filter(|text| !text.is_empty())?;
        Some((registry.as_str(), self.offered.implementation.as_str()))
    }

    /// Returns whether this node may serve a definition, by all that it offers.
    fn may_serve(&mut self, now: Mono, mirror: &Mirror, definition: &JobConfig) -> Eligibility {
        let script = self.looking.startable(now).clone();
        let offer = Offer {
            implementations: self.implementations(mirror),
            has_function: matches!(*self.offered.work, Work::Function),
            has_listener: self.offered.listener.is_some(),
            script: &script,
        };
        may_serve(definition, &offer)
    }

    /// Handles what the edge found out about the script of a definition.
    pub(crate) fn looked(
        &mut self,
        turn: &mut Turn<'_>,
        definition: &JobConfig,
        found: Result<(), Hindrance>,
    ) {
        self.looking.found(turn, definition, found);
    }

    /// Looks whether what is known of the script has changed with time.
    pub(crate) fn look_has_waited(&mut self, turn: &mut Turn<'_>) {
        self.looking.has_waited(turn);
    }

    /// Has no script looked at any more, as the job is not served.
    pub(crate) fn looks_no_more(&mut self, turn: &mut Turn<'_>) {
        self.looking.stop(turn);
    }

    /// Returns the stored form of why the definition is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Bytes> {
        self.refusal.as_deref().map(ineligible::encode)
    }

    /// Handles the verdict on making the job's tree.
    pub(crate) fn tree_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        let based_on = [Facet::Config, Facet::Job, Facet::OwnJob, Facet::Plan];
        self.is_making = !mirror.is_over(turn, change, verdict, &based_on);
        if matches!(verdict, Verdict::Done(_)) {
            for facet in based_on {
                mirror.read(turn, facet);
            }
            if std::mem::take(&mut self.is_lost) && turn.history.made_anew(turn.name) {
                turn.alarm_in(GATHERED_FOR, Alarm::MadeAnew);
            }
        }
    }

    /// Handles the verdict on writing the definition.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) {
        self.is_writing = !mirror.is_over(turn, change, verdict, &[Facet::Config]);
        if matches!(verdict, Verdict::Done(_)) {
            (self.is_applied, self.applies) = (true, false);
            mirror.read(turn, Facet::Config);
        }
    }

    /// Notes that the job went with what the registry lost.
    pub(crate) fn lost(&mut self, mirror: &Mirror) {
        self.removed(mirror);
        self.is_lost = true;
    }

    /// Notes that the job is gone from the registry.
    pub(crate) fn removed(&mut self, mirror: &Mirror) {
        if mirror.config().is_absent() {
            self.made_at = None;
        }
        (self.config, self.was_found) = (None, false);
        (self.told_by, self.refusal) = (None, None);
        (self.is_making, self.is_writing) = (false, false);
    }
}

/// Returns the operations that make the folders of a job, in Flockwork's own tree or in ElasticJob's.
fn folders(turn: &Turn<'_>, own: bool) -> impl Iterator<Item = Op> {
    let folders = Facet::folders().filter(move |facet| facet.is_own() == own);
    folders.map(|facet| Op::create(turn.key(&facet), Bytes::new()))
}

#[cfg(test)]
mod tests;
