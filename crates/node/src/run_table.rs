//! The runs of a node by their number.
#![expect(clippy::disallowed_types, reason = "its order is never seen outside this file")]

use crate::runs::LocalRun;
use flockwork_core::execution::RunId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Runs by number. Looked into several times a run, so by digest; what is done to several of them is done
/// in the order of their numbers, as what a node does follows from what it is told alone.
#[derive(Debug, Default)]
pub(crate) struct RunTable(HashMap<RunId, Box<LocalRun>, BuildHasherDefault<Spread>>);

impl RunTable {
    pub(crate) fn get(&self, id: &RunId) -> Option<&LocalRun> {
        self.0.get(id).map(|run| &**run)
    }

    pub(crate) fn get_mut(&mut self, id: &RunId) -> Option<&mut LocalRun> {
        self.0.get_mut(id).map(|run| &mut **run)
    }

    pub(crate) fn insert(&mut self, id: RunId, run: Box<LocalRun>) {
        self.0.insert(id, run);
    }

    pub(crate) fn remove(&mut self, id: &RunId) -> Option<Box<LocalRun>> {
        self.0.remove(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are of a kind.
    pub(crate) fn count(&self, is_one: impl Fn(&LocalRun) -> bool) -> usize {
        self.0.values().filter(|run| is_one(run)).count()
    }

    pub(crate) fn any(&self, is_one: impl Fn(&LocalRun) -> bool) -> bool {
        self.0.values().any(|run| is_one(run))
    }

    /// Those of a kind, ascending.
    pub(crate) fn of(&self, is_one: impl Fn(&LocalRun) -> bool) -> Vec<RunId> {
        let chosen = self.0.iter().filter(|(_, run)| is_one(run));
        let mut ids: Vec<RunId> = chosen.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

/// Numbers that are given one after the other need no more than being spread: by Fibonacci hashing
/// (Knuth, The Art of Computer Programming, vol. 3, 6.4).
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// The map looks at the lowest bits, and those of a product know only the lowest of its factors.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
