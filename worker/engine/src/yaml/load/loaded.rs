//! A loaded document with the positions of its nodes.

use std::collections::BTreeMap;

use domain::pointer::Pointer;
use serde_json::Value;

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
    /// How the value's text ends.
    pub tail: Tail,
}

impl Position {
    /// Lets no offset be greater than `end`.
    pub(super) fn clamp(&mut self, end: usize) {
        for (from, to) in [&mut self.key, &mut self.value] {
            (*from, *to) = ((*from).min(end), (*to).min(end));
        }
    }
}

/// How the text of a node ends, and what must be minded by who writes behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// Blank lines behind it are not content.
    #[default]
    Plain,
    /// It ends with a block scalar that keeps its blank lines (`|+`): they are content.
    Kept,
    /// It ends with a block scalar whose last line has no line break because the text ends there.
    Unended,
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
