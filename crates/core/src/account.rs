//! What became of a shard's fires.
//!
//! A shard's [`Record`] has a `watermark`: every fire due up to it is accounted, none after
//! it. So what is pending is never stored, it follows from the schedule; whoever takes a shard over
//! sees the same, nothing is forgotten, and nothing is accounted twice. [`settle()`] says what is to
//! become of what is pending. [`set_back()`] takes back what a clock that was ahead has accounted.

pub mod beyond;
pub mod note;
pub mod opened;
pub mod record;
pub mod set_back;
pub mod settle;

pub use beyond::{Begins, Ran, SetBack};
pub use note::{Fate, Note, Reason, Span};
pub use opened::{Passed, is_due, settle_opened, settle_passed, settle_replaced};
pub use record::{Claim, ClaimState, Counts, Last, Record};
pub use set_back::{AHEAD, set_back};
pub use settle::{Hold, Policy, Settled, settle};
