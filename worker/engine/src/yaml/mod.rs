//! YAML in and out, as Kubernetes clients understand it.
//!
//! *Owns* the way from text to [`serde_json::Value`] and back: limits against hostile documents, scalar types,
//! duplicate keys, positions. *Never* knows what a manifest means.

mod emit;
mod load;
mod scalar;
mod split;

pub use emit::to_yaml;
pub use load::{LoadError, Loaded, Position, Spans, load, load_with_spans};
pub use split::{Piece, split};
