//! The note by which this instance says why it may not serve the job. The note lives as long as the session
//! of the instance and is for people: no instance decides by it.

use crate::outbox::{Change, JobChange, Verdict};
use crate::turn::Turn;
use bytes::Bytes;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Key, Op, SessionId, Why};
use std::time::Duration;

/// How long the note waits after a change that did not happen, or may not have.
const PAUSE: Duration = Duration::from_millis(500);

/// The note of this instance on one job, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct IneligibleNote {
    note: Note,
    /// Whether a change of the note is under way. There is one change at a time.
    is_sending: bool,
}

/// The state of a note. A note goes with its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Note {
    #[default]
    None,
    /// The note says this. It is empty if what the note says is not known.
    Made(SessionId, Bytes),
    /// The answer about the note is missing.
    Maybe(SessionId),
}

impl Note {
    fn under(&self, session: SessionId) -> &Self {
        match self {
            Self::Made(of, _) | Self::Maybe(of) if *of != session => &Self::None,
            same => same,
        }
    }
}

impl IneligibleNote {
    /// Returns the changes whose answers the note waits for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = JobChange> + use<> {
        self.is_sending.then_some(JobChange::Ineligible).into_iter()
    }

    /// Makes the note say what is wanted, or takes it away if nothing is.
    pub(crate) fn reconcile(&mut self, turn: &mut Turn<'_>, wanted: Option<Bytes>) {
        let Some(session) = turn.session().filter(|_| !self.is_sending) else { return };
        let key = own_key(turn);
        let op = match (self.note.under(session), wanted) {
            (Note::None | Note::Maybe(_), Some(value)) => Op::create_for_session(key, value),
            (Note::Made(_, said), Some(value)) if *said != value => Op::Set(key, value, None),
            (Note::Made(..) | Note::Maybe(_), None) => Op::Delete(key, None),
            (Note::None, None) | (Note::Made(..), Some(_)) => return,
        };
        self.is_sending = true;
        turn.send_for_job(JobChange::Ineligible, vec![op]);
    }

    /// Handles the verdict on a change of the note.
    pub(crate) fn answered(&mut self, turn: &mut Turn<'_>, change: Change, verdict: &Verdict) {
        let note = |value| turn.session().map_or(Note::None, |session| Note::Made(session, value));
        let note = match (verdict, written(&change)) {
            // What the registry will never take is not sent again.
            (Verdict::Done(_) | Verdict::TooLarge, Some(value)) => note(value),
            (Verdict::Done(_) | Verdict::TooLarge, None) => Note::None,
            // The answer about the note that exists was lost.
            (Verdict::Refused(Why::Exists, _), _) => note(Bytes::new()),
            // The note is gone; or the job is, and all of it.
            (Verdict::Refused(..), _) => Note::None,
            (Verdict::Unknown | Verdict::SessionEnded(_), _) => {
                turn.session().map_or(Note::None, Note::Maybe)
            }
            (Verdict::NotTaken, _) => return turn.send_again(change),
        };
        *self = Self { note, is_sending: false };
        match verdict {
            Verdict::Done(_) => turn.mark_job(),
            _ => turn.mark_job_in(PAUSE),
        }
    }
}

/// Returns what a change has the note say.
fn written(change: &Change) -> Option<Bytes> {
    match change.ops.last()? {
        Op::Create { value, .. } | Op::Set(_, value, _) => Some(value.clone()),
        Op::Check(..) | Op::CheckAbsent(_) | Op::Delete(..) => None,
    }
}

fn own_key(turn: &Turn<'_>) -> Key {
    turn.key(&Facet::Ineligible(turn.instance().clone()))
}

#[cfg(test)]
mod tests;
