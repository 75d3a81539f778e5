//! One module a command, or a family of them.

pub(crate) mod jobs;
pub(crate) mod next;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod validate;
