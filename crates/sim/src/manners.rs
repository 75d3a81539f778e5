//! How the user code of a job behaves.

/// How long user code takes, and how it ends.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The shortest it takes: milliseconds.
    pub shortest: u64,
    /// The longest it takes: milliseconds.
    pub longest: u64,
    /// How often it fails, in a thousand.
    pub fails: u64,
    /// How often it does not end by itself, in a thousand.
    pub hangs: u64,
    /// How often it does not stop when told to, in a thousand.
    pub stubborn: u64,
}
