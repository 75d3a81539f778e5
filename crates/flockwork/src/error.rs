//! Why a node cannot start, or ended unasked.

use flockwork_core::config::Problem;
use flockwork_core::id::BadInstanceId;
use flockwork_engine::{EngineError, Unavailable};
use flockwork_layout::keys::BadNamespace;
use std::io;

/// Why a node cannot start, or ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Jobs are not as they must be: all that is wrong with all of them.
    #[error("{}", listed(.0))]
    Jobs(Vec<Problem>),
    /// Two jobs of one node have the same name.
    #[error("two jobs are named {0}; a node serves each name once")]
    DuplicateJob(String),
    /// A job runs a script, and this program cannot guard one.
    #[error(
        "RUNNER_NOT_INSTALLED: the job {0} runs a script; call flockwork::runner::run_if_asked() \
         first in main"
    )]
    RunnerNotInstalled(String),
    /// The namespace cannot be used.
    #[error(transparent)]
    Namespace(#[from] BadNamespace),
    /// The address cannot stand in an instance's id.
    #[error(transparent)]
    Address(#[from] BadInstanceId),
    /// Other hosts must know this node by an address, and it has none.
    #[error(
        "no IPv4 address by which other hosts know this one was found ({0}); set one with address()"
    )]
    NoAddress(String),
    /// A setting is out of its range.
    #[error("{what} is {actual}; {hint}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What it is.
        actual: String,
        /// What it may be.
        hint: &'static str,
    },
    /// There is no tokio runtime to run on.
    #[error("a node is started inside of a tokio runtime, e.g. under #[tokio::main]")]
    NoRuntime,
    /// The kernel refuses to catch signals.
    #[error("SIGTERM, SIGINT and SIGHUP cannot be caught: {0}")]
    Signals(#[source] io::Error),
    /// The node ended unasked.
    #[error(transparent)]
    Ended(#[from] EngineError),
    /// The node does not take an order.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
