//! One job on this node: its duties, and the order in which they have their turn.
//!
//! Each duty owns its state, is given what it may touch, receives the verdicts on its own changes, and calls
//! no other duty. What a duty learns that matters to another duty comes back to this file as a value, or as a
//! mark on the job or a shard. [`Job::reconcile`] and [`Job::settle`] write the order down.

mod answers;
mod clock_note;
mod definition;
mod differences;
mod events;
mod handover;
mod ineligible;
mod leadership;
mod leave;
mod listener;
mod looking;
mod membership;
mod once;
mod pace;
mod reading;
mod timer;
mod trigger;

use crate::Report;
use crate::facts::{Facts, Gate};
use crate::mirror::Mirror;
use crate::names::JobIx;
use crate::outbox::Purpose;
use crate::phase::Phase;
use crate::shard::{Begins, Shard};
use crate::status::{ClockStatus, JobStatus};
use crate::turn::Turn;
use clock_note::{Agreement, ClockNote};
use definition::{Adopted, Adoption, Definition};
use flockwork_core::account::Reason;
use flockwork_core::config::JobConfig;
use flockwork_core::execution::RunId;
use flockwork_core::id::{JobName, ShardIndex};
use flockwork_core::time::Timestamp;
use flockwork_layout::keys::Facet;
use flockwork_layout::trigger::Served;
use handover::Handover;
use ineligible::IneligibleNote;
use leadership::Leadership;
use listener::{By, Listener};
use membership::{Membership, Registered};
use once::{Once, gate_of};
use pace::Pace;
use reading::Reading;
use std::sync::Arc;
use std::time::Duration;
use timer::Timer;
use trigger::Trigger;

/// One job on this node.
#[derive(Debug)]
pub(crate) struct Job {
    mirror: Mirror,
    reading: Reading,
    definition: Definition,
    membership: Membership,
    handover: Handover,
    clock_note: ClockNote,
    ineligible_note: IneligibleNote,
    leadership: Leadership,
    once: Once,
    listener: Listener,
    trigger: Trigger,
    timer: Timer,
    pace: Pace,
    shards: Vec<Shard>,
}

impl Job {
    /// Creates a job of which nothing was read. `applies` says whether the definition replaces the
    /// registry's.
    pub(crate) fn new(offered: Arc<JobConfig>, applies: bool) -> Self {
        Self {
            mirror: Mirror::default(),
            reading: Reading::default(),
            definition: Definition::new(offered, applies),
            membership: Membership::new(),
            handover: Handover::default(),
            clock_note: ClockNote::default(),
            ineligible_note: IneligibleNote::default(),
            leadership: Leadership::default(),
            once: Once::default(),
            listener: Listener::default(),
            trigger: Trigger::default(),
            timer: Timer::default(),
            pace: Pace::default(),
            shards: Vec::new(),
        }
    }

    pub(crate) fn status(&self, name: &JobName) -> JobStatus {
        let instances = self.mirror.instances().last_seen();
        let limit = self.definition.max_time_difference();
        let clock = limit.zip(self.clock_note.differs());
        let shards = self.shards.iter().take(self.definition.shards() as usize);
        JobStatus {
            name: name.clone(),
            phase: self.membership.phase(),
            schedule: self.mirror.schedule().to_string(),
            next: self.timer.next(),
            instances: instances.map_or_else(Vec::new, |all| all.iter().cloned().collect()),
            leader: self.mirror.leader().last_seen().cloned(),
            shards: shards.map(|shard| shard.status(&self.mirror)).collect(),
            clock: clock.map(|(limit, ahead)| ClockStatus { limit, ahead }),
        }
    }

    /// Who serves it, if this node does and knows.
    pub(crate) fn served(&self) -> Option<Served> {
        let instances = self.mirror.instances().value()?;
        let is_enabled = !self.mirror.eligible()?.is_empty();
        let is_served = self.membership.phase() == Phase::Serving;
        is_served.then(|| Served { instances: instances.iter().cloned().collect(), is_enabled })
    }

    /// Returns each shard's run and, if the shard waits for a free place, since which due instant; and the
    /// call of the listener, which is no shard's.
    pub(crate) fn places(
        &self,
    ) -> impl Iterator<Item = (Option<ShardIndex>, Option<RunId>, Option<Timestamp>)> {
        let shards = (0..).zip(&self.shards);
        shards
            .map(|(at, shard)| (Some(at), shard.run_id(), shard.waits_since()))
            .chain(std::iter::once((None, self.listener.run_id(), None)))
    }

    /// Tells of each change whose answer the job waits for.
    pub(crate) fn awaited(&self, ix: JobIx, tell: &mut impl FnMut(Purpose)) {
        let of_duties = self
            .definition
            .awaited()
            .chain(self.membership.awaited())
            .chain(self.leadership.awaited())
            .chain(self.once.awaited())
            .chain(self.trigger.awaited())
            .chain(self.handover.awaited())
            .chain(self.clock_note.awaited())
            .chain(self.ineligible_note.awaited());
        of_duties.for_each(|what| tell(Purpose::Job(ix, what)));
        for (at, shard) in (0..).zip(&self.shards) {
            if let Some(what) = shard.awaited() {
                tell(Purpose::Shard(ix, at, what));
            }
        }
    }

    /// Returns a shard whose claim stands, and whose run has neither begun nor waits for its instant.
    pub(crate) fn unsettled(&self) -> Option<ShardIndex> {
        (0..).zip(&self.shards).find_map(|(at, shard)| shard.is_unsettled().then_some(at))
    }

    /// Returns whether a claim made ahead waits for its instant.
    pub(crate) fn waits_for_an_instant(&self) -> bool {
        self.shards.iter().any(Shard::is_ahead)
    }

    /// Returns whether each shard has its keys in the mirror, and no more shards count than there are.
    pub(crate) fn is_whole(&self) -> bool {
        self.mirror.shards() == self.shards.len()
            && self.definition.shards() as usize <= self.shards.len()
    }

    /// Returns whether nothing of this instance is left on the job.
    pub(crate) fn has_left(&self) -> bool {
        self.membership.has_left()
    }

    /// Returns whether the code of a shard's run was started.
    pub(crate) fn has_started(&self, shard: Option<ShardIndex>) -> bool {
        let Some(shard) = shard else { return true };
        self.shards.get(shard as usize).is_some_and(Shard::has_started)
    }

    /// Returns whether the run of a shard must stop once the session may be lost.
    pub(crate) fn must_stop_without_session(&self, shard: Option<ShardIndex>) -> bool {
        // The next leader calls the listener again.
        let Some(shard) = shard else { return true };
        self.shards.get(shard as usize).is_some_and(Shard::must_stop_without_session)
    }

    /// Does what is to be done next, from what is known. It is called whenever something was learned; each
    /// call does what it can and leaves the rest until more is known.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>) {
        if turn.session().is_none() {
            return;
        }
        self.reading.resync_from_time_to_time(turn, self.definition.resync_interval());
        self.reconcile_handover(turn);
        self.reconcile_ineligible_note(turn);
        if self.mirror.watch_shards(turn) {
            turn.mark_job_in(Duration::ZERO);
        }
        if self.membership.is_to_leave() {
            return self.reconcile_leaving(turn);
        }
        match self.membership.phase() {
            Phase::Left | Phase::Leaving => {}
            Phase::Removed if self.mirror.config().held().is_some() => {
                self.membership.is_defined_again();
                self.join(turn);
            }
            Phase::Removed => {}
            // Only an instance that offers a removed job anew may bring it back.
            Phase::Joining | Phase::Refused if self.definition.is_gone(&self.mirror) => {
                self.gone(turn);
            }
            Phase::Joining | Phase::Refused => self.join(turn),
            Phase::Serving if self.pace.may_look(turn, self.shards.len()) => self.serve(turn),
            Phase::Serving => return self.go_on_dealing(turn),
        }
        self.leads_only_if_it_serves(turn);
        self.settle(turn);
        self.give_back_stale(turn);
    }

    /// Gives a leadership up that was won after this instance had left the job, or was refused: the election was
    /// under way then. Nobody else would lead as long as the session lives.
    fn leads_only_if_it_serves(&mut self, turn: &mut Turn<'_>) {
        let is_out =
            matches!(self.membership.phase(), Phase::Refused | Phase::Left | Phase::Leaving);
        if is_out && !self.listener.is_busy() {
            self.leadership.give_up(turn, &self.mirror);
        }
    }

    /// Says why this instance may not serve the job, or no longer says so.
    fn reconcile_ineligible_note(&mut self, turn: &mut Turn<'_>) {
        let is_refused =
            self.membership.phase() == Phase::Refused && !self.membership.is_to_leave();
        let why = self.definition.refusal().filter(|_| is_refused);
        self.ineligible_note.reconcile(turn, why);
    }

    fn join(&mut self, turn: &mut Turn<'_>) {
        let is_joining = self.membership.phase() == Phase::Joining;
        if self.definition.make_tree(turn, &self.mirror, is_joining) {
            return;
        }
        match self.adopt(turn) {
            true => self.register(turn),
            false if self.membership.phase() == Phase::Refused => self.deregister(turn),
            false => {}
        }
    }

    fn serve(&mut self, turn: &mut Turn<'_>) {
        if self.mirror.config().is_absent() {
            return self.gone(turn);
        }
        if !self.adopt(turn) {
            return;
        }
        if !self.membership.is_registered(turn.session()) {
            return self.register(turn);
        }
        if self.membership.is_unlisted() {
            return self.taken_off(turn);
        }
        let Some(config) = self.definition.config().cloned() else { return };
        self.clock_agrees(turn);
        self.clock_note.reconcile(turn, config.max_time_difference);
        // A call that goes on, or is to be told of, ends before a server that is switched off leads no more.
        let is_off = self.mirror.is_enabled(turn.instance()) == Some(false);
        if is_off && self.listener.is_busy() {
            self.finish_listener(turn);
        } else {
            self.leadership.reconcile(turn, &mut self.mirror, &config);
        }
        self.mirror.watch_servers(turn);
        self.note_server_status(turn);
        if !is_off && (config.listener.is_some() || self.listener.leads()) {
            self.call_listener(turn, &config);
        }
        if config.listener.is_some() {
            self.mirror.watch_once(turn);
            self.trigger.note(turn, &self.mirror, &mut self.once, &config);
        } else if self.clock_note.differs().is_none() {
            self.trigger.reconcile(turn, &self.mirror, &config, &mut self.shards);
        }
        self.set_timer(turn);
        self.mark_all_shards(turn);
    }

    /// Deals what is left of an assignment. That takes no look at the job as a whole.
    fn go_on_dealing(&mut self, turn: &mut Turn<'_>) {
        if let Some(config) = self.definition.config()
            && self.leadership.has_rest()
        {
            self.leadership.reconcile(turn, &mut self.mirror, config);
        }
    }

    /// Looks at each shard that was marked, in the order of the marks.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>) {
        while let Some(shard) = turn.dirty.next_shard() {
            self.settle_shard(turn, shard);
        }
    }

    fn settle_shard(&mut self, turn: &mut Turn<'_>, index: ShardIndex) {
        let Some(shard) = self.shards.get(index as usize) else { return };
        match shard.begins(turn, || self.facts(turn), &self.mirror) {
            Begins::NoClaim => self.consider(turn, index),
            begins => {
                // The claim's own answer may have told that the clocks differ; the definition may by now be
                // one that cannot be served.
                let is_allowed = begins == Begins::IfAllowed
                    && self.membership.may_run(turn)
                    && self.clock_agrees(turn);
                self.at(turn, index, |shard, turn, facts, mirror| {
                    shard.begin(turn, facts, mirror, is_allowed);
                });
            }
        }
    }

    fn consider(&mut self, turn: &mut Turn<'_>, index: ShardIndex) {
        // A shard that the definition no longer has ends its run and does nothing else.
        let is_counted = index < self.definition.shards();
        if !is_counted || !self.membership.may_run(turn) {
            return;
        }
        if self.shards[index as usize].is_busy() || !self.clock_agrees(turn) {
            return;
        }
        self.at(turn, index, |shard, turn, facts, mirror| shard.consider(turn, facts, mirror));
        if self.shards[index as usize].goes_back() {
            self.clock_note.was_ahead(turn, index);
        }
    }

    /// Claims the next fire of each shard, if `at` is the instant for that.
    fn claim_ahead(&mut self, turn: &mut Turn<'_>, at: Timestamp, due: Timestamp) {
        let ahead = self.definition.config().map(|config| due.minus(config.claim_ahead));
        if ahead != Some(at) {
            return;
        }
        for index in 0..self.definition.shards() {
            if !self.membership.may_run(turn) {
                return;
            }
            let shard = &self.shards[index as usize];
            let may = shard.may_be_claimed_ahead(turn, &self.facts(turn), &self.mirror);
            if may && self.clock_agrees(turn) {
                self.at(turn, index, |shard, turn, facts, mirror| {
                    shard.consider_ahead(turn, facts, mirror, due);
                });
            }
        }
    }

    /// Gives back the claims made ahead that are stale.
    fn give_back_stale(&mut self, turn: &mut Turn<'_>) {
        if !turn.alarms.has_starts() {
            return;
        }
        for index in 0..self.shards.len() {
            let shard = ShardIndex::try_from(index).expect("shards are counted in 32 bits");
            self.at(turn, shard, |shard, turn, facts, mirror| {
                shard.give_back_stale(turn, facts, mirror);
            });
        }
    }

    /// Gives a shard its turn, if the shard exists.
    fn at(
        &mut self,
        turn: &mut Turn<'_>,
        shard: ShardIndex,
        act: impl FnOnce(&mut Shard, &mut Turn<'_>, &Facts<'_>, &mut Mirror),
    ) {
        let Self { mirror, definition, membership, listener, timer, shards, .. } = self;
        let gate = gate(turn, definition.config(), listener, mirror);
        let facts = Facts { gate, ..facts(turn, definition, membership, timer) };
        if let Some(shard) = shards.get_mut(shard as usize) {
            act(shard, turn, &facts, mirror);
        }
    }

    fn facts(&self, turn: &Turn<'_>) -> Facts<'_> {
        let gate = gate(turn, self.definition.config(), &self.listener, &self.mirror);
        Facts { gate, ..facts(turn, &self.definition, &self.membership, &self.timer) }
    }

    fn call_listener(&mut self, turn: &mut Turn<'_>, config: &JobConfig) {
        let clock_agrees = self.clock_agrees(turn);
        let Self { mirror, once, listener, timer, .. } = self;
        let memo = timer.memo();
        listener.reconcile(turn, &mut By { mirror, once, config, memo, clock_agrees });
    }

    fn mark_all_shards(&self, turn: &mut Turn<'_>) {
        for shard in 0..self.definition.shards() {
            turn.mark_shard(shard);
        }
    }

    fn set_timer(&mut self, turn: &mut Turn<'_>) {
        let Some(config) = self.definition.config() else { return };
        if let Some(plan) = self.mirror.plan_in_force(config.shards) {
            self.timer.set(turn, plan, config);
        }
    }

    /// Returns whether this node's clock is, as far as is known, near enough to the registry's for the job.
    fn clock_agrees(&mut self, turn: &mut Turn<'_>) -> bool {
        let limit = self.definition.max_time_difference();
        match self.clock_note.compare(turn, limit) {
            Agreement::Agree => true,
            Agreement::Differ => false,
            Agreement::AgreeAgain => {
                for shard in self.shards.iter_mut().filter(|shard| shard.run_id().is_none()) {
                    shard.held_up(turn.now.wall, Reason::ClockDiffers);
                }
                true
            }
        }
    }

    /// Notes that this server was switched on again: fires that came due while it was off are not made up
    /// for.
    fn note_server_status(&mut self, turn: &Turn<'_>) {
        if self.membership.is_switched_on(&self.mirror, turn.instance()) {
            for shard in &mut self.shards {
                shard.held_up(turn.now.wall, Reason::Disabled);
            }
            self.listener.held_up(turn.now.wall, Reason::Disabled);
        }
    }

    /// Takes the registry's definition as the one that counts. Returns whether a definition counts.
    fn adopt(&mut self, turn: &mut Turn<'_>) -> bool {
        let phase = self.membership.phase();
        let stands = (phase == Phase::Serving, phase == Phase::Refused);
        match self.definition.adopt(turn, &self.mirror, stands) {
            Adoption::None { counts } => counts,
            Adoption::Counts(adopted) => {
                self.adopted(turn, adopted);
                true
            }
            Adoption::Refused { is_new, code, text } => {
                if is_new {
                    turn.report(Report::Refused { job: turn.name.clone(), code, text });
                    // This instance is to say why.
                    turn.mark_job();
                }
                self.membership.refuse();
                self.timer.stop();
                self.deregister(turn);
                false
            }
        }
    }

    fn adopted(&mut self, turn: &mut Turn<'_>, adopted: Adopted) {
        let Some(config) = self.definition.config() else { return };
        self.mirror.adopt(turn, config.schedule_fingerprint(), config.shards);
        self.timer.reset();
        self.membership.can_be_served();
        let known = u32::try_from(self.shards.len()).expect("shards are counted in 32 bits");
        self.shards.extend((known..config.shards).map(Shard::new));
        if adopted.is_told {
            let Adopted { differences, applied, .. } = adopted;
            turn.report(Report::Serving { job: turn.name.clone(), differences, applied });
        }
        turn.mark_job();
    }

    fn register(&mut self, turn: &mut Turn<'_>) {
        let config = self.definition.config().map(|config| &**config);
        self.membership.register(turn, &mut self.mirror, config);
    }

    fn registered(&mut self, turn: &mut Turn<'_>, stands: Option<Registered>) {
        match stands {
            None | Some(Registered::Goes) => {}
            Some(Registered::Refused) => self.deregister(turn),
            Some(Registered::Serves) => {
                let server = Facet::Server(turn.instance().server().to_owned());
                for facet in [Facet::Instances, Facet::Plan, server] {
                    self.mirror.read(turn, facet);
                }
                // Attempts that were released for this instance waited for its registration.
                self.mark_all_shards(turn);
            }
        }
    }

    /// Returns whether this node runs something of the job.
    fn is_busy(&self) -> bool {
        self.listener.is_busy() || self.shards.iter().any(|shard| shard.run_id().is_some())
    }
}

fn facts<'a>(
    turn: &Turn<'_>,
    definition: &'a Definition,
    membership: &Membership,
    timer: &Timer,
) -> Facts<'a> {
    Facts {
        config: definition.config(),
        is_served: membership.serves(),
        goes: membership.goes(),
        is_registered: membership.was_registered(turn.session()),
        next: timer.next(),
        memo: timer.memo(),
        gate: Gate::None,
    }
}

/// Returns which due fires the shards may run. What this instance opens as leader is not known to others yet.
fn gate(
    turn: &Turn<'_>,
    config: Option<&Arc<JobConfig>>,
    listener: &Listener,
    mirror: &Mirror,
) -> Gate {
    match config.and_then(|config| config.listener) {
        None => Gate::None,
        Some(rules) => listener.opens(rules, turn.session()).unwrap_or_else(|| gate_of(mirror)),
    }
}
