//! Real nodes on real registries under real faults, judged by the checker that judges simulations.
//!
//! A soak starts three processes of the `flockwork` command, troubles them and their registry for
//! minutes, leaves them alone for a while, and gathers one trace of four independent witnesses: what
//! the registry committed (its own log), what the jobs wrote down of themselves ([`probes`]), what
//! passed on the wire, and what was done and is proven to have taken effect ([`fleet`]).
//!
//! In reading order: one run ([`soak`]); its nodes ([`nodes`], [`fleet`]) and faults ([`strikes`]); the
//! registries ([`registry`], [`zookeeper`], [`etcd`], [`embedded`]) and what they tell ([`history`]);
//! when that happened ([`dates`]), how it becomes a trace ([`gather`]) and what that comes to
//! ([`figures`]).

pub mod clock;
pub mod dates;
pub mod embedded;
pub mod etcd;
pub mod figures;
pub mod fleet;
pub mod gather;
pub mod history;
pub mod jobs;
pub mod nodes;
pub mod probes;
pub mod process;
pub mod registry;
pub mod soak;
pub mod strikes;
mod writers;
pub mod zookeeper;
