//! The registry on real servers: the suite of the contract, and what happens to servers and ways.
#![allow(clippy::print_stdout, reason = "tests tell what they counted")]

mod conformance;
mod faults;
mod fixture;
mod history;
mod proxy;
mod rights;
mod server;
mod tls;
mod trust;
#[path = "../../src/wire.rs"]
#[allow(dead_code, reason = "the proxy reads one of these messages")]
mod wire;
