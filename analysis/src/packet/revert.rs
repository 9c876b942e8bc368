//! The patch that takes a repair back, proven.

use serde::Serialize;
use serde_json::Value;

/// The way back from a repair.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Revert {
    /// RFC 6902 operations: behind the patch they give the document again, which was tried. Comments and layout are no part of
    /// them; a file is taken back by its history.
    Proven(Value),
    /// Why there is none.
    None(String),
}

/// The revert of `patch` on `document`.
pub(super) fn revert(document: &Value, patch: &str) -> Revert {
    let none = |why: &str| Revert::None(why.to_owned());
    let Ok(patch) = serde_json::from_str::<json_patch::Patch>(patch) else {
        return none("the patch cannot be read");
    };
    let mut patched = document.clone();
    if json_patch::patch(&mut patched, &patch).is_err() {
        return none("the patch does not apply to the run's copy of the document");
    }
    let back = json_patch::diff(&patched, document);
    if json_patch::patch(&mut patched, &back).is_err() || patched != *document {
        return none("patch and revert do not give the document");
    }
    serde_json::to_value(back).map_or_else(|error| none(&error.to_string()), Revert::Proven)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patch_and_revert_give_the_document() {
        let document = json!({"a": 1, "b": [1, 2, 3], "c": {"x": null}});
        for patch in [
            json!([{"op": "remove", "path": "/b/0"}, {"op": "add", "path": "/b/-", "value": 9}]),
            json!([{"op": "move", "from": "/c", "path": "/d"}, {"op": "replace", "path": "/a", "value": "x"}]),
            json!([{"op": "copy", "from": "/b", "path": "/c/y"}, {"op": "add", "path": "/a", "value": null}]),
            json!([]),
        ] {
            let Revert::Proven(back) = revert(&document, &patch.to_string()) else { panic!("{patch}") };
            let mut value = document.clone();
            for ops in [&patch, &back] {
                json_patch::patch(
                    &mut value,
                    &serde_json::from_value::<json_patch::Patch>(ops.clone()).unwrap(),
                )
                .unwrap();
            }
            assert_eq!(value, document, "{patch}");
        }
    }

    #[test]
    fn what_does_not_apply_has_none() {
        let document = json!({"a": 1});
        for patch in ["[{\"op\":\"remove\",\"path\":\"/b\"}]", "no patch"] {
            assert!(matches!(revert(&document, patch), Revert::None(_)), "{patch}");
        }
    }
}
