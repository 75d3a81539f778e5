//! What a `use` imports, each name by itself.

use super::{Words, word};
use syn::UseTree;

/// One name that a `use` brings.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Words,
    /// The name here; none where all names of the path come, or only a trait's methods.
    pub(super) name: Option<String>,
    pub(super) all: bool,
    pub(super) line: usize,
}

pub(super) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(tree, &Vec::new(), &mut found);
    found
}

fn collect(tree: &UseTree, above: &Words, found: &mut Vec<Leaf>) {
    let mut leaf = |last: &syn::Ident, name: &syn::Ident| {
        let path = below(above, last);
        let name = if name == "self" { path.last().cloned() } else { Some(word(name)) };
        let name = name.filter(|name| name != "_");
        found.push(Leaf { path, name, all: false, line: last.span().start().line });
    };
    match tree {
        UseTree::Name(it) => leaf(&it.ident, &it.ident),
        UseTree::Rename(it) => leaf(&it.ident, &it.rename),
        UseTree::Path(it) => collect(&it.tree, &below(above, &it.ident), found),
        UseTree::Group(it) => it.items.iter().for_each(|tree| collect(tree, above, found)),
        UseTree::Glob(it) => {
            let line = it.star_token.spans[0].start().line;
            found.push(Leaf { path: above.clone(), name: None, all: true, line });
        }
    }
}

/// `a::b` and `c` are `a::b::c`; `a::b` and `self` are `a::b`.
fn below(above: &Words, last: &syn::Ident) -> Words {
    let mut path = above.clone();
    if path.is_empty() || last != "self" {
        path.push(word(last));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_a_group_has_its_whole_path() {
        let text = "use a::{b::{self, C as D, T as _}, e::*};";
        let item: syn::ItemUse = syn::parse_str(text).unwrap();
        let found = leaves(&item.tree).into_iter().map(|leaf| (leaf.path.join("::"), leaf.name));
        let named = |path: &str, name: Option<&str>| (path.to_owned(), name.map(str::to_owned));
        let wanted = [
            named("a::b", Some("b")),
            named("a::b::C", Some("D")),
            named("a::b::T", None),
            named("a::e", None),
        ];
        assert_eq!(found.collect::<Vec<_>>(), wanted);
    }
}
