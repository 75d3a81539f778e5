//! The registry on real servers: the suite of the contract, and what happens to servers and ways.
#![allow(clippy::print_stdout, reason = "tests tell what they counted")]

mod conformance;
mod faults;
mod fixture;
mod oracle;
mod proxy;
mod rights;
mod server;
mod tls;
