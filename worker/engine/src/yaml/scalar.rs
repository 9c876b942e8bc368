//! Types of plain scalars.
//!
//! Kubernetes reads YAML 1.1 through `sigs.k8s.io/yaml`: `yes`, `on`, `y` and their kin are booleans, a leading `0` means
//! octal. Sexagesimal numbers and timestamps stay text there, so they do here.

use serde_json::{Number, Value};

/// The value of a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Value::String(text.to_owned());
    }
    integer(text).or_else(|| float(text)).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Whether some YAML reader would take the plain text for anything but a string.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    if !resolve(text).is_string() {
        return true;
    }
    if matches!(text, "=" | "<<") {
        return true;
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Numbers of other readers (0o17, 1_000, .inf), times and dates all begin like this.
    body.starts_with(|c: char| c.is_ascii_digit())
        && body.chars().all(|c| c.is_ascii_hexdigit() || "_:.-+oxTZt eE".contains(c))
        || matches!(body.to_ascii_lowercase().as_str(), ".inf" | ".nan")
}

fn integer(text: &str) -> Option<Number> {
    let (negative, body) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !body.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = if body.contains('_') { body.replace('_', "") } else { body.to_owned() };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        (2, binary)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits.as_str())
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

fn float(text: &str) -> Option<Number> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = |c: char| c.is_ascii_digit() || "._eE+-".contains(c);
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !body.chars().all(numeric) {
        return None;
    }
    if !body.chars().any(|c| c.is_ascii_digit()) {
        return None;
    }
    let plain = if text.contains('_') { text.replace('_', "") } else { text.to_owned() };
    plain.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_have_the_types_kubernetes_gives_them() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("0", json!(0)),
            ("-5", json!(-5)),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("089", json!(89.0)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1_000", json!(1000)),
            ("12:30", json!("12:30")),
            ("2001-12-14", json!("2001-12-14")),
            ("1.2.3", json!("1.2.3")),
            ("100m", json!("100m")),
            ("-", json!("-")),
            (".", json!(".")),
            (".inf", json!(".inf")),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(resolve(text), value, "{text:?}");
        }
    }

    #[test]
    fn text_that_any_reader_could_mistake_is_known() {
        for text in ["y", "N", "12:30", "2001-12-14", "0o17", "1_0", "=", "null", "1.5", ".NaN"] {
            assert!(is_ambiguous(text), "{text}");
        }
        for text in ["nginx", "100m", "v1", "-x", "a:b"] {
            assert!(!is_ambiguous(text), "{text}");
        }
    }
}
