//! How far a job is on this node: between the duty that owns it and the status that shows it.

/// The phase of a job on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The job's tree in the registry is being read or made.
    Joining,
    /// The job is served by this node.
    Serving,
    /// The job is refused by this node; the report said why.
    Refused,
    /// The job is being left by this node.
    Leaving,
    /// The job is no longer served by this node.
    Left,
    /// The job is gone from the registry.
    Removed,
}
