//! A node's way to the registry and back, as one connection after another.
//!
//! Both directions keep their order; nothing overtakes. When a connection breaks, what was sent and
//! not answered is unknown: some of it still arrives, before anything of the next connection.

use crate::dice::Dice;
use flockwork_registry::{Answer, Index};
use flockwork_registry::{Event, Failure, Key, Request, Scope, SessionId, SessionState, Ticket};
use std::collections::{BTreeSet, VecDeque};

/// What becomes of a request whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It took effect.
    Applied,
    /// It takes effect just before the session's next request.
    Late,
    /// It never does.
    Never,
}

/// To the registry.
#[derive(Debug)]
pub(crate) enum Up {
    Request { ticket: Ticket, request: Request, session: SessionId, loss: Option<Loss> },
    Beat { sent: u64, session: SessionId },
    Connect { sent: u64, session: Option<SessionId> },
    Close { session: SessionId },
}

/// From the registry.
#[derive(Debug)]
pub(crate) enum Down {
    Event(Event),
    BeatAnswered { sent: u64, lives: bool },
    Connected { sent: u64, session: SessionId, ended: Option<SessionId> },
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct OnTheWay<T> {
    pub(crate) arrives: u64,
    pub(crate) connection: u64,
    /// Told by the node's own side: no connection can lose it.
    pub(crate) is_local: bool,
    pub(crate) message: T,
}

/// Where a connection stands, as the node's side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// None; another attempt follows.
    Apart,
    /// Asked for.
    Asking,
    /// Made.
    Made,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: State,
    /// Which connection this is.
    pub(crate) connection: u64,
    /// Which one the registry answers on.
    pub(crate) accepted: u64,
    /// The session as the node's side knows it.
    pub(crate) session: Option<SessionId>,
    pub(crate) watches: BTreeSet<(Key, Scope)>,
    pub(crate) in_flight: VecDeque<Ticket>,
    pub(crate) up: VecDeque<OnTheWay<Up>>,
    pub(crate) down: VecDeque<OnTheWay<Down>>,
    /// Requests of a session that take effect late.
    pub(crate) late: Vec<(SessionId, Request)>,
    /// When anything was last heard.
    pub(crate) heard: u64,
    /// The connection is dead and the node's side has not noticed.
    pub(crate) is_dead: bool,
    pub(crate) cut_until: u64,
    pub(crate) slow_until: u64,
    /// What is sent to the registry stands still until then; the other way is open.
    pub(crate) up_stalled_until: u64,
    /// What comes back stands still until then.
    pub(crate) down_stalled_until: u64,
    /// Changes are told late, twice and out of order until then.
    pub(crate) jumbled_until: u64,
    /// Changes that are told later; before any answer.
    pub(crate) held_back: Vec<Event>,
    /// What is refused with the session that is over, and is answered only after the next one came:
    /// it was sent before the node heard of the end.
    pub(crate) refused: Vec<(Ticket, Failure)>,
    pub(crate) latency: u64,
    pub(crate) dice: Dice,
}

impl Link {
    pub(crate) fn new(latency: u64, dice: Dice) -> Self {
        Self {
            state: State::Apart,
            connection: 0,
            accepted: 0,
            session: None,
            watches: BTreeSet::new(),
            in_flight: VecDeque::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            late: Vec::new(),
            heard: 0,
            is_dead: false,
            cut_until: 0,
            slow_until: 0,
            up_stalled_until: 0,
            down_stalled_until: 0,
            jumbled_until: 0,
            held_back: Vec::new(),
            refused: Vec::new(),
            latency,
            dice,
        }
    }

    pub(crate) fn delay(&mut self, now: u64) -> u64 {
        if now < self.slow_until {
            return self.dice.between(self.latency, self.latency + 1_500);
        }
        // One message in fifty takes ten times as long.
        let stretch = if self.dice.chance(20) { 10 } else { 1 };
        self.dice.below(self.latency * stretch + 1)
    }

    /// Sends a message to the registry; says when it arrives, if it does and nothing sent before it
    /// arrives with it: what arrives together is one thing that happens.
    pub(crate) fn send(&mut self, now: u64, message: Up) -> Option<u64> {
        let delay = self.delay(now);
        if self.is_dead {
            return None;
        }
        let last = self.up.back().map(|last| last.arrives);
        let arrives = last.unwrap_or(0).max(now + delay).max(self.up_stalled_until);
        let connection = self.connection;
        self.up.push_back(OnTheWay { arrives, connection, is_local: false, message });
        (last != Some(arrives)).then_some(arrives)
    }

    /// Sends a message back on the accepted connection; says when it arrives, as
    /// [`send`](Self::send) does.
    pub(crate) fn reply(&mut self, now: u64, message: Down) -> Option<u64> {
        let delay = self.delay(now);
        if self.is_dead || self.accepted != self.connection {
            return None;
        }
        let last = self.down.back().map(|last| last.arrives);
        let arrives = self.enqueue(self.down_stalled_until.max(now + delay), message, false);
        (last != Some(arrives)).then_some(arrives)
    }

    /// Tells the node something that its own side of the link knows.
    pub(crate) fn tell(&mut self, now: u64, event: Event) -> u64 {
        self.enqueue(now, Down::Event(event), true)
    }

    fn enqueue(&mut self, at: u64, message: Down, is_local: bool) -> u64 {
        let floor = self.down.back().map_or(0, |last| last.arrives);
        let arrives = floor.max(at);
        let connection = self.connection;
        self.down.push_back(OnTheWay { arrives, connection, is_local, message });
        arrives
    }

    /// Cuts the connection: some of what is under way still arrives at the registry, in order; of
    /// what is on its way back nothing does.
    pub(crate) fn sever(&mut self) {
        let arrive = self.dice.below(self.up.len() as u64 + 1);
        self.up.truncate(usize::try_from(arrive).unwrap_or(0));
        self.down.retain(|sent| sent.is_local);
        self.is_dead = true;
    }

    /// A request has its answer. Answers come in order, but for those of requests never sent.
    pub(crate) fn answered(&mut self, ticket: Ticket) {
        if self.in_flight.front() == Some(&ticket) {
            self.in_flight.pop_front();
        } else {
            self.in_flight.retain(|sent| *sent != ticket);
        }
    }

    /// The node's side gives the connection up. What it asked and was not told is unknown.
    pub(crate) fn give_up(&mut self, now: u64, why: &str) -> u64 {
        if !self.is_dead {
            self.sever();
        }
        self.connection += 1;
        self.is_dead = false;
        self.state = State::Apart;
        self.down.retain(|sent| sent.is_local);
        self.tell_refused(now);
        for ticket in std::mem::take(&mut self.in_flight) {
            let unknown = Answer::Failed(Failure::Unknown(why.to_owned()));
            self.tell(now, Event::Answer(ticket, unknown));
        }
        self.tell(now, Event::Session(SessionState::Suspended { why: why.to_owned() }))
    }

    /// The registry said that the session is over: what was sent since is refused for certain.
    pub(crate) fn session_over(&mut self, now: u64) -> u64 {
        self.connection += 1;
        self.state = State::Apart;
        self.down.retain(|sent| sent.is_local);
        let Some(session) = self.session.take() else { return now };
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let refused = in_flight.map(|ticket| (ticket, Failure::SessionEnded(session))).collect();
        self.tell_refused(now);
        self.refused = refused;
        if self.dice.chance(500) {
            self.tell_refused(now);
        }
        self.tell(now, Event::Session(SessionState::Ended(session)))
    }

    /// Answers what was refused with the last session; says when that is told.
    pub(crate) fn tell_refused(&mut self, now: u64) -> Option<u64> {
        let refused = std::mem::take(&mut self.refused).into_iter();
        let tell =
            |(ticket, failure)| self.tell(now, Event::Answer(ticket, Answer::Failed(failure)));
        refused.map(tell).last()
    }

    /// Takes the changes that were held back: in another order, some of them twice; or, instead of
    /// all, the word that some were missed.
    pub(crate) fn take_held_back(&mut self) -> Vec<Event> {
        let held = std::mem::take(&mut self.held_back);
        if held.is_empty() || self.dice.chance(30) {
            return held.first().map(|_| Event::Resync).into_iter().collect();
        }
        let mut told: Vec<Event> = Vec::with_capacity(held.len());
        for event in held {
            let place = |dice: &mut Dice, len: usize| {
                usize::try_from(dice.below(len as u64 + 1)).unwrap_or(0)
            };
            if self.dice.chance(200) {
                told.insert(place(&mut self.dice, told.len()), event.clone());
            }
            told.insert(place(&mut self.dice, told.len()), event);
        }
        told
    }

    /// Forgets everything the node's side knew: the process died. What is under way may arrive.
    pub(crate) fn die(&mut self) {
        if !self.is_dead {
            self.sever();
        }
        self.is_dead = false;
        self.connection += 1;
        self.state = State::Apart;
        self.session = None;
        self.watches.clear();
        self.in_flight.clear();
        self.held_back.clear();
        self.refused.clear();
        self.down.clear();
    }
}

/// The commit an answer tells of.
pub(crate) fn committed(answer: &Answer) -> Option<Index> {
    match answer {
        Answer::Committed(receipt) => Some(receipt.index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let mut link = Link::new(50, Dice::new(1));
        link.session = Some(SessionId(1));
        link
    }

    fn request(ticket: u64) -> Up {
        let request = Request::Get(Key::root());
        Up::Request { ticket: Ticket(ticket), request, session: SessionId(1), loss: None }
    }

    #[test]
    fn nothing_overtakes() {
        let mut link = link();
        let told: Vec<_> = (0..200).filter_map(|i| link.send(i / 10, request(i))).collect();
        let mut arrives: Vec<_> = link.up.iter().map(|sent| sent.arrives).collect();
        assert!(arrives.is_sorted());
        arrives.dedup();
        assert_eq!(told, arrives, "each instant is told once");
    }

    #[test]
    fn what_was_under_way_when_a_connection_broke_is_unknown() {
        let mut link = link();
        for i in 0..10 {
            link.in_flight.push_back(Ticket(i));
            link.send(0, request(i));
        }
        link.sever();
        assert!(link.send(1, request(99)).is_none(), "nothing goes into a dead connection");
        link.give_up(5, "cut");
        assert!(link.up.len() <= 10);
        let told: Vec<_> = link.down.iter().map(|sent| &sent.message).collect();
        assert_eq!(told.len(), 11);
        for (i, told) in (0..).zip(&told[..10]) {
            let Down::Event(Event::Answer(ticket, Answer::Failed(failure))) = told else {
                panic!()
            };
            assert_eq!(*ticket, Ticket(i));
            assert!(failure.may_have_happened());
        }
    }

    #[test]
    fn a_session_that_is_over_refuses_for_certain() {
        let mut link = link();
        link.in_flight.push_back(Ticket(1));
        link.session_over(3);
        let Down::Event(Event::Answer(_, answer)) = &link.down[0].message else { panic!() };
        assert_eq!(*answer, Answer::Failed(Failure::SessionEnded(SessionId(1))));
    }
}
