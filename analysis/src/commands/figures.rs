//! How figures are written.

use analysis::stats::Proportion;
use console::output::{Align, Table};
use serde_json::Value;

/// `99.51 %`; a dash for a share of nothing.
pub(super) fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0))
}

/// `99.38 – 99.61 %`.
pub(super) fn interval(share: &Proportion) -> String {
    match (share.low, share.high) {
        (Some(low), Some(high)) => format!("{:.2} – {:.2} %", low * 100.0, high * 100.0),
        _ => "-".to_owned(),
    }
}

/// A number of some unit with as many decimals as its size deserves; a dash for none.
pub(super) fn number(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x.abs() >= 100.0 => short(format!("{x:.1}")),
        Some(x) => short(format!("{x:.3}")),
    }
}

/// Without zeros at the end of its decimals.
fn short(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

/// The leaves of a JSON value as `key,value` lines with dotted keys; what a list holds is numbered.
pub(super) fn leaves(value: &Value) -> Table {
    let mut table = Table::new([("key", Align::Left), ("value", Align::Right)]);
    walk(value, String::new(), &mut |key, value| table.push([key, cell(value)]));
    table
}

/// A JSON leaf as a CSV cell: text without quotes, nothing for null.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn walk(value: &Value, path: String, visit: &mut impl FnMut(String, &Value)) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| walk(value, under(name), visit)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| walk(value, under(&place.to_string()), visit));
        }
        leaf => visit(path, leaf),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(percent(Some(0.995_093)), "99.51 %");
        assert_eq!((percent(None), number(None)), ("-".to_owned(), "-".to_owned()));
        assert_eq!(interval(&Proportion::new(13_589, 13_656)), "99.38 – 99.61 %");
        assert_eq!(interval(&Proportion::new(0, 0)), "-");
        assert_eq!(number(Some(8.0)), "8");
        assert_eq!(number(Some(0.123_45)), "0.123");
        assert_eq!(number(Some(1234.56)), "1234.6");
        assert_eq!((number(Some(50.6)), number(Some(100.0))), ("50.6".to_owned(), "100".to_owned()));
    }

    #[test]
    fn leaves_have_dotted_keys() {
        let value = json!({"a": 1, "b": {"c": null, "d": ["x", 9.0]}, "e": {}});
        assert_eq!(leaves(&value).csv(), "key,value\na,1\nb.c,\nb.d.0,x\nb.d.1,9.0\n");
    }
}
