//! The walls inside crates: no circle of files.

mod listed;

use super::circles::{self, Circle};
use super::modules::{self, Modules, Texts};
use super::source::Source;
use std::collections::BTreeMap;
use std::path::Path;

/// The circles that stood before this was checked.
const LIST: &str = "xtask/src/tidy/circles.txt";

/// Crates that decide: no circle of theirs may be listed.
const WITHOUT_CIRCLES: [&str; 2] = ["core", "node"];

pub(super) fn broken(root: &Path, sources: &[Source]) -> Result<Vec<String>, String> {
    let list = std::fs::read_to_string(root.join(LIST)).map_err(|why| format!("{LIST}: {why}"))?;
    judge(sources, &list)
}

fn judge(sources: &[Source], list: &str) -> Result<Vec<String>, String> {
    let mut circles: BTreeMap<&str, Vec<Circle>> = BTreeMap::new();
    for (name, targets) in read(&crates(sources))? {
        circles.insert(name, targets.iter().flat_map(circles::find).collect());
    }
    Ok(listed::broken(list, &circles))
}

/// The texts below each crate's `src`.
fn crates(sources: &[Source]) -> BTreeMap<&str, Texts<'_>> {
    let mut crates: BTreeMap<&str, Texts<'_>> = BTreeMap::new();
    for source in sources {
        let parts: Vec<&str> = source.path.iter().filter_map(|part| part.to_str()).collect();
        if let ["crates", name, "src", below @ ..] = parts.as_slice() {
            crates.entry(name).or_default().insert(below.join("/"), &source.text);
        }
    }
    crates
}

/// Reads each crate in a thread of its own, since an unoptimised parser is slow.
fn read<'a>(crates: &BTreeMap<&'a str, Texts<'_>>) -> Result<Vec<(&'a str, Vec<Modules>)>, String> {
    std::thread::scope(|scope| {
        let reading: Vec<_> = crates
            .iter()
            .map(|(name, texts)| (*name, scope.spawn(|| modules::targets(texts))))
            .collect();
        let read = reading.into_iter().map(|(name, thread)| {
            let targets = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((name, targets.map_err(|why| format!("crates/{name}/src/{why}"))?))
        });
        read.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source((path, text): (&str, &str)) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn what_is_not_understood_is_no_pass() {
        let why = |file| judge(&[file].map(source), "").unwrap_err();
        assert!(why(("crates/a/src/lib.rs", "\nfn {")).starts_with("crates/a/src/lib.rs:2: "));
        assert!(why(("crates/a/src/lib.rs", "mod b;")).starts_with("crates/a/src/b/mod.rs: "));
    }

    #[test]
    fn a_circle_in_what_decides_may_not_be_listed() {
        let files = |name: &str| {
            let file = |file: &str, text| source((&format!("crates/{name}/src/{file}"), text));
            [
                file("lib.rs", "mod a; mod b;"),
                file("a.rs", "use crate::b::B; pub struct A;"),
                file("b.rs", "use crate::a::A; pub struct B;"),
            ]
        };
        assert!(judge(&files("sim"), "sim: a.rs b.rs\n").unwrap().is_empty());
        assert_eq!(judge(&files("sim"), "").unwrap().len(), 1);
        for name in WITHOUT_CIRCLES {
            let broken = judge(&files(name), &format!("{name}: a.rs b.rs\n")).unwrap();
            assert!(broken.iter().any(|line| line.starts_with(&format!("crates/{name}: "))));
        }
    }
}
