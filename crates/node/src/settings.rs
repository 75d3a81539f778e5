//! The settings that a node is given once, at its start.

use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Namespace;
use flockwork_registry::{Clock, Limits};
use std::time::Duration;

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The id of this instance; it is unique to this start of the process.
    pub instance: InstanceId,
    /// The namespace that holds the node's jobs.
    pub namespace: Namespace,
    /// How much the registry takes in one commit.
    pub limits: Limits,
    /// The clock of the registry's that this node's clock can be compared with.
    pub clock: Clock,
    /// The most runs that the node has at a time. A fire that finds no free place waits unclaimed, in due
    /// order.
    pub max_running: usize,
    /// How often the node compares what it believes with what the registry holds.
    pub reconcile_interval: Duration,
}
