//! What is said between node, guard and runner: one order, then single bytes down, lines up.
//! All three are the same executable, so these forms carry no version.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Down: the lease is renewed.
pub(crate) const RENEW: u8 = b'R';
/// Down: the script is to stop.
pub(crate) const CANCEL: u8 = b'C';

/// The first line down: what to run, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// For people who look at a list of processes.
    pub label: String,
    /// The file to execute.
    pub program: PathBuf,
    /// Its arguments, the first being its name.
    pub argv: Vec<String>,
    /// All of its environment.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Where its output is kept, if anywhere.
    pub output: Option<PathBuf>,
    /// How many bytes of it.
    pub output_cap: u64,
    /// Its soft limit of open files; the node's own if none.
    pub open_files: Option<u64>,
    /// How long after a SIGTERM all is killed, in ms.
    pub grace_ms: u64,
    /// When the node began the run, in ms of the clock that leases are measured on.
    pub begun_ms: u64,
    /// How long after that the script may start, and go on without a renewal, in ms.
    pub lease_ms: u64,
    /// Whether it gets a PID namespace of its own.
    pub pid_namespace: bool,
}

/// A line up. The last one is any but `Progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// What the script said so far of what it has done.
    Progress { rows: u64, bytes: u64 },
    /// It could not be started.
    NotStarted { text: String },
    /// All has ended.
    Ended(Ended),
    /// The runner died without telling how the script ended; all has been ended.
    Lost { text: String, left: Vec<i32> },
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub how: How,
    /// Why it was told to stop, if it was before its end was seen.
    pub stop: Option<Stop>,
    pub rows: u64,
    pub bytes: u64,
    /// The end of its output, as text.
    pub tail: String,
    /// How much output there was, in bytes.
    pub output: u64,
    /// Why the output could not be kept, if so.
    pub output_error: Option<String>,
    /// How many processes it left behind, which were killed.
    pub stragglers: u32,
    /// Those that could not be killed in time.
    pub left: Vec<i32>,
}

impl Ended {
    /// Of a script that was not started, and why.
    pub(crate) fn before_the_start(stop: Stop) -> Self {
        Self {
            how: How::Unknown,
            stop: Some(stop),
            rows: 0,
            bytes: 0,
            tail: String::new(),
            output: 0,
            output_error: None,
            stragglers: 0,
            left: Vec::new(),
        }
    }
}

/// The end of the script's own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Exited(i32),
    Signalled(i32),
    /// It had not ended when the bound was over.
    Unknown,
}

/// Why a runner stopped its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    /// The node said so.
    Cancelled,
    /// No renewal came for the lease's length.
    LeaseLapsed,
    /// The guard, or the node behind it, is gone.
    PipeEnded,
}

impl Report {
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts and numbers are always JSON");
        line.push(b'\n');
        line
    }

    /// Nothing for a line that is none of ours.
    pub(crate) fn from_line(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
