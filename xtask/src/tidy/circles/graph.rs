//! Circles among files that are known by their numbers.

use super::edges::Edges;
use crate::tidy::modules::FileIx;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The sets of files that all reach each other, each of more than one file.
pub(super) fn circles(edges: &Edges) -> Vec<Vec<FileIx>> {
    let reached: BTreeMap<FileIx, BTreeSet<FileIx>> =
        edges.keys().map(|from| (*from, reachable(edges, *from))).collect();
    let is_mutual = |one: FileIx, other: FileIx| {
        reached.get(&other).is_some_and(|from_other| from_other.contains(&one))
    };
    let mut found: Vec<Vec<FileIx>> = Vec::new();
    for (file, from_it) in &reached {
        let together = from_it.iter().copied().filter(|other| is_mutual(*file, *other));
        let together: Vec<FileIx> = together.collect();
        if together.first() == Some(file) {
            found.push(together);
        }
    }
    found
}

/// All files that one reaches in one step or more.
fn reachable(edges: &Edges, from: FileIx) -> BTreeSet<FileIx> {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(at) = left.pop() {
        let next = edges.get(&at).into_iter().flat_map(BTreeMap::keys);
        left.extend(next.filter(|file| seen.insert(**file)));
    }
    seen
}

/// The files of a shortest way round by one of these steps, in its order.
pub(super) fn shortest_way(edges: &Edges, steps: &[(FileIx, FileIx)]) -> Vec<FileIx> {
    let ways = steps.iter().filter_map(|(from, to)| way_back(edges, *from, *to));
    ways.min_by_key(Vec::len).unwrap_or_default()
}

/// The files from `start` by `next` on the shortest way that ends before `start`.
fn way_back(edges: &Edges, start: FileIx, next: FileIx) -> Option<Vec<FileIx>> {
    let mut before: BTreeMap<FileIx, FileIx> = BTreeMap::from([(next, start)]);
    let mut left = VecDeque::from([next]);
    while let Some(at) = left.pop_front() {
        for to in edges.get(&at).into_iter().flat_map(BTreeMap::keys) {
            if *to == start {
                return Some(way_to(&before, start, at));
            }
            if !before.contains_key(to) {
                before.insert(*to, at);
                left.push_back(*to);
            }
        }
    }
    None
}

fn way_to(before: &BTreeMap<FileIx, FileIx>, start: FileIx, end: FileIx) -> Vec<FileIx> {
    let mut way = vec![end];
    let mut at = end;
    while at != start {
        at = before[&at];
        way.push(at);
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::circles::edges::Need;

    fn graph(pairs: &[(FileIx, FileIx)]) -> Edges {
        let mut edges = Edges::new();
        for (from, to) in pairs {
            edges.entry(*from).or_default().insert(*to, Need::IsPart);
        }
        edges
    }

    #[test]
    fn only_files_that_all_reach_each_other_are_a_circle() {
        let edges = graph(&[(0, 1), (1, 2), (2, 1), (2, 3), (4, 5), (5, 6), (6, 4), (3, 4)]);
        assert_eq!(circles(&edges), [vec![1, 2], vec![4, 5, 6]]);
    }

    #[test]
    fn the_shortest_way_round_is_shown() {
        let edges = graph(&[(0, 1), (1, 2), (2, 0), (2, 3), (3, 2)]);
        assert_eq!(shortest_way(&edges, &[(0, 1), (2, 3)]), [2, 3]);
        assert_eq!(shortest_way(&edges, &[(0, 1), (2, 0)]), [0, 1, 2]);
    }
}
