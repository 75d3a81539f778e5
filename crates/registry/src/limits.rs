//! What a commit must keep to before it is sent.

use crate::key::KEY_BYTES;
use crate::{Failure, Limits, Op};

/// The digits that [`Op::Create`]'s `sequence` appends.
pub const SEQUENCE_DIGITS: usize = 10;

impl Limits {
    /// Whether a commit of these operations may be sent.
    ///
    /// # Errors
    /// [`Failure::TooLarge`], naming the first limit it is above.
    pub fn admit(&self, ops: &[Op]) -> Result<(), Failure> {
        within("the number of operations in one commit", ops.len(), self.max_ops)?;
        let mut bytes = 0;
        for op in ops {
            within("a value, in bytes,", value_bytes(op), self.max_value)?;
            if let Op::Create { key, sequence: true, .. } = op {
                let whole = key.as_str().len() + SEQUENCE_DIGITS;
                within("a key with its sequence number, in bytes,", whole, KEY_BYTES)?;
            }
            bytes += op.bytes();
        }
        within("the size of one commit, in bytes,", bytes, self.max_bytes)
    }
}

fn value_bytes(op: &Op) -> usize {
    match op {
        Op::Create { value, .. } | Op::Set(_, value, _) => value.len(),
        Op::Check(..) | Op::CheckAbsent(_) | Op::Delete(..) => 0,
    }
}

fn within(what: &'static str, actual: usize, limit: usize) -> Result<(), Failure> {
    match actual <= limit {
        true => Ok(()),
        false => Err(Failure::TooLarge { what, actual, limit }),
    }
}
