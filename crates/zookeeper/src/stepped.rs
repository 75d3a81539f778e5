//! A session and its user, stepped as one: still a state machine over bytes.

use crate::session::{Ask, Config, Event, Input, Output, Session};
use std::collections::VecDeque;

/// Who uses a session: turns its commands into questions and hears all that comes of them, within
/// the one task, in order.
pub trait User: Send + 'static {
    /// What is wanted from elsewhere.
    type Command: Send + 'static;

    /// Somebody wants something; the questions it makes, in order.
    fn command(&mut self, command: Self::Command) -> Vec<Ask>;

    /// Something happened; the questions that makes, asked before any further command's.
    fn event(&mut self, event: Event) -> Vec<Ask>;
}

/// A session with its user. Whoever drives it moves the bytes and has the clock: the task of
/// [`spawn`](crate::spawn), or a simulation.
#[derive(Debug)]
pub struct Stepped<U> {
    session: Session,
    user: U,
    closed: bool,
}

impl<U: User> Stepped<U> {
    /// A session that opens at the first [`Input::Tick`].
    #[must_use]
    pub fn new(now: u64, config: Config, user: U) -> Self {
        Self { session: Session::new(now, config), user, closed: false }
    }

    /// Something happened, at `now` milliseconds of `CLOCK_BOOTTIME`. The user is told and asks in
    /// return; what is to be done about it all, in order, has no [`Output::Tell`] left.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Output> {
        self.feed(now, VecDeque::from([input]))
    }

    /// Somebody wants something; what is to be done, as of [`step`](Self::step).
    pub fn command(&mut self, now: u64, command: U::Command) -> Vec<Output> {
        let asks = self.user.command(command);
        self.feed(now, asks.into_iter().map(Input::Ask).collect())
    }

    fn feed(&mut self, now: u64, mut inputs: VecDeque<Input>) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(input) = inputs.pop_front() {
            for output in self.session.step(now, input) {
                match output {
                    Output::Tell(event) => {
                        self.closed |= event == Event::Closed;
                        inputs.extend(self.user.event(event).into_iter().map(Input::Ask));
                    }
                    output => outputs.push(output),
                }
            }
        }
        outputs
    }

    /// When the next [`Input::Tick`] is due, at the latest.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.session.deadline()
    }

    /// Which session is proven alive on a standing connection.
    #[must_use]
    pub fn live(&self) -> Option<i64> {
        self.session.live()
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}
