//! The inverse of a JSON Patch: the patch that leads back.
//!
//! *Invariant*: for every patch that applies, the patched document with the inverse applied is the document: the same values,
//! and lists in the same order. The order of keys, which means nothing, may be another one.
//!
//! Each operation of the inverse that takes something away or overwrites it tests first that it is what the patch had put
//! there, so that a document that was changed since is not overwritten.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::Value;

use crate::verify::{ApplyError, MAX_INSERTED, apply_op, room_beside};

/// The patch that undoes `patch`, which leads from `document` to another one.
///
/// # Errors
/// When the patch does not apply to the document, or its inverse would hold more than a patch may insert.
pub fn inverse(document: &Value, patch: &Patch) -> Result<Patch, ApplyError> {
    let mut value = document.clone();
    let (mut room, mut kept) = (MAX_INSERTED, Kept { room: MAX_INSERTED });
    let mut steps: Vec<Vec<Op>> = Vec::with_capacity(patch.len());
    for (index, op) in patch.0.iter().enumerate() {
        let mut undone = || {
            let before = Before::of(op, &value, &mut kept)?;
            apply_op(&mut value, op, &mut room)?;
            before.undone(op, &value, &mut kept)
        };
        let ops = undone().map_err(|reason| ApplyError { index, path: op.path().to_string(), reason })?;
        steps.push(ops);
    }
    Ok(Patch(steps.into_iter().rev().flatten().collect()))
}

/// Copies of values for the inverse, bounded.
struct Kept {
    room: usize,
}

impl Kept {
    fn copy(&mut self, value: &Value) -> Result<Value, String> {
        self.room = room_beside(self.room, value, 0)?;
        Ok(value.clone())
    }

    /// A test that what stands at `path` is what stands there now.
    fn test(&mut self, path: &Pointer, document: &Value) -> Result<Option<Op>, String> {
        let Some(value) = path.resolve(document) else { return Ok(None) };
        Ok(Some(Op::Test { path: path.clone(), value: self.copy(value)? }))
    }
}

/// What an operation is about to change.
struct Before {
    /// Where it writes, `-` resolved.
    path: Pointer,
    /// The same place before the operation: a move may shift it.
    was_at: Pointer,
    /// What stands there and is overwritten; `None`: nothing, or an entry of a list, which moves on.
    overwritten: Option<Value>,
    /// Of a removal: what it takes away.
    taken: Option<Value>,
}

impl Before {
    fn of(op: &Op, value: &Value, kept: &mut Kept) -> Result<Self, String> {
        let moved = if let Op::Move { from, .. } = op { Some(from) } else { None };
        let path = end_resolved(op.path(), value, moved);
        let was_at = moved.map_or_else(|| path.clone(), |from| before_removal(&path, from, value));
        let there = was_at.resolve(value);
        let parent = was_at.split_last().and_then(|(parent, _)| parent.resolve(value));
        let (overwritten, taken) = match op {
            Op::Add { .. } | Op::Copy { .. } | Op::Move { .. } if parent.is_some_and(Value::is_array) => {
                (None, None)
            }
            Op::Add { .. } | Op::Copy { .. } | Op::Move { .. } | Op::Replace { .. } => (there, None),
            Op::Remove { .. } => (None, there),
            Op::Test { .. } => (None, None),
        };
        let mut copied = |value: Option<&Value>| value.map(|value| kept.copy(value)).transpose();
        Ok(Self { overwritten: copied(overwritten)?, taken: copied(taken)?, path, was_at })
    }

    /// The operations that undo `op`, which led to `after`.
    fn undone(self, op: &Op, after: &Value, kept: &mut Kept) -> Result<Vec<Op>, String> {
        let Self { path, was_at, overwritten, taken } = self;
        let mut ops = Vec::new();
        match op {
            Op::Test { .. } => {}
            Op::Remove { .. } => ops.extend(taken.map(|value| Op::Add { path, value })),
            Op::Move { from, .. } if *from == path => {}
            // What held the moved value was overwritten by it.
            Op::Move { from, .. } if path.covers(from) && overwritten.is_none() => {
                ops.extend(kept.test(&path, after)?);
                let value = path.resolve(after).map(|value| kept.copy(value)).transpose()?;
                ops.push(Op::Remove { path });
                ops.extend(value.map(|value| Op::Add { path: from.clone(), value }));
            }
            Op::Move { from, .. } if !path.covers(from) => {
                ops.extend(kept.test(&path, after)?);
                ops.push(Op::Move { from: path, path: from.clone() });
                ops.extend(overwritten.map(|value| Op::Add { path: was_at, value }));
            }
            Op::Move { .. } | Op::Replace { .. } | Op::Add { .. } | Op::Copy { .. } => {
                ops.extend(kept.test(&path, after)?);
                ops.push(match overwritten {
                    Some(value) => Op::Replace { path, value },
                    None => Op::Remove { path },
                });
            }
        }
        Ok(ops)
    }
}

/// A pointer whose last key `-` is the index that it stands for. `moved`: what is taken away first.
fn end_resolved(path: &Pointer, value: &Value, moved: Option<&Pointer>) -> Pointer {
    let Some((parent, key)) = path.split_last() else { return path.clone() };
    let was_at = moved.map_or_else(|| parent.clone(), |from| before_removal(&parent, from, value));
    let list = was_at.resolve(value).and_then(Value::as_array);
    let Some(list) = list.filter(|_| key == "-") else { return path.clone() };
    let is_own = moved.and_then(Pointer::split_last).is_some_and(|(from, _)| from == parent);
    parent.index(list.len() - usize::from(is_own && !list.is_empty()))
}

/// The place in `document` that is at `path` once what stands at `removed` is gone: entries of a list move up.
fn before_removal(path: &Pointer, removed: &Pointer, document: &Value) -> Pointer {
    let place = || {
        let (list, index) = removed.split_last()?;
        list.resolve(document)?.as_array()?;
        let rest = path.as_str().strip_prefix(list.as_str())?.strip_prefix('/')?;
        let (key, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (gone, key): (usize, usize) = (index.parse().ok()?, key.parse().ok()?);
        (key >= gone).then(|| Pointer::parse(format!("{list}/{}{below}", key + 1)).ok()).flatten()
    };
    place().unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verify::apply;

    fn patch(value: Value) -> Patch {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_patch_is_undone() {
        let document = json!({"a": {"b": 1, "c": [1, 2, 3]}, "d": "x", "l": [{"y": 1}, {"x": 2}, {"x": 3}]});
        for ops in [
            json!([{"op": "add", "path": "/a/b", "value": 2}]),
            json!([{"op": "add", "path": "/a/new", "value": null}]),
            json!([{"op": "add", "path": "/a/c/1", "value": 9}, {"op": "add", "path": "/a/c/-", "value": 8}]),
            json!([{"op": "remove", "path": "/a/c/0"}, {"op": "remove", "path": "/a/b"}]),
            json!([{"op": "replace", "path": "", "value": 5}]),
            json!([{"op": "move", "from": "/a/b", "path": "/d"}]),
            json!([{"op": "move", "from": "/a/b", "path": "/a"}]),
            json!([{"op": "move", "from": "/a/c/0", "path": "/a/c/-"}]),
            json!([{"op": "move", "from": "/l/0", "path": "/l/1/x"}]),
            json!([{"op": "move", "from": "/l/0/y", "path": "/l/0"}]),
            json!([{"op": "move", "from": "/a/c", "path": "/e"}, {"op": "copy", "from": "/e/0", "path": "/e/2"}]),
            json!([{"op": "test", "path": "/d", "value": "x"}, {"op": "copy", "from": "/a", "path": "/a/a"}]),
        ] {
            let patch = patch(ops);
            let patched = apply(&document, &patch).unwrap();
            let back = inverse(&document, &patch).unwrap();
            assert_eq!(apply(&patched, &back).unwrap(), document, "{}: {}", patch.to_json(), back.to_json());
        }
    }

    #[test]
    fn what_changed_since_is_not_overwritten() {
        let document = json!({"image": "a:latest"});
        let back =
            inverse(&document, &patch(json!([{"op": "replace", "path": "/image", "value": "a:1"}]))).unwrap();
        assert_eq!(
            back,
            patch(
                json!([{"op": "test", "path": "/image", "value": "a:1"}, {"op": "replace", "path": "/image", "value": "a:latest"}])
            )
        );
        assert!(apply(&json!({"image": "a:2"}), &back).is_err());
    }

    #[test]
    fn a_patch_that_does_not_apply_has_no_inverse() {
        let error = inverse(&json!({}), &patch(json!([{"op": "remove", "path": "/a"}]))).unwrap_err();
        assert_eq!(error.index, 0);
    }
}
