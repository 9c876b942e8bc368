//! Label selectors (Kubernetes documentation, *Labels and Selectors*).

use serde_json::{Map, Value};

/// Whether every pair of `selector` is among `labels`. An empty selector matches everything.
pub fn matches_labels(selector: &Map<String, Value>, labels: Option<&Map<String, Value>>) -> bool {
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether a `LabelSelector` (`matchLabels` and `matchExpressions`) selects `labels`. An unknown operator selects
/// nothing.
pub fn selects(selector: &Map<String, Value>, labels: Option<&Map<String, Value>>) -> bool {
    let by_labels = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .is_none_or(|pairs| matches_labels(pairs, labels));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_labels && expressions.is_none_or(|list| list.iter().all(|expression| holds(expression, labels)))
}

fn holds(expression: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let Some(key) = expression.get("key").and_then(Value::as_str) else { return false };
    let label = labels.and_then(|labels| labels.get(key));
    let listed = || {
        let values = expression.get("values").and_then(Value::as_array);
        values.is_some_and(|values| values.iter().any(|value| Some(value) == label))
    };
    match expression.get("operator").and_then(Value::as_str) {
        Some("In") => label.is_some() && listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}

/// Labels as Go prints a map: `map[a:1 b:2]`, keys in order.
pub fn go_map(labels: Option<&Map<String, Value>>) -> String {
    let mut pairs: Vec<(&String, String)> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    pairs.sort();
    let inner: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!("map[{}]", inner.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("a map") };
        map
    }

    #[test]
    fn expressions() {
        let labels = map(json!({"app": "web", "tier": "front"}));
        let select = |selector: Value| selects(&map(selector), Some(&labels));
        assert!(select(json!({"matchLabels": {"app": "web"}})));
        assert!(!select(json!({"matchLabels": {"app": "db"}})));
        assert!(select(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]})));
        assert!(select(json!({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["web"]}]})));
        assert!(!select(json!({"matchExpressions": [{"key": "x", "operator": "Exists"}]})));
        assert!(!select(json!({"matchExpressions": [{"key": "app", "operator": "Like"}]})));
        assert_eq!(go_map(Some(&labels)), "map[app:web tier:front]");
    }
}
