//! Requests of a program to run a job now, made through its own node, which tells what became of each: once,
//! and before long.

use flockwork_layout::trigger::Triggered;
use flockwork_node::{NotAsked, TriggerId};
use std::collections::BTreeSet;

/// How long a node may take to tell: far longer than it waits for the registry.
pub(crate) const TOLD_WITHIN: u64 = 60_000;

/// How often that is looked for: a process may stand still, once and again.
pub(crate) const TIMES: u8 = 4;

/// The requests that a node has not told of.
#[derive(Debug, Default)]
pub(crate) struct Asked(BTreeSet<TriggerId>);

impl Asked {
    /// Notes a request.
    pub(crate) fn ask(&mut self, id: TriggerId) {
        self.0.insert(id);
    }

    /// Forgets all of them: a node that has stopped owes nothing.
    pub(crate) fn stop(&mut self) {
        self.0.clear();
    }

    /// Notes that a node told of a request. Returns the state that was reached, or what is wrong.
    pub(crate) fn told(
        &mut self,
        id: TriggerId,
        told: &Result<Triggered, NotAsked>,
    ) -> Result<&'static str, String> {
        if !self.0.remove(&id) {
            return Err(format!("{id:?} is told of twice, or by another node: {told:?}"));
        }
        Ok(match told {
            Ok(told) if !told.unknown.is_empty() => {
                "a request through a node had an answer that was lost"
            }
            Ok(_) => "a request through a node was made",
            Err(_) => "a request through a node was not made",
        })
    }

    /// Returns what is wrong, if a request should have been told of by now and was not.
    pub(crate) fn must_be_told(&self, id: TriggerId) -> Result<(), String> {
        match self.0.contains(&id) {
            true => Err(format!("{id:?} was not told of within {TOLD_WITHIN} ms")),
            false => Ok(()),
        }
    }
}
