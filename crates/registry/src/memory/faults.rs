//! Everything the contract allows a registry to do to a node, on request.

use super::registry::Hub;
use crate::Failure;
use std::sync::Arc;

/// What becomes of a request whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It took effect.
    Applied,
    /// It takes effect just before the session's next request.
    AppliedLate,
    /// It never takes effect.
    NotApplied,
}

/// Makes one connection suffer. Nothing happens once the connection is gone.
#[derive(Clone, Debug)]
pub struct Faults {
    hub: Arc<Hub>,
    line: u64,
}

impl Faults {
    pub(super) fn of(hub: Arc<Hub>, line: u64) -> Self {
        Self { hub, line }
    }

    /// Answers the next `count` requests with [`Failure::Unknown`].
    pub fn lose_answers(&self, count: usize, loss: Loss) {
        let lost = std::iter::repeat_n(loss, count);
        self.hub.with_line(self.line, |_, line| line.wrongs.losses.extend(lost));
    }

    /// Answers the next `count` requests with this failure and does none of them. It must not be
    /// [`Failure::Unknown`]; that is what [`lose_answers`](Self::lose_answers) does.
    pub fn refuse(&self, count: usize, failure: &Failure) {
        let refused = std::iter::repeat_n(failure.clone(), count);
        self.hub.with_line(self.line, |_, line| line.wrongs.refusals.extend(refused));
    }

    /// Forgets the losses and refusals that no request has met yet.
    pub fn relent(&self) {
        self.hub.with_line(self.line, |_, line| {
            line.wrongs.losses.clear();
            line.wrongs.refusals.clear();
        });
    }

    /// Carries requests out but keeps their answers until [`release`](Self::release).
    pub fn hold_answers(&self) {
        self.hub.with_line(self.line, |_, line| line.wrongs.holding = true);
    }

    /// Tells the node nothing at all until [`release`](Self::release): to it, time stands still.
    pub fn silence(&self) {
        self.hub.with_line(self.line, |_, line| line.wrongs.silent = true);
    }

    /// Tells all that was held back, in order.
    pub fn release(&self) {
        self.hub.with_line(self.line, |store, line| line.release(store));
    }

    /// Cuts the node off: answers under way are lost, requests are not sent.
    pub fn suspend(&self, why: &str) {
        self.hub.with_line(self.line, |store, line| line.suspend(store, why));
    }

    /// Connects it again; what changed meanwhile was missed.
    pub fn resume(&self) {
        self.hub.with_line(self.line, |store, line| line.resume(store));
    }

    /// Ends the session now, as if its time-out had passed, and opens the next.
    pub fn end_session(&self) {
        self.hub.with_line(self.line, |store, line| line.renew_session(store));
    }

    /// Moves the instant until which the session is trusted.
    pub fn trust_until(&self, millis: u64) {
        self.hub.with_line(self.line, |store, line| line.trust_until(store, millis));
    }

    /// Drops the next `count` changes; the node is told to resync before its next answer.
    pub fn drop_changes(&self, count: usize) {
        self.hub.with_line(self.line, |_, line| line.wrongs.drop_changes += count);
    }

    /// Throws away the changes that wait and tells the node to read everything again.
    pub fn resync(&self) {
        self.hub.with_line(self.line, |store, line| line.resync(store));
    }

    /// Lets what the node reads and is told be this many commits old, and not more. The store must
    /// keep as long a [`history`](super::Options::history). A commit's answer ends the lag, as on
    /// a replica that learns of commits in their order.
    pub fn lag(&self, commits: u64) {
        self.hub.with_line(self.line, |_, line| line.wrongs.lag = commits);
    }
}
