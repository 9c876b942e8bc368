//! Operations under construction, and their application in place.

use std::borrow::Cow;

use domain::patch::Op;
use domain::pointer::Pointer;
use serde_json::Value;

use super::walk::Fields;

/// Operations in the order they were made.
#[derive(Debug, Default)]
pub(super) struct Ops(pub(super) Vec<Op>);

impl Ops {
    /// Adds a key (overwrites it) or inserts a list entry.
    pub(super) fn add(&mut self, path: Pointer, value: impl Into<Value>) {
        self.0.push(Op::Add { path, value: value.into() });
    }

    /// Replaces what is there.
    pub(super) fn replace(&mut self, path: Pointer, value: impl Into<Value>) {
        self.0.push(Op::Replace { path, value: value.into() });
    }

    /// Removes what is there.
    pub(super) fn remove(&mut self, path: Pointer) {
        self.0.push(Op::Remove { path });
    }

    /// `replace` when `holder` has the key (even with null), else `add`.
    pub(super) fn set(&mut self, holder: Option<&Fields>, at: &Pointer, key: &str, value: impl Into<Value>) {
        let path = at.child(key);
        if holder.is_some_and(|holder| holder.contains_key(key)) {
            self.replace(path, value);
        } else {
            self.add(path, value);
        }
    }

    /// `replace` when `holder` has the key with a value, `add` when it is absent or null.
    pub(super) fn set_not_null(
        &mut self,
        holder: Option<&Fields>,
        at: &Pointer,
        key: &str,
        value: impl Into<Value>,
    ) {
        let path = at.child(key);
        if holder.and_then(|holder| holder.get(key)).is_some_and(|value| !value.is_null()) {
            self.replace(path, value);
        } else {
            self.add(path, value);
        }
    }
}

/// Applies operations in place; the index of the first that does not apply, at which it stops.
pub(super) fn apply_all(document: &mut Value, ops: &[Op]) -> Result<(), usize> {
    ops.iter().enumerate().try_for_each(|(index, op)| apply(document, op).ok_or(index))
}

/// The rules make no other operations than these three.
fn apply(document: &mut Value, op: &Op) -> Option<()> {
    let (parent, key) = op.path().as_str().rsplit_once('/')?;
    let key = unescaped(key);
    let holder = resolve(document, parent)?;
    match (op, holder) {
        (Op::Add { value, .. }, Value::Object(map)) => {
            map.insert(key.into_owned(), value.clone());
        }
        (Op::Add { value, .. }, Value::Array(items)) => {
            let index = if key == "-" { items.len() } else { key.parse().ok()? };
            if index > items.len() {
                return None;
            }
            items.insert(index, value.clone());
        }
        (Op::Replace { value, .. }, Value::Object(map)) => *map.get_mut(&*key)? = value.clone(),
        (Op::Replace { value, .. }, Value::Array(items)) => {
            *items.get_mut(key.parse::<usize>().ok()?)? = value.clone();
        }
        (Op::Remove { .. }, Value::Object(map)) => {
            map.shift_remove(&*key)?;
        }
        (Op::Remove { .. }, Value::Array(items)) => {
            let index: usize = key.parse().ok()?;
            items.get(index)?;
            items.remove(index);
        }
        _ => return None,
    }
    Some(())
}

/// The node at an escaped pointer. (`Value::pointer_mut` allocates twice for every key.)
fn resolve<'a>(document: &'a mut Value, at: &str) -> Option<&'a mut Value> {
    at.split('/').skip(1).try_fold(document, |node, key| match node {
        Value::Object(map) => map.get_mut(&*unescaped(key)),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn unescaped(key: &str) -> Cow<'_, str> {
    if key.contains('~') { Cow::Owned(key.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(key) }
}
