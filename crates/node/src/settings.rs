//! What a node is told once, at its start.

use flockwork_core::id::InstanceId;
use flockwork_layout::keys::Namespace;
use flockwork_registry::{Clock, Limits};
use std::time::Duration;

/// A node's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who it is; unique to this start of the process.
    pub instance: InstanceId,
    /// Where its jobs are.
    pub namespace: Namespace,
    /// What the registry takes in one commit.
    pub limits: Limits,
    /// With which clock of the registry's this node's can be compared.
    pub clock: Clock,
    /// How many runs it has at a time; a fire that finds it full waits unclaimed, in due order.
    pub max_running: usize,
    /// How often it compares what it believes with what the registry holds.
    pub reconcile_interval: Duration,
}
