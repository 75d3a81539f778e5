//! Until when no server ends the session: what its leader, who ends sessions, is known to know.
//!
//! That a server has answered proves little. A follower tells its leader whom it has heard only when
//! the leader asks, each half tick; it may be cut off from it or dead before. But:
//!
//! 1. What a leader says arrives in order. A follower that has answered a *touch*, and then has the
//!    leader's part in what was sent half a tick after that answer, was asked whom it has heard in
//!    between, and has told it: the touch is *reported*.
//! 2. A report may be on its way for long, as a follower may be heard late while it hears nothing. But
//!    it is heard in order: once the leader has a part in what was sent after that, it knows.
//!
//! The session lives for a time-out from when the touch was sent, as its leader heard of it later. A
//! time-out is at least two ticks, so half a tick is at most a quarter of it.
//!
//! What this rests on, and a client cannot see: that `minSessionTimeout` was not set below two ticks;
//! that the server is no observer behind another observer's master port, which asks in turn; that a
//! leader that another has followed, unknown to it, notices within the session's rest (it answers
//! `sync` for up to two ticks). The claim's own commit is refused where any of it fails; what starts by
//! trust alone, a run long claimed, ends later.
//!
//! Source: `Leader.lead`, `LearnerHandler.run`, `Learner.ping` and `SessionTrackerImpl` of ZooKeeper 3.8.

use std::collections::VecDeque;

/// Touches are remembered so often within a time-out.
const TOUCHES: u64 = 40;

/// What was sent at `sent` and answered by `heard`, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Touch {
    sent: u64,
    heard: u64,
}

/// A server has told its leader that it heard what was sent at `touch`; it did so before anything
/// after packet number `by` was sent.
#[derive(Clone, Copy, Debug)]
struct Report {
    touch: u64,
    by: u64,
}

/// An answer: to packet number `number` of its connection, sent at `sent`, received at `now`, with
/// `last` the last packet sent before; whether the leader had a part in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) now: u64,
    pub(super) sent: u64,
    pub(super) number: u64,
    pub(super) last: u64,
    pub(super) leader: bool,
}

/// The trust in one session on one connection.
#[derive(Debug, Default)]
pub(super) struct Trust {
    timeout: u64,
    until: u64,
    /// Until when the session will be trusted once what was asked for is proven.
    sought: u64,
    touches: VecDeque<Touch>,
    reports: VecDeque<Report>,
}

impl Trust {
    /// A session is opened and taken up again by the leader itself. Gives until when it is trusted.
    pub(super) fn opened(timeout: u64, sent: u64) -> (Self, Option<u64>) {
        let touches = VecDeque::from([Touch { sent, heard: sent }]);
        let mut trust = Self { timeout, touches, ..Self::default() };
        let until = trust.known(sent);
        (trust, until)
    }

    /// Takes an answer; gives until when the session is trusted now if that is worth telling.
    pub(super) fn answered(&mut self, answer: Answer) -> Option<u64> {
        let Answer { now, sent, number, last, leader } = answer;
        let most = usize::try_from(TOUCHES).unwrap_or(usize::MAX);
        let apart = self.timeout / TOUCHES;
        if self.touches.back().is_none_or(|touch| touch.sent + apart <= sent) {
            self.touches.push_back(Touch { sent, heard: now });
        }
        if !leader {
            self.touches.truncate(2 * most);
            return None;
        }
        let mut until = None;
        if let Some(at) = self.reports.iter().rposition(|report| report.by < number) {
            let Report { touch, .. } = self.reports[at];
            self.reports.drain(..=at);
            until = self.known(touch);
        }
        // A leader may be late to ask: a fortieth more.
        let half_a_tick = self.timeout / 4 + self.timeout / 40;
        let told = |touch: &Touch| touch.heard + half_a_tick < sent;
        if let Some(at) = self.touches.iter().rposition(told).filter(|_| self.reports.len() < most)
        {
            self.reports.push_back(Report { touch: self.touches[at].sent, by: last });
            self.touches.drain(..=at);
        }
        until
    }

    /// Whether to ask the leader now, after packet number `last`, as that proves what nothing on its
    /// way does. It is taken as asked then.
    pub(super) fn seeks_proof(&mut self, last: u64) -> bool {
        let newest = self.reports.back().filter(|report| report.by == last);
        let Some(term) = newest.map(|report| self.term(report.touch)) else { return false };
        let is_worth = self.is_worth(term, self.until.max(self.sought));
        if is_worth {
            self.sought = term;
        }
        is_worth
    }

    /// The leader knows what was sent at `touch`. A fortieth is for clocks that run apart.
    fn known(&mut self, touch: u64) -> Option<u64> {
        let until = self.term(touch);
        self.is_worth(until, self.until).then(|| {
            self.until = until;
            until
        })
    }

    fn term(&self, touch: u64) -> u64 {
        touch + self.timeout - self.timeout / 40
    }

    /// Whether it is worth a word, or a question, that trust lasts until then instead.
    fn is_worth(&self, until: u64, instead_of: u64) -> bool {
        until.saturating_sub(instead_of) > self.timeout / 20
    }
}
