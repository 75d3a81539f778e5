//! The queue in which everything comes back, in one order.
//!
//! It is bounded without ever blocking a registry: answers by the requests under way
//! ([`Limits::max_in_flight`](crate::Limits::max_in_flight)), changes because a key that is already
//! waiting to be told is not queued twice, session states and resyncs because only the last counts.

use crate::{Event, Key, Scope, SessionId, SessionState};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    told: BTreeSet<(Key, Scope)>,
    closed: bool,
    /// The session the node last heard to be alive.
    heard: Option<SessionId>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Shared {
    /// A panic elsewhere leaves the queue whole: every change to it is one push or pop.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registry's end. When the last one is dropped the inbox ends.
#[derive(Debug)]
pub struct Sender(Arc<Shared>);

/// The node's end.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

/// A new, empty queue.
#[must_use]
pub fn channel() -> (Sender, Inbox) {
    let shared = Arc::new(Shared::default());
    (Sender(Arc::clone(&shared)), Inbox(shared))
}

impl Sender {
    /// Queues an event. A change that still waits to be read is not queued again: whoever reads it
    /// will get the newest value, as every change before an answer stands before it.
    pub fn push(&self, event: Event) {
        let mut queue = self.0.lock();
        let fresh = match &event {
            Event::Changed(key, scope) => queue.told.insert((key.clone(), *scope)),
            Event::Answer(..) | Event::Resync | Event::SetBack(_) | Event::Replaced(_) => true,
            Event::Session(renewed) => {
                let renews = |last: &mut Event| is_renewal(last, renewed);
                queue.events.pop_back_if(renews);
                true
            }
        };
        if fresh {
            queue.events.push_back(event);
        }
        drop(queue);
        self.0.arrived.notify_one();
    }

    /// The session whose life the node last *read*: what it submits, it submits in this one's name.
    ///
    /// A registry that has opened a new session meanwhile must not commit for it what was decided
    /// in the old one. `None` until the first is read.
    #[must_use]
    pub fn heard(&self) -> Option<SessionId> {
        self.0.lock().heard
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.arrived.notify_one();
    }
}

impl Inbox {
    /// The next event, or `None` once the registry is gone and all is read.
    ///
    /// # Cancellation
    /// Safe to drop: no event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            let arrived = self.0.arrived.notified();
            match self.take() {
                Some(event) => return Some(event),
                None if self.0.lock().closed => return None,
                None => arrived.await,
            }
        }
    }

    /// The next event if one waits.
    #[must_use]
    pub fn try_recv(&mut self) -> Option<Event> {
        self.take()
    }

    fn take(&self) -> Option<Event> {
        let mut queue = self.0.lock();
        let event = queue.events.pop_front();
        match &event {
            Some(Event::Changed(key, scope)) => {
                queue.told.remove(&(key.clone(), *scope));
            }
            Some(Event::Session(SessionState::Live { session, .. })) => {
                queue.heard = Some(*session);
            }
            _ => {}
        }
        event
    }
}

/// Whether `next` says no more than that the session `last` told of is trusted for longer.
fn is_renewal(last: &Event, next: &SessionState) -> bool {
    match (last, next) {
        (
            Event::Session(SessionState::Live { session: old, .. }),
            SessionState::Live { session: new, .. },
        ) => old == new,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Ticket};

    fn live(session: u64, trusted_until: u64) -> Event {
        Event::Session(SessionState::Live { session: SessionId(session), trusted_until })
    }

    #[test]
    fn of_a_sessions_renewals_only_the_last_is_told() {
        let (sender, mut inbox) = channel();
        for event in [live(1, 10), live(1, 20), live(2, 30)] {
            sender.push(event);
        }
        assert_eq!(inbox.try_recv(), Some(live(1, 20)));
        assert_eq!(inbox.try_recv(), Some(live(2, 30)));
    }

    #[test]
    fn a_session_is_heard_of_when_it_is_read_not_when_it_is_queued() {
        let (sender, mut inbox) = channel();
        sender.push(live(1, 10));
        assert_eq!(sender.heard(), None);
        assert!(inbox.try_recv().is_some());
        sender.push(live(2, 10));
        assert_eq!(sender.heard(), Some(SessionId(1)));
    }

    fn changed(key: &str) -> Event {
        Event::Changed(Key::new(key).unwrap(), Scope::Value)
    }

    #[test]
    fn a_change_waiting_to_be_told_is_not_queued_twice() {
        let (sender, mut inbox) = channel();
        sender.push(changed("/a"));
        sender.push(Event::Answer(Ticket(1), Answer::Done));
        sender.push(changed("/a"));
        assert_eq!(inbox.try_recv(), Some(changed("/a")));
        sender.push(changed("/a"));
        assert_eq!(inbox.try_recv(), Some(Event::Answer(Ticket(1), Answer::Done)));
        assert_eq!(inbox.try_recv(), Some(changed("/a")));
        assert_eq!(inbox.try_recv(), None);
    }
}
