//! What commits have become: done, refused, failed, or not known.

use crate::alarms::Alarm;
use crate::job::Job;
use crate::link::{Aim, Member, PAUSE};
use crate::runs::{LocalRun, Stage};
use crate::slot::Held;
use crate::turn::Turn;
use crate::{Phase, Report};
use flockwork_core::execution::RunId;
use flockwork_core::id::{InstanceId, ShardIndex};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Index, Op, Refusal, Stamp, Why};
use std::time::Duration;

impl Job {
    pub(crate) fn committed(&mut self, turn: &mut Turn<'_>, member: &Member, index: Index) {
        match member.aim {
            Aim::Parent => {}
            Aim::Tree(_) => {
                self.under_way.tree = false;
                for facet in [Facet::Config, Facet::Job, Facet::OwnJob, Facet::Plan] {
                    self.look(turn, facet);
                }
            }
            Aim::Config(_) => {
                let job = &mut *self;
                (job.under_way.config, job.is_applied, job.applies) = (false, true, false);
                self.look(turn, Facet::Config);
            }
            Aim::Register(_) => self.registered(turn),
            Aim::Elect(_) => self.elected(turn, &member.ops, index),
            Aim::Assign(_) => self.assigned(turn, &member.ops, index),
            Aim::Trigger(_) => self.trigger_answered(turn),
            Aim::Clock(_) => self.clock_note_written(turn, &member.ops),
            Aim::Mark(_) => self.mark_changed(turn, &member.ops),
            Aim::Leave(_) => {
                self.mark_left(turn, &member.ops);
                self.left(turn);
            }
            Aim::Claim(id) => {
                let Some(run) = turn.runs.get(&id) else { return };
                self.claimed(turn, id, LocalRun::stamp(run.before_stamp, index));
            }
            Aim::End(id) => {
                let Some(run) = turn.runs.get(&id) else { return };
                self.end_known(turn, id, LocalRun::stamp(run.claimed_stamp, index));
            }
            Aim::Undo(id) => {
                let Some(run) = turn.runs.get(&id) else { return };
                self.taken_back(turn, id, LocalRun::stamp(run.claimed_stamp, index));
            }
            Aim::Account(_, shard) => self.accounted(turn, shard, member, index),
        }
    }

    fn taken_back(&mut self, turn: &mut Turn<'_>, id: RunId, stamp: Stamp) {
        let Some(run) = turn.runs.get(&id) else { return };
        let before = run.before.clone();
        let Some(shard) = self.abandon(turn, id) else { return };
        let state = &mut self.shards[shard as usize];
        state.record.wrote(Some(Held { value: before, stamp, session: None }));
        self.consider(turn, shard);
    }

    fn accounted(&mut self, turn: &mut Turn<'_>, shard: ShardIndex, member: &Member, index: Index) {
        if self.shard(shard).is_none() {
            return;
        }
        let record = self.keys(turn, shard).record.clone();
        let Some(state) = self.shard(shard) else { return };
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
        self.report_notes(turn, shard, &notes);
        self.consider(turn, shard);
        turn.tend();
    }

    /// One member's condition did not hold. What is missing is made, what is gone is left out;
    /// otherwise what the member was based on is read again.
    pub(crate) fn refused(&mut self, turn: &mut Turn<'_>, member: &Member, refusal: &Refusal) {
        let facet = turn.settings.namespace.parse(&refusal.key).map(|(_, facet)| facet);
        match member.aim {
            Aim::Parent => {}
            // Nothing was left to delete: it had happened, and its answer was lost.
            Aim::Leave(_) if refusal.why == Why::Absent => self.left(turn),
            Aim::Clock(_) => self.clock_note_refused(turn, refusal.why),
            Aim::Mark(_) => self.mark_refused(turn, &member.ops),
            Aim::Claim(id) => self.claim_refused(turn, id, facet.as_ref()),
            Aim::End(id) => self.superseded(turn, id),
            Aim::Undo(id) => {
                // Someone has taken the shard over meanwhile, it seems.
                let Some(run) = turn.runs.get_mut(&id) else { return };
                run.is_undo_sent = false;
                let shard = run.shard;
                self.look(turn, Facet::Record(shard));
            }
            Aim::Account(_, shard) => {
                if let Some(state) = self.shard(shard) {
                    state.accounting = None;
                }
                self.look(turn, Facet::Record(shard));
                match facet {
                    Some(Facet::Instance(instance)) => self.refused_as_gone(turn, &instance),
                    Some(Facet::Plan) => self.look(turn, Facet::Plan),
                    _ => {}
                }
            }
            Aim::Tree(_)
            | Aim::Config(_)
            | Aim::Register(_)
            | Aim::Elect(_)
            | Aim::Assign(_)
            | Aim::Trigger(_)
            | Aim::Leave(_) => {
                if refusal.why == Why::NoParent {
                    self.look(turn, Facet::Config);
                }
                self.refused_for_job(turn, member.aim, facet);
            }
        }
    }

    fn claim_refused(&mut self, turn: &mut Turn<'_>, id: RunId, facet: Option<&Facet>) {
        let Some(shard) = self.abandon(turn, id) else { return };
        match facet {
            Some(Facet::Running(_)) => {
                self.shards[shard as usize].is_mark_in_the_way = true;
                self.look(turn, Facet::Record(shard));
                self.look(turn, Facet::Running(shard));
            }
            Some(Facet::Owner(_)) => self.look(turn, Facet::Owner(shard)),
            Some(Facet::Plan) => self.look(turn, Facet::Plan),
            Some(Facet::Instance(instance)) => {
                self.refused_as_gone(turn, instance);
                self.look(turn, Facet::Record(shard));
            }
            _ => self.look(turn, Facet::Record(shard)),
        }
        let again = turn.settings.reconcile_interval;
        self.look_later(turn, shard, again);
    }

    /// A change was refused as an instance is gone: the own one, whatever was read, or that it is not.
    fn refused_as_gone(&mut self, turn: &mut Turn<'_>, instance: &InstanceId) {
        let is_own = *instance == turn.settings.instance;
        self.is_unlisted |= is_own;
        self.look(turn, Facet::Instances);
    }

    /// A change of a job's own nodes did not happen: reads again what it was based on.
    fn refused_for_job(&mut self, turn: &mut Turn<'_>, aim: Aim, facet: Option<Facet>) {
        self.no_longer_under_way(aim);
        let me = turn.settings.instance.clone();
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
            self.look(turn, read.clone());
        }
        if let Some(facet) = facet
            && !based_on.contains(&facet)
        {
            self.look(turn, facet);
        }
        // A shard that still runs cannot be taken away yet; nothing will tell when it can.
        if matches!(aim, Aim::Assign(_)) {
            let again = turn.now.mono.plus(Duration::from_secs(1));
            self.surplus_after = Some(again);
            turn.alarms.add(again, Alarm::Tend(turn.ix));
        }
        turn.tend();
    }

    fn no_longer_under_way(&mut self, aim: Aim) {
        let under_way = &mut self.under_way;
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

    /// The commit of a member has failed as a whole, or may have.
    pub(crate) fn failed(&mut self, turn: &mut Turn<'_>, member: Member, failure: &Failure) {
        if matches!(failure, Failure::TooLarge { .. }) {
            return self.too_large(turn, &member, failure);
        }
        match member.aim {
            Aim::Parent => {}
            Aim::Claim(id) => self.claim_failed(turn, id, failure),
            Aim::End(id) => self.end_failed(turn, id, member, failure),
            Aim::Undo(id) => self.undo_failed(turn, id, member, failure),
            Aim::Clock(_) => self.clock_note_failed(turn, member, failure),
            Aim::Mark(_) => self.mark_failed(turn, member, failure),
            Aim::Account(_, shard) => {
                if let Some(state) = self.shard(shard) {
                    state.accounting = None;
                }
                self.look(turn, Facet::Record(shard));
            }
            Aim::Tree(_)
            | Aim::Config(_)
            | Aim::Register(_)
            | Aim::Elect(_)
            | Aim::Assign(_)
            | Aim::Trigger(_)
            | Aim::Leave(_) => self.failed_for_job(turn, member, failure),
        }
    }

    /// What the registry will never take is given up: the job it is for is refused, the others go on.
    fn too_large(&mut self, turn: &mut Turn<'_>, member: &Member, failure: &Failure) {
        self.drop_too_large(turn, member.aim);
        self.phase = Phase::Refused;
        (self.next, self.leaving, self.comes_back) = (None, None, false);
        let (job, text) = (self.name.clone(), format!("{failure}; make the definition smaller"));
        turn.report(Report::Refused { job, code: "TOO_LARGE", text });
        if !matches!(member.aim, Aim::Leave(_)) {
            self.deregister(turn);
        }
    }

    /// What was to be written is not under way any more.
    fn drop_too_large(&mut self, turn: &mut Turn<'_>, aim: Aim) {
        match aim {
            Aim::Claim(id) => {
                self.abandon(turn, id);
            }
            Aim::End(id) | Aim::Undo(id) => self.superseded(turn, id),
            Aim::Account(_, shard) => {
                if let Some(state) = self.shard(shard) {
                    state.accounting = None;
                }
            }
            Aim::Clock(_) => self.clock_note.is_writing = false,
            Aim::Mark(_) => self.mark_refused(turn, &[]),
            aim => self.no_longer_under_way(aim),
        }
    }

    fn claim_failed(&mut self, turn: &mut Turn<'_>, id: RunId, failure: &Failure) {
        if failure.may_have_happened() {
            let Some(run) = turn.runs.get_mut(&id) else { return };
            run.stage = Stage::Doubted;
            let shard = run.shard;
            return self.look(turn, Facet::Record(shard));
        }
        if let Some(shard) = self.abandon(turn, id) {
            self.look_later(turn, shard, PAUSE);
        }
    }

    fn end_failed(&mut self, turn: &mut Turn<'_>, id: RunId, member: Member, failure: &Failure) {
        let is_next_here = is_over(turn, failure);
        let Some(run) = turn.runs.get_mut(&id) else { return };
        let shard = run.shard;
        match failure {
            Failure::Unknown(_) => {
                run.stage = Stage::EndDoubted;
                self.look(turn, Facet::Record(shard));
            }
            // Told again under the next session, which may have come before this answer.
            Failure::SessionEnded(_) => {
                run.stage = Stage::Ended;
                if is_next_here {
                    self.end(turn, id);
                }
            }
            _ => turn.link.gather(member),
        }
    }

    fn undo_failed(&mut self, turn: &mut Turn<'_>, id: RunId, member: Member, failure: &Failure) {
        let is_next_here = is_over(turn, failure);
        let Some(run) = turn.runs.get_mut(&id) else { return };
        let shard = run.shard;
        match failure {
            Failure::Unknown(_) => {
                run.is_undo_sent = false;
                self.look(turn, Facet::Record(shard));
            }
            // Undone under the next session, which may have come before this answer.
            Failure::SessionEnded(_) => {
                run.is_undo_sent = false;
                if is_next_here {
                    self.take_back(turn, id);
                }
            }
            _ => turn.link.gather(member),
        }
    }

    /// What a job's own nodes are now is read; what is to be done follows from that.
    fn failed_for_job(&mut self, turn: &mut Turn<'_>, member: Member, failure: &Failure) {
        match failure {
            Failure::SessionEnded(_) => {
                self.no_longer_under_way(member.aim);
                turn.tend();
            }
            Failure::Unknown(_) => {
                self.refused_for_job(turn, member.aim, None);
                for op in &member.ops {
                    if let Some((_, facet)) = turn.settings.namespace.parse(op.key()) {
                        self.look(turn, facet);
                    }
                }
            }
            _ => turn.link.gather(member),
        }
    }

    /// Whether a run waits to learn what a lost answer meant.
    pub(crate) fn is_in_doubt(&self, turn: &Turn<'_>, id: RunId) -> bool {
        turn.runs.get(&id).is_some_and(|run| {
            matches!(run.stage, Stage::Doubted | Stage::EndDoubted | Stage::TakingBack)
        })
    }
}

/// Whether a failure tells of a session that another has followed by now.
fn is_over(turn: &mut Turn<'_>, failure: &Failure) -> bool {
    let Failure::SessionEnded(ended) = failure else { return false };
    turn.trust.session().is_some_and(|session| session != *ended)
}
