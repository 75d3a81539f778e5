//! From a claim that stands to the start of its code, or back: at once, at its instant, or not at all.

use super::Shard;
use super::ahead::{Standing, Wait};
use super::back::TakingBack;
use super::run::Running;
use super::state::State;
use super::{Begins, accounting};
use crate::facts::Facts;
use crate::mirror::Mirror;
use crate::turn::Turn;
use flockwork_core::execution::Source;

impl Shard {
    /// Whether the run of a claim that stands may begin, as far as the shard goes.
    pub(crate) fn begins(&self, turn: &Turn<'_>, facts: &Facts<'_>, mirror: &Mirror) -> Begins {
        let State::Standing(standing) = &self.state else { return Begins::NoClaim };
        let is_on = mirror.is_off(self.index) == Some(false);
        match !standing.is_looked_at() || (self.may_own(turn, facts, mirror) && is_on) {
            true => Begins::IfAllowed,
            false => Begins::Never,
        }
    }

    /// A claim stands. Starts the run, unless what it was based on no longer does or the node may not, or
    /// its fire is yet to come due.
    pub(crate) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
        is_allowed: bool,
    ) {
        let standing = match self.leave_stage() {
            State::Standing(standing) => standing,
            other => {
                self.enter(other);
                return;
            }
        };
        let stands = standing.stands(turn.session(), facts, mirror, self.index);
        if !(is_allowed && stands) {
            return self.take_back(turn, standing);
        }
        match standing.wait(turn.now.wall) {
            Wait::No => self.start(turn, facts, standing),
            Wait::TooLong => self.take_back(turn, standing),
            Wait::Until(due) => {
                standing.wait_until(turn, due);
                self.enter(State::Ahead(standing));
            }
        }
    }

    /// Tells what became of the fires of a claim that stands, and starts its run.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, facts: &Facts<'_>, standing: Standing) {
        // Removed meanwhile.
        let Some(config) = facts.config else { return self.take_back(turn, standing) };
        let (mut claim, stamp) = standing.into_parts();
        self.begins_a_run();
        accounting::report(turn, self.index, &claim.take_notes());
        if self.ask.run_starts(claim.claim().fire.source == Source::Trigger) {
            turn.mark_job();
        }
        let running = Running::start(turn, claim, stamp, self.index, config);
        self.enter(State::Running(Box::new(running)));
    }

    /// Gives a claim back of which nothing was started: the record becomes what it was.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, standing: Standing) {
        self.give_back(turn, standing.take_back());
    }

    pub(super) fn give_back(&mut self, turn: &mut Turn<'_>, mut back: TakingBack) {
        let (index, keys) = (self.index, self.keys(turn));
        back.send(turn, keys, index);
        self.enter(State::TakingBack(back));
    }

    /// The instant of a claim made ahead has come.
    pub(crate) fn instant_has_come(&mut self, turn: &mut Turn<'_>) {
        match self.leave_stage() {
            State::Ahead(standing) => {
                self.enter(State::Standing(standing.has_waited()));
                turn.mark_shard(self.index);
            }
            other => self.enter(other),
        }
    }

    /// Gives back what was claimed ahead.
    pub(crate) fn give_back_ahead(&mut self, turn: &mut Turn<'_>) {
        match self.leave_stage() {
            State::Ahead(standing) => self.take_back(turn, standing),
            other => self.enter(other),
        }
    }

    /// Gives back what is known not to begin when its instant comes: others, or other fires, want the
    /// shard before.
    pub(crate) fn give_back_stale(
        &mut self,
        turn: &mut Turn<'_>,
        facts: &Facts<'_>,
        mirror: &Mirror,
    ) {
        if let State::Ahead(standing) = &self.state
            && standing.is_known_stale(turn, facts, mirror, self.index)
        {
            self.give_back_ahead(turn);
        }
    }

    /// The wall clock was set back: what was claimed for an instant that is far off now is given back.
    pub(crate) fn give_back_if_far_ahead(&mut self, turn: &mut Turn<'_>) {
        if matches!(&self.state, State::Ahead(standing) if standing.is_far_ahead(turn.now.wall)) {
            self.give_back_ahead(turn);
        }
    }
}
