//! Nodes on ZooKeeper's wire: the registry's own interpreter and session, byte for byte, against
//! servers that are simulated.
//!
//! In reading order: the bytes of a packet (`packet`), a server's tree (`tree`), the servers as one
//! (`ensemble`) and each by itself (`server`), the way between (`line`), a host's end (`client`), how
//! the world turns them (`side`), what goes wrong on the wire (`harm`), what becomes of what is
//! committed (`facts`).

mod client;
mod ensemble;
mod facts;
mod harm;
mod line;
mod packet;
mod server;
mod side;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use client::{Client, Within};
pub(crate) use side::{Happens, Wire};
