//! One connection asked one question at a time, for commands and tests. Every wait is bounded.

use crate::{Answer, Entry, Event, Failure, Inbox, Key, Op, Receipt, Refusal, Registry, Request};
use crate::{Scope, SessionId, SessionState, Ticket};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Events kept for [`Client::next_event`]. Above it the oldest give way to one [`Event::Resync`],
/// which says all that was lost.
const KEPT_EVENTS: usize = 16_384;

/// Why a commit was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It did not happen, by its own conditions.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry gave no answer to it; only [`Failure::Unknown`] leaves open what happened.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A connection whose answers are waited for, each for at most the same time.
///
/// What arrives beside the awaited answer is kept, in order, for [`next_event`](Self::next_event).
#[derive(Debug)]
pub struct Client {
    registry: Arc<dyn Registry>,
    inbox: Inbox,
    patience: Duration,
    last: Ticket,
    /// Requests whose answers somebody still wants.
    awaited: BTreeSet<Ticket>,
    answers: VecDeque<(Ticket, Answer)>,
    events: VecDeque<Event>,
    told: BTreeSet<(Key, Scope)>,
    session: Option<SessionState>,
    /// What became of the registry, if it is there no more.
    replaced: Option<String>,
}

impl Client {
    /// Takes over a connection. `patience` bounds the wait for each single answer or event.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, inbox: Inbox, patience: Duration) -> Self {
        Self {
            registry,
            inbox,
            patience,
            last: Ticket(0),
            awaited: BTreeSet::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            told: BTreeSet::new(),
            session: None,
            replaced: None,
        }
    }

    /// The connection itself.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Waits until the session is proven alive and names it.
    ///
    /// # Errors
    /// [`Failure::NotSent`] with what stands in the way, if it is not in time, or if there is no registry
    /// any more.
    pub async fn session(&mut self) -> Result<SessionId, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(why) = &self.replaced {
                return Err(Failure::NotSent(why.clone()));
            }
            if let Some(SessionState::Live { session, .. }) = &self.session {
                return Ok(*session);
            }
            let Some(event) = self.receive(deadline).await else {
                let why = match &self.session {
                    Some(SessionState::Suspended { why }) => why.clone(),
                    _ => format!("no session within {:?}", self.patience),
                };
                return Err(Failure::NotSent(why));
            };
            self.keep(event);
        }
    }

    /// Reads one entry; `None` if it does not exist.
    ///
    /// # Errors
    /// Any [`Failure`]; [`Failure::Unknown`] if no answer came in time.
    pub async fn get(&mut self, key: &Key) -> Result<Option<Entry>, Failure> {
        match self.ask(Request::Get(key.clone())).await {
            Answer::Entry(entry) => Ok(entry),
            other => Err(not_asked(other)),
        }
    }

    /// The names of a key's children, ascending; `None` if the key does not exist.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn children(&mut self, key: &Key) -> Result<Option<Vec<String>>, Failure> {
        match self.ask(Request::Children(key.clone())).await {
            Answer::Children(names) => Ok(names),
            other => Err(not_asked(other)),
        }
    }

    /// Watches a key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn watch(&mut self, key: &Key, scope: Scope) -> Result<(), Failure> {
        done(self.ask(Request::Watch(key.clone(), scope)).await)
    }

    /// Stops watching it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn unwatch(&mut self, key: &Key, scope: Scope) -> Result<(), Failure> {
        done(self.ask(Request::Unwatch(key.clone(), scope)).await)
    }

    /// Changes all or nothing.
    ///
    /// # Errors
    /// [`CommitError::Refused`] by a condition; [`CommitError::Failed`] without an answer, with
    /// [`Failure::Unknown`] if it may have happened all the same.
    pub async fn commit(&mut self, ops: Vec<Op>) -> Result<Receipt, CommitError> {
        committed(self.ask(Request::Commit(ops)).await)
    }

    /// Sends a request without waiting; [`answer`](Self::answer) waits for it.
    pub fn send(&mut self, request: Request) -> Ticket {
        self.last.0 += 1;
        self.awaited.insert(self.last);
        self.registry.submit(self.last, request);
        self.last
    }

    /// Waits for the answer to a request; [`Failure::Unknown`] if it does not come in time. An
    /// answer that comes later is dropped.
    pub async fn answer(&mut self, ticket: Ticket) -> Answer {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(at) = self.answers.iter().position(|(of, _)| *of == ticket) {
                self.awaited.remove(&ticket);
                return self.answers.remove(at).map_or_else(lost, |(_, answer)| answer);
            }
            match self.receive(deadline).await {
                Some(event) => self.keep(event),
                None => {
                    self.awaited.remove(&ticket);
                    return Answer::Failed(Failure::Unknown(format!(
                        "none within {:?}",
                        self.patience
                    )));
                }
            }
        }
    }

    /// The next event that is no answer, or `None` if there is none in time.
    pub async fn next_event(&mut self) -> Option<Event> {
        let deadline = Instant::now() + self.patience;
        while self.events.is_empty() {
            let event = self.receive(deadline).await?;
            self.keep(event);
        }
        self.pop_event()
    }

    /// The events that have arrived and were not taken, without waiting.
    pub fn arrived(&mut self) -> Vec<Event> {
        while let Some(event) = self.inbox.try_recv() {
            self.keep(event);
        }
        self.kept()
    }

    /// The events that were read on the way to the answers taken so far, and none that came after
    /// the last of them.
    pub fn kept(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.pop_event()).collect()
    }

    /// Ends the session and the connection's work.
    pub async fn close(self) {
        self.registry.close().await;
    }

    async fn ask(&mut self, request: Request) -> Answer {
        let ticket = self.send(request);
        self.answer(ticket).await
    }

    /// The next thing that comes back; `None` at the deadline or if the registry is gone.
    async fn receive(&mut self, deadline: Instant) -> Option<Event> {
        timeout_at(deadline, self.inbox.recv()).await.ok().flatten()
    }

    fn keep(&mut self, event: Event) {
        match event {
            Event::Answer(ticket, answer) => {
                if self.awaited.contains(&ticket) {
                    self.answers.push_back((ticket, answer));
                }
                return;
            }
            Event::Changed(ref key, scope) => {
                if !self.told.insert((key.clone(), scope)) {
                    return;
                }
            }
            Event::Session(ref state) => self.session = Some(state.clone()),
            Event::Replaced(ref why) => self.replaced = Some(why.clone()),
            Event::Resync | Event::SetBack(_) => {}
        }
        if self.events.len() >= KEPT_EVENTS {
            self.events.clear();
            self.told.clear();
            self.events.push_back(Event::Resync);
            if matches!(event, Event::Changed(..)) {
                return;
            }
        }
        self.events.push_back(event);
    }

    fn pop_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::Changed(key, scope)) = &event {
            self.told.remove(&(key.clone(), *scope));
        }
        event
    }
}

/// A commit's answer as a result.
///
/// # Errors
/// As [`Client::commit`].
pub fn committed(answer: Answer) -> Result<Receipt, CommitError> {
    match answer {
        Answer::Committed(receipt) => Ok(receipt),
        Answer::Refused(refusal) => Err(refusal.into()),
        other => Err(not_asked(other).into()),
    }
}

fn done(answer: Answer) -> Result<(), Failure> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(not_asked(other)),
    }
}

/// An answer of the wrong kind answers nothing.
fn not_asked(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => Failure::Unknown(format!("the registry answered something else: {other:?}")),
    }
}

fn lost() -> Answer {
    Answer::Failed(Failure::Unknown("its place in the queue is empty".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Connected, Loss, MemoryRegistry};

    fn client() -> (Client, crate::memory::Faults) {
        let Connected { registry, inbox, faults } = MemoryRegistry::default().connect_faulty();
        (Client::new(registry, inbox, Duration::from_secs(5)), faults)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_unknown_and_dropped_when_it_comes_late() {
        let (mut client, faults) = client();
        let key = Key::new("/a").unwrap();
        faults.hold_answers();
        let late = client.commit(vec![Op::create(key.clone(), "1")]).await;
        assert!(matches!(late, Err(CommitError::Failed(Failure::Unknown(_)))), "{late:?}");
        faults.release();
        assert_eq!(client.get(&key).await.unwrap().unwrap().value, "1");
        assert!(client.answers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_told_apart_and_events_kept_in_order() {
        let (mut client, faults) = client();
        let key = Key::new("/a").unwrap();
        client.watch(&key, Scope::Value).await.unwrap();
        client.kept();
        let make = client.send(Request::Commit(vec![Op::create(key.clone(), "1")]));
        let read = client.send(Request::Get(key.clone()));
        assert!(matches!(client.answer(read).await, Answer::Entry(Some(_))));
        assert!(matches!(client.answer(make).await, Answer::Committed(_)));
        faults.resync();
        let told = [Event::Changed(key, Scope::Value), Event::Resync];
        assert_eq!(client.arrived(), told);
        assert_eq!(client.next_event().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_and_refusals_come_through_as_they_are() {
        let (mut client, faults) = client();
        let key = Key::new("/a").unwrap();
        faults.lose_answers(1, Loss::NotApplied);
        assert!(matches!(client.get(&key).await, Err(Failure::Unknown(_))));
        let full = Failure::Full("0 bytes left".to_owned());
        faults.refuse(1, &full);
        let create = vec![Op::create(key, "1")];
        assert_eq!(client.commit(create).await, Err(CommitError::Failed(full)));
        let below = vec![Op::create(Key::new("/b/c").unwrap(), "1")];
        let refused = client.commit(below).await;
        assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");
    }
}
