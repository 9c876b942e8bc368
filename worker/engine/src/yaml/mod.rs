//! YAML in and out, as Kubernetes clients understand it.
//!
//! *Owns* the way from text to [`serde_json::Value`] and back: limits against hostile documents, scalar types,
//! duplicate keys, positions. *Never* knows what a manifest means.

pub(crate) mod emit;
mod load;
mod scalar;
mod split;

pub use emit::{Indentation, to_yaml, to_yaml_indented};
pub use load::{LoadError, Loaded, Position, Spans, load, load_with_spans};
pub use split::{Piece, split};
