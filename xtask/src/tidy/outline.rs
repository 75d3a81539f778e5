//! What a Rust file says, without what it computes: what it defines, imports, names and calls.
//!
//! Test code is no part of it.

mod blocks;
mod reader;
mod test_code;
mod tokens;
mod uses;

use std::collections::BTreeMap;
use syn::visit::Visit;

/// A path as written, word by word: `crate::id::JobName`.
pub(super) type Words = Vec<String>;

/// A module's own words, those of the modules written out inside it apart.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// Defined at the module's top; whether paths can go on through the name, as through a type's.
    pub(super) items: BTreeMap<String, bool>,
    pub(super) imports: Vec<(String, Words)>,
    /// Modules and enums of which everything is imported.
    pub(super) globs: Vec<Words>,
    /// Types that another name stands for, as far as they have a path.
    pub(super) aliases: BTreeMap<String, Words>,
    /// `impl` blocks, those of traits too.
    pub(super) impls: Vec<Block>,
    pub(super) traits: Vec<Block>,
    /// Each path that stands here, with the first line of it.
    pub(super) paths: BTreeMap<Words, usize>,
    /// Each method that is called here, with the first line of it.
    pub(super) calls: BTreeMap<Call, usize>,
    /// `mod name { ... }`
    pub(super) inner: Vec<(String, Outline)>,
    /// `mod name;`
    pub(super) outer: Vec<String>,
}

/// An `impl` block or a trait, with the names that it defines.
#[derive(Debug)]
pub(super) struct Block {
    /// The type that has the names; empty for one without a name, such as a slice.
    pub(super) of: Words,
    pub(super) line: usize,
    pub(super) methods: Vec<Method>,
    /// Functions without `self`, constants and types.
    pub(super) others: Vec<String>,
}

/// A function with `self`.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: String,
    /// How many arguments it takes after `self`.
    pub(super) arguments: usize,
    /// The module that it can be called in, and in those below it.
    pub(super) seen_in: Words,
}

/// A call of a method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) method: String,
    /// How many arguments it gives; none where they cannot be counted.
    pub(super) arguments: Option<usize>,
}

/// Reads one file.
///
/// # Errors
/// Where and why the text is not Rust.
pub(super) fn read(text: &str) -> Result<Outline, String> {
    let file = syn::parse_file(&without_comments(text))
        .or_else(|_| syn::parse_file(text))
        .map_err(|why| format!("{}: not understood: {why}", why.span().start().line))?;
    if test_code::marked(&file.attrs) {
        return Ok(Outline::default());
    }
    let mut reader = reader::Reader::default();
    file.items.iter().for_each(|item| reader.visit_item(item));
    Ok(reader.outline)
}

/// The text with the same lines, those that are comments left empty: half of a parser's time goes
/// into taking text apart, and documentation is a good part of it. A line of a string may look like
/// a comment too; who sees such a text refused reads it whole.
fn without_comments(text: &str) -> String {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let lines = text.split_inclusive('\n');
    lines.map(|line| if is_comment(line) { "\n" } else { line }).collect()
}

/// A name without the mark of a raw one.
fn word(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

fn words(path: &syn::Path) -> Words {
    path.segments.iter().map(|segment| word(&segment.ident)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let outline = read(text).unwrap();
        outline.paths.into_keys().map(|words| words.join("::")).collect()
    }

    #[test]
    fn a_path_is_known_by_its_first_line() {
        let outline = read("use crate::a::B;\n\nfn f() { crate::a::g() }\nfn h(b: B) { b.c() }");
        let outline = outline.unwrap();
        let words = |path: &str| path.split("::").map(str::to_owned).collect::<Words>();
        let at = |path: &str| outline.paths.get(&words(path)).copied();
        assert_eq!([at("crate::a::B"), at("crate::a::g"), at("B")], [Some(1), Some(3), Some(4)]);
        let call = Call { method: "c".to_owned(), arguments: Some(0) };
        assert_eq!(outline.calls.get(&call), Some(&4));
    }

    #[test]
    fn test_code_says_nothing() {
        let tests = "#[cfg(test)]\nmod tests { use crate::a; fn f() { a::g().h() } }\n\
                     #[cfg(test)]\nmod more;\n#[test]\nfn t() { crate::b::c() }\n\
                     struct S;\nimpl S { #[cfg(test)]\n fn bare() { crate::b::c() } }";
        let outline = read(tests).unwrap();
        assert_eq!(outline.paths.into_keys().collect::<Vec<_>>(), [["S"]]);
        assert!(outline.inner.is_empty() && outline.outer.is_empty() && outline.calls.is_empty());
        assert!(outline.impls.iter().all(|block| block.others.is_empty()));
        assert!(paths("#![cfg(test)]\nuse crate::a;").is_empty());
    }

    #[test]
    fn a_string_with_a_line_like_a_comment_is_read() {
        assert_eq!(paths("fn f() { g(\"\n//\") }\n// no path: crate::a\n"), ["g"]);
    }

    #[test]
    fn who_may_see_an_item_is_no_use_of_that_module() {
        assert!(paths("pub(in crate::a) struct B { pub(super) c: u8 }").join(" ") == "u8");
    }

    #[test]
    fn a_name_imported_in_a_block_stands_for_its_path_there_alone() {
        let found = paths("fn f() { use crate::a::B; B::new() }\nfn g() { B::old() }");
        assert_eq!(found, ["B::old", "crate::a::B", "crate::a::B::new"]);
    }

    #[test]
    fn self_is_the_type_around_it() {
        let found =
            paths("impl A { fn f() -> Self { Self::g() } }\ntrait T { fn h() { Self::i() } }");
        assert_eq!(found, ["A", "A::g", "T::i"]);
    }

    #[test]
    fn what_stands_in_a_macro_is_seen() {
        let parsed = "fn f(x: X) { assert!(matches!(x.g(1), crate::a::B), \"{}\", crate::c::d()) }";
        let outline = read(parsed).unwrap();
        assert_eq!(outline.calls.keys().map(|call| &call.method).collect::<Vec<_>>(), ["g"]);
        let found = paths(parsed);
        assert!(found.contains(&"crate::a::B".to_owned()), "{found:?}");
        assert!(found.contains(&"crate::c::d".to_owned()), "{found:?}");
    }
}
