//! Declarations, imports and mentions in the tokens of a module.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream, TokenTree};

use crate::tokens::{after_item, after_scope, attribute, is_for_tests, text};

/// Keywords that a declared name follows.
const DECLARES: [&str; 9] = ["const", "enum", "fn", "macro", "static", "struct", "trait", "type", "union"];

/// What stands in a module; child modules are not entered.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) items: BTreeSet<String>,
    pub(super) macros: Vec<String>,
    /// Child modules; an inline one with its body.
    pub(super) modules: Vec<(String, Option<TokenStream>)>,
    pub(super) imports: Vec<Import>,
    pub(super) paths: Vec<Mention>,
    pub(super) names: BTreeSet<String>,
}

/// A leaf of a `use` tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// What it is called here; `*` stands for everything.
    pub(super) name: String,
    pub(super) public: bool,
    pub(super) line: usize,
}

/// A path in code.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// Reads the tokens of a module.
pub(super) fn content(tokens: TokenStream) -> Content {
    let mut content = Content::default();
    content.walk(tokens, true);
    content
}

impl Content {
    fn walk(&mut self, tokens: TokenStream, is_module: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = trees.as_slice();
        let mut public = false;
        let mut is_continued = false;
        while let Some((first, after)) = rest.split_first() {
            let continues = std::mem::take(&mut is_continued);
            rest = after;
            match first {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some((attribute, after)) = attribute(after) {
                        rest = after;
                        if is_for_tests(&attribute.stream()) {
                            rest = after_item(after);
                        } else {
                            self.walk(attribute.stream(), false);
                        }
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    if let Some(after) = colon(after) {
                        rest = after;
                        is_continued = true;
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == '.' => match after {
                    // A range.
                    [TokenTree::Punct(second), after @ ..] if second.as_char() == '.' => rest = after,
                    _ => is_continued = true,
                },
                TokenTree::Group(group) => self.walk(group.stream(), false),
                TokenTree::Ident(ident) => {
                    let was_public = std::mem::take(&mut public);
                    match text(ident).as_str() {
                        "pub" => {
                            public = true;
                            rest = after_scope(after);
                        }
                        "use" => rest = self.import(after, was_public),
                        "mod" => rest = self.module(after),
                        "macro_rules" => rest = self.macro_rules(after),
                        word => rest = self.word(word, ident, continues, is_module, after),
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// A keyword or a name; returns what follows it.
    fn word<'a>(
        &mut self,
        word: &str,
        ident: &Ident,
        continues: bool,
        is_module: bool,
        after: &'a [TokenTree],
    ) -> &'a [TokenTree] {
        if is_module && DECLARES.contains(&word) {
            if let Some(TokenTree::Ident(name)) = after.first() {
                self.items.insert(text(name));
            }
            return after;
        }
        let mut path = vec![word.to_owned()];
        let mut rest = after;
        while let Some([TokenTree::Ident(next), after @ ..]) = colons(rest) {
            path.push(text(next));
            rest = after;
        }
        // After `::` or `.` comes the rest of what begins elsewhere: `<T as Trait>::name`, `::krate::name`, `.method`.
        if !continues {
            self.names.insert(word.to_owned());
            if path.len() > 1 {
                self.paths.push(Mention { path, line: ident.span().start().line });
            }
        }
        rest
    }

    fn import<'a>(&mut self, after: &'a [TokenTree], public: bool) -> &'a [TokenTree] {
        // `use<'a>` of an opaque type is not an import.
        if matches!(after.first(), Some(TokenTree::Punct(punct)) if punct.as_char() == '<') {
            return after;
        }
        let end = after.iter().position(is_semicolon).unwrap_or(after.len());
        let (tree, rest) = after.split_at(end);
        self.leaves(tree, &[], public);
        rest
    }

    fn leaves(&mut self, tree: &[TokenTree], prefix: &[String], public: bool) {
        for branch in tree.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
            self.leaf(branch, prefix.to_vec(), public);
        }
    }

    fn leaf(&mut self, branch: &[TokenTree], mut path: Vec<String>, public: bool) {
        // `::krate` is never ours: its first name is empty, which no module is called.
        let mut rest = match colons(branch) {
            Some(after) => {
                path.push(String::new());
                after
            }
            None => branch,
        };
        let mut name = path.last().cloned().unwrap_or_default();
        let mut line = 0;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                TokenTree::Ident(ident) if ident == "as" => {
                    name = after.first().map(ToString::to_string).unwrap_or_default();
                    rest = &[];
                }
                TokenTree::Ident(ident) => {
                    line = ident.span().start().line;
                    // `{self}` is what the braces belong to.
                    if ident != "self" || path.is_empty() {
                        path.push(text(ident));
                        name = text(ident);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    line = punct.span().start().line;
                    "*".clone_into(&mut name);
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.leaves(&inner, &path, public);
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if !branch.is_empty() {
            self.imports.push(Import { path, name, public, line });
        }
    }

    fn module<'a>(&mut self, after: &'a [TokenTree]) -> &'a [TokenTree] {
        match after {
            [TokenTree::Ident(name), TokenTree::Group(body), rest @ ..] => {
                self.modules.push((text(name), Some(body.stream())));
                rest
            }
            [TokenTree::Ident(name), rest @ ..] => {
                self.modules.push((text(name), None));
                rest
            }
            _ => after,
        }
    }

    fn macro_rules<'a>(&mut self, after: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Punct(_), TokenTree::Ident(name), rest @ ..] = after else { return after };
        self.macros.push(text(name));
        rest
    }
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn colon(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(punct), rest @ ..] if punct.as_char() == ':' => Some(rest),
        _ => None,
    }
}

/// What follows `::`.
fn colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    colon(tokens).and_then(colon)
}
