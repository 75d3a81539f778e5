//! How the parts of a node name a job among themselves.

/// A job's place in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobIx(pub(crate) u32);

impl JobIx {
    /// The place at a position.
    pub(crate) fn at(position: usize) -> Self {
        Self(u32::try_from(position).expect("fewer jobs than memory"))
    }

    pub(crate) fn position(self) -> usize {
        self.0 as usize
    }
}
