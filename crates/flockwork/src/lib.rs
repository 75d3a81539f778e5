//! A decentralised, sharded job scheduler for your own program.
//!
//! Every program that embeds a [`Node`] is equal: each fires its jobs on its own clock, and all that
//! share a [`Registry`] and a namespace share the work. A job is cut into shards; each due shard is
//! run by exactly one node, which claims it first. If a node dies, others take its shards over.
//!
//! ```
//! use flockwork::{Context, Job, Node, Registry};
//!
//! async fn settle(context: Context) -> Result<(), std::io::Error> {
//!     // Each shard settles its part of the orders, e.g. those whose id leaves this remainder.
//!     println!("shard {} of {}, due {}", context.shard(), context.shards(), context.due());
//!     context.processed(100, 0);
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), flockwork::Error> {
//! let node = Node::builder()
//!     .registry(Registry::memory())
//!     .job(Job::every("settle", std::time::Duration::from_secs(5)).shards(4), settle)
//!     .job(Job::cron("report", "0 0 2 ? * MON-FRI").time_zone("Europe/Berlin"), async |_| {
//!         Ok::<_, std::io::Error>(())
//!     })
//!     .start()?;
//! // The program goes on with whatever else it does, then:
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A program that is nothing but a node calls [`run`](NodeBuilder::run) with
//! [`drain_on_signals`](NodeBuilder::drain_on_signals) instead of `start`.
//!
//! # Scripts
//! A job may run a program ([`NodeBuilder::script`]). `main` then begins with
//! [`runner::run_if_asked`], as scripts run under small processes of the same executable which end
//! all of a script when the node is gone; without it such a job is refused.
//!
//! # Features
//! * none by default: a memory registry, whose nodes are all in one program;
//! * `embedded`: [`Registry::embedded`], for the programs of one host (brings SQLite);
//! * `metrics`: [`Metrics::render`], the numbers as an OpenMetrics text.
//!
//! # What a job's code must know
//! A run is *at least once*: a node that is cut off from the registry cannot be stopped by others,
//! who take its shards over. What a run writes elsewhere should carry [`Context::epoch`] and be
//! refused where a greater one was seen. See [`BlockingJob`] for code that blocks its thread.

mod error;
mod job;
mod node;
mod registry;

pub use error::Error;
pub use job::Job;
pub use node::{Node, NodeBuilder};
pub use registry::Registry;

pub use flockwork_core::config::{CatchUp, OnSessionLoss, Overlap, Retry, RetryOn, Strategy};
pub use flockwork_core::config::{Draft, ListenerDraft, OnBeforeFailure, Problem};
pub use flockwork_core::execution::{CancelReason, Ending, Outcome, Part, Run, Source};
pub use flockwork_core::id::{Epoch, InstanceId, JobName};
pub use flockwork_core::schedule::DstPolicy;
pub use flockwork_core::time::Timestamp;
pub use flockwork_engine::metrics::{Metrics, Numbers};
pub use flockwork_engine::report::{Reported, Reporter, Subscription, Told};
pub use flockwork_engine::{
    Connect, Connecting, EngineError, Handle, Link, NoLink, Stopped, Unavailable,
};
pub use flockwork_node::{Account, JobStatus, Report, ShardStatus, Status};
pub use flockwork_worker::{AsyncJob, BoxError, Context, Function, Job as BlockingJob};
pub use flockwork_worker::{JobFuture, JobResult, Listener};

pub use flockwork_worker::{Allowlist, Scripts, runner};

pub use flockwork_registry::memory::MemoryRegistry;
