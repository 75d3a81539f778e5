//! Many nodes, one memory registry, one seed.
//!
//! Nothing here reads a clock or draws a number that the seed does not say: the same seed gives the
//! same trace, byte for byte, in every process. What happens is judged by `flockwork-checker` from
//! that trace alone.
//!
//! In reading order: randomness ([`dice`]), what a seed holds ([`scenario`]), the events (`queue`),
//! the machines (`host`), their user code ([`code`]) and their way to the registry (`link`, `registry_side`; in some seeds
//! ZooKeeper's own, `zookeeper`), what goes wrong (`trouble`), what becomes of the jobs (`jobs`), which of them have a
//! listener ([`listening`]) or run a script (`scripts`) and what becomes of two releases (`release`), the world
//! that turns it all ([`world`]), what it leaves ([`recorder`]) and what is told of it ([`outcome`],
//! [`reached`], [`timeline`], [`digest`]), how a failing seed is made smaller ([`shrink`]), and the mistakes that
//! prove the checker ([`mutants`]).

mod asking;
pub mod code;
pub mod dice;
pub mod digest;
mod host;
mod jobs;
mod link;
pub mod listening;
pub mod manners;
pub mod mutants;
pub mod outcome;
mod queue;
pub mod reached;
pub mod recorder;
mod registry_side;
mod release;
pub mod scenario;
mod scripts;
pub mod shrink;
pub mod timeline;
mod trouble;
pub mod world;
mod zookeeper;

pub use outcome::{Counts, Outcome, replay, run, run_scenario};

use flockwork_checker::trace::{self, Line};

/// A hash of a trace as it is written: FNV-1a, which is the same in every process.
#[must_use]
pub fn trace_hash(lines: &[Line]) -> u64 {
    let text = trace::write(lines);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
