//! What commits have become: done, refused, failed, or not known.

use crate::alarms::Alarm;
use crate::job::JobIx;
use crate::link::{Aim, Member};
use crate::machine::{Node, Turn};
use crate::runs::{LocalRun, Stage};
use crate::slot::Held;
use crate::{Phase, Report};
use flockwork_core::execution::RunId;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Index, Op, Refusal, Stamp, Why};
use std::time::Duration;

/// How long a change waits that the registry could not take.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a change waits that the registry does not want: a person must act first.
const LONG_PAUSE: Duration = Duration::from_secs(10);

impl Node {
    pub(crate) fn committed(&mut self, turn: &mut Turn<'_>, member: &Member, index: Index) {
        self.told_failure = None;
        match member.aim {
            Aim::Parent => {}
            Aim::Tree(ix) => {
                self.job(ix).under_way.tree = false;
                for facet in [Facet::Config, Facet::Job, Facet::OwnJob, Facet::Plan] {
                    self.look(ix, facet);
                }
            }
            Aim::Config(ix) => {
                let job = self.job(ix);
                (job.under_way.config, job.is_applied, job.applies) = (false, true, false);
                self.look(ix, Facet::Config);
            }
            Aim::Register(ix) => self.registered(turn, ix),
            Aim::Elect(ix) => self.elected(turn, ix, &member.ops, index),
            Aim::Assign(ix) => self.assigned(turn, ix, &member.ops, index),
            Aim::Trigger(ix) => self.trigger_answered(ix),
            Aim::Clock(ix) => self.clock_note_written(ix, &member.ops),
            Aim::Mark(ix) => self.mark_changed(ix, &member.ops),
            Aim::Leave(ix) => {
                self.mark_left(ix, &member.ops);
                self.left(turn, ix);
            }
            Aim::Claim(id) => {
                let Some(run) = self.runs.get(&id) else { return };
                self.claimed(turn, id, LocalRun::stamp(run.before_stamp, index));
            }
            Aim::End(id) => {
                let Some(run) = self.runs.get(&id) else { return };
                self.end_known(turn, id, LocalRun::stamp(run.claimed_stamp, index));
            }
            Aim::Undo(id) => {
                let Some(run) = self.runs.get(&id) else { return };
                self.taken_back(turn, id, LocalRun::stamp(run.claimed_stamp, index));
            }
            Aim::Account(ix, shard) => self.accounted(turn, ix, shard, member, index),
        }
    }

    fn taken_back(&mut self, turn: &mut Turn<'_>, id: RunId, stamp: Stamp) {
        let Some(run) = self.runs.get(&id) else { return };
        let before = run.before.clone();
        let Some((ix, shard)) = self.abandon(id) else { return };
        let state = &mut self.job(ix).shards[shard as usize];
        state.record.wrote(Some(Held { value: before, stamp, session: None }));
        self.consider(turn, ix, shard);
    }

    fn accounted(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        shard: ShardIndex,
        member: &Member,
        index: Index,
    ) {
        if self.job(ix).shard(shard).is_none() {
            return;
        }
        let record = self.keys(ix, shard).record.clone();
        let Some(state) = self.job(ix).shard(shard) else { return };
        let Some((stored, notes)) = state.accounting.take() else { return };
        let wrote = member.ops.iter().find_map(|op| match op {
            Op::Set(key, _, old) if *key == record => Some(*old),
            Op::Create { key, .. } if *key == record => Some(None),
            _ => None,
        });
        if let Some(old) = wrote {
            let stamp = LocalRun::stamp(old, index);
            state.record.wrote(Some(Held { value: stored, stamp, session: None }));
        }
        if !notes.is_empty() {
            state.hold = None;
        }
        self.report_notes(turn, ix, shard, &notes);
        self.consider(turn, ix, shard);
        self.untended.insert(ix);
    }

    /// One member's condition did not hold. What is missing is made, what is gone is left out;
    /// otherwise what the member was based on is read again.
    pub(crate) fn refused(&mut self, turn: &mut Turn<'_>, mut member: Member, refusal: &Refusal) {
        if member.may_be_repaired() && self.repair(&mut member, refusal) {
            return;
        }
        let facet = self.settings.namespace.parse(&refusal.key).map(|(_, facet)| facet);
        match member.aim {
            Aim::Parent => {}
            // Nothing was left to delete: it had happened, and its answer was lost.
            Aim::Leave(ix) if refusal.why == Why::Absent => self.left(turn, ix),
            Aim::Clock(ix) => self.clock_note_refused(turn, ix, refusal.why),
            Aim::Mark(ix) => self.mark_refused(ix, &member.ops),
            Aim::Claim(id) => self.claim_refused(turn, id, facet.as_ref()),
            Aim::End(id) => self.superseded(turn, id),
            Aim::Undo(id) => {
                // Someone has taken the shard over meanwhile, it seems.
                let Some(run) = self.runs.get_mut(&id) else { return };
                run.is_undo_sent = false;
                let (ix, shard) = (run.ix, run.shard);
                self.look(ix, Facet::Record(shard));
            }
            Aim::Account(ix, shard) => {
                if let Some(state) = self.job(ix).shard(shard) {
                    state.accounting = None;
                }
                self.look(ix, Facet::Record(shard));
                match facet {
                    Some(Facet::Instance(instance)) => self.refused_as_gone(ix, &instance),
                    Some(Facet::Plan) => self.look(ix, Facet::Plan),
                    _ => {}
                }
            }
            Aim::Tree(ix)
            | Aim::Config(ix)
            | Aim::Register(ix)
            | Aim::Elect(ix)
            | Aim::Assign(ix)
            | Aim::Trigger(ix)
            | Aim::Leave(ix) => {
                if refusal.why == Why::NoParent {
                    self.look(ix, Facet::Config);
                }
                self.refused_for_job(turn, ix, member.aim, facet);
            }
        }
    }

    fn claim_refused(&mut self, turn: &mut Turn<'_>, id: RunId, facet: Option<&Facet>) {
        let Some((ix, shard)) = self.abandon(id) else { return };
        match facet {
            Some(Facet::Running(_)) => {
                self.job(ix).shards[shard as usize].is_mark_in_the_way = true;
                self.look(ix, Facet::Record(shard));
                self.look(ix, Facet::Running(shard));
            }
            Some(Facet::Owner(_)) => self.look(ix, Facet::Owner(shard)),
            Some(Facet::Plan) => self.look(ix, Facet::Plan),
            Some(Facet::Instance(instance)) => {
                self.refused_as_gone(ix, instance);
                self.look(ix, Facet::Record(shard));
            }
            _ => self.look(ix, Facet::Record(shard)),
        }
        let again = self.settings.reconcile_interval;
        self.look_later(turn, ix, shard, again);
    }

    /// A change was refused as an instance is gone: the own one, whatever was read, or that it is not.
    fn refused_as_gone(&mut self, ix: JobIx, instance: &InstanceId) {
        let is_own = *instance == self.settings.instance;
        self.job(ix).is_unlisted |= is_own;
        self.look(ix, Facet::Instances);
    }

    /// A change of a job's own nodes did not happen: reads again what it was based on.
    fn refused_for_job(&mut self, turn: &mut Turn<'_>, ix: JobIx, aim: Aim, facet: Option<Facet>) {
        self.no_longer_under_way(ix, aim);
        let me = self.settings.instance.clone();
        let based_on: &[Facet] = match aim {
            Aim::Tree(_) => &[Facet::Config, Facet::Job, Facet::OwnJob, Facet::Plan],
            Aim::Config(_) => &[Facet::Config],
            Aim::Register(_) => {
                &[Facet::Instances, Facet::Plan, Facet::Server(me.server().to_owned())]
            }
            Aim::Elect(_) => &[Facet::Leader],
            Aim::Assign(_) => &[Facet::Leader, Facet::Plan, Facet::Sharding, Facet::Necessary],
            Aim::Trigger(_) => &[Facet::Trigger(me)],
            _ => &[],
        };
        for read in based_on {
            self.look(ix, read.clone());
        }
        if let Some(facet) = facet
            && !based_on.contains(&facet)
        {
            self.look(ix, facet);
        }
        // A shard that still runs cannot be taken away yet; nothing will tell when it can.
        if matches!(aim, Aim::Assign(_)) {
            let again = turn.now.mono.plus(Duration::from_secs(1));
            self.job(ix).surplus_after = Some(again);
            self.alarms.add(again, Alarm::Tend(ix));
        }
        self.untended.insert(ix);
    }

    fn no_longer_under_way(&mut self, ix: JobIx, aim: Aim) {
        let under_way = &mut self.job(ix).under_way;
        match aim {
            Aim::Tree(_) => under_way.tree = false,
            Aim::Config(_) => under_way.config = false,
            Aim::Register(_) => under_way.register = false,
            Aim::Elect(_) => under_way.elect = false,
            Aim::Assign(_) => under_way.assign = false,
            Aim::Trigger(_) => under_way.trigger = false,
            Aim::Leave(_) => under_way.leave = false,
            _ => {}
        }
    }

    /// A commit as a whole has failed, or may have.
    pub(crate) fn failed(&mut self, turn: &mut Turn<'_>, members: Vec<Member>, failure: &Failure) {
        if matches!(failure, Failure::TooLarge { .. }) {
            return self.too_large(turn, members, failure);
        }
        let pause = match failure {
            Failure::Unknown(_) | Failure::SessionEnded(_) | Failure::TooLarge { .. } => {
                Duration::ZERO
            }
            Failure::NotSent(_) => PAUSE,
            Failure::Full(_) => LONG_PAUSE / 10,
            Failure::Denied(_) => LONG_PAUSE,
        };
        if !pause.is_zero() {
            let until = turn.now.mono.plus(pause);
            self.link.pause(until);
            self.alarms.add(until, Alarm::Send);
            let code = failure_code(failure);
            if self.told_failure.replace(code) != Some(code) {
                turn.trouble(None, code, failure.to_string());
            }
        }
        for member in members {
            match member.aim {
                Aim::Parent => {}
                Aim::Claim(id) => self.claim_failed(turn, id, failure),
                Aim::End(id) => self.end_failed(turn, id, member, failure),
                Aim::Undo(id) => self.undo_failed(id, member, failure),
                Aim::Clock(ix) => self.clock_note_failed(turn, ix, member, failure),
                Aim::Mark(ix) => self.mark_failed(turn, ix, member, failure),
                Aim::Account(ix, shard) => {
                    if let Some(state) = self.job(ix).shard(shard) {
                        state.accounting = None;
                    }
                    self.look(ix, Facet::Record(shard));
                }
                Aim::Tree(ix)
                | Aim::Config(ix)
                | Aim::Register(ix)
                | Aim::Elect(ix)
                | Aim::Assign(ix)
                | Aim::Trigger(ix)
                | Aim::Leave(ix) => self.failed_for_job(turn, ix, member, failure),
            }
        }
    }

    /// What the registry will never take is sent once more by itself, and then given up: the job it
    /// is for is refused, the others go on.
    fn too_large(&mut self, turn: &mut Turn<'_>, mut members: Vec<Member>, failure: &Failure) {
        if members.len() > 1 {
            for member in &mut members {
                member.is_alone = true;
            }
            for member in members.into_iter().rev() {
                self.link.gather_first(member);
            }
            return;
        }
        for member in members {
            let ix = match member.aim {
                Aim::Claim(id) | Aim::End(id) | Aim::Undo(id) => {
                    self.runs.get(&id).map(|run| run.ix)
                }
                Aim::Parent => None,
                Aim::Tree(ix) | Aim::Config(ix) | Aim::Register(ix) | Aim::Elect(ix) => Some(ix),
                Aim::Assign(ix) | Aim::Trigger(ix) | Aim::Leave(ix) => Some(ix),
                Aim::Clock(ix) | Aim::Mark(ix) => Some(ix),
                Aim::Account(ix, _) => Some(ix),
            };
            let Some(ix) = ix else { continue };
            self.drop_too_large(turn, ix, member.aim);
            let job = self.job(ix);
            job.phase = Phase::Refused;
            (job.next, job.leaving, job.comes_back) = (None, None, false);
            let (job, text) = (job.name.clone(), format!("{failure}; make the definition smaller"));
            turn.report(Report::Refused { job, code: "TOO_LARGE", text });
            if !matches!(member.aim, Aim::Leave(_)) {
                self.deregister(turn, ix);
            }
        }
    }

    /// What was to be written is not under way any more.
    fn drop_too_large(&mut self, turn: &mut Turn<'_>, ix: JobIx, aim: Aim) {
        match aim {
            Aim::Claim(id) => {
                self.abandon(id);
            }
            Aim::End(id) | Aim::Undo(id) => self.superseded(turn, id),
            Aim::Account(_, shard) => {
                if let Some(state) = self.job(ix).shard(shard) {
                    state.accounting = None;
                }
            }
            Aim::Clock(_) => self.job(ix).clock.is_writing = false,
            Aim::Mark(_) => self.mark_refused(ix, &[]),
            aim => self.no_longer_under_way(ix, aim),
        }
    }

    fn claim_failed(&mut self, turn: &mut Turn<'_>, id: RunId, failure: &Failure) {
        if failure.may_have_happened() {
            let Some(run) = self.runs.get_mut(&id) else { return };
            run.stage = Stage::Doubted;
            let (ix, shard) = (run.ix, run.shard);
            return self.look(ix, Facet::Record(shard));
        }
        if let Some((ix, shard)) = self.abandon(id) {
            self.look_later(turn, ix, shard, PAUSE);
        }
    }

    fn end_failed(&mut self, turn: &mut Turn<'_>, id: RunId, member: Member, failure: &Failure) {
        let is_next_here = self.is_over(failure);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let (ix, shard) = (run.ix, run.shard);
        match failure {
            Failure::Unknown(_) => {
                run.stage = Stage::EndDoubted;
                self.look(ix, Facet::Record(shard));
            }
            // Told again under the next session, which may have come before this answer.
            Failure::SessionEnded(_) => {
                run.stage = Stage::Ended;
                if is_next_here {
                    self.end(turn, id);
                }
            }
            _ => self.link.gather(member),
        }
    }

    fn undo_failed(&mut self, id: RunId, member: Member, failure: &Failure) {
        let is_next_here = self.is_over(failure);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let (ix, shard) = (run.ix, run.shard);
        match failure {
            Failure::Unknown(_) => {
                run.is_undo_sent = false;
                self.look(ix, Facet::Record(shard));
            }
            // Undone under the next session, which may have come before this answer.
            Failure::SessionEnded(_) => {
                run.is_undo_sent = false;
                if is_next_here {
                    self.take_back(id);
                }
            }
            _ => self.link.gather(member),
        }
    }

    /// Whether a failure tells of a session that another has followed by now.
    fn is_over(&self, failure: &Failure) -> bool {
        let Failure::SessionEnded(ended) = failure else { return false };
        self.trust.session().is_some_and(|session| session != *ended)
    }

    /// What a job's own nodes are now is read; what is to be done follows from that.
    fn failed_for_job(
        &mut self,
        turn: &mut Turn<'_>,
        ix: JobIx,
        member: Member,
        failure: &Failure,
    ) {
        match failure {
            Failure::SessionEnded(_) => {
                self.no_longer_under_way(ix, member.aim);
                self.untended.insert(ix);
            }
            Failure::Unknown(_) => {
                self.refused_for_job(turn, ix, member.aim, None);
                for op in &member.ops {
                    if let Some((_, facet)) = self.settings.namespace.parse(op.key()) {
                        self.look(ix, facet);
                    }
                }
            }
            _ => self.link.gather(member),
        }
    }

    /// Whether a run waits to learn what a lost answer meant.
    pub(crate) fn is_in_doubt(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| {
            matches!(run.stage, Stage::Doubted | Stage::EndDoubted | Stage::TakingBack)
        })
    }
}

fn failure_code(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unknown(_) => "OUTCOME_UNKNOWN",
        Failure::NotSent(_) => "REGISTRY_UNAVAILABLE",
        Failure::SessionEnded(_) => "SESSION_ENDED",
        Failure::TooLarge { .. } => "TOO_LARGE",
        Failure::Full(_) => "REGISTRY_FULL",
        Failure::Denied(_) => "REGISTRY_DENIED",
    }
}
