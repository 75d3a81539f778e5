//! Runs one shard: job traits, script runner, panic and cancel as outcomes.
//!
//! In reading order: what a job is ([`job`]), what it is told ([`context`]), who runs it
//! ([`worker`]).

pub mod context;
pub mod job;
mod pool;
pub mod worker;

pub use context::{Context, Progress};
pub use job::{AsyncJob, BoxError, Function, Job, JobResult};
pub use worker::{Handle, Settings, Worker};
