//! How a process's session stands within one of its transactions.

use crate::clock;
use crate::round::Round;
use crate::session::{self, Opened};
use crate::shared::Shared;
use crate::trouble::Trouble;
use flockwork_registry::{Event, SessionId, SessionState};

/// Part of the time-out by which a node stops trusting its session early: the time between looking
/// at the clock and acting on it.
const MARGIN_DIVISOR: u64 = 20;

/// What became of the session.
pub(crate) enum Fate {
    Kept,
    Lost,
    Opened(Opened),
}

/// How the session stands within a transaction.
pub(crate) struct Standing {
    /// In which one commits are made.
    pub(crate) session: Option<u64>,
    pub(crate) fate: Fate,
    /// What is told of it, before the answers.
    pub(crate) told: Option<Event>,
    pub(crate) beat_due: Option<u64>,
    /// Sessions whose files are of no more use.
    pub(crate) ended: Vec<u64>,
}

impl Standing {
    /// Finds out whether the session lives, opens one if there is none, and beats if it is time.
    pub(crate) fn of(
        shared: &Shared,
        round: &mut Round<'_, '_>,
        session: Option<u64>,
        beats: bool,
    ) -> Result<Self, Trouble> {
        match session {
            Some(id) if !round.store.session_exists(id)? => {
                let told = Event::Session(SessionState::Ended(SessionId(id)));
                let (told, ended) = (Some(told), Vec::new());
                Ok(Self { session: None, fate: Fate::Lost, told, beat_due: None, ended })
            }
            Some(_) if !beats => {
                let (told, ended) = (None, Vec::new());
                Ok(Self { session, fate: Fate::Kept, told, beat_due: None, ended })
            }
            _ => Self::beat(shared, round, session),
        }
    }

    fn beat(
        shared: &Shared,
        round: &mut Round<'_, '_>,
        session: Option<u64>,
    ) -> Result<Self, Trouble> {
        if session.is_none() {
            // Below, files in the directory are made and removed by their names.
            shared.footing.look()?;
        }
        let (place, timeout) = (&shared.place, shared.timeout);
        let census = session::beat(place, round.store, &mut round.state, session, timeout)?;
        for changed in &census.changes {
            round.record(changed)?;
        }
        let fate = match session {
            Some(_) => Fate::Kept,
            None => Fate::Opened(session::open(place, round.store, &mut round.state, timeout)?),
        };
        let session = match &fate {
            Fate::Opened(opened) => Some(opened.id),
            Fate::Kept | Fate::Lost => session,
        };
        let at = clock::to_own(round.state.at);
        let told = session.map(|id| {
            let trusted_until = at + timeout - timeout / MARGIN_DIVISOR;
            Event::Session(SessionState::Live { session: SessionId(id), trusted_until })
        });
        let beat_due = Some(at + census.interval);
        Ok(Self { session, fate, told, beat_due, ended: census.ended })
    }
}
