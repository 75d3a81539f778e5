//! Which items are for tests alone.

use syn::{Attribute, Ident, ImplItem, Item, Meta, Token, TraitItem, punctuated::Punctuated};

/// Whether attributes keep what follows out of what ships.
pub(super) fn marked(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test") || path.is_ident("cfg") && needs_test(&attribute.meta)
    })
}

/// `cfg(test)`, alone or as one of `all(...)`; what `any(test, ...)` marks may ship.
fn needs_test(cfg: &Meta) -> bool {
    let Meta::List(list) = cfg else { return false };
    if list.parse_args::<Ident>().is_ok_and(|flag| flag == "test") {
        return true;
    }
    let each = Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(flags) = list.parse_args_with(each) else { return false };
    flags.iter().any(|flag| match flag {
        Meta::Path(path) => path.is_ident("test"),
        all => all.path().is_ident("all") && needs_test(all),
    })
}

pub(super) fn item(item: &Item) -> bool {
    marked(match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    })
}

pub(super) fn of_impl(item: &ImplItem) -> bool {
    marked(match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => return false,
    })
}

pub(super) fn of_trait(item: &TraitItem) -> bool {
    marked(match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => return false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_build_ships_is_test_code() {
        let marks = |mark: &str| {
            let item: syn::ItemStruct = syn::parse_str(&format!("{mark} struct S;")).unwrap();
            marked(&item.attrs)
        };
        for mark in ["#[cfg(test)]", "#[cfg(all(unix, test))]", "#[test]"] {
            assert!(marks(mark), "{mark}");
        }
        for mark in ["#[cfg(any(test, unix))]", "#[cfg(not(test))]", "#[cfg(feature = \"test\")]"] {
            assert!(!marks(mark), "{mark}");
        }
    }
}
