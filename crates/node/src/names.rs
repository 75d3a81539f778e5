//! The name by which the parts of a node refer to a job.

/// The position of a job in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobIx(pub(crate) u32);

impl JobIx {
    /// Creates the name of the job at a position.
    pub(crate) fn at(position: usize) -> Self {
        Self(u32::try_from(position).expect("fewer jobs than memory"))
    }

    pub(crate) fn position(self) -> usize {
        self.0 as usize
    }
}
