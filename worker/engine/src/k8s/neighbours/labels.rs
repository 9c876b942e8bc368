//! Labels and selectors as texts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The kind under which the hand-made endpoints of a Service are offered: a "workload" without pods.
pub const ENDPOINTS: &str = "Endpoints";

/// Labels as texts; numbers and booleans as they are written.
pub fn text_labels(labels: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// The selector of a Service as texts; empty when there is none.
pub fn service_selector(service: &Value) -> BTreeMap<String, String> {
    text_labels(service.pointer("/spec/selector").and_then(Value::as_object))
}
