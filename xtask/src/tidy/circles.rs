//! Circles of files inside a crate: files none of which can be read, moved or tested without the
//! others.
//!
//! A file needs another where it names something that is defined there, or calls a method that is
//! defined there alone. A file and those below it count as one thing to all others: who needs a part
//! of it needs it, and what its parts need it needs as far as it needs them. What a module and its
//! own children need of each other makes no circle: `level.rs` says how.
//!
//! # What is not seen
//!
//! That no circle is found proves little, and a step by a method is to be read before it is believed:
//! without types, a method is known by its name and the number of its arguments, and another crate's
//! type may have one like it. These needs leave no trace:
//!
//! * a call of a method whose name the standard library's types have too (`std_methods.rs`), or that
//!   two files define;
//! * a field that is read or written, of a value whose type is not named there;
//! * what a macro defines: a path to it is known by its module only, a name without a path not at all;
//! * what the file of the crate's root needs or defines: all others stand below it.

mod edges;
mod graph;
mod homes;
mod level;
mod std_methods;

use super::modules::{FileIx, Modules};
use edges::{Need, Witness};
use level::Level;
use std::collections::BTreeSet;
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
    need: Need,
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
        for Step { from, need, to } in &self.way {
            match need {
                Need::Says(Witness { line, says }) => {
                    write!(f, "\n    {from}:{line} uses {says} of {to}")?;
                }
                Need::IsPart => write!(f, "\n    {from} is a part of {to}")?,
            }
        }
        Ok(())
    }
}

/// All circles of a target.
pub(super) fn find(modules: &Modules) -> Vec<Circle> {
    let parents = level::parents(modules);
    let levels = Level::all(&edges::of(modules), &parents);
    let describe = |level: &Level<'_>| -> Vec<Circle> {
        level.circles().iter().map(|steps| describe(modules, level, steps)).collect()
    };
    levels.iter().flat_map(describe).collect()
}

fn describe(modules: &Modules, level: &Level<'_>, steps: &[(FileIx, FileIx)]) -> Circle {
    let path = |file: FileIx| modules.files[file].clone();
    let way = level.way(steps).into_iter();
    let way =
        way.map(|(from, need, to)| Step { from: path(from), need: need.clone(), to: path(to) });
    let files: BTreeSet<String> =
        steps.iter().flat_map(|(from, to)| [path(*from), path(*to)]).collect();
    Circle { files: files.into_iter().collect(), way: way.collect() }
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

    /// The circles of `a.rs`, `a/b.rs` below it and `c.rs` beside it, each with this text.
    fn of_family(a: &str, b: &str, c: &str) -> Vec<Vec<String>> {
        circles(&[("lib.rs", "mod a; mod c;"), ("a.rs", a), ("a/b.rs", b), ("c.rs", c)])
    }

    #[test]
    fn a_parent_that_needs_who_needs_its_child_is_a_circle() {
        let (b, c) = ("pub struct B;", "pub struct C(crate::a::b::B);");
        let found = of_family("pub mod b; pub struct A(crate::c::C);", b, c);
        assert_eq!(found, [["a.rs", "a/b.rs", "c.rs"]]);
        assert!(of_family("pub mod b; pub struct A;", b, c).is_empty());
    }

    #[test]
    fn a_child_that_needs_who_needs_its_parent_is_a_circle_if_the_parent_needs_the_child() {
        let (b, c) = ("pub struct B(crate::c::C);", "pub struct C(Box<crate::a::A>);");
        let found = of_family("mod b; pub struct A(b::B);", b, c);
        assert_eq!(found, [["a.rs", "a/b.rs", "c.rs"]]);
        assert!(of_family("pub mod b; pub struct A;", b, c).is_empty(), "`a` can do without `b`");
    }

    #[test]
    fn two_children_lead_round_by_their_parent_if_it_needs_them() {
        let by = |a| {
            circles(&[
                ("lib.rs", "mod a; mod c;"),
                ("a.rs", a),
                ("a/b.rs", "pub struct B(crate::c::C);"),
                ("a/d.rs", "pub struct D;"),
                ("c.rs", "pub struct C(crate::a::d::D);"),
            ])
        };
        assert_eq!(by("mod b; pub mod d; pub struct A(b::B);"), [["a/b.rs", "a/d.rs", "c.rs"]]);
        assert!(by("pub mod b; pub mod d;").is_empty(), "no more than a folder");
    }

    #[test]
    fn children_that_name_their_parent_and_each_other_one_way_are_no_circle() {
        let files = [
            ("lib.rs", "mod a; mod z; pub struct L(a::A, z::Z);"),
            ("a.rs", "mod b; mod c; pub struct A(b::B, c::C); fn f(b: b::B) { b.turn() }"),
            (
                "a/b.rs",
                "use super::{A, c::C}; pub struct B(A, C); impl B { pub fn turn(&self) {} }",
            ),
            ("a/c.rs", "pub struct C(super::A, crate::L, crate::z::Z);"),
            ("z.rs", "pub struct Z(crate::L);"),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn the_way_shows_where_a_part_stands_for_the_whole() {
        let library = library(&[
            ("lib.rs", "mod a; mod c;"),
            ("a.rs", "pub mod b; pub struct A(crate::c::C);"),
            ("a/b.rs", "pub struct B;"),
            ("c.rs", "pub struct C(crate::a::b::B);"),
        ]);
        let wanted = "3 files need each other: a.rs a/b.rs c.rs\n    \
                      a.rs:1 uses `crate::c::C` of c.rs\n    \
                      c.rs:1 uses `crate::a::b::B` of a/b.rs\n    \
                      a/b.rs is a part of a.rs";
        assert_eq!(find(&library)[0].to_string(), wanted);
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
