//! Sets up, tests, simulates and measures Flockwork.
fn main() {}
