//! JSON Patch (RFC 6902): operations as immutable values. The verifier applies them.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::pointer::Pointer;
use crate::strict_json::{self, Strict};

/// One RFC 6902 operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

impl<'de> Deserialize<'de> for Op {
    /// An operation is an object (RFC 6902 §4). The derived reader takes a list as well, `["remove", "/a"]`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members::default())?.operation().map_err(de::Error::custom)
    }
}

/// The members of an operation. Those that RFC 6902 does not name are ignored (§4), but for their names.
#[derive(Default)]
struct Members {
    op: Option<Value>,
    path: Option<Value>,
    from: Option<Value>,
    value: Option<Value>,
    others: BTreeSet<String>,
}

impl<'de> Visitor<'de> for Members {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation as an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self, A::Error> {
        Err(de::Error::custom("an operation is an object, not a list"))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let member = match name.as_str() {
                "op" => &mut self.op,
                "path" => &mut self.path,
                "from" => &mut self.from,
                "value" => &mut self.value,
                _ => {
                    members.next_value_seed(Strict)?;
                    if self.others.contains(&name) {
                        return Err(strict_json::twice(&name));
                    }
                    self.others.insert(name);
                    continue;
                }
            };
            if member.is_some() {
                return Err(strict_json::twice(&name));
            }
            *member = Some(members.next_value_seed(Strict)?);
        }
        Ok(self)
    }
}

impl Members {
    fn operation(self) -> Result<Op, serde_json::Error> {
        const OPS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];
        fn there(member: Option<Value>, name: &'static str) -> Result<Value, serde_json::Error> {
            member.ok_or_else(|| de::Error::missing_field(name))
        }
        let op = String::deserialize(there(self.op, "op")?)?;
        if !OPS.contains(&op.as_str()) {
            return Err(de::Error::unknown_variant(&op, &OPS));
        }
        let path = Pointer::deserialize(there(self.path, "path")?)?;
        let (from, value) = (self.from, self.value);
        let from = || Pointer::deserialize(there(from, "from")?);
        let value = || there(value, "value");
        Ok(match op.as_str() {
            "add" => Op::Add { path, value: value()? },
            "remove" => Op::Remove { path },
            "replace" => Op::Replace { path, value: value()? },
            "move" => Op::Move { from: from()?, path },
            "copy" => Op::Copy { from: from()?, path },
            _ => Op::Test { path, value: value()? },
        })
    }
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

    /// Reads a patch from JSON text. An object with a repeated name is refused.
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
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, why) in [
            (r#"[["remove", "/a"]]"#, "not a list"),
            (r#"[{"op":"remove","path":"/a","path":"/b"}]"#, "\"path\" occurs twice"),
            (r#"[{"op":"add","path":"/a","value":{"b":1,"b":2}}]"#, "\"b\" occurs twice"),
            (r#"["remove"]"#, "expected an operation as an object"),
            (r#"[{"op":"remove","path":"/a","x":1,"x":2}]"#, "\"x\" occurs twice"),
        ] {
            let error = Patch::from_json(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let ignored = r#"[{"op":"remove","path":"/a","comment":"RFC 6902 §4: other members are ignored"}]"#;
        assert_eq!(Patch::from_json(ignored).unwrap().to_json(), r#"[{"op":"remove","path":"/a"}]"#);
    }

    #[test]
    fn null_is_a_value() {
        let patch = Patch::from_json(r#"[{"op":"add","path":"/a","value":null}]"#).unwrap();
        assert_eq!(patch.0[0], Op::Add { path: Pointer::of(["a"]), value: Value::Null });
    }
}
