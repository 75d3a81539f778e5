//! How far an expression reaches, in bytes and in time.

/// The longest expression that is read.
pub(super) const MAX_BYTES: usize = 256;

/// The last year in which anything fires.
pub(super) const LAST_YEAR: i32 = 2299;
