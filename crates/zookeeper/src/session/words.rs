//! What goes into a session and what comes out of it.

use crate::{Change, Code, Reply, Request};
use bytes::Bytes;
use std::net::SocketAddr;

/// How to hold a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The time-out asked for, in milliseconds; the server has the last word.
    pub timeout: u32,
    /// `user:password` for the scheme `digest`, sent first on each connection.
    pub digest: Option<String>,
    /// Any number, another one in each process: spreads clients over servers and their attempts
    /// over time.
    pub spread: u64,
}

/// The digest is a secret.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = self.digest.as_ref().map(|_| "(not shown)");
        f.debug_struct("Config").field("timeout", &self.timeout).field("digest", &digest).finish()
    }
}

/// A question, to be answered in the order of all questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names it.
    pub ticket: u64,
    /// The session in whose name it is asked, if that matters: once another has followed it is not
    /// sent.
    pub session: Option<i64>,
    /// What is asked; `None` only asks for its turn, [`Event::InTurn`].
    pub request: Option<Request>,
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Somebody asks.
    Ask(Ask),
    /// The servers' addresses.
    Resolved(Vec<SocketAddr>),
    /// Their names have no address, or there is no telling.
    NotResolved(String),
    /// The connection stands.
    Connected,
    /// Bytes came.
    Received(Bytes),
    /// There is no connection (any more), and why.
    Broken(String),
    /// End the session.
    Close,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look the servers' addresses up: [`Input::Resolved`] or [`Input::NotResolved`].
    Resolve,
    /// Connect: [`Input::Connected`] or [`Input::Broken`].
    Connect(SocketAddr),
    /// Drop the connection, the attempt or the look-up; nothing more comes of it.
    Disconnect,
    /// Send these bytes.
    Write(Bytes),
    /// Tell the user.
    Tell(Event),
}

/// What a user is told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server's answer.
    Reply {
        /// Which question.
        ticket: u64,
        /// The transaction: a write's own, for other requests the last one the server knew.
        zxid: i64,
        /// The answer.
        result: Result<Reply, Code>,
    },
    /// It is this question's turn.
    InTurn(u64),
    /// No answer.
    Failed {
        /// Which question.
        ticket: u64,
        /// Why.
        why: Lost,
    },
    /// A watched node changed.
    Watched(Change, String),
    /// Changes may have been missed. All watches are set again before the next question is sent.
    Resync,
    /// The session is proven alive.
    Live {
        /// Which one.
        session: i64,
        /// Until when no server can have ended it, on the caller's clock.
        trusted_until: u64,
    },
    /// The session's time-out is so many milliseconds, and not what was asked for or given before. Told
    /// before [`Event::Live`].
    Timeout(u64),
    /// There is no connection, and why.
    Suspended(String),
    /// The session has ended; another follows.
    Ended(i64),
    /// The servers have lost transactions that this session saw: they are not those they were, or
    /// were set back. Told before [`Event::Ended`].
    Reset {
        /// The last transaction seen.
        seen: i64,
        /// The last one they know of.
        found: i64,
    },
    /// The session was closed, or was given up; nothing follows.
    Closed,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It was not sent.
    NotSent(String),
    /// It was sent and the connection broke; it may have been done, or may yet, until this session
    /// is answered again.
    Unknown(String),
    /// It was not sent, as the session in whose name it was asked has ended.
    Ended(i64),
    /// It was not sent, as its packet is above [`MAX_PACKET`](crate::MAX_PACKET): so long, in bytes.
    TooLarge(usize),
}
