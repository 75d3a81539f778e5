//! Which file needs which, with the place that shows it.

use super::homes::Homes;
use crate::tidy::modules::{FileIx, ModuleIx, Modules};
use std::collections::BTreeMap;

/// The files that each file needs.
pub(super) type Edges = BTreeMap<FileIx, BTreeMap<FileIx, Need>>;

/// Why a file needs another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It says so, here for the first time.
    Says(Witness),
    /// It stands below the other.
    IsPart,
}

/// The first line of a file by which it needs another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) line: usize,
    /// The path, or the method's call, as it stands there.
    pub(super) says: String,
}

/// What the files say that they need.
pub(super) fn of(modules: &Modules) -> Edges {
    let homes = Homes::of(modules);
    let mut first: BTreeMap<(FileIx, FileIx), Witness> = BTreeMap::new();
    for (ix, module) in modules.all.iter().enumerate() {
        for (to, witness) in needs(modules, &homes, ix) {
            let known = first.entry((module.file, to)).or_insert_with(|| witness.clone());
            if witness.line < known.line {
                *known = witness;
            }
        }
    }
    let mut edges = Edges::new();
    for ((from, to), witness) in first.into_iter().filter(|((from, to), _)| from != to) {
        edges.entry(from).or_default().insert(to, Need::Says(witness));
    }
    edges
}

fn needs(modules: &Modules, homes: &Homes, ix: ModuleIx) -> Vec<(FileIx, Witness)> {
    let outline = &modules.all[ix].outline;
    let paths = outline.paths.iter().filter_map(|(words, line)| {
        let to = homes.file(modules, &modules.resolve(ix, words)?)?;
        Some((to, Witness { line: *line, says: format!("`{}`", words.join("::")) }))
    });
    let calls = outline.calls.iter().filter_map(|(call, line)| {
        let to = homes.method(modules, ix, call)?;
        Some((to, Witness { line: *line, says: format!("`.{}()`", call.method) }))
    });
    paths.chain(calls).collect()
}
