//! Secrets inside a text: what its structure tells where it has one, else its shape.

mod commands;
pub(crate) mod encoded;
mod pairs;
mod structure;
mod urls;
mod xml;

use std::ops::Range;

pub(crate) use commands::{Word, find as in_command};

use crate::{boundaries, masks, shape};

/// No text that holds more than a secret is shorter.
const SHORTEST: usize = 4;

/// How deep texts inside texts are looked into: a JSON text in a base64 text in a YAML text in a value is three deep.
pub(crate) const DEEPEST: usize = 4;

/// What is known about a text from its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// Whether digests and ids are usual here, so that a random text says nothing.
    pub(crate) hashes: bool,
    /// Whether it is written for people, where `the password: a text` is not a pair.
    pub(crate) prose: bool,
    /// How deep this text lies inside other texts.
    pub(crate) depth: usize,
}

/// `text` with what `take` returns in place of each of its secrets; `None`: it holds none.
pub(crate) fn replace(text: &str, context: Context, take: &mut dyn FnMut(&str) -> String) -> Option<String> {
    if text.len() < SHORTEST || context.depth > DEEPEST {
        return None;
    }
    let parsed = structure::replace(text, context, take);
    let text = parsed.as_deref().unwrap_or(text);
    let ranges = find(text, context);
    if ranges.is_empty() { parsed } else { Some(put(text, &ranges, take)) }
}

/// The secrets of a text by everything but a parser, in order and apart from each other.
fn find(text: &str, context: Context) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    shape::find(text, context.hashes, &mut found);
    if text.contains([':', '=', '@', ',']) {
        pairs::find(text, context.prose, &mut found);
        urls::find(text, &mut found);
    }
    if text.contains([' ', '\t', '\n']) && !context.prose {
        commands::find_in_text(text, &mut found);
    }
    if text.contains('<') && text.contains('>') {
        xml::find(text, &mut found);
    }
    encoded::find(text, context, &mut found);
    apart(text, found)
}

/// Ranges in order; those that overlap become one. Masks that are there already are not secrets.
fn apart(text: &str, mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.retain(|range| {
        text.get(range.clone()).is_some_and(|part| !part.is_empty() && !masks::is_mask(part))
    });
    found.sort_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// `text` with what `take` returns in place of the ranges, which must be in order and apart.
pub(crate) fn put(text: &str, ranges: &[Range<usize>], take: &mut dyn FnMut(&str) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        shown.push_str(text.get(from..range.start).unwrap_or_default());
        shown.push_str(&take(text.get(range.clone()).unwrap_or_default()));
        from = range.end;
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    shown
}

/// Longest value, URL or name that is judged: what is longer is judged by its beginning, so that the time stays linear.
const WINDOW: usize = 4096;

/// The beginning of what stands at `from`.
fn window(text: &str, from: usize) -> &str {
    let rest = text.get(from..).unwrap_or_default();
    rest.get(..boundaries::floor(rest, WINDOW)).unwrap_or(rest)
}

/// Whether a text holds a secret.
pub(crate) fn holds(text: &str, context: Context) -> bool {
    context.depth <= DEEPEST && replace(text, context, &mut |_| masks::PLACEHOLDER.to_owned()).is_some()
}
