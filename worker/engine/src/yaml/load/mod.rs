//! Loads the text of one document into a value, within limits.
//!
//! Our own builder over the events of `saphyr-parser`, because deserializers neither bound nodes and aliases while reading nor
//! report the position of each node, and the rewriter needs both.
//!
//! *Invariant*: no input panics, recurses, or makes more than `document_nodes` nodes.

use std::borrow::Cow;

use domain::config::Limits;
use saphyr_parser::{Parser, ScanError};
use serde_json::Value;

use build::Builder;
use measure::{depth_of, nodes_of};
use offsets::Offsets;

pub use error::LoadError;
pub use loaded::{Loaded, Position, Spans, Tail};

mod build;
mod error;
mod loaded;
mod measure;
mod offsets;
#[cfg(test)]
mod tests;

/// How many tabs behind colons are read before a text is given up: each costs another reading.
const TABS: usize = 256;

/// Loads the first document of `text`.
pub fn load(text: &str, limits: &Limits) -> Result<Loaded, LoadError> {
    run(text, limits, false)
}

/// Loads the first document of `text` with the position of each node.
pub fn load_with_spans(text: &str, limits: &Limits) -> Result<Loaded, LoadError> {
    run(text, limits, true)
}

fn run(text: &str, limits: &Limits, spans: bool) -> Result<Loaded, LoadError> {
    if text.len() > limits.document_bytes {
        return Err(LoadError::Limit { what: "document size in bytes", limit: limits.document_bytes });
    }
    let mut readable = with_last_line_break(text);
    for _ in 0..TABS {
        match parse(&readable, limits, spans) {
            Ok(mut loaded) => {
                if readable.len() > text.len() {
                    loaded.spans.values_mut().for_each(|position| position.clamp(text.len()));
                }
                return Ok(loaded);
            }
            Err(ParseError::Load(error)) => return Err(error),
            Err(ParseError::Scan(error)) => match without_tabs_before(&readable, &error) {
                Some(mended) => readable = mended.into(),
                None => return json_or(text, limits, &error),
            },
        }
    }
    Err(LoadError::Limit { what: "number of tabs behind colons", limit: TABS })
}

enum ParseError {
    Load(LoadError),
    Scan(ScanError),
}

fn parse(text: &str, limits: &Limits, spans: bool) -> Result<Loaded, ParseError> {
    // A block scalar that ends with its text has no line break there (YAML 1.2 §8.1.1.2); the parser adds one.
    let unended = if text.ends_with('\n') { None } else { Some(text.chars().count()) };
    let mut builder = Builder::new(limits, spans.then(|| Offsets::new(text)), unended);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(ParseError::Scan)?;
        if builder.take(event, span).map_err(ParseError::Load)? {
            break;
        }
    }
    let value = builder.root.ok_or(ParseError::Load(LoadError::Empty))?;
    Ok(Loaded { value, duplicate_keys: builder.duplicate_keys, spans: builder.spans })
}

/// A last line of blanks counts as a line of its own for the parser, which it is not.
fn with_last_line_break(text: &str) -> Cow<'_, str> {
    let last = text.rsplit('\n').next().unwrap_or_default();
    if !last.is_empty() && last.len() < text.len() && last.trim().is_empty() {
        format!("{text}\n").into()
    } else {
        text.into()
    }
}

/// The text with blanks in place of the tabs between a colon and its value, which separate them (YAML 1.2 §6.2) but which the
/// parser refuses. Every offset stays.
fn without_tabs_before(text: &str, error: &ScanError) -> Option<String> {
    if !error.info().contains("followed by a valid YAML whitespace") {
        return None;
    }
    let at = text.char_indices().nth(error.marker().index()).map_or(text.len(), |(at, _)| at);
    // The parser reports the character before or behind the tabs.
    let end = at + text.get(at..)?.chars().take_while(|c| *c == '\t').count();
    let start = text.get(..end)?.trim_end_matches('\t').len();
    let follows_colon = text.get(..start)?.ends_with(':');
    (start < end && follows_colon)
        .then(|| format!("{}{}{}", &text[..start], " ".repeat(end - start), &text[end..]))
}

/// JSON allows a few things that YAML parsers refuse (tabs between tokens).
fn json_or(text: &str, limits: &Limits, error: &ScanError) -> Result<Loaded, LoadError> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && nodes_of(&value) <= limits.document_nodes
        && depth_of(&value) <= limits.document_depth
    {
        return Ok(Loaded { value, duplicate_keys: Vec::new(), spans: Spans::new() });
    }
    if error.info().contains("recursion limit") {
        return Err(LoadError::Limit { what: "nesting depth", limit: limits.document_depth });
    }
    let marker = error.marker();
    Err(LoadError::Syntax {
        line: marker.line().max(1),
        column: marker.col() + 1,
        message: error.info().chars().take(200).collect(),
    })
}
