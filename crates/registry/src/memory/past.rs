//! Earlier states, so that reads can lag behind as those of a slow replica do.

use super::tree::{Before, Tree, parent_of};
use crate::{Answer, Entry, Index, Key, Request};
use std::collections::{BTreeSet, VecDeque};

/// What the last commits replaced, newest last.
#[derive(Debug, Default)]
pub(super) struct Past {
    commits: VecDeque<(Index, Vec<Before>)>,
    kept: usize,
}

impl Past {
    pub(super) fn keeping(kept: usize) -> Self {
        Self { commits: VecDeque::new(), kept }
    }

    pub(super) fn push(&mut self, index: Index, replaced: Vec<Before>) {
        if self.kept == 0 {
            return;
        }
        if self.commits.len() == self.kept {
            self.commits.pop_front();
        }
        self.commits.push_back((index, replaced));
    }

    /// What was replaced after `at`, newest first.
    fn after(&self, at: Index) -> impl Iterator<Item = &Before> {
        let younger = move |commit: &&(Index, Vec<Before>)| commit.0 > at;
        let replaced = self.commits.iter().rev().take_while(younger);
        replaced.flat_map(|(_, replaced)| replaced.iter().rev())
    }

    /// Answers a read as of `at`, or of the oldest state kept where that is younger.
    pub(super) fn read(&self, tree: &Tree, at: Index, request: &Request) -> Option<Answer> {
        match request {
            Request::Get(key) => Some(Answer::Entry(self.entry(tree, at, key).cloned())),
            Request::Children(key) => Some(Answer::Children(self.children(tree, at, key))),
            Request::Watch(..) | Request::Unwatch(..) | Request::Commit(_) => None,
        }
    }

    fn entry<'a>(&'a self, tree: &'a Tree, at: Index, key: &Key) -> Option<&'a Entry> {
        let oldest = self.after(at).filter(|before| before.key == *key).last();
        oldest.map_or_else(|| tree.entry(key), |before| before.entry.as_ref())
    }

    fn children(&self, tree: &Tree, at: Index, key: &Key) -> Option<Vec<String>> {
        self.entry(tree, at, key)?;
        let mut names: BTreeSet<&str> =
            tree.children(key).into_iter().flatten().map(|name| &**name).collect();
        for before in self.after(at).filter(|b| parent_of(&b.key) == Some(key.as_str())) {
            match before.entry {
                Some(_) => names.insert(before.key.name()),
                None => names.remove(before.key.name()),
            };
        }
        Some(names.into_iter().map(str::to_owned).collect())
    }
}
