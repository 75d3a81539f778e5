//! What the node's calls, the writing thread and the one that watches over it share.

use crate::OpenError;
use crate::bell::Waker;
use crate::footing::Footing;
use crate::place::Place;
use crate::{clock, queue::Queue};
use flockwork_registry::inbox::Sender;
use flockwork_registry::{Answer, Event, Failure, Limits, Request, SessionState, Ticket};
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What the writing thread is about, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    /// Another process has the lock. What is queued has not happened.
    Waiting(u64),
    Writing(u64),
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) footing: Footing,
    pub(crate) limits: Limits,
    pub(crate) timeout: u64,
    queue: Mutex<Queue>,
    waker: Waker,
    phase: Mutex<Phase>,
    /// Wakes the thread that watches over the writing one, when that has ended.
    ended: Condvar,
    sender: Sender,
    /// Why the session is not proven at the moment, as last told.
    suspended: Mutex<Option<String>>,
    /// Whether it was told that the path names another registry, or none.
    is_replaced: Mutex<bool>,
    closed: watch::Sender<bool>,
    /// Locked as long as the session lives. Kept here so that it can be let go of even while the
    /// writing thread is stuck.
    session_lock: Mutex<Option<File>>,
}

/// A panic elsewhere leaves each of these whole: every change to them is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        (place, footing): (Place, Footing),
        limits: Limits,
        timeout: u64,
        sender: Sender,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            place,
            footing,
            limits,
            timeout,
            queue: Mutex::default(),
            waker: Waker::new()?,
            phase: Mutex::new(Phase::Idle),
            ended: Condvar::new(),
            sender,
            suspended: Mutex::default(),
            is_replaced: Mutex::default(),
            closed: watch::Sender::new(false),
            session_lock: Mutex::default(),
        })
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Tells the node. That the session lives ends what was told to stand in its way.
    pub(crate) fn push(&self, event: Event) {
        let Event::Session(state) = event else { return self.sender.push(event) };
        if matches!(state, SessionState::Live { .. }) {
            *lock(&self.suspended) = None;
        }
        self.tell_session(state);
    }

    /// After a registry that was replaced no session lives, whatever was found out meanwhile.
    fn tell_session(&self, state: SessionState) {
        let is_replaced = lock(&self.is_replaced);
        if !*is_replaced {
            self.sender.push(Event::Session(state));
        }
    }

    pub(crate) fn answer(&self, ticket: Ticket, answer: Answer) {
        self.push(Event::Answer(ticket, answer));
    }

    pub(crate) fn submit(&self, ticket: Ticket, request: Request) {
        if let Request::Commit(ops) = &request
            && let Err(failure) = self.limits.admit(ops)
        {
            return self.answer(ticket, Answer::Failed(failure));
        }
        // What a node submits is meant for the session it last read to be alive.
        let heard = self.sender.heard();
        let most = self.limits.max_in_flight;
        let mut queue = self.queue();
        let failure = match heard {
            Some(session) if queue.closing().is_some() => Failure::SessionEnded(session),
            _ => match queue.push(ticket, request, heard.map(|session| session.0), most) {
                Ok(true) => return self.waker.wake(),
                Ok(false) => return,
                Err(why) => Failure::NotSent(why),
            },
        };
        drop(queue);
        self.answer(ticket, Answer::Failed(failure));
    }

    pub(crate) fn enter(&self, phase: Phase) {
        *lock(&self.phase) = phase;
    }

    /// Looks at the phase while it cannot change.
    pub(crate) fn phase(&self) -> MutexGuard<'_, Phase> {
        lock(&self.phase)
    }

    pub(crate) fn ended(&self) -> &Condvar {
        &self.ended
    }

    /// Tells once for each new reason.
    pub(crate) fn suspend(&self, why: &str) {
        let mut told = lock(&self.suspended);
        if told.as_deref() == Some(why) {
            return;
        }
        tracing::warn!(dir = %self.place.dir().display(), "the registry is away: {why}");
        *told = Some(why.to_owned());
        self.tell_session(SessionState::Suspended { why: why.to_owned() });
    }

    /// Tells, once, that the path names what was opened no more, and lets the writing thread end.
    pub(crate) fn replaced(&self, why: &str) {
        let mut is_replaced = lock(&self.is_replaced);
        if std::mem::replace(&mut *is_replaced, true) {
            return;
        }
        tracing::error!(dir = %self.place.dir().display(), "the registry is another one: {why}");
        self.sender.push(Event::Replaced(why.to_owned()));
        drop(is_replaced);
        let ended = self.sender.heard().map(Failure::SessionEnded);
        self.shut(&ended.unwrap_or_else(|| Failure::NotSent(why.to_owned())));
    }

    pub(crate) fn is_replaced(&self) -> bool {
        *lock(&self.is_replaced)
    }

    /// Whether the last thing told was that the session is not proven.
    pub(crate) fn is_suspended(&self) -> bool {
        lock(&self.suspended).is_some()
    }

    /// Answers what has not been begun, and lets the writing thread end the session.
    pub(crate) fn ask_to_close(&self) {
        self.shut(&Failure::NotSent("the registry was closed".to_owned()));
    }

    fn shut(&self, failure: &Failure) {
        let dropped = self.queue().close();
        for ticket in dropped {
            self.answer(ticket, Answer::Failed(failure.clone()));
        }
        self.waker.wake();
    }

    /// Answers those that have waited for too long for the writer's lock, and all after them.
    pub(crate) fn expire(&self, why: &str) {
        let before = clock::boot_millis().saturating_sub(self.timeout);
        let expired = self.queue().expire(before);
        for ticket in expired {
            self.answer(ticket, Answer::Failed(Failure::NotSent(why.to_owned())));
        }
    }

    /// Keeps a session's lock in place of the one before, which is freed.
    pub(crate) fn keep(&self, session_lock: Option<File>) {
        *lock(&self.session_lock) = session_lock;
    }

    /// The session is over. The inbox ends when the node lets go of its end too.
    pub(crate) fn finish(&self) {
        self.keep(None);
        self.closed.send_replace(true);
        self.ended.notify_all();
    }

    pub(crate) fn finished(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}
