//! Gate *apply*: RFC 6902 on a copy.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use json_patch::jsonptr::{ParseError, PointerBuf, Report};
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    TestOperation,
};
use serde_json::Value;

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} ({path}): {reason}")]
pub struct ApplyError {
    /// 0-based index of the operation.
    pub index: usize,
    /// Its path.
    pub path: String,
    /// What the library says.
    pub reason: String,
}

/// Applies `patch` to a copy of `document`. All operations apply, or none does.
pub fn apply(document: &Value, patch: &Patch) -> Result<Value, ApplyError> {
    let mut copy = document.clone();
    for (index, op) in patch.0.iter().enumerate() {
        let fail = |reason: String| ApplyError { index, path: op.path().to_string(), reason };
        let operation = operation(op).map_err(|error| fail(error.to_string()))?;
        json_patch::patch_unsafe(&mut copy, std::slice::from_ref(&operation))
            .map_err(|error| fail(error.kind.to_string()))?;
    }
    Ok(copy)
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
