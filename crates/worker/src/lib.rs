//! Runs one shard: job traits, script runner, panic and cancel as outcomes.
//!
//! In reading order: what a job is ([`job`]) and what may stand beside it ([`listener`]), what it is told
//! ([`context`]), who runs it ([`worker`]), how programs are run ([`script`]) and kept from outliving their
//! node ([`runner`]), and how many of them the limit of open files holds ([`open_files`]).

mod burst;
pub mod context;
pub mod job;
pub mod listener;
pub mod open_files;
mod pool;
pub mod runner;
pub mod script;
pub mod worker;

pub use context::{Context, Progress};
pub use job::{AsyncJob, BoxError, Function, Job, JobFuture, JobResult};
pub use listener::Listener;
pub use open_files::OpenFiles;
pub use script::{Allowlist, Scripts, Trust};
pub use worker::{Handle, Settings, Worker};

#[cfg(test)]
mod tests {
    use flockwork_core::execution::{Fire, Part, Run, RunId, Source, Work};
    use flockwork_core::id::{Epoch, InstanceId, JobName};
    use flockwork_core::time::Timestamp;
    use std::sync::Arc;

    pub(crate) fn run_of(job: &str) -> Run {
        Run {
            id: RunId(1),
            job: JobName::new(job).unwrap(),
            part: Part::Shard,
            shard: 2,
            shards: 4,
            fire: Fire { due: Timestamp::from_millis(1_767_225_600_000), source: Source::Schedule },
            attempt: 1,
            epoch: Epoch(77),
            instance: InstanceId::new("10.0.0.1@-@4711-9f3c").unwrap(),
            shard_parameter: Some("Beijing".to_owned()),
            job_parameter: "p".to_owned(),
            timeout: None,
            work: Arc::new(Work::Function),
        }
    }
}
