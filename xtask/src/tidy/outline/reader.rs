//! Walks a file's syntax and writes down what stands in it.

use super::tokens::{self, Seen};
use super::{Call, Outline, Words, blocks, test_code, uses, word, words};
use proc_macro2::TokenStream;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, Meta, Token, TraitItem};

#[derive(Default)]
pub(super) struct Reader {
    pub(super) outline: Outline,
    /// What `Self` stands for, the innermost last.
    own: Vec<Words>,
    /// How many blocks are open: what they define and import is theirs, not the module's.
    blocks: usize,
    /// Imports of the open blocks.
    local: Vec<(String, Words)>,
}

impl Reader {
    fn define(&mut self, item: &Item) {
        let (name, leads_on) = match item {
            Item::Const(item) => (&item.ident, false),
            Item::Static(item) => (&item.ident, false),
            Item::Fn(item) => (&item.sig.ident, false),
            Item::Enum(item) => (&item.ident, true),
            Item::Struct(item) => (&item.ident, true),
            Item::Trait(item) => (&item.ident, true),
            Item::Type(item) => (&item.ident, true),
            Item::Union(item) => (&item.ident, true),
            Item::Macro(item) => match &item.ident {
                Some(name) => (name, false),
                None => return,
            },
            _ => return,
        };
        if self.blocks == 0 {
            *self.outline.items.entry(word(name)).or_default() |= leads_on;
            if let Item::Type(item) = item {
                self.outline.aliases.insert(word(name), blocks::named(&item.ty));
            }
        }
    }

    fn mention(&mut self, words: Words, line: usize) {
        if !words.is_empty() {
            let words = self.in_full(words);
            self.outline.paths.entry(words).or_insert(line);
        }
    }

    /// A path with its first word put in full where only the place it stands at knows it.
    fn in_full(&self, words: Words) -> Words {
        let Some(first) = words.first() else { return words };
        let full = match first.as_str() {
            "Self" => self.own.last(),
            name => self.local.iter().rev().find(|(local, _)| local == name).map(|(_, full)| full),
        };
        match full {
            Some(full) => full.iter().chain(&words[1..]).cloned().collect(),
            None => words,
        }
    }

    fn call(&mut self, method: String, arguments: Option<usize>, line: usize) {
        self.outline.calls.entry(Call { method, arguments }).or_insert(line);
    }

    fn scan(&mut self, tokens: &TokenStream) {
        for seen in tokens::seen(tokens.clone()) {
            match seen {
                Seen::Path(words, line) => self.mention(words, line),
                Seen::Call(name, line) => self.call(name, None, line),
            }
        }
    }

    fn within(&mut self, own: Words, visit: impl FnOnce(&mut Self)) {
        self.own.push(own);
        visit(self);
        self.own.pop();
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        if !test_code::item(item) {
            self.define(item);
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let name = word(&module.ident);
        match &module.content {
            None => self.outline.outer.push(name),
            Some((_, items)) => {
                let mut reader = Reader::default();
                items.iter().for_each(|item| reader.visit_item(item));
                self.outline.inner.push((name, reader.outline));
            }
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if item.leading_colon.is_some() {
            return;
        }
        for leaf in uses::leaves(&item.tree) {
            match leaf.name {
                Some(name) if self.blocks > 0 => self.local.push((name, leaf.path.clone())),
                Some(name) => self.outline.imports.push((name, leaf.path.clone())),
                None if leaf.all => self.outline.globs.push(leaf.path.clone()),
                None => {}
            }
            self.outline.paths.entry(leaf.path).or_insert(leaf.line);
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let of = self.in_full(blocks::named(&item.self_ty));
        self.outline.impls.push(blocks::of_impl(item, of.clone()));
        self.within(of, |reader| visit::visit_item_impl(reader, item));
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        let of = vec![word(&item.ident)];
        self.outline.traits.push(blocks::of_trait(item, of.clone()));
        self.within(of, |reader| visit::visit_item_trait(reader, item));
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        if !test_code::of_impl(item) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'a TraitItem) {
        if !test_code::of_trait(item) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_block(&mut self, block: &'a syn::Block) {
        let outside = self.local.len();
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
        self.local.truncate(outside);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
            self.mention(words(path), line);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let line = call.method.span().start().line;
        self.call(word(&call.method), Some(call.args.len()), line);
        visit::visit_expr_method_call(self, call);
    }

    /// Most macros are given expressions; of the others only names can be known.
    fn visit_macro(&mut self, mac: &'a syn::Macro) {
        self.visit_path(&mac.path);
        match mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(given) => given.iter().for_each(|expr| Visit::visit_expr(self, expr)),
            Err(_) => self.scan(&mac.tokens),
        }
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(&list.tokens);
        }
    }

    /// Who may see an item is no use of that module.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
}
