//! A patch applied to the *text* of a document: comments, order, quoting and indentation of the user stay.
//!
//! *Owns* the way from RFC 6902 operations to edits of a text, by the positions that the loader reports. *Never* knows
//! what a manifest means.
//! *Invariant*: reading the new text gives exactly the value that the patch makes of the old one. Where the text cannot
//! be edited that way (a node behind an alias, an explicit key, a block scalar that keeps its line breaks …) the whole
//! document is written anew, and the result says so.

mod apply;
mod flow;
mod layout;
mod render;
mod source;
mod steps;
#[cfg(test)]
mod tests;

pub use apply::{RewriteError, Rewritten, Style, rewrite};
