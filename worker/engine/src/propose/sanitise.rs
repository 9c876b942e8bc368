//! Corrects pointers of a model's patch that do not resolve but have one clear meaning in the document.
//!
//! A pointer that resolves is unchanged. Every correction is reported.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use crate::verify::{ApplyError, MAX_INSERTED, apply_op};

/// Maps with string values: the rest of a pointer below them is one key.
const FLAT: [&str; 4] = ["labels", "annotations", "matchLabels", "nodeSelector"];

/// A patch with its pointers mended.
#[derive(Debug)]
pub struct Sanitised {
    /// The patch.
    pub patch: Patch,
    /// What was mended.
    pub repairs: Vec<String>,
    /// The document with the patch applied, or why it does not apply.
    pub patched: Result<Value, ApplyError>,
}

/// Mends the pointers of `patch` on its way through `document`.
pub fn sanitise(patch: &Patch, document: &Value) -> Sanitised {
    let (mut cursor, mut room) = (document.clone(), MAX_INSERTED);
    let (mut ops, mut repairs, mut failed) = (Vec::new(), Vec::new(), None);
    for (index, op) in patch.0.iter().enumerate() {
        let Some(mended) = mend(op, &cursor) else {
            repairs.push(format!("operation {index} removed what is not there: {}", op.path()));
            continue;
        };
        if mended != *op {
            repairs.push(format!("operation {index}: {} became {}", op.path(), mended.path()));
        }
        let applied = apply_op(&mut cursor, &mended, &mut room);
        failed = applied.err().map(|reason| ApplyError {
            index: ops.len(),
            path: mended.path().to_string(),
            reason,
        });
        ops.push(mended);
        if failed.is_some() {
            // What follows is for another document.
            ops.extend(patch.0.iter().skip(index + 1).cloned());
            break;
        }
    }
    Sanitised { patch: Patch(ops), repairs, patched: failed.map_or(Ok(cursor), Err) }
}

/// The operation with its pointer mended; `None`: there is nothing to do.
fn mend(op: &Op, document: &Value) -> Option<Op> {
    let fit = |path: &Pointer| fitting(path, document).unwrap_or_else(|| path.clone());
    Some(match op {
        Op::Add { path, value } => {
            let path = fit(path);
            with_parents(&path, value, document).unwrap_or_else(|| Op::Add { path, value: value.clone() })
        }
        Op::Replace { path, value } => {
            let path = fit(path);
            if path.resolve(document).is_some() {
                Op::Replace { path, value: value.clone() }
            } else {
                with_parents(&path, value, document)
                    .or_else(|| {
                        let (parent, _) = path.split_last()?;
                        let is_map = parent.resolve(document).is_some_and(Value::is_object);
                        is_map.then(|| Op::Add { path: path.clone(), value: value.clone() })
                    })
                    .unwrap_or_else(|| Op::Replace { path: path.clone(), value: value.clone() })
            }
        }
        Op::Remove { path } => {
            let path = fit(path);
            let (parent, _) = path.split_last()?;
            let is_missing = path.resolve(document).is_none();
            if is_missing && parent.resolve(document).is_none_or(Value::is_object) {
                return None;
            }
            Op::Remove { path }
        }
        Op::Move { from, path } => Op::Move { from: fit(from), path: fit(path) },
        Op::Copy { from, path } => Op::Copy { from: fit(from), path: fit(path) },
        Op::Test { path, value } => Op::Test { path: fit(path), value: value.clone() },
    })
}

/// The pointer that was meant; `None` where the written one will do or nothing better is known.
fn fitting(path: &Pointer, document: &Value) -> Option<Pointer> {
    if path.resolve(document).is_some() {
        return None;
    }
    let decoded = percent_decoded(path.as_str()).and_then(|text| Pointer::parse(text).ok());
    let better = |path: &Pointer| Some(joined(path, document)).filter(|joined| joined != path);
    if let Some(found) = decoded.as_ref().and_then(better).or_else(|| better(path)) {
        return Some(found);
    }
    decoded.filter(|decoded| parent_exists(decoded, document))
}

fn parent_exists(path: &Pointer, document: &Value) -> bool {
    path.split_last().is_some_and(|(parent, _)| parent.resolve(document).is_some())
}

/// Joins segments of a pointer that together are one key of the document or of a map with string values.
fn joined(path: &Pointer, document: &Value) -> Pointer {
    let keys: Vec<String> = path.keys().collect();
    let (mut at, mut node, mut index) = (Pointer::ROOT, Some(document), 0);
    let mut flat = false;
    while index < keys.len() {
        let map = node.and_then(Value::as_object);
        if flat {
            // Where several keys fit, the longest was meant; a new key is all that is left.
            let rest = keys[index..].join("/");
            return at.child(&rest);
        }
        let known = map.and_then(|map| {
            (index + 1..=keys.len()).rev().find_map(|end| {
                let key = keys[index..end].join("/");
                map.contains_key(&key).then_some((key, end))
            })
        });
        let (key, end) = known.unwrap_or_else(|| (keys[index].clone(), index + 1));
        flat = FLAT.contains(&key.as_str());
        at = at.child(&key);
        node = node.and_then(|node| at_key(node, &key));
        index = end;
    }
    at
}

fn at_key<'v>(node: &'v Value, key: &str) -> Option<&'v Value> {
    match node {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// An `add` that creates the maps on its way; `None` where none is missing, or a list would have to be.
fn with_parents(path: &Pointer, value: &Value, document: &Value) -> Option<Op> {
    let (mut parent, last) = path.split_last()?;
    let mut missing = vec![last];
    while parent.resolve(document).is_none_or(Value::is_null) {
        let (above, key) = parent.split_last()?;
        missing.push(key);
        parent = above;
    }
    let is_index = |key: &String| key == "-" || key.parse::<usize>().is_ok();
    let first = missing.pop()?;
    if missing.is_empty() || missing.iter().any(is_index) || is_index(&first) {
        return None;
    }
    if !parent.resolve(document)?.is_object() {
        return None;
    }
    let wrapped = missing.iter().fold(value.clone(), |inner, key| {
        Value::Object(std::iter::once((key.clone(), inner)).collect::<Map<_, _>>())
    });
    Some(Op::Add { path: parent.child(&first), value: wrapped })
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *byte == b'%') {
            // A slash that was encoded belongs to its key.
            Some(b'/') => out.extend(b"~1"),
            Some(b'~') => out.extend(b"~0"),
            Some(decoded) => out.push(decoded),
            None => out.push(*byte),
        }
        at +=
            if code.is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok()) && *byte == b'%' { 3 } else { 1 };
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "tests write it in place")]
    fn mended(document: &Value, op: Value) -> Value {
        let patch: Patch = serde_json::from_value(json!([op])).unwrap();
        serde_json::to_value(sanitise(&patch, document).patch.0.first()).unwrap()
    }

    fn pod() -> Value {
        json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "x", "a~b": "y"}},
            "spec": {"containers": [{"name": "a"}], "selector": {"matchLabels": {"app": "x"}}},
        })
    }

    #[test]
    fn what_was_meant_is_found() {
        for (path, meant) in [
            ("/metadata/labels/app.kubernetes.io/name", "/metadata/labels/app.kubernetes.io~1name"),
            ("/metadata/labels/app.kubernetes.io%2Fname", "/metadata/labels/app.kubernetes.io~1name"),
            ("/metadata/labels/app.kubernetes.io~1name", "/metadata/labels/app.kubernetes.io~1name"),
            ("/spec/selector/matchLabels/app", "/spec/selector/matchLabels/app"),
            ("/metadata/labels/a~0b", "/metadata/labels/a~0b"),
        ] {
            let op = mended(&pod(), json!({"op": "replace", "path": path, "value": "z"}));
            assert_eq!(op, json!({"op": "replace", "path": meant, "value": "z"}));
        }
        let new =
            mended(&pod(), json!({"op": "add", "path": "/metadata/labels/example.com/team", "value": "z"}));
        assert_eq!(new["path"], "/metadata/labels/example.com~1team");
    }

    #[test]
    fn missing_maps_are_made_and_missing_lists_are_not() {
        let context = "/spec/containers/0/securityContext";
        let add = json!({"op": "add", "path": format!("{context}/capabilities/drop"), "value": ["ALL"]});
        assert_eq!(
            mended(&pod(), add),
            json!({"op": "add", "path": context, "value": {"capabilities": {"drop": ["ALL"]}}})
        );
        let replace = json!({"op": "replace", "path": format!("{context}/privileged"), "value": false});
        assert_eq!(
            mended(&pod(), replace),
            json!({"op": "add", "path": context, "value": {"privileged": false}})
        );
        let entry = json!({"op": "add", "path": "/spec/volumes/-", "value": {"name": "v"}});
        assert_eq!(mended(&pod(), entry.clone()), entry);
        let beyond = json!({"op": "add", "path": "/spec/containers/7/image", "value": "x"});
        assert_eq!(mended(&pod(), beyond.clone()), beyond);
    }

    #[test]
    fn a_patch_that_grows_a_document_without_bound_is_left_alone_from_there() {
        let document = json!({"a": "x".repeat(1 << 20), "l": []});
        let mut ops = vec![json!({"op": "copy", "from": "/a", "path": "/l/-"}); 200];
        ops.push(json!({"op": "remove", "path": "/missing"}));
        let patch: Patch = serde_json::from_value(Value::from(ops)).unwrap();
        let same = sanitise(&patch, &document);
        assert_eq!((&same.patch, same.repairs), (&patch, Vec::new()));
        assert_eq!(same.patched.unwrap_err(), crate::verify::apply(&document, &patch).unwrap_err());
    }

    #[test]
    fn nothing_is_removed_where_nothing_is() {
        assert_eq!(mended(&pod(), json!({"op": "remove", "path": "/spec/hostNetwork"})), Value::Null);
        let index = json!({"op": "remove", "path": "/spec/containers/5"});
        assert_eq!(mended(&pod(), index.clone()), index, "a wrong index is the model's to mend");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_patch_that_applies_is_left_alone(document in domain::testing::json(), value in domain::testing::json()) {
            let document = json!({"root": document});
            let mut paths = vec![Pointer::of(["root"])];
            all_paths(&document["root"], &Pointer::of(["root"]), &mut paths);
            for path in paths {
                let patch = Patch(vec![Op::Replace { path, value: value.clone() }]);
                let same = sanitise(&patch, &document);
                prop_assert_eq!(&same.patch, &patch);
                prop_assert!(same.repairs.is_empty());
                prop_assert_eq!(same.patched, crate::verify::apply(&document, &patch));
            }
        }
    }

    fn all_paths(value: &Value, at: &Pointer, out: &mut Vec<Pointer>) {
        match value {
            Value::Object(map) => {
                for (key, entry) in map {
                    out.push(at.child(key));
                    all_paths(entry, &at.child(key), out);
                }
            }
            Value::Array(items) => {
                for (index, entry) in items.iter().enumerate() {
                    out.push(at.index(index));
                    all_paths(entry, &at.index(index), out);
                }
            }
            _ => {}
        }
    }
}
