//! Whether this instance serves a job, and whether others see that it does.

use crate::mirror::Mirror;
use crate::outbox::{Change, JobChange, Verdict};
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

/// Where a job stands on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its place in the registry is being read or made.
    Joining,
    /// It is served.
    Serving,
    /// It is refused; the report said why.
    Refused,
    /// It is being left.
    Leaving,
    /// It is no longer served here.
    Left,
    /// It is gone from the registry.
    Removed,
}

/// One job's membership.
#[derive(Debug)]
pub(crate) struct Membership {
    phase: Phase,
    /// The session under which this instance is registered.
    registered: Option<SessionId>,
    /// Why the job is to be left, where it is: no new run, then leave.
    leaving: Option<&'static str>,
    /// Whether it was given anew meanwhile: once it has been left, it is joined again.
    comes_back: bool,
    /// Whether this instance's own node is gone though its session lives, as last heard.
    is_unlisted: bool,
    /// Whether the job was left because this instance's node was gone.
    was_taken_off: bool,
    /// Whether a registration is under way.
    is_registering: bool,
    /// Whether the leave is.
    is_leaving: bool,
    /// The instances last seen, to notice who is gone.
    seen: BTreeSet<InstanceId>,
    /// Whether the own server was last seen switched off.
    was_off: bool,
}

/// What follows from a registration that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// The job is served from here on.
    Serves,
    /// It was left, or cannot be served: the registration goes again.
    Goes,
    /// It cannot be served, and others must not count on this instance.
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

    /// The changes whose answers it waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_leaving.then_some(JobChange::Leave).into_iter()
    }

    /// Whether the job is served, and not being left.
    pub(crate) fn serves(&self) -> bool {
        self.phase == Phase::Serving && self.leaving.is_none()
    }

    /// Whether this instance leaves the job, or cannot serve it.
    pub(crate) fn goes(&self) -> bool {
        self.leaving.is_some() || self.phase == Phase::Refused
    }

    /// Whether the job is to be left.
    pub(crate) fn is_to_leave(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether this instance was registered under a session, whatever is under way.
    pub(crate) fn was_registered(&self, session: Option<SessionId>) -> bool {
        self.registered == session
    }

    /// Whether others see this instance serve a job, and will go on to. Whoever is not registered
    /// under this session looks dead to them.
    pub(crate) fn is_registered(&self, session: Option<SessionId>) -> bool {
        self.registered == session && !self.is_leaving
    }

    /// Whether this instance's node is gone though its session lives, as last heard.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.is_unlisted
    }

    /// Whether this node may run anything of the job. Nothing once it has heard that it is off it: what
    /// it claimed would be refused, and claimed again, as fast as the registry answers.
    pub(crate) fn may_run(&self, turn: &Turn<'_>) -> bool {
        turn.may_start() && self.serves() && self.is_registered(turn.session()) && !self.is_unlisted
    }

    /// Whether nothing of this instance is left on the job.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left | Phase::Removed | Phase::Refused)
            || self.registered.is_none()
    }

    /// The job is given to this node once more. While others are known to see this instance serve it
    /// nothing was lost; else, if it is being left, it is joined anew once that is done.
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

    /// A new session holds nothing of this instance.
    pub(crate) fn session_is_new(&mut self) {
        self.registered = None;
    }

    /// A definition counts that can be served.
    pub(crate) fn can_be_served(&mut self) {
        if self.phase == Phase::Refused {
            self.phase = Phase::Joining;
        }
    }

    /// The definition cannot be served. It is looked at again when it changes.
    pub(crate) fn refuse(&mut self) {
        self.phase = Phase::Refused;
    }

    /// What the registry holds of the job can never be written: the job is refused, whatever was under way.
    pub(crate) fn refuse_for_good(&mut self) {
        (self.phase, self.leaving, self.comes_back) = (Phase::Refused, None, false);
    }

    /// The job was removed, and is there again.
    pub(crate) fn is_defined_again(&mut self) {
        self.phase = Phase::Joining;
    }

    /// The job is another one now. Whoever left it because its node was gone from the old one may have
    /// seen a removal that began with that, and joins this one.
    pub(crate) fn made_anew(&mut self) {
        if std::mem::take(&mut self.was_taken_off) {
            self.comes_back |= self.leaving.is_some();
            if self.phase == Phase::Left {
                self.phase = Phase::Joining;
            }
        }
    }

    /// Starts nothing new of the job, and leaves it when its runs have ended. Says whether that is new.
    pub(crate) fn leave(&mut self, why: &'static str) -> bool {
        if matches!(self.phase, Phase::Left) || self.leaving.is_some() {
            return false;
        }
        (self.leaving, self.comes_back) = (Some(why), false);
        true
    }

    /// It was left because its node was gone: should the job be made anew, it joins that one.
    pub(crate) fn taken_off(&mut self) {
        self.was_taken_off = true;
    }

    /// Nothing brings it back: neither what was said before, nor that the job is made anew.
    pub(crate) fn comes_back_no_more(&mut self) {
        (self.comes_back, self.was_taken_off) = (false, false);
    }

    /// Whether the leave itself can be sent: nothing of it is under way, and it is not done.
    pub(crate) fn may_send_leave(&self) -> bool {
        !(self.is_leaving || self.is_registering || self.phase == Phase::Left)
    }

    /// Whether it is registered, as far as it knows, and not on its way out.
    pub(crate) fn can_be_deregistered(&self) -> bool {
        self.registered.is_some() && !self.is_leaving
    }

    /// The leave is about to be sent, for a job that was to be left.
    pub(crate) fn begins_to_leave(&mut self) {
        self.phase = Phase::Leaving;
    }

    /// Takes all of this instance off the job; `ops` are what goes beside its own node.
    pub(crate) fn send_leave(&mut self, turn: &mut Turn<'_>, ops: Vec<Op>) {
        self.is_leaving = true;
        let own = Op::Delete(turn.key(&Facet::Instance(turn.instance().clone())), None);
        let ops = std::iter::once(own).chain(ops).collect();
        turn.send_for_job(JobChange::Leave, ops);
    }

    /// The leave was made, or not. Says whether this instance is seen no longer to serve the job.
    pub(crate) fn leave_answered(
        &mut self,
        turn: &mut Turn<'_>,
        mirror: &mut Mirror,
        change: Change,
        verdict: &Verdict,
    ) -> bool {
        match verdict {
            // Nothing was left to delete: it had happened, and its answer was lost.
            Verdict::Done(_) | Verdict::Refused(Why::Absent, _) => true,
            _ => {
                self.is_leaving = !mirror.is_over(turn, change, verdict, &[]);
                false
            }
        }
    }

    /// This instance is no longer seen to serve the job. Gives what people are to be told.
    pub(crate) fn left(&mut self, turn: &mut Turn<'_>) -> Option<&'static str> {
        self.is_leaving = false;
        self.registered = None;
        match self.phase {
            Phase::Refused | Phase::Removed => return None,
            // Its definition could not be served when this was sent, and can be by now.
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

    /// The job is gone from the registry.
    pub(crate) fn removed(&mut self) {
        self.phase = Phase::Removed;
        self.registered = None;
        (self.is_registering, self.is_leaving) = (false, false);
    }

    /// Makes this instance known as one that serves the job. Whoever finds nobody else there also
    /// notes since when there is someone again.
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
        // Whoever is about to be taken off is put on again once that is done.
        if self.is_registering || self.is_leaving || self.phase == Phase::Refused {
            return;
        }
        self.is_registering = true;
        if instances.contains(&me) {
            // Ours, if the answer to a registration was lost; else the old session's, with which it
            // goes.
            return mirror.read(turn, Facet::Instance(me));
        }
        let is_first = instances.is_empty();
        let plan = plan.map(|held| (held.value.clone(), held.stamp));
        let lacks_server = server.is_none();
        let document = format!("jobInstanceId: {me}\nserverIp: {}\n", me.server());
        let own = turn.key(&Facet::Instance(me.clone()));
        let mut ops = vec![Op::create_for_session(own, document)];
        let server = turn.key(&Facet::Server(me.server().to_owned()));
        // Who is registered where no server is would be dealt nothing: it may have gone with the job,
        // which is there again.
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

    /// The registration was made, or not. Says what follows from one that stands.
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

    /// This instance's own node was read. Says what follows from a registration that stands.
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

    /// This instance is registered under the present session.
    fn registered(&mut self, turn: &mut Turn<'_>) -> Registered {
        self.is_registering = false;
        (self.registered, self.is_unlisted, self.was_taken_off) = (turn.session(), false, false);
        match self.phase {
            Phase::Left => {
                // The answer came after it was left: what it tells of goes, too.
                (self.phase, self.leaving) = (Phase::Leaving, Some("it was left before"));
                turn.mark_job();
                Registered::Goes
            }
            // That it deregistered was lost, and did not happen.
            Phase::Refused => Registered::Refused,
            Phase::Joining | Phase::Serving | Phase::Leaving | Phase::Removed => {
                self.phase = Phase::Serving;
                Registered::Serves
            }
        }
    }

    /// Who serves the job was read. Says whether anyone is gone.
    pub(crate) fn instances_read(&mut self, turn: &mut Turn<'_>, mirror: &mut Mirror) -> bool {
        let Some(live) = mirror.instances().value().cloned() else { return false };
        self.is_unlisted = self.is_registered(turn.session()) && !live.contains(turn.instance());
        let is_anyone_gone = self.seen.difference(&live).next().is_some();
        self.seen = live;
        if self.is_unlisted {
            // By an operator, or with the whole job: its definition tells, read after this.
            mirror.read(turn, Facet::Config);
        }
        is_anyone_gone
    }

    /// A change was refused as this instance's node is gone, whatever was read.
    pub(crate) fn is_off(&mut self) {
        self.is_unlisted = true;
    }

    /// Whether this server was switched on again since this was last asked.
    pub(crate) fn is_switched_on(&mut self, mirror: &Mirror, me: &InstanceId) -> bool {
        let Some(is_enabled) = mirror.is_enabled(me) else { return false };
        std::mem::replace(&mut self.was_off, !is_enabled) && is_enabled
    }
}

/// Notes in the plan that from now on someone lives.
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
