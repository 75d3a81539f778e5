//! One connection to a shared store, and what goes wrong on it.

use super::faults::Loss;
use super::store::Store;
use crate::inbox::Sender;
use crate::{Answer, Event, Failure, Index, Key, Request, Scope, SessionId, SessionState, Ticket};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Nobody but [`Faults`](super::Faults) ends a session here, so it is trusted for ever.
const FOREVER: u64 = u64::MAX;

/// What was asked to go wrong.
#[derive(Debug, Default)]
pub(super) struct Wrongs {
    pub(super) losses: VecDeque<Loss>,
    pub(super) refusals: VecDeque<Failure>,
    /// How many commits reads and changes may be behind.
    pub(super) lag: u64,
    /// How many changes are yet to be dropped.
    pub(super) drop_changes: usize,
    /// Answers wait; changes do not.
    pub(super) holding: bool,
    /// Everything waits.
    pub(super) silent: bool,
    pub(super) suspended: Option<String>,
}

#[derive(Debug)]
pub(super) struct Line {
    sender: Sender,
    pub(super) session: SessionId,
    /// The commit through which this node's view of the registry has come.
    seen: Index,
    watches: BTreeSet<(Key, Scope)>,
    trusted_until: u64,
    closed: bool,
    pub(super) wrongs: Wrongs,
    /// Changes were dropped and the node does not know it yet.
    gap: bool,
    /// What waits to be told, each with the commit whose changes go before it. At most
    /// `max_in_flight` answers and what [`Faults`](super::Faults) was told to do.
    held: VecDeque<(Index, Event)>,
    /// Requests whose answers were lost and which happen only later.
    late: Vec<Request>,
}

impl Line {
    pub(super) fn open(store: &mut Store, sender: Sender) -> Self {
        let mut line = Self {
            sender,
            session: store.open(0, Duration::MAX),
            seen: store.index(),
            watches: BTreeSet::new(),
            trusted_until: FOREVER,
            closed: false,
            wrongs: Wrongs::default(),
            gap: false,
            held: VecDeque::new(),
            late: Vec::new(),
        };
        line.tell(store, line.live());
        line
    }

    pub(super) fn submit(&mut self, store: &mut Store, ticket: Ticket, request: Request) {
        let limit = store.limits().max_in_flight;
        let held = |(_, event): &&(Index, Event)| matches!(event, Event::Answer(..));
        if self.held.iter().filter(held).count() >= limit {
            let why = format!("{limit} requests have no answer yet (max_in_flight is {limit})");
            let refused = Answer::Failed(Failure::NotSent(why));
            return self.sender.push(Event::Answer(ticket, refused));
        }
        for late in std::mem::take(&mut self.late) {
            store.apply(self.session, late);
        }
        let answer = self.answer(store, request);
        self.tell(store, Event::Answer(ticket, answer));
    }

    fn answer(&mut self, store: &mut Store, request: Request) -> Answer {
        if let Some(why) = self.wrongs.suspended.clone() {
            return Answer::Failed(Failure::NotSent(why));
        }
        let commits = matches!(request, Request::Commit(_));
        match self.sender.heard() {
            _ if self.closed => return Answer::Failed(Failure::SessionEnded(self.session)),
            Some(heard) if commits && heard != self.session => {
                return Answer::Failed(Failure::SessionEnded(heard));
            }
            _ => {}
        }
        if let Some(failure) = self.wrongs.refusals.pop_front() {
            return Answer::Failed(failure);
        }
        let Some(loss) = self.wrongs.losses.pop_front() else {
            return self.carry_out(store, request);
        };
        match loss {
            Loss::Applied => {
                self.carry_out(store, request);
            }
            Loss::AppliedLate => self.late.push(request),
            Loss::NotApplied => {}
        }
        Answer::Failed(Failure::Unknown("lost on request".to_owned()))
    }

    fn carry_out(&mut self, store: &mut Store, request: Request) -> Answer {
        match &request {
            Request::Get(_) | Request::Children(_) => {
                self.catch_up(store);
                return store.read_at(self.session, self.seen, request);
            }
            Request::Watch(key, scope) => {
                self.watches.insert((key.clone(), *scope));
            }
            Request::Unwatch(key, scope) => {
                self.watches.remove(&(key.clone(), *scope));
            }
            Request::Commit(_) => {}
        }
        let answer = store.apply(self.session, request);
        self.seen = store.index();
        answer
    }

    /// Moves the view on as far as the lag asked for leaves no choice.
    fn catch_up(&mut self, store: &Store) {
        let least = Index(store.index().0.saturating_sub(self.wrongs.lag));
        self.seen = self.seen.max(least);
    }

    /// Tells the node, after every change its view has come through.
    fn tell(&mut self, store: &mut Store, event: Event) {
        let waits = self.wrongs.holding && matches!(event, Event::Answer(..));
        if self.wrongs.silent || waits {
            self.held.push_back((self.seen, event));
            return;
        }
        self.hand_out(store, self.seen, event);
    }

    fn hand_out(&mut self, store: &mut Store, through: Index, event: Event) {
        self.tell_changes(store, through);
        if self.gap && matches!(event, Event::Answer(..)) {
            self.gap = false;
            self.sender.push(Event::Resync);
        }
        self.sender.push(event);
    }

    fn tell_changes(&mut self, store: &mut Store, through: Index) {
        for event in store.take_events_through(self.session, through) {
            if self.wrongs.drop_changes > 0 {
                self.wrongs.drop_changes -= 1;
                self.gap = true;
            } else {
                self.sender.push(event);
            }
        }
    }

    /// Lets changes that others made through.
    pub(super) fn flow(&mut self, store: &mut Store) {
        if self.wrongs.silent || self.wrongs.suspended.is_some() {
            return;
        }
        self.catch_up(store);
        self.tell_changes(store, self.seen);
    }

    /// Tells all that waited.
    pub(super) fn release(&mut self, store: &mut Store) {
        self.wrongs.holding = false;
        self.wrongs.silent = false;
        while let Some((through, event)) = self.held.pop_front() {
            self.hand_out(store, through, event);
        }
        self.flow(store);
    }

    pub(super) fn trust_until(&mut self, store: &mut Store, millis: u64) {
        self.trusted_until = millis;
        self.tell(store, self.live());
    }

    pub(super) fn suspend(&mut self, store: &mut Store, why: &str) {
        self.lose_held_answers();
        self.release(store);
        self.wrongs.suspended = Some(why.to_owned());
        self.sender.push(Event::Session(SessionState::Suspended { why: why.to_owned() }));
    }

    /// The way back: what changed meanwhile was missed.
    pub(super) fn resume(&mut self, store: &mut Store) {
        if self.wrongs.suspended.take().is_some() {
            self.resync(store);
            self.tell(store, self.live());
        }
    }

    pub(super) fn resync(&mut self, store: &mut Store) {
        store.take_events(self.session);
        self.seen = store.index();
        self.gap = false;
        self.tell(store, Event::Resync);
    }

    /// Ends the session and opens another, in which the watches stand again.
    pub(super) fn renew_session(&mut self, store: &mut Store) {
        // Changes a silenced node was not told go with the session, but the answers that wait were
        // promised to come after them.
        self.gap |= !store.take_events(self.session).is_empty();
        store.end(self.session);
        self.tell(store, Event::Session(SessionState::Ended(self.session)));
        self.late.clear();
        self.session = store.open(0, Duration::MAX);
        for (key, scope) in self.watches.clone() {
            store.apply(self.session, Request::Watch(key, scope));
        }
        self.seen = store.index();
        self.tell(store, Event::Resync);
        self.wrongs.suspended = None;
        self.tell(store, self.live());
    }

    pub(super) fn close(&mut self, store: &mut Store) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.lose_held_answers();
        self.release(store);
        store.end(self.session);
        self.sender.push(Event::Session(SessionState::Ended(self.session)));
    }

    /// What was under way when the way broke is unknown.
    fn lose_held_answers(&mut self) {
        for (_, event) in &mut self.held {
            if let Event::Answer(_, answer) = event {
                *answer = Answer::Failed(Failure::Unknown("the connection broke".to_owned()));
            }
        }
    }

    fn live(&self) -> Event {
        let trusted_until = self.trusted_until;
        Event::Session(SessionState::Live { session: self.session, trusted_until })
    }
}
