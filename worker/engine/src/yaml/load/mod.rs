//! From the text of one document to a value, within limits.
//!
//! *Invariant*: no input panics, recurses, or makes more than `document_nodes` nodes.

use std::collections::BTreeMap;

use domain::config::Limits;
use domain::pointer::Pointer;
use saphyr_parser::{Parser, ScanError};
use serde_json::Value;

use build::Builder;
use measure::{depth_of, nodes_of};
use offsets::Offsets;

mod build;
mod measure;
mod offsets;
#[cfg(test)]
mod tests;

/// Where a node stands in its text. Lines and columns count from 1; offsets are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line of the node's key, or of the node itself where it has none.
    pub line: usize,
    /// Column there.
    pub column: usize,
    /// Byte range of the key; empty where the node has none (list entries, the root).
    pub key: (usize, usize),
    /// Byte range of the value; of a collection, from its first to behind its last entry.
    pub value: (usize, usize),
    /// Whether the value is a collection in flow style (`{}` or `[]`).
    pub flow: bool,
}

/// The positions of all nodes that stand in the text themselves (not those behind an alias or a merge).
pub type Spans = BTreeMap<Pointer, Position>;

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its value; keys keep their order.
    pub value: Value,
    /// Keys that occur twice in one mapping (the last one counts).
    pub duplicate_keys: Vec<Pointer>,
    /// Where its nodes stand; empty unless asked for.
    pub spans: Spans,
}

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not YAML.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// Nothing but blanks and comments.
    #[error("the document is empty")]
    Empty,
    /// Larger than allowed.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

/// Loads the first document of `text`.
pub fn load(text: &str, limits: &Limits) -> Result<Loaded, LoadError> {
    run(text, limits, None)
}

/// Loads the first document of `text` and remembers where each node stands.
pub fn load_with_spans(text: &str, limits: &Limits) -> Result<Loaded, LoadError> {
    run(text, limits, Some(Offsets::new(text)))
}

fn run(text: &str, limits: &Limits, offsets: Option<Offsets>) -> Result<Loaded, LoadError> {
    if text.len() > limits.document_bytes {
        return Err(LoadError::Limit { what: "document size in bytes", limit: limits.document_bytes });
    }
    let mut builder = Builder::new(limits, offsets);
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span)? {
                    break;
                }
            }
            Err(error) => return json_or(text, limits, &error),
        }
    }
    let value = builder.root.ok_or(LoadError::Empty)?;
    Ok(Loaded { value, duplicate_keys: builder.duplicate_keys, spans: builder.spans })
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
