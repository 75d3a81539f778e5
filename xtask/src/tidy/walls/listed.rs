//! Circles that stood before they were looked for: each may stand until it is mended, none may be
//! added, and none may grow.

use super::{LIST, WITHOUT_CIRCLES};
use crate::tidy::circles::Circle;
use std::collections::BTreeMap;

/// A line of the list.
#[derive(Debug)]
struct Listed<'a> {
    line: usize,
    /// The crate's name.
    name: &'a str,
    files: Vec<String>,
}

/// Holds a crate's circles against the list, and the list against them.
pub(super) fn broken(list: &str, circles: &BTreeMap<&str, Vec<Circle>>) -> Vec<String> {
    let listed: Vec<Listed<'_>> =
        lines(list).filter_map(|(line, text)| entry(line, text)).collect();
    let mut broken = Vec::new();
    for (name, found) in circles {
        let new = found.iter().filter(|circle| !is_covered(name, circle, &listed));
        broken.extend(new.map(|circle| format!("crates/{name}: {circle}")));
    }
    broken.extend(out_of_order(list));
    for entry in &listed {
        let found = circles.get(entry.name).map_or(&[][..], Vec::as_slice);
        broken.extend(outlived(entry, found, &listed));
    }
    broken
}

/// The lines that are no comments, with their numbers.
fn lines(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = list.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn entry(line: usize, text: &str) -> Option<Listed<'_>> {
    let (name, files) = text.split_once(": ")?;
    Some(Listed { line, name, files: files.split(' ').map(str::to_owned).collect() })
}

fn is_covered(name: &str, circle: &Circle, listed: &[Listed<'_>]) -> bool {
    let of_crate = listed.iter().filter(|entry| entry.name == name);
    !WITHOUT_CIRCLES.contains(&name) && of_crate.into_iter().any(|it| circle.is_within(&it.files))
}

/// What to do with a line, if its circle does not stand as it says.
fn outlived(entry: &Listed<'_>, found: &[Circle], listed: &[Listed<'_>]) -> Option<String> {
    let Listed { line, name, files } = entry;
    if WITHOUT_CIRCLES.contains(name) {
        return Some(format!("{LIST}:{line}: remove this line: {name} may have no circle"));
    }
    let left: Vec<&Circle> = found.iter().filter(|circle| circle.is_within(files)).collect();
    let stands = left.iter().any(|circle| circle.files == *files);
    let has_grown = found.iter().any(|circle| {
        let shares = circle.files.iter().any(|file| files.contains(file));
        shares && !is_covered(name, circle, listed)
    });
    if stands || has_grown {
        return None;
    }
    let left = left.iter().map(|circle| format!("\n    {name}: {}", circle.files.join(" ")));
    let left: String = left.collect();
    Some(match left.as_str() {
        "" => format!("{LIST}:{line}: remove this line: its circle is mended"),
        left => format!("{LIST}:{line}: shorten this line to:{left}"),
    })
}

/// A list in any other order than a sorted one says the same thing in many ways.
fn out_of_order(list: &str) -> Option<String> {
    let mut last = "";
    let (line, _) = lines(list).find(|(line, text)| {
        let is_after = std::mem::replace(&mut last, text) < *text;
        let is_entry = entry(*line, text).is_some_and(|entry| entry.files.is_sorted());
        !(is_after && is_entry)
    })?;
    Some(format!("{LIST}:{line}: not `crate: file file`, with lines and files in order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# why\n\n";

    /// How many files the list names, one in two circles counted twice. It falls with each circle that
    /// is mended, and is never raised.
    const MOST_FILES: usize = 52;

    #[test]
    fn the_list_names_as_many_files_as_are_left() {
        let list = include_str!("../circles.txt");
        let entries = lines(list).filter_map(|(line, text)| entry(line, text));
        let files: usize = entries.map(|entry| entry.files.len()).sum();
        assert_eq!(files, MOST_FILES, "the list only gets shorter, and this number with it");
    }

    fn circle(files: &str) -> Circle {
        Circle { files: files.split(' ').map(str::to_owned).collect(), way: Vec::new() }
    }

    fn broken_with(list: &str, found: &[&str]) -> Vec<String> {
        let circles = found.iter().map(|files| circle(files)).collect();
        broken(&format!("{HEAD}{list}"), &BTreeMap::from([("sim", circles)]))
    }

    #[test]
    fn a_listed_circle_may_stand_and_an_unlisted_one_may_not() {
        assert!(broken_with("sim: a.rs b.rs c.rs", &["a.rs b.rs c.rs"]).is_empty());
        assert_eq!(broken_with("", &["a.rs b.rs"]).len(), 1);
        assert_eq!(broken_with("soak: a.rs b.rs", &["a.rs b.rs"]).len(), 2, "another crate's");
    }

    #[test]
    fn a_listed_circle_may_not_grow() {
        let broken = broken_with("sim: a.rs b.rs", &["a.rs b.rs c.rs"]);
        assert_eq!(broken, ["crates/sim: 3 files need each other: a.rs b.rs c.rs"]);
    }

    #[test]
    fn a_line_goes_or_gets_shorter_with_its_circle() {
        let gone = broken_with("sim: a.rs b.rs", &[]);
        assert_eq!(gone, [format!("{LIST}:3: remove this line: its circle is mended")]);
        let split = broken_with("sim: a.rs b.rs c.rs d.rs e.rs", &["a.rs b.rs", "d.rs e.rs"]);
        let wanted = "shorten this line to:\n    sim: a.rs b.rs\n    sim: d.rs e.rs";
        assert_eq!(split, [format!("{LIST}:3: {wanted}")]);
    }

    #[test]
    fn one_circle_has_one_line() {
        let twice = broken_with("sim: a.rs b.rs\nsim: a.rs b.rs c.rs", &["a.rs b.rs"]);
        assert_eq!(twice, [format!("{LIST}:4: shorten this line to:\n    sim: a.rs b.rs")]);
    }

    #[test]
    fn the_list_is_in_order() {
        let found = ["a.rs b.rs", "c.rs d.rs"];
        assert!(broken_with("sim: a.rs b.rs\nsim: c.rs d.rs", &found).is_empty());
        assert_eq!(broken_with("sim: c.rs d.rs\nsim: a.rs b.rs", &found).len(), 1);
        assert_eq!(broken_with("sim: a.rs b.rs\nsim: a.rs b.rs\nsim: c.rs d.rs", &found).len(), 1);
        assert!(!broken_with("sim a.rs b.rs", &["a.rs b.rs"]).is_empty());
    }
}
