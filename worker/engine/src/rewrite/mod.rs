//! Applies a patch to the *text* of a document and keeps the user's comments, order, quoting and indentation.
//!
//! Our own rewriter, because no YAML library edits a text in place and guarantees the value that the patch describes.
//!
//! *Owns* the translation of RFC 6902 operations into text edits, by the positions that the loader reports. *Never* depends on
//! the meaning of a manifest.
//! *Invariant*: the new text parses to exactly the patched value. Where the text cannot be edited that way (a node behind an
//! alias, an explicit key, a block scalar that keeps its line breaks …) the whole document is emitted again, and the result
//! reports it.

mod apply;
mod flow;
mod layout;
mod render;
mod source;
mod steps;
#[cfg(test)]
mod tests;

pub use apply::{RewriteError, Rewritten, Style, rewrite};
