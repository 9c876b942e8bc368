//! Errors of patches that do not apply, in the wording of the published errors.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use engine::verify::{ApplyError, apply};
use serde_json::Value;

/// The published text for the failure of one operation. Published texts print the whole map in which a member was
/// looked for; here it is `{…}`.
pub(super) fn of(document: &Value, patch: &Patch, error: &ApplyError) -> String {
    let Some(op) = patch.0.get(error.index) else { return error.to_string() };
    let before = Patch(patch.0.get(..error.index).unwrap_or_default().to_vec());
    let Ok(document) = apply(document, &before) else { return error.to_string() };
    match op {
        Op::Add { path, .. } => at(&document, path, None),
        Op::Remove { path } => at(&document, path, Some("remove")),
        Op::Replace { path, .. } => at(&document, path, Some("replace")),
        Op::Test { path, .. } => at(&document, path, Some("test")),
        Op::Move { from, path } | Op::Copy { from, path } => {
            at(&document, from, Some("remove")).or_else(|| at(&document, path, None))
        }
    }
    .unwrap_or_else(|| error.reason.clone())
}

/// What is missing on the way to `path`; `verb` when the node itself must exist.
fn at(document: &Value, path: &Pointer, verb: Option<&str>) -> Option<String> {
    let keys: Vec<String> = path.keys().collect();
    let (last, parents) = keys.split_last()?;
    let mut node = document;
    for key in parents {
        node = match step(node, key) {
            Some(next) => next,
            None if node.is_array() => return Some(format!("index '{key}' is out of bounds")),
            None => return Some(format!("member '{key}' not found in {{…}}")),
        };
    }
    match (node, verb) {
        (Value::Array(items), None) => {
            let fits = last == "-" || last.parse().is_ok_and(|index: usize| index <= items.len());
            (!fits).then(|| "can't insert outside of list".to_owned())
        }
        (Value::Array(_), Some("replace")) if step(node, last).is_none() => {
            Some("can't replace outside of list".to_owned())
        }
        (_, Some(verb)) if step(node, last).is_none() => {
            Some(format!("can't {verb} a non-existent object '{last}'"))
        }
        _ => None,
    }
}

fn step<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    match node {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(document: &Value, op: &Value) -> String {
        let patch: Patch = serde_json::from_value(json!([op])).unwrap();
        of(document, &patch, &apply(document, &patch).unwrap_err())
    }

    #[test]
    fn published_words() {
        let document = json!({"spec": {"list": [1]}, "text": "t"});
        for (op, text) in [
            (json!({"op": "remove", "path": "/spec/x"}), "can't remove a non-existent object 'x'"),
            (
                json!({"op": "replace", "path": "/spec/x", "value": 1}),
                "can't replace a non-existent object 'x'",
            ),
            (json!({"op": "replace", "path": "/spec/list/4", "value": 1}), "can't replace outside of list"),
            (json!({"op": "add", "path": "/meta/x", "value": 1}), "member 'meta' not found in {…}"),
            (json!({"op": "add", "path": "/spec/list/2", "value": 1}), "can't insert outside of list"),
            (json!({"op": "add", "path": "/spec/list/3/x", "value": 1}), "index '3' is out of bounds"),
            (json!({"op": "move", "from": "/a", "path": "/b"}), "can't remove a non-existent object 'a'"),
        ] {
            assert_eq!(reason(&document, &op), text, "{op}");
        }
        assert!(!reason(&document, &json!({"op": "add", "path": "/text/x", "value": 1})).is_empty());
    }
}
