//! The registry on real servers: the suite of the contract, and what happens to servers and ways.
#![allow(clippy::print_stdout, reason = "tests tell what they counted")]

mod conformance;
mod fixture;
mod proxy;
mod server;
#[path = "../../src/wire.rs"]
#[allow(dead_code, reason = "the proxy reads one of these messages")]
mod wire;
