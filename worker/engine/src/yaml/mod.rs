//! Reads and writes YAML with the semantics of Kubernetes clients.
//!
//! *Owns* parsing text into [`serde_json::Value`] and emitting it: limits against hostile documents, scalar types, duplicate
//! keys, positions. *Never* depends on the meaning of a manifest.

pub(crate) mod emit;
mod load;
mod scalar;
mod split;

pub use emit::{Indentation, to_yaml, to_yaml_indented};
pub use load::{LoadError, Loaded, Position, Spans, Tail, load, load_with_spans};
pub use split::{Piece, split};
