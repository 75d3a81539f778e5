//! The session: what is done when it comes, is in doubt, or ends.

use crate::alarms::Alarm;
use crate::job::JobIx;
use crate::machine::{Node, Turn};
use crate::runs::Stage;
use crate::trust::Renewal;
use crate::{Phase, Report};
use flockwork_core::account::{Hold, Reason};
use flockwork_core::config::OnSessionLoss;
use flockwork_core::execution::CancelReason;
use flockwork_core::time::{Mono, Now};
use flockwork_layout::keys::Facet;
use flockwork_registry::{Failure, SessionState};

impl Node {
    /// Whether something new may start.
    pub(crate) fn may_start(&self, now: Now) -> bool {
        self.trust.is_proven(now) && !self.is_draining
    }

    pub(crate) fn session_changed(&mut self, turn: &mut Turn<'_>, state: SessionState) {
        match state {
            SessionState::Live { session, trusted_until } => {
                let until = Mono::from_millis(trusted_until);
                let renewal = self.trust.renew(turn.now, session, until);
                if renewal == Renewal::Kept {
                    return;
                }
                turn.report(Report::SessionLive(session));
                self.link.resume();
                if renewal == Renewal::Fresh {
                    self.rejoin();
                }
                self.go_on(turn);
            }
            SessionState::Suspended { why } => {
                self.trust.suspend();
                turn.report(Report::SessionSuspended(why));
                self.watch_trust(turn);
            }
            SessionState::Ended(session) => {
                self.trust.end();
                turn.report(Report::SessionEnded(session));
                let unsent = self.link.drop_members();
                self.failed(turn, unsent, &Failure::SessionEnded(session));
                self.cancel_for_session(turn);
            }
        }
    }

    /// Everything must be read again: watches may have been silent for a while.
    ///
    /// Without a session that is done once there is one again: nothing is decided before.
    pub(crate) fn resync(&mut self) {
        if self.trust.session().is_none() {
            return;
        }
        for ix in self.job_ixs() {
            if self.job(ix).is_watched {
                self.reread(ix);
            }
        }
    }

    pub(crate) fn job_ixs(&self) -> impl Iterator<Item = JobIx> + use<> {
        (0..self.jobs.len()).map(|at| JobIx(u32::try_from(at).expect("fewer jobs than memory")))
    }

    /// A new session holds nothing of this node: each job is joined again.
    fn rejoin(&mut self) {
        for ix in self.job_ixs() {
            let job = self.job(ix);
            job.registered = None;
            if job.is_watched {
                self.read_anew(ix);
            } else {
                self.begin(ix);
            }
        }
    }

    /// Watches and reads what tells whether and how a job is to be served.
    pub(crate) fn begin(&mut self, ix: JobIx) {
        if std::mem::replace(&mut self.job(ix).is_watched, true) {
            return;
        }
        let me = self.settings.instance.clone();
        let facets = [
            Facet::Config,
            Facet::Instances,
            Facet::Leader,
            Facet::Necessary,
            Facet::Sharding,
            Facet::Plan,
            Facet::Trigger(me.clone()),
            Facet::Retries,
            Facet::Server(me.server().to_owned()),
        ];
        for facet in facets {
            self.follow(ix, facet);
        }
        self.look(ix, Facet::Job);
        self.look(ix, Facet::OwnJob);
        self.untended.insert(ix);
    }

    /// The session is proven again: what waited goes on, and what came due meanwhile is known to
    /// have been held up by that.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        let hold = Hold { until: turn.now.wall, reason: Reason::NoRegistry };
        for ix in self.job_ixs() {
            for shard in &mut self.job(ix).shards {
                if shard.run.is_none() && shard.hold.is_none_or(|held| held.until < hold.until) {
                    shard.hold = Some(hold);
                }
            }
            self.untended.insert(ix);
        }
        for id in self.runs.of(|run| matches!(run.stage, Stage::Ended | Stage::TakingBack)) {
            match self.runs.get(&id).map(|run| run.stage) {
                Some(Stage::Ended) => self.end(turn, id),
                Some(Stage::TakingBack) => self.take_back(id),
                _ => {}
            }
        }
        self.watch_trust(turn);
    }

    /// Wakes when the session can no longer be proven, if a run must then stop.
    pub(crate) fn watch_trust(&mut self, turn: &Turn<'_>) {
        let until = self.trust.until();
        let is_set = self.trust_alarm.is_some_and(|at| at > turn.now.mono);
        if !is_set && until != Mono::from_millis(u64::MAX) && until > turn.now.mono {
            self.trust_alarm = Some(until);
            self.alarms.add(until, Alarm::TrustEnd);
        }
    }

    /// From here on another instance may take over what runs here.
    pub(crate) fn trust_ended(&mut self, turn: &mut Turn<'_>) {
        self.trust_alarm = None;
        if turn.now.mono < self.trust.until() {
            // Renewed since. Only a session with runs that must stop is watched further.
            if self.runs.any(|run| run.on_session_loss == OnSessionLoss::Stop) {
                self.watch_trust(turn);
            }
            return;
        }
        self.cancel_for_session(turn);
    }

    fn cancel_for_session(&mut self, turn: &mut Turn<'_>) {
        for id in self.runs.of(|run| run.on_session_loss == OnSessionLoss::Stop) {
            self.cancel(turn, id, CancelReason::SessionLost);
        }
    }

    /// Whether a job is served, and not being left.
    pub(crate) fn serves(&mut self, ix: JobIx) -> bool {
        let job = self.job(ix);
        job.phase == Phase::Serving && job.leaving.is_none()
    }
}
