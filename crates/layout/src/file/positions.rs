//! Where a job's keys stand, for what is found only when they are looked at together.

use crate::yaml::{Content, Node};
use flockwork_core::config::Position;
use std::collections::BTreeMap;

/// Where a job and each of its keys stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    job: Position,
    keys: BTreeMap<String, Position>,
}

impl Positions {
    pub(super) fn of(value: &Node) -> Self {
        let mut keys = BTreeMap::new();
        collect(value, &mut keys);
        Self { job: value.position, keys }
    }

    /// The first of `keys` that is written, and where its value stands; the job itself if none is.
    #[must_use]
    pub fn first_of(&self, keys: &[&'static str]) -> (Option<&'static str>, Position) {
        let written = keys.iter().find_map(|key| Some((Some(*key), *self.keys.get(*key)?)));
        written.unwrap_or((None, self.job))
    }
}

fn collect(value: &Node, keys: &mut BTreeMap<String, Position>) {
    let Content::Map(entries) = &value.content else { return };
    for (key, value) in entries {
        let Some(name) = key.scalar() else { continue };
        keys.insert(name.text.clone(), value.position);
        if name.text == "props" {
            collect(value, keys);
        }
    }
}
