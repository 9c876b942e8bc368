//! Reads declared types, variants, functions and modules, identifiers, and messages of a source file.

use std::path::Path;

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use super::found::{Found, Place};
use crate::tokens::{after_item, attribute, is_for_tests, text};

/// The stem of a file, and the folders above it.
pub(super) fn file_names(path: &Path) -> Vec<Found> {
    let stem = path.with_extension("");
    let names = stem.components().filter_map(|part| part.as_os_str().to_str());
    names.map(|name| Found { place: Place::File, text: name.to_owned(), line: 0 }).collect()
}

/// Names and messages of a source file.
pub(super) fn source(path: &Path, source: &str) -> Result<Vec<Found>> {
    if path.extension().is_some_and(|end| end == "proto") {
        return Ok(proto(source));
    }
    let tokens: TokenStream =
        source.parse().map_err(|error| anyhow!("{} is not valid Rust: {error}", path.display()))?;
    let is_test =
        path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
            || path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("_tests"));
    let mut scan = Scan::default();
    scan.walk(tokens, is_test);
    Ok(scan.found)
}

/// Message and service names of a `.proto` file.
fn proto(source: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut words =
            code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        if let (Some("message" | "service" | "rpc" | "enum"), Some(name)) = (words.next(), words.next()) {
            found.push(Found { place: Place::Type, text: name.to_owned(), line: at + 1 });
        }
    }
    found
}

#[derive(Default)]
struct Scan {
    found: Vec<Found>,
}

impl Scan {
    fn push(&mut self, place: Place, text: String, line: usize) {
        self.found.push(Found { place, text, line });
    }

    fn walk(&mut self, tokens: TokenStream, is_test: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = trees.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some((group, after)) = attribute(after) {
                        rest = after;
                        if is_for_tests(&group.stream()) {
                            let end = after.len() - after_item(after).len();
                            let (item, after) = after.split_at(end);
                            self.walk(item.iter().cloned().collect(), true);
                            rest = after;
                        } else {
                            self.attribute(&group.stream(), is_test);
                        }
                    }
                }
                TokenTree::Group(group) => self.walk(group.stream(), is_test),
                TokenTree::Ident(ident) => {
                    self.push(Place::Name, text(ident), ident.span().start().line);
                    self.declaration(&text(ident), after);
                }
                // Texts of assertions are not read by users.
                TokenTree::Literal(literal) if !is_test => {
                    let line = literal.span().start().line;
                    let text = literal.to_string();
                    if text.contains('"') {
                        self.push(Place::Message, joined(&text), line);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Documentation comments are not read; other attributes may hold messages, such as `#[error("…")]`.
    fn attribute(&mut self, tokens: &TokenStream, is_test: bool) {
        let first = tokens.clone().into_iter().next().map(|token| token.to_string());
        if !matches!(first.as_deref(), Some("doc" | "expect" | "allow")) {
            self.walk(tokens.clone(), is_test);
        }
    }

    fn declaration(&mut self, keyword: &str, after: &[TokenTree]) {
        let place = match keyword {
            "struct" | "enum" | "union" | "trait" | "type" => Place::Type,
            "fn" => Place::Function,
            "mod" => Place::Module,
            _ => return,
        };
        let Some(TokenTree::Ident(name)) = after.first() else { return };
        self.push(place, text(name), name.span().start().line);
        if keyword == "enum" {
            let body = after.iter().find_map(|token| match token {
                TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => Some(group),
                _ => None,
            });
            if let Some(body) = body {
                self.variants(body.stream());
            }
        }
    }

    fn variants(&mut self, body: TokenStream) {
        let tokens: Vec<TokenTree> = body.into_iter().collect();
        let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
        for variant in tokens.split(is_comma) {
            let mut rest = variant;
            while let [TokenTree::Punct(_), after @ ..] = rest
                && let Some((_, after)) = attribute(after)
            {
                rest = after;
            }
            if let Some(TokenTree::Ident(name)) = rest.first() {
                self.push(Place::Variant, text(name), name.span().start().line);
            }
        }
    }
}

/// A literal on one line: a backslash at the end of a line and the blanks after it do not count.
fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let mut text = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        text.push_str(line.trim_start());
    }
    let inner = text.split_once('"').map_or(text.as_str(), |(_, rest)| rest);
    let inner = inner.trim_end_matches('#').trim_end_matches('"');
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}
