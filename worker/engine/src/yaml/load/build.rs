//! Builds one value from the events of the parser, with its duplicate keys and positions.
//!
//! *Invariant*: every node and every copy is counted before it is made.

use std::collections::BTreeMap;

use domain::config::Limits;
use domain::pointer::Pointer;
use saphyr_parser::{Event, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::error::LoadError;
use super::loaded::{Position, Spans, Tail};
use super::measure::{bytes_of, depth_of};
use super::offsets::Offsets;

use crate::yaml::scalar;

enum Frame {
    Map { map: Map<String, Value>, key: Option<Key>, merges: Vec<Value>, opened: Opened },
    List { items: Vec<Value>, opened: Opened },
}

/// A mapping key that waits for its value.
struct Key {
    text: String,
    span: Span,
    /// Whether it stands there without quotes: only then `<<` merges.
    plain: bool,
}

/// What must be remembered of a collection until it is complete.
struct Opened {
    anchor: usize,
    span: Span,
    nodes_before: usize,
    last_end: Option<(usize, Tail)>,
    /// Its pointer, where positions are recorded.
    at: Option<Pointer>,
}

/// How far a node reaches in the text.
#[derive(Clone, Copy)]
struct Extent {
    start: Span,
    stop: Span,
    /// Whether it is a collection in flow style.
    flow: bool,
    /// Where its last entry ends.
    last_end: Option<usize>,
    tail: Tail,
}

struct Anchor {
    value: Value,
    nodes: usize,
    depth: usize,
    bytes: usize,
}

/// Puts the parser's events together, and counts before it does.
pub(super) struct Builder<'l, 't> {
    limits: &'l Limits,
    offsets: Option<Offsets<'t>>,
    /// Number of characters of a text that ends without a line break.
    unended: Option<usize>,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    aliases: usize,
    /// Nodes and bytes of text kept for anchors and brought in by aliases.
    copied: (usize, usize),
    pub(super) root: Option<Value>,
    pub(super) duplicate_keys: Vec<Pointer>,
    pub(super) spans: Spans,
    /// Bytes of the pointers in `duplicate_keys`: a long key stands in the pointer of every node below it.
    duplicate_bytes: usize,
    /// Bytes of the pointers in `spans`.
    span_bytes: usize,
}

/// How many times the size of the largest document the pointers of all positions may take.
const POINTERS: usize = 16;

impl<'l, 't> Builder<'l, 't> {
    pub(super) fn new(limits: &'l Limits, offsets: Option<Offsets<'t>>, unended: Option<usize>) -> Self {
        Self {
            limits,
            offsets,
            unended,
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            aliases: 0,
            copied: (0, 0),
            root: None,
            duplicate_keys: Vec::new(),
            spans: Spans::new(),
            duplicate_bytes: 0,
            span_bytes: 0,
        }
    }

    /// Takes one event; true when the document is complete.
    pub(super) fn take(&mut self, event: Event<'_>, span: Span) -> Result<bool, LoadError> {
        match event {
            Event::DocumentEnd | Event::StreamEnd => return Ok(true),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1)?;
                let (text, tail) = self.block_end(text.into_owned(), style, span);
                self.scalar((text, tail), style, anchor, tag.as_deref(), span)?;
            }
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::SequenceStart(anchor, _) => {
                let opened = self.open(anchor, span)?;
                self.stack.push(Frame::List { items: Vec::new(), opened });
            }
            Event::MappingStart(anchor, _) => {
                let opened = self.open(anchor, span)?;
                self.stack.push(Frame::Map { map: Map::new(), key: None, merges: Vec::new(), opened });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
        }
        Ok(false)
    }

    fn count(&mut self, nodes: usize) -> Result<(), LoadError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.document_nodes {
            return Err(LoadError::Limit { what: "number of nodes", limit: self.limits.document_nodes });
        }
        Ok(())
    }

    /// Counts a copy before it is made. Anchors inside anchors keep what is in them once each, and one alias of a long
    /// text is as good as the text.
    fn count_copy(&mut self, nodes: usize, bytes: usize) -> Result<(), LoadError> {
        self.copied = (self.copied.0.saturating_add(nodes), self.copied.1.saturating_add(bytes));
        if self.copied.0 > self.limits.document_nodes {
            return Err(LoadError::Limit { what: "number of nodes", limit: self.limits.document_nodes });
        }
        if self.copied.1 > self.limits.document_bytes {
            let limit = self.limits.document_bytes;
            return Err(LoadError::Limit { what: "document size in bytes with its aliases", limit });
        }
        Ok(())
    }

    /// Keeps a copy of `value` for the aliases of its anchor.
    fn keep(&mut self, anchor: usize, value: &Value, nodes: usize) -> Result<(), LoadError> {
        if anchor != 0 {
            let (bytes, depth) = (bytes_of(value), depth_of(value));
            self.count_copy(nodes, bytes)?;
            self.anchors.insert(anchor, Anchor { value: value.clone(), nodes, depth, bytes });
        }
        Ok(())
    }

    fn check_depth(&self, more: usize) -> Result<(), LoadError> {
        if self.stack.len() + more > self.limits.document_depth {
            return Err(LoadError::Limit { what: "nesting depth", limit: self.limits.document_depth });
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, span: Span) -> Result<Opened, LoadError> {
        self.check_depth(1)?;
        let nodes_before = self.nodes;
        self.count(1)?;
        if self.awaits_key() {
            let message = "a mapping key must be a scalar".to_owned();
            return Err(LoadError::Syntax { line: span.start.line(), column: span.start.col() + 1, message });
        }
        let at = self.next_pointer();
        Ok(Opened { anchor, span, nodes_before, last_end: None, at })
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Map { key: None, .. }))
    }

    fn scalar(
        &mut self,
        (text, tail): (String, Tail),
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), LoadError> {
        if self.awaits_key() {
            if anchor != 0 {
                self.keep(anchor, &Value::String(text.clone()), 1)?;
            }
            if let Some(Frame::Map { key, .. }) = self.stack.last_mut() {
                *key = Some(Key { text, span, plain: style == ScalarStyle::Plain });
            }
            return Ok(());
        }
        let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
        let value = match (core, style) {
            (None, ScalarStyle::Plain) if tag.is_none() => scalar::resolve(&text),
            (Some("int" | "float" | "bool" | "null"), _) => scalar::resolve(&text),
            _ => Value::String(text),
        };
        self.keep(anchor, &value, 1)?;
        self.place(value, span, tail)
    }

    /// A block scalar as its text ends: without the line break that the parser adds where the text has none.
    fn block_end(&self, mut text: String, style: ScalarStyle, span: Span) -> (String, Tail) {
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return (text, Tail::Plain);
        }
        if self.unended.is_some_and(|end| span.end.index() >= end) {
            if text.ends_with('\n') {
                text.pop();
            }
            return (text, Tail::Unended);
        }
        let keeps = text.ends_with("\n\n") || text == "\n";
        (text, if keeps { Tail::Kept } else { Tail::Plain })
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), LoadError> {
        self.aliases += 1;
        if self.aliases > self.limits.document_aliases {
            return Err(LoadError::Limit { what: "number of aliases", limit: self.limits.document_aliases });
        }
        let syntax = |message: &str| LoadError::Syntax {
            line: span.start.line(),
            column: span.start.col() + 1,
            message: message.to_owned(),
        };
        let known = self.anchors.get(&anchor).ok_or_else(|| syntax("an alias inside its own anchor"))?;
        let (nodes, depth, bytes) = (known.nodes, known.depth, known.bytes);
        self.count(nodes)?;
        self.count_copy(nodes, bytes)?;
        self.check_depth(depth)?;
        // Counted and measured before it is copied: a bomb is refused, not built.
        let value = self.anchors.get(&anchor).map(|known| known.value.clone()).unwrap_or_default();
        if self.awaits_key() {
            let Value::String(text) = value else { return Err(syntax("a mapping key must be a scalar")) };
            if let Some(Frame::Map { key, .. }) = self.stack.last_mut() {
                *key = Some(Key { text, span, plain: false });
            }
            return Ok(());
        }
        self.place(value, span, Tail::Plain)
    }

    fn close(&mut self, end: Span) -> Result<(), LoadError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (value, opened) = match frame {
            Frame::List { items, opened } => (Value::Array(items), opened),
            Frame::Map { mut map, merges, opened, .. } => {
                for merged in merges {
                    merge(&mut map, merged);
                }
                (Value::Object(map), opened)
            }
        };
        self.keep(opened.anchor, &value, self.nodes - opened.nodes_before)?;
        // A block collection's end event stands at the start of what follows; its text ends with its last entry.
        let flow = end.end.index() > end.start.index();
        let stop = if flow { end } else { Span::new(opened.span.start, end.start) };
        let Opened { span, last_end, at, .. } = opened;
        let tail = last_end.map_or(Tail::Plain, |(_, tail)| if flow { Tail::Plain } else { tail });
        if let Some(pointer) = at {
            let last_end = last_end.map(|(end, _)| end);
            self.remember(pointer, Extent { start: span, stop, flow, last_end, tail });
        }
        self.put(value)
    }

    fn place(&mut self, value: Value, span: Span, tail: Tail) -> Result<(), LoadError> {
        if let Some(pointer) = self.next_pointer() {
            self.remember(pointer, Extent { start: span, stop: span, flow: false, last_end: None, tail });
        }
        self.put(value)
    }

    /// Puts a complete value into the collection around it.
    fn put(&mut self, value: Value) -> Result<(), LoadError> {
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Frame::List { items, .. }) => items.push(value),
            Some(Frame::Map { map, key, merges, .. }) => {
                let Some(Key { text: key, plain, .. }) = key.take() else { return Ok(()) };
                if plain && key == "<<" && (value.is_object() || value.is_array()) {
                    merges.push(value);
                    return Ok(());
                }
                let duplicate = map.insert(key.clone(), value).is_some();
                if duplicate {
                    let pointer = self.here().child(&key);
                    self.duplicate_bytes += pointer.as_str().len();
                    let limit = self.limits.document_bytes;
                    if self.duplicate_bytes > limit {
                        return Err(LoadError::Limit { what: "places of duplicate keys in bytes", limit });
                    }
                    self.duplicate_keys.push(pointer);
                    self.count(1)?;
                }
            }
        }
        Ok(())
    }

    /// The pointer of the innermost open collection.
    fn here(&self) -> Pointer {
        let mut pointer = Pointer::ROOT;
        for frame in self.stack.iter().rev().skip(1).rev() {
            pointer = match frame {
                Frame::List { items, .. } => pointer.index(items.len()),
                Frame::Map { key: Some(key), .. } => pointer.child(&key.text),
                Frame::Map { key: None, .. } => pointer,
            };
        }
        pointer
    }

    /// The pointer of the node that comes next, where its position is to be recorded.
    fn next_pointer(&mut self) -> Option<Pointer> {
        // Positions are a service: beyond the limit there are none.
        if self.offsets.is_none() || self.span_bytes > self.limits.document_bytes.saturating_mul(POINTERS) {
            return None;
        }
        let pointer = match self.stack.last() {
            None => Pointer::ROOT,
            Some(Frame::List { items, opened }) => opened.at.as_ref()?.index(items.len()),
            Some(Frame::Map { key, opened, .. }) => opened.at.as_ref()?.child(&key.as_ref()?.text),
        };
        self.span_bytes += pointer.as_str().len();
        Some(pointer)
    }

    fn remember(&mut self, pointer: Pointer, extent: Extent) {
        let Some(offsets) = &self.offsets else { return };
        let Extent { start, stop, flow, last_end, tail } = extent;
        let key_span = match self.stack.last() {
            Some(Frame::Map { key: Some(key), .. }) => Some(key.span),
            _ => None,
        };
        let anchor = key_span.unwrap_or(start).start;
        let value_start = offsets.byte(start.start.index());
        let value_end = if flow {
            // The parser lets the closing bracket reach over a comment behind it.
            offsets.byte(stop.start.index()) + 1
        } else if last_end.is_none() {
            offsets.quoted_end(value_start).unwrap_or_else(|| offsets.byte(stop.end.index()))
        } else {
            last_end.unwrap_or(value_start)
        };
        let position = Position {
            line: anchor.line().max(1),
            column: anchor.col() + 1,
            key: key_span.map_or((value_start, value_start), |span| offsets.range(span)),
            value: (value_start, value_end.max(value_start)),
            flow,
            tail,
        };
        self.spans.insert(pointer, position);
        if let Some(Frame::Map { opened, .. } | Frame::List { opened, .. }) = self.stack.last_mut() {
            opened.last_end = Some((position.value.1, position.tail));
        }
    }
}

/// YAML 1.1 merge: keys that the mapping does not have itself; of several sources the first wins.
fn merge(map: &mut Map<String, Value>, source: Value) {
    match source {
        Value::Object(from) => {
            for (key, value) in from {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(sources) => {
            sources.into_iter().filter(Value::is_object).for_each(|from| merge(map, from));
        }
        _ => {}
    }
}
