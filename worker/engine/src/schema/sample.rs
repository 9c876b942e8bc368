//! Every single addition to a document that its kind has room for, with a value of the right type: for tests of what may
//! be added to a repair.

use domain::pointer::Pointer;
use serde_json::{Map, Value, json};

use super::Structural;
use super::model::{DefinitionId, Model, Type};

/// Levels below which no more is added; no field of a built-in kind lies deeper without repeating itself.
const DEPTH: usize = 12;

/// One addition to a document.
#[derive(Debug, Clone)]
pub(crate) struct Addition {
    /// The place it is about; what its parents require comes with it.
    pub(crate) place: Pointer,
    /// The operation of a JSON Patch.
    pub(crate) op: Value,
    /// Whether the place holds true or false: one of the two may be its default.
    pub(crate) is_flag: bool,
}

/// Every addition to a document of a built-in kind: to each field that is missing, and over each that is there. Lists get
/// a new entry, and their first one is changed.
pub(crate) fn additions(document: &Value) -> Vec<Addition> {
    let model = &Structural::newest().model;
    let text = |key| document.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let id = model.definition_of(group, version, text("kind")).expect("a built-in kind");
    let mut walk = Additions { model, found: Vec::new() };
    walk.over(Type::Record(id), document, &Pointer::ROOT);
    walk.found
}

struct Additions<'m> {
    model: &'m Model,
    found: Vec<Addition>,
}

/// A value to put somewhere, and the place in it that it is about.
struct Variant {
    below: Pointer,
    value: Value,
    is_flag: bool,
}

impl Additions<'_> {
    /// Changes what is there.
    fn over(&mut self, of: Type, node: &Value, at: &Pointer) {
        match (of, node) {
            (Type::Record(id), Value::Object(map)) => {
                for field in self.model.definition(id).into_iter().flat_map(|definition| &definition.fields) {
                    let place = at.child(&field.name);
                    match map.get(&*field.name) {
                        Some(node) => self.over(field.of, node, &place),
                        None => self.put("add", field.of, &place, &place),
                    }
                }
            }
            (Type::List(inner), Value::Array(entries)) => {
                let inner = self.model.inner(inner);
                if let Some(first) = entries.first() {
                    self.over(inner, first, &at.index(0));
                }
                self.put("add", inner, &at.end(), &at.index(entries.len()));
            }
            (Type::Map(inner), Value::Object(_)) => {
                let place = at.child("hostile");
                self.put("add", self.model.inner(inner), &place, &place);
            }
            (of, _) => self.put("replace", of, at, at),
        }
    }

    fn put(&mut self, op: &str, of: Type, path: &Pointer, place: &Pointer) {
        for variant in variants(self.model, of, &mut Vec::new()) {
            let keys: Vec<String> = variant.below.keys().collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.found.push(Addition {
                place: place.join(&keys),
                op: json!({"op": op, "path": path, "value": variant.value}),
                is_flag: variant.is_flag,
            });
        }
    }
}

/// Values of a type, each with one leaf and what its parents require.
fn variants(model: &Model, of: Type, above: &mut Vec<DefinitionId>) -> Vec<Variant> {
    let leaf = |value: Value| Variant { below: Pointer::ROOT, is_flag: value.is_boolean(), value };
    match of {
        Type::Boolean => vec![leaf(json!(true)), leaf(json!(false))],
        Type::Record(id) => record(model, id, above),
        Type::List(inner) => wrapped(model, model.inner(inner), above, "0", |value| json!([value])),
        Type::Map(inner) => {
            wrapped(model, model.inner(inner), above, "hostile", |value| json!({"hostile": value}))
        }
        of => vec![leaf(plain(of))],
    }
}

fn wrapped(
    model: &Model,
    inner: Type,
    above: &mut Vec<DefinitionId>,
    key: &str,
    wrap: impl Fn(Value) -> Value,
) -> Vec<Variant> {
    let inner = variants(model, inner, above).into_iter();
    inner
        .map(|inner| Variant { below: under(key, &inner.below), value: wrap(inner.value), ..inner })
        .collect()
}

fn record(model: &Model, id: DefinitionId, above: &mut Vec<DefinitionId>) -> Vec<Variant> {
    let Some(definition) = model.definition(id).filter(|_| above.len() < DEPTH && !above.contains(&id))
    else {
        return Vec::new();
    };
    above.push(id);
    let mut required = Map::new();
    for field in definition.missing(0) {
        let first = variants(model, field.of, above).into_iter().next();
        required.extend(first.map(|first| (field.name.to_string(), first.value)));
    }
    let mut found = Vec::new();
    for field in &definition.fields {
        for inner in variants(model, field.of, above) {
            let mut map = required.clone();
            map.insert(field.name.to_string(), inner.value);
            found.push(Variant {
                below: under(&field.name, &inner.below),
                value: Value::Object(map),
                ..inner
            });
        }
    }
    if definition.fields.is_empty() {
        found.push(Variant { below: Pointer::ROOT, value: json!({}), is_flag: false });
    }
    above.pop();
    found
}

fn under(key: &str, below: &Pointer) -> Pointer {
    let keys: Vec<String> = below.keys().collect();
    keys.iter().fold(Pointer::ROOT.child(key), |pointer, key| pointer.child(key))
}

/// A value that is no default of anything.
fn plain(of: Type) -> Value {
    match of {
        Type::String => json!("hostile"),
        Type::Bytes => json!("aG9zdGlsZQ=="),
        Type::Time => json!("2020-01-01T00:00:00Z"),
        Type::Int32 | Type::Int64 | Type::IntOrString => json!(7777),
        Type::Number => json!(7.5),
        Type::Quantity => json!("77"),
        _ => json!({"hostile": "hostile"}),
    }
}
