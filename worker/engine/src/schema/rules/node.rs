//! A value of a document together with its path. Both live on the stack: nothing is allocated until an error is noted.

use std::fmt;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Key(&'p str),
    Index(usize),
}

/// A value, or its absence, and where it is. `null` is absence, as the server's decoder has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'p, 'v> {
    value: Option<&'v Value>,
    parent: Option<&'p Node<'p, 'v>>,
    step: Step<'p>,
}

impl<'v> Node<'_, 'v> {
    /// A whole object.
    pub(crate) fn root(value: &'v Value) -> Self {
        Self { value: Some(value), parent: None, step: Step::Root }
    }

    fn below<'s>(&'s self, step: Step<'s>, value: Option<&'v Value>) -> Node<'s, 'v> {
        Node { value: value.filter(|value| !value.is_null()), parent: Some(self), step }
    }

    /// A field.
    pub(crate) fn get<'s>(&'s self, name: &'s str) -> Node<'s, 'v> {
        self.below(Step::Field(name), self.fields().and_then(|fields| fields.get(name)))
    }

    /// A path that the server prints and the document does not have, with the same value.
    pub(crate) fn alias<'s>(&'s self, name: &'s str) -> Node<'s, 'v> {
        self.below(Step::Field(name), self.value)
    }

    /// A field that the server's paths call otherwise.
    pub(crate) fn get_as<'s>(&'s self, shown: &'s str, name: &str) -> Node<'s, 'v> {
        self.below(Step::Field(shown), self.fields().and_then(|fields| fields.get(name)))
    }

    /// An entry whose errors the server places at the list itself.
    pub(crate) fn in_place_of<'s>(&'s self, entry: &Node<'_, 'v>) -> Node<'s, 'v> {
        Node { value: entry.value, parent: self.parent, step: self.step }
    }

    /// The value under a key of a map: `[key]` in a path.
    pub(crate) fn key<'s>(&'s self, key: &'s str) -> Node<'s, 'v> {
        self.below(Step::Key(key), self.fields().and_then(|fields| fields.get(key)))
    }

    /// An entry of a list.
    pub(crate) fn index<'s>(&'s self, index: usize) -> Node<'s, 'v> {
        let entries = self.value.and_then(Value::as_array);
        self.below(Step::Index(index), entries.and_then(|entries| entries.get(index)))
    }

    /// The value at another index than its own, for lists that the server prepends entries to.
    pub(crate) fn moved<'s>(&'s self, index: usize, entry: &Node<'_, 'v>) -> Node<'s, 'v> {
        self.below(Step::Index(index), entry.value)
    }

    /// The entries of a list.
    pub(crate) fn entries<'s>(&'s self) -> impl DoubleEndedIterator<Item = Node<'s, 'v>> + ExactSizeIterator {
        let entries = self.value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        entries.iter().enumerate().map(|(index, entry)| self.below(Step::Index(index), Some(entry)))
    }

    /// The keys and values of a map.
    pub(crate) fn pairs<'s>(&'s self) -> impl Iterator<Item = (&'v str, Node<'s, 'v>)> {
        let pairs = self.fields().into_iter().flatten();
        pairs.map(|(key, value)| (key.as_str(), self.below(Step::Key(key), Some(value))))
    }

    /// The strings of a list; entries that are no string are empty.
    pub(crate) fn texts<'s>(&'s self) -> impl DoubleEndedIterator<Item = &'v str> + 's {
        let entries = self.value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        entries.iter().map(|entry| entry.as_str().unwrap_or_default())
    }

    pub(crate) fn value(&self) -> Option<&'v Value> {
        self.value
    }

    pub(crate) fn fields(&self) -> Option<&'v Map<String, Value>> {
        self.value.and_then(Value::as_object)
    }

    /// Whether there is a value: Go's pointer is not nil.
    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The entries of a list or map, 0 for all else.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Some(Value::Array(entries)) => entries.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        }
    }

    /// Whether a list, map or string is empty or absent.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.str().is_empty()
    }

    /// A string, if there is one.
    pub(crate) fn text(&self) -> Option<&'v str> {
        self.value.and_then(Value::as_str)
    }

    /// A string; empty if absent.
    pub(crate) fn str(&self) -> &'v str {
        self.text().unwrap_or_default()
    }

    /// A string, or the default that the server fills in for an absent or empty one.
    pub(crate) fn str_or(&self, default: &'v str) -> &'v str {
        self.text().filter(|text| !text.is_empty()).unwrap_or(default)
    }

    /// An integer, if there is one. A float without a fraction is one.
    pub(crate) fn int(&self) -> Option<i64> {
        let number = self.value?.as_number()?;
        if let Some(whole) = number.as_i64() {
            return Some(whole);
        }
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    }

    /// An integer; 0 if absent.
    pub(crate) fn number(&self) -> i64 {
        self.int().unwrap_or_default()
    }

    /// A boolean, if there is one.
    pub(crate) fn flag(&self) -> Option<bool> {
        self.value.and_then(Value::as_bool)
    }

    /// A boolean; false if absent.
    pub(crate) fn is_true(&self) -> bool {
        self.flag() == Some(true)
    }

    /// The keys and indices from the root.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.parent.map(Node::keys).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) | Step::Key(name) => keys.push(name.to_owned()),
            Step::Index(index) => keys.push(index.to_string()),
        }
        keys
    }
}

/// The path in the server's notation: `spec.selector`, `data[key]`, `containers[0]`.
impl fmt::Display for Node<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if is_first => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(key) => write!(f, "[{key}]"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}
