//! What was made to go wrong.

use serde::{Deserialize, Serialize};

/// A fault that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A process died, and all its runs with it.
    Crash {
        /// The node.
        node: u32,
        /// Who died.
        instance: String,
        /// How many runs died.
        runs: u32,
    },
    /// A process stood still from here on.
    Pause {
        /// The node.
        node: u32,
        /// Until when.
        until: u64,
        /// Whether its runs stood still too.
        runs_too: bool,
    },
    /// A node could not reach the registry from here on.
    Cut {
        /// The node.
        node: u32,
        /// Until when.
        until: u64,
        /// How many requests had no answer yet.
        in_flight: u32,
    },
    /// The answer to a commit did not arrive.
    LostAnswer {
        /// The node.
        node: u32,
        /// The commit, if it happened; none if it never will.
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
    },
    /// Requests (`up`) or answers of a node stood still from here on; the other way was open.
    OneWay {
        /// The node.
        node: u32,
        /// Until when.
        until: u64,
        /// Whether it was the requests.
        up: bool,
        /// How many requests had no answer yet.
        in_flight: u32,
    },
    /// The registry answered nobody from here on.
    RegistryAway {
        /// Until when.
        until: u64,
        /// Whether it restarted, so that sessions have all their time again; else it stood still.
        restarts: bool,
    },
    /// The registry took no commit from here on, as its disk was full.
    Full {
        /// Until when.
        until: u64,
    },
    /// A node was told of changes late, twice and in another order from here on.
    Jumbled {
        /// The node.
        node: u32,
        /// Until when.
        until: u64,
    },
    /// Messages took long from here on.
    Slow {
        /// The node.
        node: u32,
        /// Until when.
        until: u64,
    },
}
