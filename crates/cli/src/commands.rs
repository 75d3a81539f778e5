//! One module a command, or a family of them.

pub(crate) mod next;
