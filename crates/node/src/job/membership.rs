//! The membership in a job: whether this instance serves the job, and whether other instances see that.

use crate::mirror::Mirror;
use crate::outbox::{Change, JobChange, Verdict};
use crate::phase::Phase;
use crate::turn::Turn;
use flockwork_core::config::JobConfig;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_layout::plan::{self, Plan};
use flockwork_registry::{Answer, Op, SessionId, Why};
use std::collections::BTreeSet;
use std::time::Duration;

/// How soon a registration that was not confirmed is looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// The membership of this instance in one job.
#[derive(Debug)]
pub(crate) struct Membership {
    phase: Phase,
    /// The session under which this instance is registered.
    registered: Option<SessionId>,
    /// The reason to leave the job, if it is to be left: no new run starts, then the job is left.
    leaving: Option<&'static str>,
    /// Whether the job was given to this node anew meanwhile: once it has been left, it is joined again.
    comes_back: bool,
    /// Whether this instance's entry is gone, although its session lives, as last heard.
    is_unlisted: bool,
    /// Whether the job was left because this instance's entry was gone.
    was_taken_off: bool,
    /// Whether a registration is under way.
    is_registering: bool,
    /// Whether the leave is under way.
    is_leaving: bool,
    /// The instances last seen, to notice which are gone.
    seen: BTreeSet<InstanceId>,
    /// Whether this instance's server was last seen switched off.
    was_off: bool,
}

/// The consequence of a registration that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// The job is served from here on.
    Serves,
    /// The job was left, or cannot be served: the registration goes again.
    Goes,
    /// The job cannot be served, and other instances must not count on this one.
    Refused,
}

impl Membership {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Joining,
            registered: None,
            leaving: None,
            comes_back: false,
            is_unlisted: false,
            was_taken_off: false,
            is_registering: false,
            is_leaving: false,
            seen: BTreeSet::new(),
            was_off: false,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the changes whose answers the membership waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_leaving.then_some(JobChange::Leave).into_iter()
    }

    /// Returns whether the job is served, and not being left.
    pub(crate) fn serves(&self) -> bool {
        self.phase == Phase::Serving && self.leaving.is_none()
    }

    /// Returns whether this instance leaves the job, or cannot serve it.
    pub(crate) fn goes(&self) -> bool {
        self.leaving.is_some() || self.phase == Phase::Refused
    }

    /// Returns whether the job is to be left.
    pub(crate) fn is_to_leave(&self) -> bool {
        self.leaving.is_some()
    }

    /// Returns whether this instance was registered under a session, whatever is under way.
    pub(crate) fn was_registered(&self, session: Option<SessionId>) -> bool {
        self.registered == session
    }

    /// Returns whether other instances see this instance serve the job, and will go on to. An instance that
    /// is not registered under this session looks dead to the others.
    pub(crate) fn is_registered(&self, session: Option<SessionId>) -> bool {
        self.registered == session && !self.is_leaving
    }

    /// Returns whether this instance's entry is gone, although its session lives, as last heard.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.is_unlisted
    }

    /// Returns whether this node may run anything of the job. An instance that has heard that it was taken
    /// off runs nothing: its claims would be refused, and made again, as fast as the registry answers.
    pub(crate) fn may_run(&self, turn: &Turn<'_>) -> bool {
        turn.may_start() && self.serves() && self.is_registered(turn.session()) && !self.is_unlisted
    }

    /// Returns whether nothing of this instance is left on the job.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left | Phase::Removed | Phase::Refused)
            || self.registered.is_none()
    }

    /// Notes that the job is given to this node once more. If other instances are known to see this instance
    /// serve the job, nothing was lost, and the leave is dropped. Otherwise a job that is being left is
    /// joined anew once that is done.
    pub(crate) fn offer(&mut self, mirror: &Mirror, me: &InstanceId) {
        if matches!(self.phase, Phase::Refused | Phase::Left | Phase::Removed) {
            (self.phase, self.leaving) = (Phase::Joining, None);
        } else if self.leaving.is_some() {
            match mirror.is_live(me) == Some(true) && self.phase != Phase::Leaving {
                true => self.leaving = None,
                false => self.comes_back = true,
            }
        }
    }

    /// Notes that a new session holds nothing of this instance.
    pub(crate) fn session_is_new(&mut self) {
        self.registered = None;
    }

    /// Notes that the definition that counts can be served.
    pub(crate) fn can_be_served(&mut self) {
        if self.phase == Phase::Refused {
            self.phase = Phase::Joining;
        }
    }

    /// Refuses the job because its definition cannot be served. The definition is looked at again when it
    /// changes.
    pub(crate) fn refuse(&mut self) {
        self.phase = Phase::Refused;
    }

    /// Refuses the job, whatever was under way, because the registry will never take what must be written for
    /// it.
    pub(crate) fn refuse_for_good(&mut self) {
        (self.phase, self.leaving, self.comes_back) = (Phase::Refused, None, false);
    }

    /// Notes that the job was removed and is defined again.
    pub(crate) fn is_defined_again(&mut self) {
        self.phase = Phase::Joining;
    }

    /// Notes that the job is another one now. An instance that left the old job because its entry was gone
    /// may have seen a removal that began with that entry, and joins the new job.
    pub(crate) fn made_anew(&mut self) {
        if std::mem::take(&mut self.was_taken_off) {
            self.comes_back |= self.leaving.is_some();
            if self.phase == Phase::Left {
                self.phase = Phase::Joining;
            }
        }
    }

    /// Starts nothing new of the job, and leaves the job when its runs have ended. Returns whether that is
    /// new.
    pub(crate) fn leave(&mut self, why: &'static str) -> bool {
        if matches!(self.phase, Phase::Left) || self.leaving.is_some() {
            return false;
        }
        (self.leaving, self.comes_back) = (Some(why), false);
        true
    }

    /// Notes that the job was left because this instance's entry was gone: should the job be made anew, it is
    /// joined.
    pub(crate) fn taken_off(&mut self) {
        self.was_taken_off = true;
    }

    /// Notes that nothing brings the job back: neither what was said before, nor that the job is made anew.
    pub(crate) fn comes_back_no_more(&mut self) {
        (self.comes_back, self.was_taken_off) = (false, false);
    }

    /// Returns whether the leave can be sent: no leave or registration is under way, and the job is not left
    /// yet.
    pub(crate) fn may_send_leave(&self) -> bool {
        !(self.is_leaving || self.is_registering || self.phase == Phase::Left)
    }

    /// Returns whether this instance is registered, as far as it knows, and not on its way out.
    pub(crate) fn can_be_deregistered(&self) -> bool {
        self.registered.is_some() && !self.is_leaving
    }

    /// Notes that the leave is about to be sent, for a job that was to be left.
    pub(crate) fn begins_to_leave(&mut self) {
        self.phase = Phase::Leaving;
    }

    /// Takes all of this instance off the job; `ops` are what goes beside the instance's own entry.
    pub(crate) fn send_leave(&mut self, turn: &mut Turn<'_>, ops: Vec<Op>) {
        self.is_leaving = true;
        let own = Op::Delete(turn.key(&Facet::Instance(turn.instance().clone())), None);
        let ops = std::iter::once(own).chain(ops).collect();
        turn.send_for_job(JobChange::Leave, ops);
    }

    /// Handles the verdict on the leave. Returns whether this instance is seen no longer to serve the job.
    pub(crate) fn leave_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) -> bool {
        match verdict {
            // If nothing was left to delete, the leave had happened and its answer was lost.
            Verdict::Done(_) | Verdict::Refused(Why::Absent, _) => true,
            _ => {
                self.is_leaving = !mirror.is_over(turn, change, verdict, &[]);
                false
            }
        }
    }

    /// Notes that this instance is no longer seen to serve the job. Returns the reason that people are to be
    /// told.
    pub(crate) fn left(&mut self, turn: &mut Turn<'_>) -> Option<&'static str> {
        self.is_leaving = false;
        self.registered = None;
        match self.phase {
            Phase::Refused | Phase::Removed => return None,
            // The definition could not be served when the leave was sent, and can be by now.
            Phase::Joining | Phase::Serving if self.leaving.is_none() => {
                self.phase = Phase::Joining;
                turn.mark_job();
                return None;
            }
            _ => {}
        }
        self.phase = Phase::Left;
        let why = self.leaving.take().unwrap_or("it was left");
        if std::mem::take(&mut self.comes_back) {
            self.phase = Phase::Joining;
            turn.mark_job();
        }
        Some(why)
    }

    /// Notes that the job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        self.phase = Phase::Removed;
        self.registered = None;
        (self.is_registering, self.is_leaving) = (false, false);
    }

    /// Makes this instance known as one that serves the job. An instance that finds no other one there also
    /// notes since when there is an instance again.
    pub(crate) fn register(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        config: Option<&JobConfig>,
    ) {
        let me = turn.instance().clone();
        let server = mirror.server(me.server()).and_then(|server| server.known());
        let (Some(instances), Some(server), Some(plan), Some(config)) =
            (mirror.instances().value(), server, mirror.plan().known(), config)
        else {
            return;
        };
        // An instance that is about to be taken off is registered again once that is done.
        if self.is_registering || self.is_leaving || self.phase == Phase::Refused {
            return;
        }
        self.is_registering = true;
        if instances.contains(&me) {
            // The entry is this session's if the answer to a registration was lost. Otherwise it is the old
            // session's, and goes with it.
            return mirror.read(turn, Facet::Instance(me));
        }
        let is_first = instances.is_empty();
        let plan = plan.map(|held| (held.value.clone(), held.stamp));
        let lacks_server = server.is_none();
        let document = format!("jobInstanceId: {me}\nserverIp: {}\n", me.server());
        let own = turn.key(&Facet::Instance(me.clone()));
        let mut ops = vec![Op::create_for_session(own, document)];
        let server = turn.key(&Facet::Server(me.server().to_owned()));
        // An instance that is registered where no server is would be dealt nothing. The server's entry may
        // have gone with the job, which is there again.
        ops.push(match (lacks_server, config.disabled) {
            (true, true) => Op::create(server, "DISABLED"),
            (true, false) => Op::create(server, "ENABLED"),
            (false, _) => Op::Check(server, None),
        });
        if is_first {
            ops.push(begin_life(turn, mirror, config.shards, plan));
        }
        turn.send_for_job(JobChange::Register, ops);
    }

    /// Handles the verdict on the registration. Returns what follows from a registration that stands.
    pub(crate) fn register_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) -> Option<Registered> {
        if matches!(verdict, Verdict::Done(_)) {
            return Some(self.registered(turn));
        }
        let server = Facet::Server(turn.instance().server().to_owned());
        let based_on = [Facet::Instances, Facet::Plan, server];
        self.is_registering = !mirror.is_over(turn, change, verdict, &based_on);
        None
    }

    /// Handles the read of this instance's own entry. Returns what follows from a registration that stands.
    pub(crate) fn own_node_read(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        answer: &Answer,
    ) -> Option<Registered> {
        turn.mark_job();
        self.is_registering = false;
        let session = turn.session();
        match answer {
            Answer::Entry(Some(entry)) if session.is_some() && entry.session == session => {
                Some(self.registered(turn))
            }
            _ => {
                mirror.read(turn, Facet::Instances);
                turn.mark_job_in(PAUSE);
                None
            }
        }
    }

    /// Notes that this instance is registered under the present session.
    fn registered(&mut self, turn: &mut Turn<'_>) -> Registered {
        self.is_registering = false;
        (self.registered, self.is_unlisted, self.was_taken_off) = (turn.session(), false, false);
        match self.phase {
            Phase::Left => {
                // The answer came after the job was left: the registration goes, too.
                (self.phase, self.leaving) = (Phase::Leaving, Some("it was left before"));
                turn.mark_job();
                Registered::Goes
            }
            // The answer to the deregistration was lost, and the deregistration did not happen.
            Phase::Refused => Registered::Refused,
            Phase::Joining | Phase::Serving | Phase::Leaving | Phase::Removed => {
                self.phase = Phase::Serving;
                Registered::Serves
            }
        }
    }

    /// Handles the list of the instances that serve the job. Returns whether any instance is gone.
    pub(crate) fn instances_read(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) -> bool {
        let Some(live) = mirror.instances().value().cloned() else { return false };
        self.is_unlisted = self.is_registered(turn.session()) && !live.contains(turn.instance());
        let is_anyone_gone = self.seen.difference(&live).next().is_some();
        self.seen = live;
        if self.is_unlisted {
            // An operator took the instance off, or the entry went with the whole job: the definition, read
            // after this, tells which.
            mirror.read(turn, Facet::Config);
        }
        is_anyone_gone
    }

    /// Notes that a change was refused because this instance's entry is gone, whatever was read.
    pub(crate) fn is_off(&mut self) {
        self.is_unlisted = true;
    }

    /// Returns whether this server was switched on again since the last call.
    pub(crate) fn is_switched_on(&mut self, mirror: &Mirror, me: &InstanceId) -> bool {
        let Some(is_enabled) = mirror.is_enabled(me) else { return false };
        std::mem::replace(&mut self.was_off, !is_enabled) && is_enabled
    }
}

/// Returns the operation that notes in the plan that an instance lives from now on.
fn begin_life(
    turn: &Turn<'_>,
    mirror: &Mirror,
    shards: u32,
    plan: Option<(Plan, flockwork_registry::Stamp)>,
) -> Op {
    let key = turn.key(&Facet::Plan);
    match plan {
        None => {
            let plan = Plan::new(mirror.schedule().clone(), shards, turn.now.wall);
            Op::create(key, plan::encode(&plan))
        }
        Some((plan, stamp)) => {
            let alive = turn.now.wall.max(plan.alive);
            Op::Set(key, plan::encode(&Plan { alive, ..plan }), Some(stamp))
        }
    }
}

#[cfg(test)]
mod tests;
