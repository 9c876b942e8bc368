//! Size of a value: nodes, text, depth. Only for values within limits, or bounded by the JSON parser's own limit.

use serde_json::Value;

/// Nodes of `value`, itself included.
pub(super) fn nodes_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes_of).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(nodes_of).sum::<usize>(),
        _ => 1,
    }
}

/// Bytes of the texts and keys in `value`.
pub(super) fn bytes_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + bytes_of(value)).sum(),
        _ => 0,
    }
}

/// How deep `value` nests; a scalar is 1 deep.
pub(super) fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 1,
    }
}
