//! Handing over while runs end. Whoever still runs something of a job that it leaves, or cannot serve,
//! stays registered, or others would take its runs for crashed; but it runs nothing new, so its shards
//! are to be dealt to others meanwhile.
//!
//! It says so by a mark that lives as long as its session, and asks for a new assignment, as ElasticJob
//! does. Leaders read the marks when one is asked for, when they are elected, and when they read all
//! again. Nothing else depends on a mark: where it is lost, or ElasticJob leads, shards wait until the
//! instance has left.

use crate::job::JobIx;
use crate::link::{Aim, Member};
use crate::machine::Node;
use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, Op, SessionId};

/// One job's mark of this instance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handover {
    /// The session under which it was made, or may have been.
    marked: Option<SessionId>,
}

impl Node {
    /// Marks this instance as one that is to be dealt nothing of a job.
    pub(crate) fn hand_over(&mut self, ix: JobIx) {
        let session = self.trust.session();
        let is_registered = self.is_registered(ix);
        let job = self.job(ix);
        if session.is_none() || !is_registered || job.handover.marked == session {
            return;
        }
        job.handover.marked = session;
        let me = self.settings.instance.clone();
        let mark = Op::create_for_session(self.key(ix, &Facet::Leaver(me.clone())), "");
        // What was taken off, or removed, hands nothing over.
        let is_on = Op::Check(self.key(ix, &Facet::Instance(me)), None);
        let ops = vec![is_on, mark, self.ask_for_assignment(ix)];
        self.link.gather(Member::new(Aim::Handover(ix), ops));
    }

    /// This instance serves a job after all that it was about to leave.
    pub(crate) fn take_up(&mut self, ix: JobIx) {
        let session = self.trust.session();
        let is_marked = session.is_some() && self.job(ix).handover.marked == session;
        self.job(ix).handover.marked = None;
        if is_marked {
            self.unmark(ix);
        }
    }

    fn unmark(&mut self, ix: JobIx) {
        let me = self.settings.instance.clone();
        let is_on = Op::Check(self.key(ix, &Facet::Instance(me.clone())), None);
        let gone = Op::Delete(self.key(ix, &Facet::Leaver(me)), None);
        let ops = vec![is_on, gone, self.ask_for_assignment(ix)];
        self.link.gather(Member::new(Aim::Handover(ix), ops));
    }

    /// Asks the leader to deal anew. One who is about to answer an earlier request is to look again.
    fn ask_for_assignment(&mut self, ix: JobIx) -> Op {
        let key = self.key(ix, &Facet::Necessary);
        match self.job(ix).view.necessary.held() {
            Some(_) => Op::Set(key, "".into(), None),
            None => Op::create(key, ""),
        }
    }

    /// What takes the mark away with all else of this instance, if it may be there.
    pub(crate) fn without_mark(&mut self, ix: JobIx) -> Option<Op> {
        let session = self.trust.session();
        let key = self.key(ix, &Facet::Leaver(self.settings.instance.clone()));
        let is_there = session.is_some() && self.job(ix).handover.marked == session;
        is_there.then(|| Op::Delete(key, None))
    }

    pub(crate) fn handed_over(&mut self, ix: JobIx, ops: &[Op]) {
        let session = self.trust.session();
        let is_made = ops.iter().any(|op| {
            matches!(op, Op::Create { key, .. }
            if matches!(self.settings.namespace.parse(key), Some((_, Facet::Leaver(_)))))
        });
        // It came to be only after it was to go.
        if is_made && self.job(ix).handover.marked != session && self.is_registered(ix) {
            self.unmark(ix);
        }
    }

    pub(crate) fn handover_failed(&mut self, member: Member, failure: &Failure) {
        if !matches!(failure, Failure::SessionEnded(_)) {
            self.link.gather(member);
        }
    }

    /// Who leaves may have changed: read before anything is dealt again.
    pub(crate) fn doubt_leavers(&mut self, ix: JobIx) {
        self.job(ix).view.leavers.forget();
    }

    /// Those who are to be dealt shards, of those who may be; `None` while that is not known.
    pub(crate) fn without_leavers(
        &mut self,
        ix: JobIx,
        mut live: Vec<InstanceId>,
    ) -> Option<Vec<InstanceId>> {
        // Whoever deals does not leave.
        if live.len() < 2 {
            return Some(live);
        }
        if self.job(ix).view.leavers.is_unread() {
            self.look(ix, Facet::Leavers);
        }
        let leavers = self.job(ix).view.leavers.value()?;
        live.retain(|instance| !leavers.contains(instance));
        Some(live)
    }
}
