//! A shard's life on this node as one value: the stage that is under way, and the data of that stage alone.
//!
//! ```text
//! Free ─► Claiming ─made─► Standing ─► Running ─code ended─► Ended ─told─► Ending ─made─► Free
//!   │        │ └─lost─► Doubted ─┬─held─► Standing            ▲               │
//!   │        │                   └─not held─► Free            └─ may be told ─┴─lost─► EndDoubted
//!   │        └─refused because of a mark─► Blocked ─mark gone─► Free
//!   │      Standing ─before its instant─► Ahead ─instant─► Standing
//!   │      Standing, Ahead ─no longer to be started─► TakingBack ─made─► Free
//!   └─► Accounting ─answered─► Free
//! ```
//! If an answer was lost, its meaning is read from the shard's record, which names the claim.

use super::accounting::Accounting;
use super::ahead::Standing;
use super::back::TakingBack;
use super::claim::{Claiming, OwnClaim};
use super::ending::{Ended, Ending};
use super::run::Running;
use crate::mirror::RecordIs;
use crate::outbox::ShardChange;
use flockwork_core::execution::{Run, RunId};
use std::sync::Arc;

/// The stage of a shard's life on this node.
#[derive(Debug, Default)]
pub(crate) enum State {
    /// The shard has nothing under way here.
    #[default]
    Free,
    /// A claim was refused because of a mark: no claim is made until the mark is known to be gone.
    Blocked,
    /// A change of the record other than a run's is under way.
    Accounting(Accounting),
    /// A claim is under way.
    Claiming(Claiming),
    /// The claim's answer was lost.
    Doubted(Claiming),
    /// A claim stands, and its run is to begin.
    Standing(Standing),
    /// A claim stands, and its fire is not due yet.
    Ahead(Standing),
    /// A claim of which nothing was started is being given back.
    TakingBack(TakingBack),
    /// The code of the run is under way.
    Running(Box<Running>),
    /// The code has ended; the registry is to be told.
    Ended(Box<Ended>),
    /// The registry is being told of the end.
    Ending(Ending),
    /// The answer about the end was lost.
    EndDoubted(Ending),
}

impl State {
    /// Returns whether nothing new can be done about the shard yet.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self, Self::Free)
    }

    /// Returns whether neither a run nor a change of the record is under way.
    pub(crate) fn leaves_the_record(&self) -> bool {
        matches!(self, Self::Free | Self::Blocked)
    }

    /// Returns the claim of the run that is under way.
    pub(crate) fn claim(&self) -> Option<&OwnClaim> {
        match self {
            Self::Free | Self::Blocked | Self::Accounting(_) => None,
            Self::Claiming(claiming) | Self::Doubted(claiming) => Some(claiming.claim()),
            Self::Standing(standing) | Self::Ahead(standing) => Some(standing.claim()),
            Self::TakingBack(back) => Some(back.claim()),
            Self::Running(running) => Some(running.claim()),
            Self::Ended(ended) => Some(ended.claim()),
            Self::Ending(ending) | Self::EndDoubted(ending) => Some(ending.claim()),
        }
    }

    /// Returns the number of the run that is under way.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        self.claim().map(OwnClaim::id)
    }

    /// Returns the run whose code was started, until the registry knows of its end.
    pub(crate) fn run(&self) -> Option<&Arc<Run>> {
        match self {
            Self::Running(running) => Some(running.run()),
            Self::Ended(ended) => Some(ended.run()),
            Self::Ending(ending) | Self::EndDoubted(ending) => Some(ending.run()),
            // No code was started in these stages.
            Self::Free
            | Self::Blocked
            | Self::Accounting(_)
            | Self::Claiming(_)
            | Self::Doubted(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::TakingBack(_) => None,
        }
    }

    /// Returns the change whose answer the shard waits for.
    pub(crate) fn awaited(&self) -> Option<ShardChange> {
        match self {
            Self::Accounting(_) => Some(ShardChange::Account),
            Self::Claiming(claiming) => Some(ShardChange::Claim(claiming.claim().id())),
            Self::TakingBack(back) if back.is_sent() => Some(ShardChange::Undo(back.claim().id())),
            Self::Ending(ending) => Some(ShardChange::End(ending.claim().id())),
            // These stages wait for a read, an instant, the code or a session.
            Self::Free
            | Self::Blocked
            | Self::Doubted(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::TakingBack(_)
            | Self::Running(_)
            | Self::Ended(_)
            | Self::EndDoubted(_) => None,
        }
    }

    /// Returns whether a claim is under way and its run may begin or not. A request cannot be skipped for
    /// such a claim.
    pub(crate) fn may_come_to_nothing(&self) -> bool {
        matches!(
            self,
            Self::Claiming(_)
                | Self::Doubted(_)
                | Self::Standing(_)
                | Self::Ahead(_)
                | Self::TakingBack(_)
        )
    }

    /// Returns how the record is to be read when all is read again.
    pub(crate) fn record_is(&self, was_mine: bool) -> RecordIs {
        match self {
            Self::Doubted(_) | Self::TakingBack(_) | Self::EndDoubted(_) => RecordIs::Followed,
            Self::Free | Self::Blocked if was_mine => RecordIs::Followed,
            Self::Free | Self::Blocked => RecordIs::Others,
            // The record is known from what this node writes, until a write is refused.
            Self::Accounting(_)
            | Self::Claiming(_)
            | Self::Standing(_)
            | Self::Ahead(_)
            | Self::Running(_)
            | Self::Ended(_)
            | Self::Ending(_) => RecordIs::Ours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::scene::{DUE, Scene, failed};
    use flockwork_registry::Op;

    /// A stage of a life, with its name, and what is told of it.
    struct Row {
        name: &'static str,
        state: State,
        /// Whether there is a claim, and code that was started.
        has: (bool, bool),
        awaits: Option<fn(RunId) -> ShardChange>,
        /// How the record is read if the shard was this node's.
        record: RecordIs,
    }

    /// Every stage.
    fn rows() -> Vec<Row> {
        let (sent, unsent) = {
            let mut scene = Scene::new();
            let (mut sent, unsent) = (scene.standing(DUE).take_back(), scene.standing(DUE));
            let keys = scene.keys();
            sent.send(&mut scene.rig.turn(), &keys, 0);
            (sent, unsent.take_back())
        };
        let mut scene = Scene::new();
        let accounting = scene.act(|turn, _, mirror| {
            let op = Op::Delete(turn.key(&flockwork_layout::keys::Facet::Running(0)), None);
            Accounting::of_mark(turn, 0, mirror.stored(0).unwrap(), op)
        });
        let mut claim = || scene.first(DUE).unwrap();
        let (claiming, doubted) = (claim(), claim());
        let [standing, ahead, runs, ended, ending, in_doubt] = [(); 6].map(|()| claim());
        let (standing, ahead) = (scene.stands(standing), scene.stands(ahead));
        let (running, ended) = (scene.runs(runs), scene.ends(ended, failed()));
        let [ending, in_doubt] = [ending, in_doubt].map(|claiming| {
            let ended = scene.ends(claiming, failed());
            scene.tells(ended)
        });
        let row = |name, state, has, awaits, record| Row { name, state, has, awaits, record };
        let (claim, end): (fn(_) -> _, fn(_) -> _) = (ShardChange::Claim, ShardChange::End);
        let undo: fn(_) -> _ = ShardChange::Undo;
        let (none, claimed, started) = ((false, false), (true, false), (true, true));
        use RecordIs::{Followed, Ours};
        vec![
            row("free", State::Free, none, None, Followed),
            row("blocked", State::Blocked, none, None, Followed),
            row(
                "accounting",
                State::Accounting(accounting),
                none,
                Some(|_| ShardChange::Account),
                Ours,
            ),
            row("claiming", State::Claiming(claiming), claimed, Some(claim), Ours),
            row("doubted", State::Doubted(doubted), claimed, None, Followed),
            row("standing", State::Standing(standing), claimed, None, Ours),
            row("ahead", State::Ahead(ahead), claimed, None, Ours),
            row("back", State::TakingBack(sent), claimed, Some(undo), Followed),
            row("back, to be sent", State::TakingBack(unsent), claimed, None, Followed),
            row("running", State::Running(running), started, None, Ours),
            row("ended", State::Ended(ended), started, None, Ours),
            row("ending", State::Ending(ending), started, Some(end), Ours),
            row("end doubted", State::EndDoubted(in_doubt), started, None, Followed),
        ]
    }

    #[test]
    fn a_stage_with_a_claim_has_a_run_and_one_with_code_tells_it() {
        for Row { name, state, has, .. } in rows() {
            assert_eq!((state.claim().is_some(), state.run().is_some()), has, "{name}");
            assert_eq!(state.run_id(), state.claim().map(OwnClaim::id), "{name}");
            if let Some(run) = state.run() {
                assert_eq!(Some(run.id), state.run_id(), "{name}");
            }
        }
    }

    #[test]
    fn only_a_change_under_way_is_waited_for() {
        for Row { name, state, awaits, .. } in rows() {
            let run = state.run_id().unwrap_or_default();
            assert_eq!(state.awaited(), awaits.map(|change| change(run)), "{name}");
        }
    }

    #[test]
    fn a_record_is_followed_where_it_is_in_doubt_or_nothing_here_writes_it() {
        for Row { name, state, record, .. } in rows() {
            assert_eq!(state.record_is(true), record, "{name}");
            let others = match state.leaves_the_record() {
                true => RecordIs::Others,
                false => record,
            };
            assert_eq!(state.record_is(false), others, "{name}");
        }
    }

    #[test]
    fn a_shard_is_taken_up_anew_only_where_nothing_is_under_way() {
        for Row { name, state, has: (is_claimed, has_code), .. } in rows() {
            assert_eq!(state.is_busy(), name != "free", "{name}");
            assert_eq!(state.leaves_the_record(), ["free", "blocked"].contains(&name), "{name}");
            assert_eq!(state.may_come_to_nothing(), is_claimed && !has_code, "{name}");
        }
    }
}
