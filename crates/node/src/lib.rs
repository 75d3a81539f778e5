//! One node as a state machine: [`Node::step`] takes one [`Event`] and says what is to be done.
//! The same state, time and event give the same [`Effect`]s; nothing here reads a clock, waits or
//! does I/O. The engine feeds it in real time, the simulation in virtual time.
//!
//! # How it is built
//!
//! ```text
//!             Event                                   Effect
//!               │                                       ▲
//!   node.rs     ▼   routes each event to one job        │
//!            ┌─────────────────────────────────────────────────────────────┐
//!   job.rs   │ one job: the order in which its duties have their turn      │
//!            │   definition   membership   leadership   handover           │
//!            │   clock_note   trigger      timer        reading            │
//!   shard.rs │ one shard: its state, from a claim to the end of its run    │
//!            │   claim  ahead  run  ending  back  accounting  foreign      │
//!            └─────────────────────────────────────────────────────────────┘
//!   mirror.rs   what is known of the job's keys        (read by all of them)
//!   turn.rs     what a duty may touch: time, trust, outbox, alarms, capacity, marks
//! ```
//!
//! A duty owns its state, and no other file writes it. It is given a turn, the mirror and the
//! facts that it needs. It is told what became of the changes that it sent. It calls no other duty: it
//! returns what it has learned, or marks the job or a shard, and `job.rs` decides what follows. Marked
//! shards are looked at before the turn is over, marked jobs before anything is sent.
//!
//! # In which order to read it
//!
//! 1. What comes in and goes out: [`event`], [`effect`], [`settings`].
//! 2. How a node knows something: `mirror/slot.rs` (unknown is not absent), `mirror.rs`, `trust.rs`.
//! 3. How it changes something: `outbox/change.rs`, `outbox.rs`, `outbox/repair.rs`.
//! 4. What a duty is given: `turn.rs`, `facts.rs`, `alarms.rs`, `capacity.rs`, `dirty.rs`.
//! 5. A shard's life: `shard/state.rs` (drawn there), `shard.rs`, then a stage a file.
//! 6. A job: `job.rs` (the written order), then a duty a file.
//! 7. `node.rs`, which routes, and `check.rs`, which says what must hold between the parts.
//!
//! # Words
//!
//! The words that users meet are in README.md. These are the code's own, each with one meaning here.
//!
//! | word | meaning |
//! |---|---|
//! | account | to write down in a shard's record what became of a fire: it ran, misfired, was skipped or missed |
//! | ahead | of a claim: made before its fire is due |
//! | change | operations that a duty wants made as a whole or not at all; several share a commit |
//! | dealt | of a shard: given to an instance by the job's leader |
//! | duty | a part of a job or shard with its own state and its own changes |
//! | fate | what became of a fire |
//! | facet | one thing that the registry holds about a job; each has one key |
//! | foreign | of a claim in a shard's record: not a run of this node |
//! | goes | of this instance: it leaves the job, or cannot serve its definition |
//! | held up | of a shard: it could not run until an instant, for a reason that its fires are accounted with |
//! | job mark, shard mark | a note that a job or a shard is to be looked at again |
//! | keeper | the instance that looks after a shard's record: its owner or, if that is gone, one on which all agree |
//! | mirror | what this node believes about the keys of a job |
//! | place | the right of a run to be one of the node's runs; a fire waits for a free one |
//! | plan | the registry's document that says which schedule is in force and since when |
//! | purpose | what a change is for, and so which duty hears what became of it |
//! | record | the registry's document about the fires of one shard |
//! | running mark | the key by which ElasticJob sees that a shard runs |
//! | slot | what is believed about one key |
//! | stale | of a claim made ahead: known not to begin |
//! | trust | how long this node can prove that its session lives |
//! | turn | what a job is given for one event |
//! | verdict | what became of a change |
//! | watermark | the instant up to which a shard's fires are accounted |

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
