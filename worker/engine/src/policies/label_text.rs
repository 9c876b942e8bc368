//! Labels and selectors as kube-linter prints them.

use serde_json::{Map, Value};

use super::message::quoted;
use crate::k8s::names;

/// The API server's message about a string that is not a valid label value (Kubernetes documentation, *Labels and Selectors*).
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// A scalar as text; maps and lists as JSON.
pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn entries(map: Option<&Map<String, Value>>) -> Vec<(&String, String)> {
    let mut pairs: Vec<_> = map.into_iter().flatten().map(|(key, value)| (key, scalar(value))).collect();
    pairs.sort();
    pairs
}

fn expressions(selector: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let list = selector.get("matchExpressions").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

fn match_labels(selector: &Map<String, Value>) -> Option<&Map<String, Value>> {
    selector.get("matchLabels").and_then(Value::as_object)
}

fn values(expression: &Map<String, Value>) -> Vec<String> {
    let list = expression.get("values").and_then(Value::as_array);
    list.into_iter().flatten().map(scalar).collect()
}

fn field(expression: &Map<String, Value>, key: &str) -> String {
    expression.get(key).map(scalar).unwrap_or_default()
}

/// A label selector as Go prints the object: `&LabelSelector{MatchLabels:map[string]string{app: web,},…}`.
pub(super) fn selector_object(selector: &Map<String, Value>) -> String {
    let labels: String =
        entries(match_labels(selector)).iter().map(|(key, value)| [key, ": ", value, ","].concat()).collect();
    let requirement = |expression: &Map<String, Value>| {
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            field(expression, "key"),
            field(expression, "operator"),
            values(expression).join(" ")
        )
    };
    let requirements: Vec<String> = expressions(selector).map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        requirements.concat()
    )
}

/// A label selector as `kubectl` takes it: `app=web,tier in (a,b)`.
pub(super) fn selector_query(selector: &Map<String, Value>) -> String {
    let labels = entries(match_labels(selector))
        .into_iter()
        .map(|(key, value)| (key.clone(), format!("{key}={value}")));
    let expression = |expression: &Map<String, Value>| {
        let key = field(expression, "key");
        let mut values = values(expression);
        values.sort();
        let text = match field(expression, "operator").as_str() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        (key, text)
    };
    let mut all: Vec<(String, String)> = labels.chain(expressions(selector).map(expression)).collect();
    all.sort();
    let texts: Vec<String> = all.into_iter().map(|(_, text)| text).collect();
    texts.join(",")
}

/// Labels as a set: `app=web,tier=front`.
pub(super) fn label_set(labels: Option<&Map<String, Value>>) -> String {
    let texts: Vec<String> = entries(labels).iter().map(|(key, value)| format!("{key}={value}")).collect();
    texts.join(",")
}

/// Why a map of labels cannot be a selector: the first value, by key, that is not a valid label value.
pub(super) fn invalid_value(labels: Option<&Map<String, Value>>) -> Option<String> {
    let (key, value) = entries(labels).into_iter().find(|(_, value)| !names::is_label_value(value))?;
    Some(format!("values[0][{key}]: Invalid value: {}: {LABEL_VALUE_RULE}", quoted(&value)))
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
    fn selectors_read_as_go_prints_them() {
        let selector = map(json!({
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "t", "operator": "In", "values": ["y", "x"]},
                {"key": "c", "operator": "NotIn", "values": ["z"]},
                {"key": "d", "operator": "DoesNotExist"},
                {"key": "e", "operator": "Exists"}
            ]
        }));
        assert_eq!(
            selector_object(&selector),
            "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:t,Operator:In,Values:[y x],},LabelSelectorRequirement{Key:c,Operator:NotIn,Values:[z],},LabelSelectorRequirement{Key:d,Operator:DoesNotExist,Values:[],},LabelSelectorRequirement{Key:e,Operator:Exists,Values:[],},},}"
        );
        assert_eq!(selector_query(&selector), "a=1,b=2,c notin (z),!d,e,t in (x,y)");
        assert_eq!(label_set(Some(&map(json!({"b": 2, "a": "1"})))), "a=1,b=2");
    }

    #[test]
    fn the_first_illegal_value_is_named() {
        let error = invalid_value(Some(&map(json!({"b": "<x>", "a": "ok"})))).unwrap();
        assert!(error.starts_with("values[0][b]: Invalid value: \"<x>\": a valid label must be"), "{error}");
        assert_eq!(invalid_value(Some(&map(json!({"a": ""})))), None);
    }
}
