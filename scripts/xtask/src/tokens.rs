//! Helpers for reading Rust source as tokens: attributes, code for tests, ends of items.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Keywords an item may begin with, visibility and attributes aside.
const BEGINS: [&str; 15] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "let",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "unsafe",
    "use",
];

/// Name of an identifier without `r#`.
pub(crate) fn text(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(ToOwned::to_owned).unwrap_or(text)
}

/// What follows `(crate)`, `(super)` or `(in path)`; a tuple's field may begin with braces too.
pub(crate) fn after_scope(tokens: &[TokenTree]) -> &[TokenTree] {
    match tokens {
        [TokenTree::Group(group), rest @ ..] if group.delimiter() == Delimiter::Parenthesis => {
            let first = group.stream().into_iter().next().map(|token| token.to_string());
            if matches!(first.as_deref(), Some("crate" | "super" | "self" | "in")) { rest } else { tokens }
        }
        _ => tokens,
    }
}

/// The attribute after a `#`, and what follows it.
pub(crate) fn attribute(tokens: &[TokenTree]) -> Option<(&Group, &[TokenTree])> {
    let tokens = match tokens {
        [TokenTree::Punct(punct), rest @ ..] if punct.as_char() == '!' => rest,
        _ => tokens,
    };
    match tokens {
        [TokenTree::Group(group), rest @ ..] if group.delimiter() == Delimiter::Bracket => {
            Some((group, rest))
        }
        _ => None,
    }
}

/// Whether an attribute is a `cfg` that holds in tests alone.
pub(crate) fn is_for_tests(attribute: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = attribute.clone().into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(ident), TokenTree::Group(group)] if ident == "cfg" => {
            !conditions(group).iter().all(|condition| can_hold(condition))
        }
        _ => false,
    }
}

fn conditions(group: &Group) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(is_comma).filter(|part| !part.is_empty()).map(<[TokenTree]>::to_vec).collect()
}

/// Whether a condition can hold outside tests.
fn can_hold(condition: &[TokenTree]) -> bool {
    match condition {
        [TokenTree::Ident(ident)] => ident != "test",
        [TokenTree::Ident(ident), TokenTree::Group(group)] if ident == "all" => {
            conditions(group).iter().all(|part| can_hold(part))
        }
        [TokenTree::Ident(ident), TokenTree::Group(group)] if ident == "any" => {
            conditions(group).iter().any(|part| can_hold(part))
        }
        _ => true,
    }
}

/// What follows the item, field, arm or statement that an attribute belongs to.
pub(crate) fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let mut rest = tokens;
    while let [TokenTree::Punct(punct), after @ ..] = rest
        && punct.as_char() == '#'
        && let Some((_, after)) = attribute(after)
    {
        rest = after;
    }
    if let [TokenTree::Ident(ident), after @ ..] = rest
        && ident == "pub"
    {
        rest = after_scope(after);
    }
    let is_item =
        matches!(rest.first(), Some(TokenTree::Ident(ident)) if BEGINS.contains(&text(ident).as_str()));
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) if is_item => punct.as_char() == ';',
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | ','),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let end = rest.iter().position(ends).map_or(rest.len(), |at| at + 1);
    rest.get(end..).unwrap_or_default()
}
