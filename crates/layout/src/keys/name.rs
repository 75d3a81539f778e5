//! Names that stand in keys: of shards, instances, hosts, and free ones.

use flockwork_core::id::{InstanceId, ShardIndex};
use std::fmt::Write;

/// A shard's number as a name: decimal, without sign or leading zeros.
#[must_use]
pub fn shard(name: &str) -> Option<ShardIndex> {
    let number: ShardIndex = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

/// What may stand in a key as a name.
pub(super) trait Name: Sized {
    /// The name as it stands in a key; none if it cannot stand there.
    fn read(text: &str) -> Option<Self>;

    /// Adds the name to a key.
    fn spell(&self, key: &mut String);
}

impl Name for ShardIndex {
    fn read(text: &str) -> Option<Self> {
        shard(text)
    }

    fn spell(&self, key: &mut String) {
        write!(key, "{self}").expect("a string takes all");
    }
}

impl Name for InstanceId {
    fn read(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }

    fn spell(&self, key: &mut String) {
        key.push_str(self.as_str());
    }
}

impl Name for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn spell(&self, key: &mut String) {
        key.push_str(self);
    }
}
