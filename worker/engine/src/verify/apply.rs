//! Gate *apply*: RFC 6902 on a copy, which keeps the order of its keys and bounds its size.
//!
//! A patch may come from a model: thirty `copy` operations, each of the whole document into itself, would make a
//! thousand million documents, and as many `move`s a tree too deep to walk.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use json_patch::jsonptr::{ParseError, PointerBuf, Report};
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    TestOperation,
};
use serde_json::Value;

use crate::steps::spend;

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} ({path}): {reason}")]
pub struct ApplyError {
    /// 0-based index of the operation.
    pub index: usize,
    pub(crate) path: String,
    /// Message of the patch library.
    pub reason: String,
}

/// Bytes of memory that all operations together may insert: so much a result may grow beyond its document.
pub(crate) const MAX_INSERTED: usize = 32 << 20;

/// Bytes of memory that a node takes beside its text, with its place in a mapping.
const NODE_BYTES: usize = 96;

/// Levels below which nothing may be inserted.
const MAX_DEPTH: usize = 200;

/// Applies `patch` to a copy of `document`. All operations apply, or none does.
pub fn apply(document: &Value, patch: &Patch) -> Result<Value, ApplyError> {
    let mut copy = document.clone();
    let mut room = MAX_INSERTED;
    for (index, op) in patch.0.iter().enumerate() {
        apply_op(&mut copy, op, &mut room).map_err(|reason| ApplyError {
            index,
            path: op.path().to_string(),
            reason,
        })?;
    }
    Ok(copy)
}

/// Applies one operation to `document` itself, or says why it does not apply: then the document may be changed in part.
/// What it inserts is taken from `room`, in bytes of memory, at most [`MAX_INSERTED`] for a whole patch.
pub(crate) fn apply_op(document: &mut Value, op: &Op, room: &mut usize) -> Result<(), String> {
    *room = room_after(*room, op, document)?;
    spend(1 + moved(document, op));
    match op {
        Op::Move { from, path } if from != path && from.covers(path) => {
            Err("a node cannot move into itself".to_owned())
        }
        // Section 4.4: the same as to remove and to add there, which leaves the document as it was.
        Op::Move { from, path } if from == path && from.resolve(document).is_some() => Ok(()),
        Op::Move { from, path } => match take(document, from) {
            Some(value) => apply_one_to(document, &Op::Add { path: path.clone(), value }),
            None => apply_one_to(document, op),
        },
        Op::Test { path, value } if path.resolve(document).is_some_and(|found| equal(found, value)) => Ok(()),
        Op::Remove { path } if take(document, path).is_some() => Ok(()),
        _ => apply_one_to(document, op),
    }
}

fn apply_one_to(document: &mut Value, op: &Op) -> Result<(), String> {
    let operation = operation(op).map_err(|error| error.to_string())?;
    json_patch::patch_unsafe(document, std::slice::from_ref(&operation))
        .map_err(|error| error.kind.to_string())
}

/// Takes a key out of its mapping and leaves the others in their order (the library moves the last one into the gap).
/// `None` where there is no such key, or no mapping: then the library removes, or says what is wrong.
fn take(document: &mut Value, at: &Pointer) -> Option<Value> {
    let (parent, key) = at.split_last()?;
    document.pointer_mut(parent.as_str())?.as_object_mut()?.shift_remove(&key)
}

/// How many entries an operation may move: a list moves those behind a place, a mapping those behind a key that goes.
fn moved(document: &Value, op: &Op) -> usize {
    let at = match op {
        Op::Remove { path } => path,
        Op::Move { from, .. } => from,
        Op::Add { path, .. } | Op::Copy { path, .. } if !path.as_str().ends_with("/-") => path,
        _ => return 0,
    };
    match at.split_last().as_ref().and_then(|(parent, _)| parent.resolve(document)) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) if matches!(op, Op::Remove { .. } | Op::Move { .. }) => entries.len(),
        _ => 0,
    }
}

/// Whether two values are equal as RFC 6902, section 4.6 has it: numbers by value, so that `1` is `1.0`.
fn equal(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => found == expected,
    }
}

/// What may still be inserted when `op` has been applied.
fn room_after(room: usize, op: &Op, document: &Value) -> Result<usize, &'static str> {
    let inserted = match op {
        Op::Add { value, .. } | Op::Replace { value, .. } => Some(value),
        Op::Copy { from, .. } | Op::Move { from, .. } => from.resolve(document),
        Op::Remove { .. } | Op::Test { .. } => None,
    };
    let above = op.path().as_str().matches('/').count();
    inserted.map_or(Ok(room), |value| room_beside(room, value, above))
}

/// What may still be inserted beside `value`, which stands `above` levels deep.
pub(crate) fn room_beside(mut room: usize, value: &Value, above: usize) -> Result<usize, &'static str> {
    let mut open = vec![(value, above)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err("the document would become too deep");
        }
        let mut weight = NODE_BYTES;
        match value {
            Value::String(text) => weight += text.len(),
            Value::Array(entries) => open.extend(entries.iter().map(|entry| (entry, depth + 1))),
            Value::Object(entries) => {
                weight += entries.keys().map(String::len).sum::<usize>();
                open.extend(entries.values().map(|entry| (entry, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        room = room.checked_sub(weight).ok_or("the document would become too large")?;
    }
    Ok(room)
}

fn operation(op: &Op) -> Result<PatchOperation, Report<ParseError>> {
    let pointer = |pointer: &Pointer| PointerBuf::parse(pointer.as_str());
    Ok(match op {
        Op::Add { path, value } => {
            PatchOperation::Add(AddOperation { path: pointer(path)?, value: value.clone() })
        }
        Op::Remove { path } => PatchOperation::Remove(RemoveOperation { path: pointer(path)? }),
        Op::Replace { path, value } => {
            PatchOperation::Replace(ReplaceOperation { path: pointer(path)?, value: value.clone() })
        }
        Op::Move { from, path } => {
            PatchOperation::Move(MoveOperation { from: pointer(from)?, path: pointer(path)? })
        }
        Op::Copy { from, path } => {
            PatchOperation::Copy(CopyOperation { from: pointer(from)?, path: pointer(path)? })
        }
        Op::Test { path, value } => {
            PatchOperation::Test(TestOperation { path: pointer(path)?, value: value.clone() })
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patch(value: Value) -> Patch {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_original_is_left_alone_and_errors_name_the_operation() {
        let document = json!({"a": [1]});
        let good = patch(
            json!([{"op": "add", "path": "/a/-", "value": 2}, {"op": "move", "from": "/a", "path": "/b"}]),
        );
        assert_eq!(apply(&document, &good).unwrap(), json!({"b": [1, 2]}));
        let bad = patch(json!([{"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "/x/y"}]));
        let error = apply(&document, &bad).unwrap_err();
        assert_eq!((error.index, error.path.as_str()), (1, "/x/y"));
        assert_eq!(document, json!({"a": [1]}));
    }

    #[test]
    fn inserted_values_are_not_shared() {
        let ops = patch(json!([
            {"op": "add", "path": "/p", "value": []},
            {"op": "add", "path": "/p/-", "value": 1},
            {"op": "add", "path": "/p/-", "value": 2}
        ]));
        assert_eq!(apply(&json!({}), &ops).unwrap(), json!({"p": [1, 2]}));
        assert_eq!(serde_json::to_value(&ops).unwrap()[0]["value"], json!([]));
    }

    #[test]
    fn keys_keep_their_order() {
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<String>();
        let document = json!({"a": 1, "b": {"x": 1, "y": 2, "z": 3}, "c": 3, "d": 4});
        let patched = apply(
            &document,
            &patch(json!([{"op": "remove", "path": "/a"}, {"op": "move", "from": "/b/x", "path": "/b/w"}])),
        )
        .unwrap();
        assert_eq!((keys(&patched), keys(&patched["b"])), ("bcd".to_owned(), "yzw".to_owned()));
    }

    #[test]
    fn moves_are_the_rfcs() {
        let document = json!({"a": {"b": 1}, "l": [1, 2, 3]});
        let moved = |from: &str, path: &str| {
            apply(&document, &patch(json!([{"op": "move", "from": from, "path": path}])))
        };
        assert_eq!(moved("/a/b", "/l/0").unwrap(), json!({"a": {}, "l": [1, 1, 2, 3]}));
        assert_eq!(moved("/l/0", "/l/2").unwrap(), json!({"a": {"b": 1}, "l": [2, 3, 1]}));
        assert_eq!(moved("/a", "/a").unwrap(), document);
        assert!(moved("/a", "/a/b").unwrap_err().to_string().contains("into itself"));
        assert!(moved("/x", "/y").is_err());
        assert!(moved("/a", "/x/y").is_err());
    }

    #[test]
    fn a_patch_cannot_grow_a_document_without_bound() {
        let document = json!({"a": "0123456789", "l": []});
        let doubling = json!({"op": "copy", "from": "", "path": "/l/-"});
        let error = apply(&document, &patch(Value::from(vec![doubling; 40]))).unwrap_err();
        assert!((15..25).contains(&error.index), "{error}");
        assert!(error.to_string().ends_with("too large"));

        let deeper = json!([
            {"op": "add", "path": "/x", "value": {"y": {}}},
            {"op": "move", "from": "/a", "path": "/x/y/a"},
            {"op": "move", "from": "/x", "path": "/a"}
        ]);
        let steps = (0..500).flat_map(|_| deeper.as_array().unwrap().clone()).collect::<Vec<_>>();
        let error = apply(&document, &patch(Value::from(steps))).unwrap_err();
        assert!(error.to_string().ends_with("too deep"), "{error}");
    }

    proptest! {
        #[test]
        fn any_patch_applies_or_is_refused(
            document in domain::testing::json(),
            ops in prop::collection::vec((0..6u8, "(/[a-z0-9~/-]{0,3}){0,3}", "(/[a-z0-9-]{0,3}){0,3}", domain::testing::json()), 0..6),
        ) {
            let ops: Vec<Value> = ops.into_iter().map(|(kind, path, from, value)| {
                let op = ["add", "remove", "replace", "move", "copy", "test"][kind as usize];
                json!({"op": op, "path": path, "from": from, "value": value})
            }).collect();
            if let Ok(patch) = serde_json::from_value::<Patch>(Value::from(ops)) {
                let _ = apply(&document, &patch);
            }
        }
    }
}
