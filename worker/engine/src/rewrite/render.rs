//! Renders values as text in the style of the surrounding text.

use serde_json::{Map, Value};

use super::layout::Layout;
use crate::yaml::emit;
use crate::yaml::to_yaml_indented;

/// `key: value` in block style, its lines at `column`; without a line break at the end.
pub(super) fn entry(key: &str, value: &Value, column: usize, layout: Layout) -> String {
    let map: Map<String, Value> = [(key.to_owned(), value.clone())].into_iter().collect();
    block(&Value::Object(map), column, layout)
}

/// `- value` in block style, its dash at `column`; without a line break at the end.
pub(super) fn item(value: &Value, column: usize, layout: Layout) -> String {
    block(&Value::Array(vec![value.clone()]), column, layout)
}

/// A collection in block style, every line at `column` or deeper; without a line break at the end.
pub(super) fn block(value: &Value, column: usize, layout: Layout) -> String {
    let text = to_yaml_indented(value, layout.by);
    let margin = " ".repeat(column);
    let mut out = String::with_capacity(text.len() + 64);
    // A literal block that keeps its trailing line breaks ends in empty lines, which must stay.
    for (at, line) in text.strip_suffix('\n').unwrap_or(&text).split('\n').enumerate() {
        if at > 0 {
            out.push_str(layout.newline);
        }
        if !line.is_empty() {
            out.push_str(&margin);
            out.push_str(line);
        }
    }
    out
}

/// A value on one line: a scalar, or a collection in flow style. `json`: nothing that JSON does not know.
pub(super) fn flow(value: &Value, json: bool) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, json)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", flow_text(key, json), flow(value, json)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::String(text) => flow_text(text, json),
        scalar => scalar_text(scalar),
    }
}

/// A text where a comma or a bracket would end a plain one.
pub(super) fn flow_text(text: &str, json: bool) -> String {
    if json {
        return Value::from(text).to_string();
    }
    let word = |c: char| c.is_ascii_alphanumeric() || "-._/@+".contains(c);
    // A colon is part of a word where another character of the word follows it (YAML 1.2 §7.3.3).
    let colons = text.split(':').skip(1).all(|after| after.starts_with(word));
    let safe = colons && text.chars().all(|c| word(c) || c == ' ' || c == ':');
    if emit::is_plain(text) && safe { text.to_owned() } else { quoted(text) }
}

/// A text in flow style, in the quotes of the scalar that it replaces where these can hold it.
pub(super) fn flow_text_like(text: &str, old: &str) -> String {
    match inline(&Value::from(text), old) {
        Some(inline) if old.starts_with(['"', '\'']) => inline,
        _ => flow_text(text, false),
    }
}

/// A collection over several lines, as JSON is usually printed, each but the first after `margin`.
pub(super) fn pretty(value: &Value, margin: &str, step: &str, newline: &str) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(step.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // A tree of values written to memory has no way to fail; the line form is the honest fallback.
    let text = serde::Serialize::serialize(value, &mut serializer)
        .ok()
        .and_then(|()| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| value.to_string());
    text.replace('\n', &format!("{newline}{margin}"))
}

/// Null, a boolean or a number.
fn scalar_text(value: &Value) -> String {
    let mut out = String::new();
    emit::inline(&mut out, value, 0);
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    emit::quoted(&mut out, text);
    out
}

/// A scalar or an empty collection on one line of block style, in the quotes of the scalar that it replaces; `None`
/// for what needs several lines.
pub(super) fn inline(value: &Value, old: &str) -> Option<String> {
    match value {
        Value::String(text) => {
            let printable = text.chars().all(|c| !c.is_control() && !('\u{7f}'..='\u{a0}').contains(&c));
            let ascii = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            if old.starts_with('"') && printable {
                Some(quoted(text))
            } else if old.starts_with('\'') && ascii {
                Some(format!("'{}'", text.replace('\'', "''")))
            } else if emit::is_plain(text) {
                Some(text.clone())
            } else if text.contains('\n') {
                None
            } else {
                Some(quoted(text))
            }
        }
        Value::Array(items) => items.is_empty().then(|| "[]".to_owned()),
        Value::Object(map) => map.is_empty().then(|| "{}".to_owned()),
        scalar => Some(scalar_text(scalar)),
    }
}
