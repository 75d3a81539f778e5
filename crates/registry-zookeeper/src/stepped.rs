//! The same registry without its task: for whoever has clock and connections of his own.

use crate::desk::Desk;
use crate::interpreter::Interpreter;
use flockwork_registry::{Event, Inbox, Request, Ticket};
use flockwork_zookeeper as zk;
use flockwork_zookeeper::{Config, Input, Output};
use tokio::sync::watch;

/// A node's end of ZooKeeper as a state machine: requests and bytes go in, bytes and what the node
/// is told come out. All that [`open`](crate::open) starts is in it but the task that moves the
/// bytes, so that what a simulation steps is what runs.
#[derive(Debug)]
pub struct Stepped {
    pair: zk::Stepped<Interpreter>,
    desk: Desk,
    inbox: Inbox,
}

impl Stepped {
    /// A connection that opens at the first [`Input::Tick`]; `root` is what keys lie below, `/a/b`
    /// or empty. `now` is milliseconds of a clock that counts suspends, here and below.
    #[must_use]
    pub fn new(now: u64, root: &str, config: Config) -> Self {
        let (desk, inbox) = Desk::open();
        let (closing, _) = watch::channel(false);
        let interpreter = desk.interpreter(root, &config, closing);
        Self { pair: zk::Stepped::new(now, config, interpreter), desk, inbox }
    }

    /// The node asks; what is to be done about it, without [`Output::Tell`].
    pub fn submit(&mut self, now: u64, ticket: Ticket, request: Request) -> Vec<Output> {
        match self.desk.admitted(ticket, request) {
            Some(command) => self.pair.command(now, command),
            None => Vec::new(),
        }
    }

    /// Something happened; what is to be done about it, without [`Output::Tell`].
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Output> {
        self.pair.step(now, input)
    }

    /// What the node is told next. A session counts as heard of once it is taken from here.
    pub fn take(&mut self) -> Option<Event> {
        self.inbox.try_recv()
    }

    /// When the next [`Input::Tick`] is due, at the latest.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.pair.deadline()
    }

    /// Whether it was closed, so that nothing follows.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pair.is_closed()
    }
}
