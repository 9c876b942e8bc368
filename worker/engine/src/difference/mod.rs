//! What really differs between two documents, whatever operations led from one to the other.
//!
//! A field that is null is absent. An entry of a list that only moves, because another one went or came, is unchanged:
//! equal entries are paired first, then entries with the same key, then those that stand in one place and differ in their name alone.
//!
//! *Invariant*: linear in the size of both documents, but for sorting.

mod pairs;

use domain::pointer::Pointer;
use serde_json::{Map, Value};

pub(crate) use pairs::{Pairs, field, fields};

/// One step down from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a map.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

impl<'a> Step<'a> {
    /// The key of a map; `None` for a list.
    pub const fn key(self) -> Option<&'a str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// An entry of a list before and after; `None`: it is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Entry<'a> {
    /// Before.
    pub was: Option<&'a Value>,
    /// After.
    pub is: Option<&'a Value>,
}

/// A node that was added, removed or changed. Where it was changed both values are scalars, or both are the same list
/// in another order.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// Where it stands: indices are those of the document after, those of entries that are gone of the one before.
    pub path: Vec<Step<'a>>,
    /// Its value before; `None`: it is new.
    pub was: Option<&'a Value>,
    /// Its value after; `None`: it is gone.
    pub is: Option<&'a Value>,
    /// The innermost entry of a list that holds it.
    pub entry: Entry<'a>,
    /// How many steps lead to the whole that was added or removed, of which this is a part.
    pub whole: usize,
}

impl<'a> Change<'a> {
    /// Where it stands.
    pub fn pointer(&self) -> Pointer {
        self.path.iter().fold(Pointer::ROOT, |pointer, step| match step {
            Step::Key(key) => pointer.child(key),
            Step::Index(index) => pointer.index(*index),
        })
    }

    /// What happened to it, as a word.
    pub const fn word(&self) -> &'static str {
        match (self.was, self.is) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(Value::Array(_)), Some(_)) => "reordered",
            _ => "changed",
        }
    }

    /// What an added or removed map or list consists of. Nothing for a leaf: a scalar, or a map or list of nothing.
    pub fn parts(&self) -> Vec<Self> {
        let (value, is_new) = match (self.was, self.is) {
            (None, Some(value)) => (value, true),
            (Some(value), None) => (value, false),
            _ => return Vec::new(),
        };
        let part = |step: Step<'a>, value: &'a Value| {
            let of = |value: &'a Value| if is_new { (None, Some(value)) } else { (Some(value), None) };
            let (was, is) = of(value);
            let mut path = Vec::with_capacity(self.path.len() + 1);
            path.extend_from_slice(&self.path);
            path.push(step);
            let entry = if step.key().is_none() { Entry { was, is } } else { self.entry };
            Self { path, was, is, entry, whole: self.whole }
        };
        match value {
            Value::Object(map) => fields(map).map(|(key, value)| part(Step::Key(key), value)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(index, value)| part(Step::Index(index), value)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Every difference, in the order of the document after; what is gone stands before what is new.
pub fn difference<'a>(was: &'a Value, is: &'a Value) -> Vec<Change<'a>> {
    let mut walk = Walk { path: Vec::new(), entry: Entry::default(), found: Vec::new() };
    walk.nodes(was, is);
    walk.found
}

struct Walk<'a> {
    path: Vec<Step<'a>>,
    entry: Entry<'a>,
    found: Vec<Change<'a>>,
}

impl<'a> Walk<'a> {
    fn nodes(&mut self, was: &'a Value, is: &'a Value) {
        match (was, is) {
            (Value::Object(was), Value::Object(is)) => self.maps(was, is),
            (Value::Array(old), Value::Array(new)) => self.lists((was, old), (is, new)),
            // What stood where only something else can stand said nothing, nor does a map or list of nothing.
            (_, Value::Object(_)) => self.report(None, Some(is)),
            _ if was.as_array().is_some_and(Vec::is_empty) || was.as_object().is_some_and(Map::is_empty) => {
                self.report(None, Some(is));
            }
            (_, Value::Null) => self.report(Some(was), None),
            (Value::Object(_) | Value::Array(_), _) | (_, Value::Array(_)) => self.report(None, Some(is)),
            _ if same_scalar(was, is) => {}
            _ => self.report(Some(was), Some(is)),
        }
    }

    fn maps(&mut self, was: &'a Map<String, Value>, is: &'a Map<String, Value>) {
        let there = |map: &Map<String, Value>| !map.values().any(Value::is_null);
        if was.keys().eq(is.keys()) && there(was) && there(is) {
            for ((key, old), new) in was.iter().zip(is.values()) {
                self.below(Step::Key(key), self.entry, |walk| walk.nodes(old, new));
            }
            return;
        }
        for (key, old) in fields(was).filter(|(key, _)| field(is, key).is_none()) {
            self.below(Step::Key(key), self.entry, |walk| walk.report(Some(old), None));
        }
        for (key, new) in fields(is) {
            self.below(Step::Key(key), self.entry, |walk| match field(was, key) {
                Some(old) => walk.nodes(old, new),
                None => walk.report(None, Some(new)),
            });
        }
    }

    fn lists(&mut self, (was, old): (&'a Value, &'a [Value]), (is, new): (&'a Value, &'a [Value])) {
        if old == new {
            return;
        }
        let pairs = Pairs::of(old, new);
        let gone = pairs.gone.iter().filter_map(|at| Some((*at, old.get(*at)?)));
        // An entry that is null says nothing.
        for (index, entry) in gone.filter(|(_, entry)| !entry.is_null()) {
            let at = Entry { was: Some(entry), is: None };
            self.below(Step::Index(index), at, |walk| walk.report(Some(entry), None));
        }
        for (index, partner) in pairs.partners {
            let Some(entry) = new.get(index) else { continue };
            let partner = partner.and_then(|at| old.get(at));
            let at = Entry { was: partner, is: Some(entry) };
            self.below(Step::Index(index), at, |walk| match partner {
                Some(partner) => walk.nodes(partner, entry),
                None => walk.report(None, Some(entry)),
            });
        }
        if pairs.reordered {
            self.report(Some(was), Some(is));
        }
    }

    fn below(&mut self, step: Step<'a>, entry: Entry<'a>, inner: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.entry, entry);
        self.path.push(step);
        inner(self);
        self.path.pop();
        self.entry = outer;
    }

    fn report(&mut self, was: Option<&'a Value>, is: Option<&'a Value>) {
        let path = self.path.clone();
        self.found.push(Change { whole: path.len(), path, was, is, entry: self.entry });
    }
}

/// Numbers by their value, everything else as it is.
pub(crate) fn same_scalar(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()),
        _ => was == is,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Every change as `word pointer`.
    fn said(was: &Value, is: &Value) -> Vec<String> {
        difference(was, is).iter().map(|change| format!("{} {}", change.word(), change.pointer())).collect()
    }

    #[test]
    fn what_is_written_otherwise_is_no_difference() {
        let was = json!({"a": 1, "b": null, "c": {"d": [1, 2]}});
        assert_eq!(said(&was, &json!({"c": {"d": [1, 2]}, "a": 1.0, "e": null})), Vec::<String>::new());
        assert_eq!(said(&was, &json!({"a": "1", "c": {"d": [1, 2]}})), ["changed /a"]);
        // A map or list of nothing where a scalar stands says nothing; one with something does.
        assert_eq!(said(&json!({"a": []}), &json!({"a": true})), ["added /a"]);
        assert_eq!(said(&json!({"a": {}}), &json!({"a": true})), ["added /a"]);
        assert_eq!(said(&json!({"a": [1]}), &json!({"a": true})), ["added /a"]);
    }

    #[test]
    fn an_entry_whose_key_is_null_is_told_apart_by_its_place() {
        let (was, is) =
            (json!([{"name": null, "image": "a"}]), json!([{"name": null, "image": "a", "tty": true}]));
        assert_eq!(said(&was, &is), ["added /0/tty"]);
    }

    #[test]
    fn an_entry_that_was_null_is_not_removed() {
        assert_eq!(said(&json!({"a": [null]}), &json!({"a": [{"name": "b"}]})), ["added /a/0"]);
        assert_eq!(said(&json!({"a": [null, 1]}), &json!({"a": [1]})), Vec::<String>::new());
    }

    #[test]
    fn entries_that_move_are_not_changes() {
        let entry = |name: &str, value: &str| json!({"name": name, "value": value});
        let was = json!([entry("A", "1"), entry("B", "2"), entry("A", "3"), entry("C", "4")]);
        assert_eq!(
            said(&was, &json!([entry("B", "2"), entry("A", "3"), entry("C", "5")])),
            ["removed /0", "changed /2/value"]
        );
        assert_eq!(
            said(
                &was,
                &json!([entry("X", "0"), entry("A", "1"), entry("B", "2"), entry("A", "3"), entry("C", "4")])
            ),
            ["added /0"]
        );
        assert_eq!(said(&json!([1, 2, 3]), &json!([3, 1, 2])), ["reordered "]);
        let was = json!([entry("A", "1"), entry("B", "2"), entry("A", "3")]);
        let is = json!([entry("A", "3"), entry("B", "2"), entry("A", "3")]);
        assert_eq!(said(&was, &is), ["changed /0/value"], "equal to another now, in its place");
        assert_eq!(said(&json!(["a", "b"]), &json!(["a", "c"])), ["removed /1", "added /1"]);
    }

    #[test]
    fn entries_are_the_same_by_their_keys() {
        let was =
            json!({"ports": [{"containerPort": 80, "name": "A"}, {"containerPort": 81, "hostPort": 81}]});
        let is = json!({"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81}]});
        assert_eq!(said(&was, &is), ["changed /ports/0/name", "removed /ports/1/hostPort"]);
        let port = |name: &str, protocol: &str| json!([{"name": name, "protocol": protocol}]);
        assert_eq!(said(&port("A", "TCP"), &port("a", "TCP")), ["changed /0/name"]);
        assert_eq!(said(&port("A", "TCP"), &port("a", "UDP")), ["removed /0", "added /0"]);
        assert_eq!(said(&json!([{}]), &json!([{"name": "a"}])), ["added /0/name"]);
        let term = |zone: &str| json!([{"weight": 1, "podAffinityTerm": {"topologyKey": zone}}]);
        assert_eq!(said(&term("a"), &term("b")), ["changed /0/podAffinityTerm/topologyKey"]);
    }

    #[test]
    fn other_types_are_taken_apart() {
        assert_eq!(said(&json!({"a": "x"}), &json!({"a": {"b": 1}})), ["added /a"]);
        assert_eq!(said(&json!({"a": {"b": 1}}), &json!({"a": "x"})), ["added /a"]);
        assert_eq!(said(&json!({"a": "x"}), &json!({"a": ["x"]})), ["added /a"]);
        let (was, is) = (json!({}), json!({"a": {"b": [{"c": null}, null], "d": null}}));
        let change = difference(&was, &is).remove(0);
        let parts: Vec<String> = change.parts().iter().map(|part| part.pointer().to_string()).collect();
        assert_eq!(parts, ["/a/b"]);
        let entries = change.parts().remove(0).parts();
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().all(|entry| entry.parts().is_empty() && entry.whole == 1));
    }

    #[test]
    fn long_lists_are_no_trouble() {
        let list = |from: usize| {
            Value::from((from..from + 50_000).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>())
        };
        let (was, is) = (list(0), list(25_000));
        assert_eq!(difference(&was, &is).len(), 50_000);
    }
}
