//! JSON Patch (RFC 6902): operations as immutable values. The verifier applies them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pointer::Pointer;

/// One RFC 6902 operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[expect(missing_docs, reason = "fields have the names of RFC 6902")]
pub enum Op {
    /// Adds a key or overwrites it; on a list index inserts, on `-` appends.
    Add { path: Pointer, value: Value },
    /// Removes an existing node.
    Remove { path: Pointer },
    /// Replaces an existing node.
    Replace { path: Pointer, value: Value },
    /// Moves a node.
    Move { from: Pointer, path: Pointer },
    /// Copies a node.
    Copy { from: Pointer, path: Pointer },
    /// Fails the patch unless the node has this value.
    Test { path: Pointer, value: Value },
}

impl Op {
    /// The place this operation writes to (for `test`: reads).
    pub fn path(&self) -> &Pointer {
        match self {
            Self::Add { path, .. }
            | Self::Remove { path }
            | Self::Replace { path, .. }
            | Self::Move { path, .. }
            | Self::Copy { path, .. }
            | Self::Test { path, .. } => path,
        }
    }
}

/// A JSON Patch: operations applied in order, all or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patch(pub Vec<Op>);

impl Patch {
    /// The patch as JSON text, compact.
    pub fn to_json(&self) -> String {
        // A tree of strings and JSON values has no way to fail; an empty list is the honest fallback.
        serde_json::to_string(self).unwrap_or_else(|_| "[]".to_owned())
    }

    /// Reads a patch from JSON text.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// How many operations.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no operation.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_and_writes_the_rfc_shape() {
        let text = r#"[{"op":"add","path":"/a~1b","value":[1]},{"op":"move","from":"/x","path":"/y"}]"#;
        let patch = Patch::from_json(text).unwrap();
        assert_eq!(patch.0[0], Op::Add { path: Pointer::of(["a/b"]), value: json!([1]) });
        assert_eq!(patch.to_json(), text);
        assert!(Patch::from_json(r#"[{"op":"add","path":"/a"}]"#).is_err(), "a value is required");
        assert!(Patch::from_json(r#"[{"op":"merge","path":"/a","value":1}]"#).is_err());
    }

    #[test]
    fn null_is_a_value() {
        let patch = Patch::from_json(r#"[{"op":"add","path":"/a","value":null}]"#).unwrap();
        assert_eq!(patch.0[0], Op::Add { path: Pointer::of(["a"]), value: Value::Null });
    }
}
