//! Circles of files inside a crate: files none of which can be read, moved or tested without the
//! others.
//!
//! A file needs another where it names something that is defined there, or calls a method that is
//! defined there alone. A file and those below it count as one thing: what a module and its own
//! children need of each other makes no circle.

mod edges;
mod graph;
mod homes;
mod std_methods;

use super::modules::Modules;
use std::fmt;

/// Files that need each other.
#[derive(Debug)]
pub(super) struct Circle {
    /// Their paths from the crate's `src`, in order.
    pub(super) files: Vec<String>,
    /// A shortest way round, each step with what makes it.
    pub(super) way: Vec<Step>,
}

/// A need of one file for another.
#[derive(Debug)]
pub(super) struct Step {
    from: String,
    line: usize,
    says: String,
    to: String,
}

impl Circle {
    /// Whether all its files are among these.
    pub(super) fn is_within(&self, files: &[String]) -> bool {
        self.files.iter().all(|file| files.contains(file))
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files need each other: {}", self.files.len(), self.files.join(" "))?;
        for Step { from, line, says, to } in &self.way {
            write!(f, "\n    {from}:{line} uses {says} of {to}")?;
        }
        Ok(())
    }
}

/// All circles of a target.
pub(super) fn find(modules: &Modules) -> Vec<Circle> {
    let edges = edges::of(modules);
    let circles = graph::circles(&edges).into_iter();
    circles.map(|members| describe(modules, &edges, &members)).collect()
}

fn describe(modules: &Modules, edges: &edges::Edges, members: &[usize]) -> Circle {
    let path = |file: usize| modules.files[file].clone();
    let way = graph::shortest_way(edges, members);
    let next = way.iter().cycle().skip(1);
    let steps = way.iter().zip(next).filter_map(|(from, to)| {
        let edges::Witness { line, says } = edges.get(from)?.get(to)?.clone();
        Some(Step { from: path(*from), line, says, to: path(*to) })
    });
    let way = steps.collect();
    let mut files: Vec<String> = members.iter().copied().map(path).collect();
    files.sort();
    Circle { files, way }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::modules::library;

    /// The circles of a crate with these files.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        find(&library(files)).into_iter().map(|circle| circle.files).collect()
    }

    #[test]
    fn a_circle_by_paths_is_found_with_its_lines() {
        let library = library(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b;\n\npub struct A;\nfn f() { b::g() }"),
            ("b.rs", "pub fn g() {}\n\nstruct C(super::c::C);"),
            ("c.rs", "use crate::{a::A, b};\npub struct C(A);"),
        ]);
        let circles = find(&library);
        assert_eq!(circles.len(), 1);
        let wanted = "3 files need each other: a.rs b.rs c.rs\n    \
                      a.rs:4 uses `b::g` of b.rs\n    \
                      b.rs:3 uses `super::c::C` of c.rs\n    \
                      c.rs:1 uses `crate::a::A` of a.rs";
        assert_eq!(circles[0].to_string(), wanted);
    }

    #[test]
    fn a_circle_by_method_calls_is_found() {
        let files = [
            ("lib.rs", "mod node; mod lead; mod fire; struct Node;"),
            ("node.rs", "impl crate::Node { fn turn(&mut self) { self.lead_on() } }"),
            (
                "lead.rs",
                "impl crate::Node { pub(crate) fn lead_on(&mut self) { self.fire_now() } }",
            ),
            (
                "fire.rs",
                "impl crate::Node { pub(crate) fn fire_now(&mut self) { drop(self.lead_on()) } }",
            ),
        ];
        assert_eq!(circles(&files), [["fire.rs", "lead.rs"]]);
    }

    #[test]
    fn calls_of_functions_without_self_lead_to_the_impl_that_has_them() {
        let files = [
            ("lib.rs", "mod a; mod b; pub struct Node;"),
            ("a.rs", "use crate::Node; impl Node { pub(crate) fn made() { Node::begun() } }"),
            ("b.rs", "use crate::Node; impl Node { pub(crate) fn begun() { Self::made() } }"),
        ];
        assert_eq!(circles(&files), [["a.rs", "b.rs"]]);
    }

    #[test]
    fn a_parent_and_those_below_it_are_no_circle() {
        let files = [
            ("lib.rs", "pub mod a; pub use a::b::B; pub struct L;"),
            ("a.rs", "pub mod b; pub struct A(b::B, b::c::C);"),
            ("a/b.rs", "pub mod c; use super::A; pub struct B(A, crate::L);"),
            ("a/b/c.rs", "pub struct C(crate::a::A);"),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn siblings_and_cousins_are_a_circle() {
        let siblings = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; mod c;"),
            ("a/b.rs", "pub struct B(super::c::C);"),
            ("a/c.rs", "pub struct C(Box<super::b::B>);"),
        ];
        assert_eq!(circles(&siblings), [["a/b.rs", "a/c.rs"]]);
        let uncle = [
            ("lib.rs", "mod a; mod c;"),
            ("a.rs", "mod b; pub use b::B;"),
            ("a/b.rs", "pub struct B(crate::c::C);"),
            ("c.rs", "pub struct C(Box<crate::a::B>);"),
        ];
        assert_eq!(circles(&uncle), [["a/b.rs", "c.rs"]]);
    }

    #[test]
    fn test_code_makes_no_edge() {
        let files = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod trial;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("b.rs", "pub struct B(crate::a::A); #[cfg(test)] mod tests;"),
        ];
        assert!(circles(&files).is_empty());
    }

    /// Two files of which the second names the first, and this is called in the first.
    fn calling(call: &str, second: &str) -> Vec<Vec<String>> {
        circles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", call),
            ("b.rs", second),
            ("c.rs", "pub struct C; impl C { pub fn twice(&self) {} }"),
        ])
    }

    #[test]
    fn a_method_counts_where_one_file_alone_defines_it() {
        let call = "pub struct A; fn f(x: X) { x.once(); x.twice(); x.never(); x.get() }";
        let defining = |name: &str| {
            let text = format!("impl crate::a::A {{ pub fn {name}(&self) {{}} }}");
            calling(call, &text).len()
        };
        assert_eq!(["once", "twice", "other", "get"].map(defining), [1, 0, 0, 0]);
    }

    #[test]
    fn a_call_that_cannot_mean_the_method_is_no_edge() {
        let call = "pub struct A; fn f(x: X) { x.once(1) }";
        let counts = [
            ("impl crate::a::A { pub fn once(&self, it: u8) {} }", 1),
            ("impl crate::a::A { pub fn once(&self) {} }", 0),
            ("impl crate::a::A { fn once(&self, it: u8) {} }", 0),
            ("impl crate::a::A { pub(self) fn once(&self, it: u8) {} }", 0),
            ("impl crate::a::A { pub(super) fn once(&self, it: u8) {} }", 1),
            ("trait T { fn once(&self, it: u8); } struct B(crate::a::A);", 1),
        ];
        for (second, count) in counts {
            assert_eq!(calling(call, second).len(), count, "{second}");
        }
    }

    #[test]
    fn what_stands_in_a_macro_makes_an_edge() {
        for call in ["assert!(x.once(), \"{}\", 1)", "select! { x = y.once() => {} }"] {
            let text = format!("pub struct A; fn f() {{ {call} }}");
            let second = "impl crate::a::A { pub fn once(&self) {} }";
            assert_eq!(calling(&text, second).len(), 1, "{call}");
        }
    }
}
