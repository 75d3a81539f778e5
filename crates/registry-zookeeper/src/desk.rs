//! Where a node hands its requests in: what is taken, what is refused at once, what is under way.

use crate::LIMITS;
use crate::commit::Place;
use crate::interpreter::{Command, Interpreter, UnderWay};
use flockwork_registry::inbox::{self, Sender};
use flockwork_registry::{Answer, Event, Failure, Inbox, Op, Request, Ticket};
use flockwork_zookeeper::{Acl, Config};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of requests without an answer yet: what one node keeps at most for a slow server.
const BYTES_UNDER_WAY: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) sender: Arc<Sender>,
    under_way: Arc<UnderWay>,
    /// The session's time-out in milliseconds, where it is not the one that was asked for.
    granted: Arc<AtomicU64>,
}

impl Desk {
    pub(crate) fn open() -> (Self, Inbox) {
        let (sender, inbox) = inbox::channel();
        let (sender, under_way, granted) = (Arc::new(sender), Arc::default(), Arc::default());
        (Self { sender, under_way, granted }, inbox)
    }

    /// What the servers gave as the session's time-out, if it is not what they were asked for.
    pub(crate) fn granted(&self) -> Option<Duration> {
        let granted = self.granted.load(Ordering::Acquire);
        (granted != 0).then(|| Duration::from_millis(granted))
    }

    /// What turns its requests into questions.
    pub(crate) fn interpreter(
        &self,
        root: &str,
        config: &Config,
        closing: watch::Sender<bool>,
    ) -> Interpreter {
        let acl = if config.digest.is_some() { Acl::Creator } else { Acl::Open };
        let place = Place { root: root.to_owned(), acl };
        let (sender, under_way) = (Arc::clone(&self.sender), Arc::clone(&self.under_way));
        Interpreter::new(place, sender, under_way, closing, Arc::clone(&self.granted))
    }

    /// A request as it is handed on; one that is not taken has its answer already.
    pub(crate) fn admitted(&self, ticket: Ticket, request: Request) -> Option<Command> {
        let heard = self.sender.heard();
        match self.admit(&request) {
            Ok(bytes) => Some(Command { ticket, request, heard, bytes }),
            Err(failure) => {
                self.refuse(ticket, failure);
                None
            }
        }
    }

    /// Nobody takes it any more.
    pub(crate) fn take_back(&self, unsent: &Command) {
        self.give_back(unsent.bytes);
        let closed = || Failure::NotSent("the connection was closed".to_owned());
        self.refuse(unsent.ticket, unsent.heard.map_or_else(closed, Failure::SessionEnded));
    }

    fn admit(&self, request: &Request) -> Result<usize, Failure> {
        let bytes = match request {
            Request::Commit(ops) => {
                LIMITS.admit(ops)?;
                ops.iter().map(Op::bytes).sum()
            }
            _ => 0,
        };
        let most = LIMITS.max_in_flight;
        let requests = &self.under_way.requests;
        let one_more = |count: usize| (count < most).then_some(count + 1);
        requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map_err(|_| {
            Failure::NotSent(format!(
                "{most} requests have no answer yet (max_in_flight is {most})"
            ))
        })?;
        let before = self.under_way.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > BYTES_UNDER_WAY {
            self.give_back(bytes);
            let why = format!("{before} bytes have no answer yet, at most {BYTES_UNDER_WAY} may");
            return Err(Failure::NotSent(why));
        }
        Ok(bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.under_way.requests.fetch_sub(1, Ordering::Relaxed);
        self.under_way.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn refuse(&self, ticket: Ticket, failure: Failure) {
        self.sender.push(Event::Answer(ticket, Answer::Failed(failure)));
    }
}
