//! The flockwork command.
fn main() {}
