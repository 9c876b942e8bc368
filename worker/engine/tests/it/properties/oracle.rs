//! RFC 6902 as plainly as it can be written: the measure for the implementation in use. No limits, no speed.

use domain::patch::{Op, Patch};
use serde_json::Value;

/// The patched document; `None` when an operation fails.
pub(crate) fn apply(document: &Value, patch: &Patch) -> Option<Value> {
    patch.0.iter().try_fold(document.clone(), |document, op| {
        let keys = |pointer: &domain::pointer::Pointer| pointer.keys().collect::<Vec<_>>();
        let to = keys(op.path());
        match op {
            Op::Add { value, .. } => add(document, &to, value.clone()),
            Op::Remove { .. } => remove(document, &to).map(|(document, _)| document),
            Op::Replace { value, .. } => {
                find(&document, &to)?;
                if to.is_empty() {
                    Some(value.clone())
                } else {
                    add(remove(document, &to)?.0, &to, value.clone())
                }
            }
            Op::Move { from, .. } => {
                let from = keys(from);
                if from == to {
                    return find(&document, &from).is_some().then_some(document);
                }
                if to.starts_with(&from) {
                    return None;
                }
                let (document, value) = remove(document, &from)?;
                add(document, &to, value)
            }
            Op::Copy { from, .. } => {
                let value = find(&document, &keys(from))?.clone();
                add(document, &to, value)
            }
            Op::Test { value, .. } => equal(find(&document, &to)?, value).then_some(document),
        }
    })
}

/// Section 4.6: numbers are equal when their values are.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        (a, b) => a == b,
    }
}

/// RFC 6901: digits without leading zeros.
fn index(key: &str) -> Option<usize> {
    let plain = key == "0" || (!key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { key.parse().ok() } else { None }
}

fn find<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |node, key| match node {
        Value::Object(map) => map.get(key),
        Value::Array(entries) => entries.get(index(key)?),
        _ => None,
    })
}

/// Does `change` to the collection that holds the last key of `path`.
fn within<T>(
    mut document: Value,
    path: &[String],
    change: impl FnOnce(&mut Value, &str) -> Option<T>,
) -> Option<(Value, T)> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(&mut document, |node, key| match node {
        Value::Object(map) => map.get_mut(key),
        Value::Array(entries) => entries.get_mut(index(key)?),
        _ => None,
    })?;
    let changed = change(parent, last)?;
    Some((document, changed))
}

fn add(document: Value, path: &[String], value: Value) -> Option<Value> {
    if path.is_empty() {
        return Some(value);
    }
    let change = |parent: &mut Value, key: &str| match parent {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
            Some(())
        }
        Value::Array(entries) => {
            let at = if key == "-" { entries.len() } else { index(key)? };
            (at <= entries.len()).then(|| entries.insert(at, value))
        }
        _ => None,
    };
    within(document, path, change).map(|(document, ())| document)
}

fn remove(document: Value, path: &[String]) -> Option<(Value, Value)> {
    within(document, path, |parent, key| match parent {
        Value::Object(map) => map.shift_remove(key),
        Value::Array(entries) => {
            let at = index(key)?;
            (at < entries.len()).then(|| entries.remove(at))
        }
        _ => None,
    })
}
