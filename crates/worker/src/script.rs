//! Scripts: programs of their own, run under guard and runner (see [`runner`](crate::runner)).
//!
//! A script is executed directly, without a shell: its arguments as written, then the context as
//! one JSON argument ([`context_json()`]). Its environment is new: `PATH` and `LANG` are fixed, `HOME`, `TZ`
//! and `TMPDIR` are the node's, and `FLOCKWORK_JOB`, `FLOCKWORK_SHARD`, `FLOCKWORK_FIRE` (the due
//! instant, RFC 3339), `FLOCKWORK_EPOCH` (the fencing token), `FLOCKWORK_ATTEMPT` tell of the run
//! (`FLOCKWORK_RUN` is the node's own mark). Standard input is empty, no other descriptor is open,
//! and the file mode mask is that of whoever started the node: what a job makes is for whom its operator
//! says, and only the node's own files are always private. Standard output and error are one stream: its
//! end is kept with the outcome, its beginning in a file, and a line on it like
//! `flockwork: processed rows=10 bytes=2048` adds to the run's progress.
//!
//! To cancel, every process of the script gets SIGTERM, and SIGKILL after the grace. When the
//! script's own process ends, whatever it has left behind is killed.

mod allow;
mod context_json;
mod environment;
mod lookout;
mod refusal;
mod startable;
mod store;
mod supervise;

pub use allow::Allowlist;
pub use context_json::{context_json, longest_context};
pub(crate) use lookout::Lookout;
pub use lookout::{Found, Tell};
pub use refusal::Refusal;
pub(crate) use store::Store;
pub use store::output_path;
pub(crate) use supervise::execute;

use flockwork_core::execution::Run;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a node runs scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// Which programs it executes. None unless said otherwise.
    pub allow: Allowlist,
    /// Where scripts start, and what relative program paths are relative to: the directory of the
    /// job file, or `/`.
    pub cwd: PathBuf,
    /// Where outputs are kept ([`output_path`]); none for nowhere.
    pub output: Option<PathBuf>,
    /// How many bytes of one run's output are kept there. 1 MiB unless said otherwise.
    pub output_cap: u64,
    /// How many bytes of all outputs. 256 MiB unless said otherwise.
    pub output_total: u64,
    /// The soft limit of open files that scripts have: what was the node's own before it raised that
    /// ([`OpenFiles`](crate::OpenFiles)). The node's own unless said otherwise.
    pub open_files: Option<u64>,
    /// How long a script may go on after its node was last heard: two thirds of the session's
    /// time-out, so that it has ended when the session has. 20 s (of 30) unless said otherwise.
    pub lease: Duration,
    /// Whether the node stands behind a run: asked before it starts and every sixth of the lease;
    /// while it does not, nothing starts and the lease is not renewed.
    pub trust: Trust,
    /// Gives each script a PID namespace of its own: the kernel then ends all of it whoever is
    /// killed, but the script sees and signals no process outside of it (it cannot reload a
    /// server by its PID file). Needs `CAP_SYS_ADMIN`. Off unless said otherwise.
    pub pid_namespace: bool,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            allow: Allowlist::default(),
            cwd: PathBuf::from("/"),
            output: None,
            output_cap: 1 << 20,
            output_total: 256 << 20,
            open_files: None,
            lease: Duration::from_secs(20),
            trust: Trust::default(),
            pid_namespace: false,
        }
    }
}

/// Whether a run may go on, as far as the node can prove its session. The default always says yes:
/// the lease then shows that the process lives and is not stopped, no more.
#[derive(Clone)]
pub struct Trust {
    stands: Arc<dyn Fn(&Run) -> bool + Send + Sync>,
    lease: Arc<dyn Fn() -> Option<Duration> + Send + Sync>,
}

impl Trust {
    /// Asks `stands`, from a thread of the worker's; it must not block.
    pub fn new(stands: impl Fn(&Run) -> bool + Send + Sync + 'static) -> Self {
        Self { stands: Arc::new(stands), lease: Arc::new(|| None) }
    }

    /// Asks `lease` at each start how long a script may go on at most after its node was last heard; it
    /// counts where it is shorter than [`Scripts::lease`]. It must not block.
    #[must_use]
    pub fn within(self, lease: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self { lease: Arc::new(lease), ..self }
    }

    pub(crate) fn stands(&self, run: &Run) -> bool {
        (self.stands)(run)
    }

    /// The lease of a script that starts now.
    pub(crate) fn lease(&self, most: Duration) -> Duration {
        (self.lease)().map_or(most, |lease| lease.min(most))
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
