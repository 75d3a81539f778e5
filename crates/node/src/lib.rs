//! One node as a state machine: [`Node::step`] takes one [`Event`] and says what is to be done.
//! The same state, time and event give the same [`Effect`]s; nothing here reads a clock, waits or
//! does I/O. The engine feeds it in real time, the simulation in virtual time.
//!
//! In reading order: what comes in and goes out ([`event`], [`effect`]).

pub mod effect;
pub mod event;
pub mod settings;
pub mod status;

mod clock;
mod node;
mod session;
mod trust;

mod job;
mod reads;
mod slot;

mod definition;
mod differences;
mod ending;
mod fire;
mod handover;
mod lead;
mod leaving;
mod recover;
mod registering;
mod run_table;
mod runs;
mod tend;
mod timeouts;
mod trigger;
mod turn;

mod ahead;
mod alarms;
mod answers;
mod link;
mod repair;

pub use effect::{Account, Effect, Report};
pub use event::{Define, Event};
pub use node::Node;
pub use settings::Settings;
pub use status::{ClockStatus, JobStatus, Phase, ShardStatus, Status};
