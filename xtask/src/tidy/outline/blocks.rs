//! What an `impl` block or a trait defines.

use super::{Block, Method, Words, test_code, word, words};
use syn::{ImplItem, Signature, TraitItem, Type, Visibility};

pub(super) fn of_impl(block: &syn::ItemImpl, of: Words) -> Block {
    let mut found = empty(of, block.impl_token.span.start().line);
    let is_of_trait = block.trait_.is_some();
    for item in block.items.iter().filter(|item| !test_code::of_impl(item)) {
        match item {
            ImplItem::Fn(item) if is_of_trait => function(&mut found, &item.sig, everywhere()),
            ImplItem::Fn(item) => function(&mut found, &item.sig, seen_in(&item.vis)),
            ImplItem::Const(item) => found.others.push(word(&item.ident)),
            ImplItem::Type(item) => found.others.push(word(&item.ident)),
            _ => {}
        }
    }
    found
}

pub(super) fn of_trait(block: &syn::ItemTrait, of: Words) -> Block {
    let mut found = empty(of, block.trait_token.span.start().line);
    for item in block.items.iter().filter(|item| !test_code::of_trait(item)) {
        match item {
            TraitItem::Fn(item) => function(&mut found, &item.sig, everywhere()),
            TraitItem::Const(item) => found.others.push(word(&item.ident)),
            TraitItem::Type(item) => found.others.push(word(&item.ident)),
            _ => {}
        }
    }
    found
}

/// The path of a type, through references.
pub(super) fn named(of: &Type) -> Words {
    match of {
        Type::Path(of) => words(&of.path),
        Type::Reference(of) => named(&of.elem),
        Type::Paren(of) => named(&of.elem),
        Type::Group(of) => named(&of.elem),
        _ => Words::new(),
    }
}

fn empty(of: Words, line: usize) -> Block {
    Block { of, line, methods: Vec::new(), others: Vec::new() }
}

fn function(block: &mut Block, signature: &Signature, seen_in: Words) {
    let name = word(&signature.ident);
    match signature.receiver() {
        None => block.others.push(name),
        Some(_) => {
            let arguments = signature.inputs.len() - 1;
            block.methods.push(Method { name, arguments, seen_in });
        }
    }
}

fn everywhere() -> Words {
    vec!["crate".to_owned()]
}

fn seen_in(visibility: &Visibility) -> Words {
    match visibility {
        Visibility::Inherited => vec!["self".to_owned()],
        Visibility::Restricted(module) => words(&module.path),
        _ => everywhere(),
    }
}
