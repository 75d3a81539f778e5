//! Decides. No clock, no async, no I/O: what time it is comes in as an argument.
//!
//! In reading order: what things are called ([`id`], [`time`]), when a job is due ([`schedule`]).

pub mod id;
pub mod schedule;
pub mod time;
