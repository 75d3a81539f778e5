//! One level of a target's tree of files: the children of one file, each with all below it.
//!
//! A child and what stands below it count as one thing, so who needs a part of it needs it. A circle
//! of a level leads from one child to another and back, whichever files below them make it; what
//! happens below one child alone is another level's.

use super::edges::{Edges, Need};
use super::graph;
use crate::tidy::modules::{FileIx, Modules};
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct Level<'a> {
    upper: FileIx,
    /// Each file's parent.
    parents: &'a [Option<FileIx>],
    edges: Edges,
}

impl<'a> Level<'a> {
    /// The levels that have a file.
    pub(super) fn all(said: &Edges, parents: &'a [Option<FileIx>]) -> Vec<Self> {
        let uppers: BTreeSet<FileIx> = parents.iter().copied().flatten().collect();
        uppers.into_iter().map(|upper| Self::below(upper, said, parents)).collect()
    }

    fn below(upper: FileIx, said: &Edges, parents: &'a [Option<FileIx>]) -> Self {
        let mut level = Self { upper, parents, edges: Edges::new() };
        for (file, parent) in parents.iter().enumerate() {
            if level.child(file).is_none() {
                continue;
            }
            let is_part = parent.filter(|it| *it != upper).map(|it| (it, Need::IsPart));
            let says = said.get(&file).cloned().unwrap_or_default().into_iter();
            let says = says.filter(|(to, _)| level.child(*to).is_some());
            let needs = is_part.into_iter().chain(says).collect();
            level.edges.insert(file, needs);
        }
        level
    }

    /// The child of this level that a file is or stands below.
    fn child(&self, file: FileIx) -> Option<FileIx> {
        let mut upwards = std::iter::successors(Some(file), |file| self.parents[*file]);
        upwards.find(|file| self.parents[*file] == Some(self.upper))
    }

    /// The circles of this level, each by its steps from one child to another.
    pub(super) fn circles(&self) -> Vec<Vec<(FileIx, FileIx)>> {
        let together = graph::circles(&self.edges).into_iter();
        let steps = together.map(|files| self.steps(&files.into_iter().collect()));
        steps.filter(|steps| !steps.is_empty()).collect()
    }

    fn steps(&self, among: &BTreeSet<FileIx>) -> Vec<(FileIx, FileIx)> {
        let all = among.iter().flat_map(|from| self.edges[from].keys().map(|to| (*from, *to)));
        let leads_over = |(from, to): &(FileIx, FileIx)| self.child(*from) != self.child(*to);
        all.filter(|step| among.contains(&step.1) && leads_over(step)).collect()
    }

    /// A shortest way round by one of these steps, each step with its reason.
    pub(super) fn way(&self, steps: &[(FileIx, FileIx)]) -> Vec<(FileIx, &Need, FileIx)> {
        let way = graph::shortest_way(&self.edges, steps);
        let next = way.iter().cycle().skip(1);
        way.iter().zip(next).map(|(from, to)| (*from, &self.edges[from][to], *to)).collect()
    }
}

/// Each file's parent: the file in which it is declared.
pub(super) fn parents(modules: &Modules) -> Vec<Option<FileIx>> {
    (0..modules.files.len()).map(|file| modules.parent(file)).collect()
}
