//! Loads the text of one document into a value, within limits.
//!
//! Our own builder over the events of `saphyr-parser`, because deserializers neither bound nodes and aliases while reading nor
//! report the position of each node, and the rewriter needs both.
//!
//! *Invariant*: no input panics, recurses, or makes more than `document_nodes` nodes.

use domain::config::Limits;
use saphyr_parser::{Parser, ScanError};
use serde_json::Value;

use build::Builder;
use measure::{depth_of, nodes_of};
use offsets::Offsets;

pub use error::LoadError;
pub use loaded::{Loaded, Position, Spans};

mod build;
mod error;
mod loaded;
mod measure;
mod offsets;
#[cfg(test)]
mod tests;

/// Loads the first document of `text`.
pub fn load(text: &str, limits: &Limits) -> Result<Loaded, LoadError> {
    run(text, limits, None)
}

/// Loads the first document of `text` with the position of each node.
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
