//! Label selectors read once: what they select, why they are not valid, and how kube-linter prints them.

use std::collections::BTreeMap;

use domain::record::reference::{LabelExpression, LabelSelector};
use serde_json::{Map, Value};

use super::names;
use super::neighbours::text_labels;
use crate::steps::spend;

/// The API server's message about a string that is not a valid label value (Kubernetes documentation, *Labels and Selectors*).
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Reads a `LabelSelector` of a manifest; what has a wrong type counts as absent.
pub fn read(selector: &Value) -> LabelSelector {
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    LabelSelector {
        labels: text_labels(selector.get("matchLabels").and_then(Value::as_object)),
        expressions: expressions.into_iter().flatten().filter_map(Value::as_object).map(expression).collect(),
    }
}

fn expression(fields: &Map<String, Value>) -> LabelExpression {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let values = fields.get("values").and_then(Value::as_array).into_iter().flatten();
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    LabelExpression { key: text("key"), operator: text("operator"), values: values.map(value).collect() }
}

/// Whether labels are selected. What is not valid selects nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    spend(1 + selector.labels.len() + selector.expressions.len());
    let holds = |expression: &LabelExpression| {
        let label = labels.get(&expression.key);
        let is_listed = || label.is_some_and(|label| expression.values.contains(label));
        match expression.operator.as_str() {
            "In" => is_listed(),
            // One without values is not valid.
            "NotIn" => !expression.values.is_empty() && !is_listed(),
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            _ => false,
        }
    };
    selector.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.expressions.iter().all(holds)
}

/// Why a selector is not valid, in the words of the API server.
pub fn invalid(selector: &LabelSelector) -> Option<String> {
    let illegal = selector.labels.iter().find(|(_, value)| !names::is_label_value(value));
    let of_labels =
        illegal.map(|(key, value)| format!("values[0][{key}]: Invalid value: {value:?}: {LABEL_VALUE_RULE}"));
    of_labels.or_else(|| selector.expressions.iter().find_map(invalid_expression))
}

fn invalid_expression(expression: &LabelExpression) -> Option<String> {
    let LabelExpression { operator, values, .. } = expression;
    match operator.as_str() {
        "In" | "NotIn" if values.is_empty() => Some(
            "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty".to_owned(),
        ),
        "In" | "NotIn" => None,
        "Exists" | "DoesNotExist" if values.is_empty() => None,
        "Exists" | "DoesNotExist" => {
            let listed: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            Some(format!(
                "values: Invalid value: [{}]: values set must be empty for exists and does not exist",
                listed.join(",")
            ))
        }
        operator => Some(format!("{operator:?} is not a valid label selector operator")),
    }
}

/// A selector as `kubectl` takes it: `app=web,tier in (a,b)`.
pub fn query(selector: &LabelSelector) -> String {
    let labels = selector.labels.iter().map(|(key, value)| (key.clone(), format!("{key}={value}")));
    let expression = |expression: &LabelExpression| {
        let LabelExpression { key, operator, values } = expression;
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        let values = values.join(",");
        let text = match operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        (key.clone(), text)
    };
    let mut all: Vec<(String, String)> = labels.chain(selector.expressions.iter().map(expression)).collect();
    // Those of one key stay in the order in which they are written.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let texts: Vec<String> = all.into_iter().map(|(_, text)| text).collect();
    texts.join(",")
}

/// A selector as Go prints the struct: `{map[app:web] [{tier In [a b]}]}`.
pub fn go_struct(selector: &LabelSelector) -> String {
    let pairs: Vec<String> = selector.labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let expression = |LabelExpression { key, operator, values }: &LabelExpression| {
        format!("{{{key} {operator} [{}]}}", values.join(" "))
    };
    let expressions: Vec<String> = selector.expressions.iter().map(expression).collect();
    format!("{{map[{}] [{}]}}", pairs.join(" "), expressions.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selector(value: &Value) -> LabelSelector {
        read(value)
    }

    #[test]
    fn expressions_select() {
        let labels: BTreeMap<String, String> =
            [("app", "web"), ("tier", "front")].map(|(key, value)| (key.into(), value.into())).into();
        for (key, operator, values, expected) in [
            ("app", "In", json!(["web", "x"]), true),
            ("app", "In", json!(["x"]), false),
            ("x", "In", json!(["web"]), false),
            ("app", "NotIn", json!(["web"]), false),
            ("x", "NotIn", json!(["web"]), true),
            ("x", "NotIn", json!([]), false),
            ("tier", "Exists", json!([]), true),
            ("tier", "DoesNotExist", json!([]), false),
            ("tier", "Like", json!([]), false),
        ] {
            let found = selector(
                &json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
            );
            assert_eq!(matches(&found, &labels), expected, "{found:?}");
        }
        assert!(matches(&selector(&json!({})), &labels));
        assert!(matches(&selector(&json!({"matchLabels": {"app": "web"}})), &labels));
        assert!(!matches(&selector(&json!({"matchLabels": {"app": "db"}})), &labels));
    }

    #[test]
    fn what_is_not_valid_is_named() {
        let of = |operator: &str, values: Value| {
            invalid(&selector(
                &json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}),
            ))
        };
        assert_eq!(of("In", json!(["x"])), None);
        assert!(of("NotIn", json!([])).unwrap().starts_with("values: Invalid value: null: for 'in'"));
        assert!(
            of("Exists", json!(["x"]))
                .unwrap()
                .starts_with("values: Invalid value: [\"x\"]: values set must")
        );
        assert_eq!(of("Like", json!([])).unwrap(), "\"Like\" is not a valid label selector operator");
        let label = invalid(&selector(&json!({"matchLabels": {"a": "<x>"}}))).unwrap();
        assert!(label.starts_with("values[0][a]: Invalid value: \"<x>\": a valid label must"), "{label}");
    }

    #[test]
    fn selectors_are_printed_in_two_ways() {
        let found = selector(&json!({
            "matchLabels": {"b": "2", "a": 1},
            "matchExpressions": [
                {"key": "t", "operator": "In", "values": ["y", "x"]},
                {"key": "d", "operator": "NotIn", "values": ["z"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist"}
            ]
        }));
        assert_eq!(query(&found), "a=1,b=2,d notin (z),d,!e,t in (x,y)");
        assert_eq!(
            go_struct(&found),
            "{map[a:1 b:2] [{t In [y x]} {d NotIn [z]} {d Exists []} {e DoesNotExist []}]}"
        );
        assert_eq!(go_struct(&selector(&json!({}))), "{map[] []}");
    }
}
