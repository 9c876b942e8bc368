//! Values that were typed as text, in a flag or a variable.

use serde_json::Value;

/// Parses a value that was typed for a key whose default is `default`. `None`: the key is an entry of an open map, a
/// mapping whose entries the user names, and has no default.
///
/// Where the default is a text, so is the value: `1.25` can be an image tag. Where the default is `auto`, a number is a
/// number. A list may be typed as `a,b`. Everything else is JSON if it parses as JSON, and text otherwise.
pub(super) fn parse(typed: &str, default: Option<&Value>) -> Value {
    let parsed = serde_json::from_str::<Value>(typed).ok();
    match (default, parsed) {
        (Some(auto), Some(Value::Number(number))) if is_auto(auto) => Value::Number(number),
        (Some(Value::String(_)), Some(Value::String(text))) => Value::String(text),
        (Some(Value::String(_)), _) => Value::String(typed.to_owned()),
        (_, Some(value)) if !matches!(default, Some(Value::Array(_))) || value.is_array() => value,
        (Some(Value::Array(_)), _) => typed
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::String(item.to_owned()))
            .collect(),
        _ => Value::String(typed.to_owned()),
    }
}

/// Whether a default is `auto`: a number that the program determines at run time.
pub(super) fn is_auto(default: &Value) -> bool {
    default == "auto"
}

/// The name of a value's type, for messages.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(text) if text == "auto" => "a number or auto",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_decides_how_a_text_is_parsed() {
        assert_eq!(parse("1.25", Some(&json!("stable"))), json!("1.25"));
        assert_eq!(parse("\"1.25\"", Some(&json!("stable"))), json!("1.25"));
        assert_eq!(parse("7", Some(&json!(1))), json!(7));
        assert_eq!(parse("7", Some(&json!("auto"))), json!(7));
        assert_eq!(parse("auto", Some(&json!("auto"))), json!("auto"));
        assert_eq!(parse("x", Some(&json!(1))), json!("x"));
        assert_eq!(parse("true", Some(&json!(false))), json!(true));
        assert_eq!(parse("schema, policy", Some(&json!([]))), json!(["schema", "policy"]));
        assert_eq!(parse("[\"schema\"]", Some(&json!([]))), json!(["schema"]));
        assert_eq!(parse("22", Some(&json!([]))), json!(["22"]));
        assert_eq!(parse("", Some(&json!(["a"]))), json!([]));
        assert_eq!(parse("nginx:1.27", None), json!("nginx:1.27"));
        assert_eq!(parse("{\"a\": 1}", Some(&json!({}))), json!({"a": 1}));
    }
}
