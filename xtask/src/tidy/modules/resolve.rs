//! Which module or item a path means.
//!
//! Imports are followed to what they import. Privacy, and which of two things of one name is meant
//! where both fit, are the compiler's to judge: what it accepts is assumed to be right.

use super::{ModuleIx, Modules};

/// How often an import may lead to another one: beyond it they lead in a circle.
const MOST_IMPORTS: usize = 8;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::tidy) enum Place {
    Module(ModuleIx),
    /// Defined at the top of a module.
    Item(ModuleIx, String),
    /// Something of an item: an associated function, a variant.
    Part(ModuleIx, String, String),
    /// Something of a module that is not seen there: made by a macro, or another crate's.
    Unseen(ModuleIx),
}

impl Modules {
    /// What `words` mean where `from` says them; none where they mean another crate's.
    pub(in crate::tidy) fn resolve(&self, from: ModuleIx, words: &[String]) -> Option<Place> {
        self.follow(from, words, true, 0)
    }

    /// The name of the type that `words` mean, whatever they call it here. A type that is not seen to
    /// be defined has the name that stands here.
    pub(in crate::tidy) fn type_name(&self, from: ModuleIx, words: &[String]) -> Option<String> {
        let (mut from, mut words) = (from, words);
        for _ in 0..MOST_IMPORTS {
            let Some(Place::Item(at, name)) = self.resolve(from, words) else { break };
            let Some(of) = self.all[at].outline.aliases.get(&name) else { return Some(name) };
            (from, words) = (at, of);
        }
        words.last().cloned()
    }

    /// `whole`: nothing comes after the words, so that they may mean what no path leads on through.
    fn follow(
        &self,
        from: ModuleIx,
        words: &[String],
        whole: bool,
        imports: usize,
    ) -> Option<Place> {
        let (first, mut rest) = words.split_first()?;
        let is_last = |rest: &[String]| whole && rest.is_empty();
        let mut place = match first.as_str() {
            "crate" => Place::Module(0),
            "self" => Place::Module(from),
            "super" => Place::Module(self.all[from].above?),
            name => self.look(from, name, is_last(rest), imports)?,
        };
        while let Some((word, after)) = rest.split_first() {
            place = match place {
                Place::Module(at) if word == "super" => Place::Module(self.all[at].above?),
                Place::Module(at) => {
                    let found = self.look(at, word, is_last(after), imports);
                    found.unwrap_or(Place::Unseen(at))
                }
                Place::Item(at, name) => return Some(Place::Part(at, name, word.clone())),
                known => return Some(known),
            };
            rest = after;
        }
        Some(place)
    }

    /// What a name means in a module.
    fn look(&self, at: ModuleIx, name: &str, is_last: bool, imports: usize) -> Option<Place> {
        if imports > MOST_IMPORTS {
            return None;
        }
        let child = || self.all[at].children.get(name).map(|child| Place::Module(*child));
        let item = || self.item(at, name, is_last);
        let own = if is_last { item().or_else(child) } else { child().or_else(item) };
        let imported = || self.imported(at, name, is_last, imports + 1);
        match own {
            Some(Place::Module(child)) if is_last => imported().or(Some(Place::Module(child))),
            Some(own) => Some(own),
            None => imported().or_else(|| self.globbed(at, name, is_last, imports + 1)),
        }
    }

    fn item(&self, at: ModuleIx, name: &str, is_last: bool) -> Option<Place> {
        let leads_on = self.all[at].outline.items.get(name)?;
        (is_last || *leads_on).then(|| Place::Item(at, name.to_owned()))
    }

    fn imported(&self, at: ModuleIx, name: &str, is_last: bool, imports: usize) -> Option<Place> {
        let mut paths = self.all[at].outline.imports.iter().filter(|(import, _)| import == name);
        paths.find_map(|(_, path)| self.follow(at, path, is_last, imports))
    }

    fn globbed(&self, at: ModuleIx, name: &str, is_last: bool, imports: usize) -> Option<Place> {
        let mut globs = self.all[at].outline.globs.iter();
        globs.find_map(|path| match self.follow(at, path, false, imports)? {
            Place::Module(all) if all != at => self.look(all, name, is_last, imports),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::modules::library;

    /// The file and the name that a path means, said in `a.rs`.
    fn meant(path: &str) -> String {
        let modules = library(&[
            ("lib.rs", "mod a; mod b; pub use b::inner::Deep as Renamed; fn f() {}"),
            (
                "a.rs",
                "use crate::b::{self, Deep, settle as done}; use std::fmt; use super::b::inner::*;\
                 pub struct A; mod below { use super::*; pub struct Low; }",
            ),
            (
                "b.rs",
                "pub mod inner; pub mod settle; pub use {inner::Deep, settle::settle, std::io};",
            ),
            ("b/inner.rs", "pub enum Deep { Here } pub const MAX: u8 = 1; codes! { Made }"),
            ("b/settle.rs", "pub fn settle() {} pub struct Hold;"),
        ]);
        let words: Vec<String> = path.split("::").map(str::to_owned).collect();
        let from = modules.all.iter().position(|module| modules.files[module.file] == "a.rs");
        let file = |at: ModuleIx| modules.files[modules.all[at].file].clone();
        match modules.resolve(from.unwrap(), &words) {
            None => "another crate's".to_owned(),
            Some(Place::Module(at)) => format!("{} whole", file(at)),
            Some(Place::Unseen(at)) => format!("{} unseen", file(at)),
            Some(Place::Item(at, name)) => format!("{} {name}", file(at)),
            Some(Place::Part(at, name, part)) => format!("{} {name} {part}", file(at)),
        }
    }

    #[test]
    fn a_path_means_the_file_that_defines_it() {
        let wanted = [
            ("A", "a.rs A"),
            ("self::A", "a.rs A"),
            ("below::Low", "a.rs Low"),
            ("below::A", "a.rs A"),
            ("super::f", "lib.rs f"),
            ("crate::b", "b.rs whole"),
            ("crate::b::inner::Deep", "b/inner.rs Deep"),
        ];
        for (path, place) in wanted {
            assert_eq!(meant(path), place, "{path}");
        }
    }

    #[test]
    fn imports_are_followed_to_what_they_import() {
        let wanted = [
            ("Deep::Here", "b/inner.rs Deep Here"),
            ("b::Deep", "b/inner.rs Deep"),
            ("crate::Renamed", "b/inner.rs Deep"),
            ("MAX", "b/inner.rs MAX"),
        ];
        for (path, place) in wanted {
            assert_eq!(meant(path), place, "{path}");
        }
    }

    #[test]
    fn a_module_and_a_function_of_one_name_are_told_apart() {
        let wanted = [
            ("b::settle", "b/settle.rs settle"),
            ("done", "b/settle.rs settle"),
            ("b::settle::Hold", "b/settle.rs Hold"),
        ];
        for (path, place) in wanted {
            assert_eq!(meant(path), place, "{path}");
        }
    }

    #[test]
    fn what_is_not_seen_is_its_modules_or_another_crates() {
        let wanted = [
            ("crate::b::inner::Made", "b/inner.rs unseen"),
            ("crate::b::io::Error", "b.rs unseen"),
            ("fmt::Display", "another crate's"),
            ("std::fmt", "another crate's"),
            ("Vec::new", "another crate's"),
        ];
        for (path, place) in wanted {
            assert_eq!(meant(path), place, "{path}");
        }
    }
}
