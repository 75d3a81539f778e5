//! The walls inside crates: no circle of files, and one file for a node's own methods.

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

/// The crate and the type whose `impl` blocks all stand in one file: code in a second one sees all
/// of the type, so that the two files are one thing in two places.
const WHOLE: (&str, &str) = ("node", "Node");

pub(super) fn broken(root: &Path, sources: &[Source]) -> Result<Vec<String>, String> {
    let list = std::fs::read_to_string(root.join(LIST)).map_err(|why| format!("{LIST}: {why}"))?;
    judge(sources, &list)
}

fn judge(sources: &[Source], list: &str) -> Result<Vec<String>, String> {
    let mut circles: BTreeMap<&str, Vec<Circle>> = BTreeMap::new();
    let mut broken = Vec::new();
    for (name, targets) in read(&crates(sources))? {
        circles.insert(name, targets.iter().flat_map(circles::find).collect());
        if name == WHOLE.0 {
            broken.extend(targets.iter().filter_map(|target| scattered(target, WHOLE.1)));
        }
    }
    broken.extend(listed::broken(list, &circles));
    Ok(broken)
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

/// Names the files with an `impl` of a type, if they are more than one.
fn scattered(modules: &Modules, name: &str) -> Option<String> {
    let mut places = BTreeMap::new();
    for (ix, module) in modules.all.iter().enumerate() {
        for block in &module.outline.impls {
            if modules.type_name(ix, &block.of).is_some_and(|of| of == name) {
                places.entry(modules.files[module.file].as_str()).or_insert(block.line);
            }
        }
    }
    let shown: Vec<String> =
        places.iter().map(|(file, line)| format!("\n    {file}:{line}")).collect();
    (shown.len() > 1).then(|| {
        let of = WHOLE.0;
        format!("crates/{of}: `impl {name}` belongs in one file, and stands in{}", shown.concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source((path, text): (&str, &str)) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_second_file_with_an_impl_of_node_is_found() {
        let files = |second: &'static str| {
            [
                ("crates/node/src/lib.rs", "mod machine; mod lead;"),
                ("crates/node/src/machine.rs", "pub struct Node; impl Node {}\nimpl Node {}"),
                ("crates/node/src/lead.rs", second),
            ]
            .map(source)
        };
        let seconds = [
            "use crate::machine::Node;\nimpl Node { fn lead(&mut self) {} }",
            "impl std::fmt::Display for crate::machine::Node {}",
            "impl<'a> From<&'a u8> for &'a crate::machine::Node {}",
            "use crate::machine::Node as N; impl N {}",
            "type N<'a> = &'a M; type M = crate::machine::Node; impl From<u8> for N<'_> {}",
            "fn f() { use crate::machine::Node as N; impl N {} }",
            "use crate::machine; impl machine::Node {}",
        ];
        for second in seconds {
            let broken = judge(&files(second), "").unwrap();
            assert!(matches!(&broken[..], [one] if one.contains("lead.rs:")), "{broken:?}");
        }
        let others = [
            "impl From<Node> for u8 {}",
            "#[cfg(test)]\nmod tests { impl super::Node {} }",
            "struct N; impl N {}",
            "type N = N; impl N {}",
        ];
        for other in others {
            assert!(judge(&files(other), "").unwrap().is_empty(), "{other}");
        }
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
