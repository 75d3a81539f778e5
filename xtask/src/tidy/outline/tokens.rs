//! Paths and method calls in the words of a macro, where they form no expressions.

use super::{Words, word};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What looks like a use of something.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    /// Two words or more: a single one may be anything.
    Path(Words, usize),
    Call(String, usize),
}

pub(super) fn seen(tokens: TokenStream) -> Vec<Seen> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        at += match tree {
            TokenTree::Group(group) => {
                found.extend(seen(group.stream()));
                1
            }
            TokenTree::Ident(_) => name(&trees, at, &mut found),
            _ => 1,
        };
    }
    found
}

/// Reads the path or call that starts at a word; how many trees it took.
fn name(trees: &[TokenTree], at: usize, found: &mut Vec<Seen>) -> usize {
    let line = trees[at].span().start().line;
    let mut words: Words = ident(trees.get(at)).into_iter().collect();
    let mut end = at + 1;
    while is(trees, end, ':') && is(trees, end + 1, ':') {
        let Some(next) = ident(trees.get(end + 2)) else { break };
        words.push(next);
        end += 3;
    }
    let before = |mark, back| at >= back && is(trees, at - back, mark);
    if before('.', 1) && !before('.', 2) {
        let called = group(trees.get(after_generics(trees, end)))
            .is_some_and(|group| group.delimiter() == Delimiter::Parenthesis);
        if let (true, [method]) = (called, words.as_slice()) {
            found.push(Seen::Call(method.clone(), line));
        }
    } else if words.len() > 1 && (words[0] == "crate" || !before('$', 1)) {
        found.push(Seen::Path(words, line));
    }
    end - at
}

/// Past `::<...>`, where that stands.
fn after_generics(trees: &[TokenTree], at: usize) -> usize {
    if !(is(trees, at, ':') && is(trees, at + 1, ':') && is(trees, at + 2, '<')) {
        return at;
    }
    let mut open = 0_usize;
    for end in at + 2..trees.len() {
        if is(trees, end, '<') {
            open += 1;
        } else if is(trees, end, '>') && !is(trees, end - 1, '-') {
            open -= 1;
        }
        if open == 0 {
            return end + 1;
        }
    }
    at
}

fn is(trees: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(trees.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn ident(tree: Option<&TokenTree>) -> Option<String> {
    let Some(TokenTree::Ident(ident)) = tree else { return None };
    Some(word(ident))
}

fn group(tree: Option<&TokenTree>) -> Option<&Group> {
    let Some(TokenTree::Group(group)) = tree else { return None };
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_calls_are_found_between_any_words() {
        let text =
            "key => { $crate::a::B } ; x.field ; 0..n ; y.get::<Vec<u8>>(z.call()) ; $t::new";
        let path = Seen::Path(["crate", "a", "B"].map(str::to_owned).to_vec(), 1);
        let calls = ["get", "call"].map(|name| Seen::Call(name.to_owned(), 1));
        let found = seen(text.parse().unwrap());
        assert_eq!(found, [path].into_iter().chain(calls).collect::<Vec<_>>());
    }
}
