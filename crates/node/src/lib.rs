//! One node as a state machine: [`Node::step`] takes one [`Event`] and says what is to be done.
//! The same state, time and event give the same [`Effect`]s; nothing here reads a clock, waits or
//! does I/O. The engine feeds it in real time, the simulation in virtual time.

pub mod effect;
pub mod event;
pub mod settings;
pub mod status;

mod alarms;
mod capacity;
mod check;
mod dirty;
mod facts;
mod job;
mod mirror;
mod names;
mod node;
mod outbox;
mod registry_clock;
mod shard;
mod spread;
#[cfg(test)]
mod stage;
mod timeouts;
mod trust;
mod turn;

pub use effect::{Account, Effect, Report};
pub use event::{Define, Event};
pub use job::Phase;
pub use node::Node;
pub use settings::Settings;
pub use status::{ClockStatus, JobStatus, ShardStatus, Status};
