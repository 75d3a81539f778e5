//! The memory registry: the contract in its plainest form.
//!
//! [`Store`] is a struct without clock, threads or async, which a simulation steps by hand.
//! [`MemoryRegistry`] lets several nodes of one process share it, and does them every wrong the
//! contract allows, on request ([`Faults`]).

mod digest;
mod faults;
mod line;
mod past;
mod registry;
mod store;
mod tree;

pub use faults::{Faults, Loss};
pub use registry::{Connected, MemoryRegistry};
pub use store::{Options, Store};
