//! A ZooKeeper client of our own.
//!
//! In reading order: what is sent (`request`) and received (`reply`) and how it is spelled (`jute`,
//! `frames`); a session as a state machine over bytes ([`Session`]), with its user ([`Stepped`]); the
//! task that moves the bytes ([`spawn`]).
//!
//! # What it promises
//! * Nothing is queued while there is no connection. What was under way when it broke is unknown,
//!   never failed.
//! * One ordered stream: a change that a server tells before an answer is told before that answer.
//! * Watches stay, over reconnects and sessions.
//! * No packet above [`MAX_PACKET`] is sent; no length a server claims is believed.

mod code;
mod edge;
mod frames;
mod jute;
mod reply;
mod request;
mod session;
mod stepped;
mod tls;

pub use code::Code;
pub use edge::{Handle, Servers, boot_millis, spawn};
pub use jute::DecodeError;
pub use reply::{Change, OpResult, Reply, Stat};
pub use request::{ANY_VERSION, Acl, Create, CreateMode, MAX_PACKET, Op, Request};
pub use session::{Ask, Config, Event, Input, Lost, Output, Session};
pub use stepped::{Stepped, User};
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::TlsError;
