//! Resource quantities (Kubernetes documentation, *Quantity*): a decimal number with a binary, decimal or exponent
//! suffix, or a plain YAML number.

use serde_json::Value;

/// The amount of a quantity, in base units (CPUs, bytes); `None` when it is not one.
pub fn parse(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => parse_text(text),
        _ => None,
    }
}

fn parse_text(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let amount: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_f64.powi(power)
        }
    };
    let amount = amount * factor;
    amount.is_finite().then_some(amount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities() {
        for (value, amount) in [
            (json!("100m"), Some(0.1)),
            (json!("1"), Some(1.0)),
            (json!(2), Some(2.0)),
            (json!(0.5), Some(0.5)),
            (json!("1Gi"), Some(1_073_741_824.0)),
            (json!("1e3"), Some(1000.0)),
            (json!("1.5k"), Some(1500.0)),
            (json!(".5"), Some(0.5)),
            (json!("Gi"), None),
            (json!("1 Gi"), None),
            (json!("ten"), None),
            (json!(true), None),
        ] {
            let found = parse(&value);
            let equal = match (found, amount) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9 * b.max(1.0),
                (None, None) => true,
                _ => false,
            };
            assert!(equal, "{value}: {found:?}");
        }
    }
}
