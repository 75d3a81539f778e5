//! Which file needs which, with the place that shows it.

use super::homes::Homes;
use crate::tidy::modules::{FileIx, ModuleIx, Modules};
use std::collections::BTreeMap;

/// The files that each file needs.
pub(super) type Edges = BTreeMap<FileIx, BTreeMap<FileIx, Witness>>;

/// The first line of a file by which it needs another.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) line: usize,
    /// The path, or the method's call, as it stands there.
    pub(super) says: String,
}

pub(super) fn of(modules: &Modules) -> Edges {
    let homes = Homes::of(modules);
    let mut edges = Edges::new();
    for (ix, module) in modules.all.iter().enumerate() {
        for (to, witness) in needs(modules, &homes, ix) {
            if to == module.file || modules.in_line(module.file, to) {
                continue;
            }
            let known = edges.entry(module.file).or_default().entry(to);
            let first = known.or_insert_with(|| witness.clone());
            if witness.line < first.line {
                *first = witness;
            }
        }
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
