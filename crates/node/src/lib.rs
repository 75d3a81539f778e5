//! A node as a state machine. [`Node::step`] takes one [`Event`] and says in [`Effect`]s what is to be done.
//! The same state, time and event give the same effects: nothing in this crate reads a clock, waits or does
//! I/O. The engine feeds the node in real time, the simulation in virtual time.
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
//!            │   listener     once         looking      ineligible         │
//!   shard.rs │ one shard: its state, from a claim to the end of its run    │
//!            │   claim  ahead  run  ending  back  accounting  foreign      │
//!            │   gated  set_back                                           │
//!            └─────────────────────────────────────────────────────────────┘
//!   mirror.rs   what is known of the job's keys        (read by all of them)
//!   turn.rs     what a duty may touch: time, trust, outbox, alarms, capacity, marks
//! ```
//!
//! Each duty owns its state; no other file writes that state. A duty is given a turn, the mirror and the
//! facts that it needs, and receives the verdict on each change that it sent. A duty calls no other duty of
//! its job: it returns what it has learned, or sets a job mark or a shard mark, and `job.rs` with its files
//! `events.rs`, `answers.rs` and `leave.rs` decides what follows. (The trigger is given the job's shards, as
//! it passes a request on to each of them.) The job looks at marked shards before its turn is over; the node
//! looks at marked jobs before it sends anything.
//!
//! Requests of this process to run a job now are about jobs that this node may not serve. They are beside the
//! jobs, in `asking.rs`.
//!
//! # In which order to read it
//!
//! 1. The events that come in and the effects that go out: [`event`], [`effect`], [`settings`].
//! 2. How a node knows something: `mirror/slot.rs` (unknown is not absent), `mirror.rs`, `trust.rs`,
//!    `history.rs` (lost is not removed).
//! 3. How a node changes something: `outbox/change.rs`, `outbox.rs`, `outbox/repair.rs`.
//! 4. What a duty is given: `turn.rs`, `facts.rs`, `alarms.rs`, `capacity.rs`, `dirty.rs`.
//! 5. A shard's life: `shard/state.rs` (with a drawing), `shard.rs`, then one file for each stage.
//! 6. A job: `job.rs` (with the order of the duties), then one file for each duty.
//! 7. The whole: `node.rs` routes events; `check.rs` says what must hold between the parts.
//!
//! # Words
//!
//! README.md explains the words that users meet. This table explains the code's own words; each has one
//! meaning.
//!
//! | word | meaning |
//! |---|---|
//! | account | to write into a shard's record that a fire ran, misfired, was skipped or was missed |
//! | ahead | of a claim: made before its fire is due |
//! | ask | of a shard: someone asked for a run of it that is not claimed yet |
//! | change | operations that a duty wants made as a whole or not at all; several changes share a commit |
//! | dealt | of a shard: assigned to an instance by the job's leader |
//! | call | of a listener: one execution of its `before` or `after` |
//! | duty | a part of a job or shard with its own state and its own changes |
//! | fate | what became of a fire |
//! | facet | one thing that the registry holds about a job; each facet has one key |
//! | foreign | of a claim in a shard's record: its run is not a run of this node |
//! | gate | which of its due fires a free shard may run, where the job has a listener |
//! | goes | of this instance: it leaves the job, or cannot serve the job's definition |
//! | held up | of a shard: it could not run until an instant; its fires are accounted with the reason |
//! | hindrance | a reason why this instance may not serve the job's definition |
//! | ineligible | of an instance: it may not serve the job's definition, and says why |
//! | job mark, shard mark | a note that a job or a shard is to be looked at again |
//! | history | all that the registry has known since its data were last lost |
//! | keeper | the instance that looks after a shard's record: its owner or, if gone, one on which all agree |
//! | look | of the edge: to find out whether the script of a definition can be started |
//! | mirror | what this node believes about the keys of a job |
//! | open | of a fire: its `before` has ended, and the shards may run it |
//! | passed | of a fire: it is not run by any shard, as was decided for the job as a whole |
//! | place | the right of a run to be one of the node's runs; a fire waits for a free place |
//! | plan | the registry's document that says which schedule is in force, and since when |
//! | purpose | what a change is for, and so which duty receives its verdict |
//! | record | the registry's document about the fires of one shard |
//! | request | what the registry is sent; of a process or person: the wish that a job runs now |
//! | running mark | the key by which ElasticJob sees that a shard runs |
//! | slot | what this node believes about one key |
//! | set back | of a record: taken back from where a clock that was ahead had brought it |
//! | stale | of a claim made ahead: its run is known not to begin |
//! | term | one leadership of this instance, from election to the loss of the leader's key |
//! | trigger | the key by which an instance is asked to run its shards of a job now |
//! | trust | how long this node can prove that its session lives |
//! | turn | what a job is given for one event |
//! | verdict | what became of a change |
//! | watermark | the instant up to which a shard's fires are accounted |

pub mod effect;
pub mod event;
pub mod settings;
pub mod status;

mod alarms;
mod asking;
mod capacity;
mod check;
mod dirty;
mod facts;
mod history;
mod job;
mod mirror;
mod names;
mod node;
mod outbox;
mod phase;
mod registry_clock;
#[cfg(test)]
mod rig;
mod shard;
mod spread;
mod timeouts;
mod trust;
mod turn;

pub use effect::{Account, Effect, NotAsked, Report};
pub use event::{Define, Event, Looked, TriggerId};
pub use node::Node;
pub use phase::Phase;
pub use settings::Settings;
pub use status::{ClockStatus, JobStatus, ShardStatus, Status};
