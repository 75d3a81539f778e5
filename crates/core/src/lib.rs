//! Decides. No clock, no async, no I/O: what time it is comes in as an argument.
//!
//! In reading order: what things are called ([`id`], [`time`]), what a job is ([`config`]), when it
//! is due ([`schedule`]), what one run is told and how it ends ([`execution`]).

pub mod account;
pub mod assignment;
pub mod config;
pub mod execution;
pub mod id;
pub mod schedule;
pub mod time;
