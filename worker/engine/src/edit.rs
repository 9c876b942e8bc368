//! Builds a patch by editing: every operation is checked against the document after the preceding ones, so that the patch
//! applies to its own document by construction.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use crate::steps::spend;

/// A document under repair and the operations made so far.
#[derive(Debug, Clone)]
pub struct Editor {
    document: Value,
    ops: Vec<Op>,
}

impl Editor {
    /// Begins with a copy of `document`.
    pub fn new(document: &Value) -> Self {
        Self { document: document.clone(), ops: Vec::new() }
    }

    /// The node at `at` in the document as it is now.
    pub fn value(&self, at: &Pointer) -> Option<&Value> {
        at.resolve(&self.document)
    }

    /// The document as it is now.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Sets a map key: `replace` where it exists, else `add`. Missing (or null) maps on the way are created by the
    /// same operation. Nothing happens when the value is there already, or where a parent is not a map.
    pub fn set(&mut self, at: &Pointer, value: Value) {
        spend(1);
        if self.value(at) == Some(&value) {
            return;
        }
        if self.value(at).is_some() {
            if let Some(node) = self.document.pointer_mut(at.as_str()) {
                *node = value.clone();
            }
            self.ops.push(Op::Replace { path: at.clone(), value });
            return;
        }
        let Some((parent, key)) = at.split_last() else { return };
        match self.document.pointer_mut(parent.as_str()) {
            Some(Value::Object(map)) => {
                map.insert(key, value.clone());
                self.ops.push(Op::Add { path: at.clone(), value });
            }
            None | Some(Value::Null) => {
                let wrapped: Map<String, Value> = [(key, value)].into_iter().collect();
                self.set(&parent, Value::Object(wrapped));
            }
            Some(_) => {}
        }
    }

    /// Removes a node; nothing happens where there is none. Later entries of a list move up.
    pub fn remove(&mut self, at: &Pointer) {
        if self.value(at).is_none() {
            return;
        }
        let Some((parent, key)) = at.split_last() else { return };
        match self.document.pointer_mut(parent.as_str()) {
            Some(Value::Object(map)) => {
                spend(map.len());
                map.shift_remove(&key);
            }
            Some(Value::Array(items)) => {
                let Ok(index) = key.parse::<usize>() else { return };
                spend(items.len() - index.min(items.len()));
                items.remove(index);
            }
            _ => return,
        }
        self.ops.push(Op::Remove { path: at.clone() });
    }

    /// Appends to a list, which is created where it is missing or null.
    pub fn append(&mut self, list: &Pointer, value: Value) {
        spend(1);
        match self.document.pointer_mut(list.as_str()) {
            Some(Value::Array(items)) => {
                items.push(value.clone());
                self.ops.push(Op::Add { path: list.end(), value });
            }
            None | Some(Value::Null) => self.set(list, Value::Array(vec![value])),
            Some(_) => {}
        }
    }

    /// The operations, in the order they were made.
    pub fn finish(self) -> Patch {
        Patch(self.ops)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parents_are_created_by_the_operation_that_needs_them() {
        let mut editor = Editor::new(&json!({"spec": {"securityContext": null}}));
        editor.set(&Pointer::of(["spec", "securityContext", "runAsNonRoot"]), json!(true));
        editor.set(&Pointer::of(["metadata", "labels", "a/b"]), json!("x"));
        editor.append(&Pointer::of(["spec", "ports"]), json!(1));
        editor.append(&Pointer::of(["spec", "ports"]), json!(2));
        let expected = json!([
            {"op": "replace", "path": "/spec/securityContext", "value": {"runAsNonRoot": true}},
            {"op": "add", "path": "/metadata", "value": {"labels": {"a/b": "x"}}},
            {"op": "add", "path": "/spec/ports", "value": [1]},
            {"op": "add", "path": "/spec/ports/-", "value": 2}
        ]);
        assert_eq!(serde_json::to_value(editor.finish()).unwrap(), expected);
    }

    #[test]
    fn what_is_there_already_makes_no_operation() {
        let mut editor = Editor::new(&json!({"a": 1, "l": [0, 1]}));
        editor.set(&Pointer::of(["a"]), json!(1));
        editor.remove(&Pointer::of(["b"]));
        editor.set(&Pointer::of(["a", "x"]), json!(1));
        assert!(editor.clone().finish().is_empty());
        editor.remove(&Pointer::of(["l"]).index(0));
        assert_eq!(editor.document(), &json!({"a": 1, "l": [1]}));
    }
}
