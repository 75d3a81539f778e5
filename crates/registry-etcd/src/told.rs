//! What the node is told: answers in the order of their requests, none before the changes that
//! stand before it.

use crate::interpreter::Command;
use flockwork_registry::inbox::Sender;
use flockwork_registry::{Answer, Event, Ticket};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What has no answer yet.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    pub(crate) requests: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    bytes: usize,
    answer: Answer,
    /// The revision the watch must have come through before.
    after: i64,
}

#[derive(Debug)]
pub(crate) struct Told {
    sender: Arc<Sender>,
    under_way: Arc<UnderWay>,
    /// Bounded by what may be under way.
    held: VecDeque<Held>,
    /// The revision the watch has come through.
    seen: i64,
}

impl Told {
    pub(crate) fn new(sender: Arc<Sender>, under_way: Arc<UnderWay>) -> Self {
        Self { sender, under_way, held: VecDeque::new(), seen: 0 }
    }

    /// Answers a request in its turn, once the watch has come through a revision.
    pub(crate) fn hold(&mut self, command: &Command, answer: Answer, after: i64) {
        let (ticket, bytes) = (command.ticket, command.bytes);
        self.held.push_back(Held { ticket, bytes, answer, after });
        self.release();
    }

    /// The watch has come through a revision.
    pub(crate) fn seen(&mut self, revision: i64) {
        self.seen = self.seen.max(revision);
        self.release();
    }

    /// A new watch begins after a revision, which may be less than what the last had seen if the
    /// servers lost what they knew.
    pub(crate) fn begin(&mut self, seen: i64) {
        self.seen = seen;
    }

    /// The revision through which the watch has come.
    pub(crate) fn has_seen(&self) -> i64 {
        self.seen
    }

    /// Whether answers wait for the watch.
    pub(crate) fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// No more comes from the watch: what waits is told after the word that all must be read again.
    pub(crate) fn let_go(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.say(Event::Resync);
        while let Some(held) = self.held.pop_front() {
            self.answer(held);
        }
    }

    pub(crate) fn say(&self, event: Event) {
        self.sender.push(event);
    }

    fn release(&mut self) {
        let seen = self.seen;
        while let Some(held) = self.held.pop_front_if(|held| held.after <= seen) {
            self.answer(held);
        }
    }

    fn answer(&self, held: Held) {
        // First, as whoever reads the answer may ask at once.
        self.under_way.requests.fetch_sub(1, Ordering::Relaxed);
        self.under_way.bytes.fetch_sub(held.bytes, Ordering::Relaxed);
        self.sender.push(Event::Answer(held.ticket, held.answer));
    }
}
