//! Decides. No clock, no async, no I/O: what time it is comes in as an argument.
//!
//! In reading order: what things are called ([`id`], [`time`]) and how durations are written
//! ([`duration`]), what a job is ([`config`]), when it is due ([`schedule`], [`timetable`]), who runs
//! what ([`assignment`]), what becomes of its fires ([`account`]), what one run is told and how it
//! ends ([`execution`]), who may serve it ([`eligibility`]).

pub mod duration;
pub mod id;
pub mod time;

pub mod config;

pub mod schedule;
pub mod timetable;

pub mod assignment;

pub mod account;

pub mod eligibility;
pub mod execution;
