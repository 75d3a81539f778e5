//! What a job does when the session comes, is proven again, or is another one.

use crate::Phase;
use crate::job::Job;
use crate::runs::Stage;
use crate::turn::Turn;
use flockwork_core::account::{Hold, Reason};
use flockwork_core::execution::RunId;
use flockwork_layout::keys::Facet;

impl Job {
    /// Everything must be read again: watches may have been silent for a while.
    pub(crate) fn resync(&mut self, turn: &mut Turn<'_>) {
        if self.is_watched {
            self.reread(turn);
        }
    }

    /// A new session holds nothing of this node: the job is joined again.
    pub(crate) fn rejoin(&mut self, turn: &mut Turn<'_>) {
        self.registered = None;
        match self.is_watched {
            true => self.read_anew(turn),
            false => self.begin(turn),
        }
    }

    /// Watches and reads what tells whether and how a job is to be served.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.is_watched, true) {
            return;
        }
        let me = turn.settings.instance.clone();
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
            self.follow(turn, facet);
        }
        self.look(turn, Facet::Job);
        self.look(turn, Facet::OwnJob);
        turn.tend();
    }

    /// The session is proven again: what came due meanwhile is known to have been held up by that.
    pub(crate) fn go_on(&mut self, turn: &mut Turn<'_>) {
        let hold = Hold { until: turn.now.wall, reason: Reason::NoRegistry };
        for shard in &mut self.shards {
            if shard.run.is_none() && shard.hold.is_none_or(|held| held.until < hold.until) {
                shard.hold = Some(hold);
            }
        }
        turn.tend();
    }

    /// What a run waited with for a session is told now.
    pub(crate) fn tell_again(&mut self, turn: &mut Turn<'_>, id: RunId) {
        match turn.runs.get(&id).map(|run| run.stage) {
            Some(Stage::Ended) => self.end(turn, id),
            Some(Stage::TakingBack) => self.take_back(turn, id),
            _ => {}
        }
    }

    /// Whether a job is served, and not being left.
    pub(crate) fn serves(&self) -> bool {
        self.phase == Phase::Serving && self.leaving.is_none()
    }
}
