//! Writes a value as YAML text in block style.
//!
//! Our own emitter, because the output is applied to clusters: a string must be quoted when any YAML 1.1 or 1.2 reader could
//! parse it as another type (`on`, `0777`, `1:30`, `y`), which serializers for one YAML version do not do.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::scalar;

/// Indentation of mappings and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indentation {
    /// Spaces before the keys of a nested mapping; at least 1.
    pub mapping: usize,
    /// Spaces before the dashes of a nested list.
    pub list: usize,
}

impl Indentation {
    /// As `kubectl get -o yaml`: two spaces, and lists at the column of their key.
    pub const USUAL: Self = Self { mapping: 2, list: 0 };
}

/// Writes `value` as one YAML document, keys in their order. Reading it back gives an equal value.
pub fn to_yaml(value: &Value) -> String {
    to_yaml_indented(value, Indentation::USUAL)
}

/// [`to_yaml`] with another indentation.
pub fn to_yaml_indented(value: &Value, by: Indentation) -> String {
    let mut out = String::with_capacity(2048);
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0, by),
        Value::Array(items) if !items.is_empty() => list(&mut out, items, 0, by),
        scalar => {
            // Indented, so that no line of a text begins a document.
            inline(&mut out, scalar, 2);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, by: usize) {
    const BLANKS: &str = "                                                                ";
    let mut left = by;
    while left > 0 {
        let step = left.min(BLANKS.len());
        out.push_str(&BLANKS[..step]);
        left -= step;
    }
}

fn mapping(out: &mut String, map: &Map<String, Value>, level: usize, by: Indentation) {
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 {
            indent(out, level);
        }
        entry(out, key, value, level, by);
    }
}

fn entry(out: &mut String, key: &str, value: &Value, level: usize, by: Indentation) {
    text(out, key, None);
    out.push(':');
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            indent(out, level + by.mapping);
            mapping(out, map, level + by.mapping, by);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            indent(out, level + by.list);
            list(out, items, level + by.list, by);
        }
        scalar => {
            out.push(' ');
            inline(out, scalar, level + by.mapping);
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Value], level: usize, by: Indentation) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            indent(out, level);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(out, map, level + 2, by),
            Value::Array(items) if !items.is_empty() => list(out, items, level + 2, by),
            scalar => {
                inline(out, scalar, level + 2);
                out.push('\n');
            }
        }
    }
}

pub(crate) fn inline(out: &mut String, value: &Value, block_indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let at = out.len();
            let _ = write!(out, "{number}");
            // `1e30` is a float to some readers and text to others; `1.0e30` is a float to all.
            if number.is_f64() && !out[at..].contains('.') {
                let exponent = out[at..].find('e').map_or(out.len(), |offset| at + offset);
                out.insert_str(exponent, ".0");
            }
        }
        Value::String(string) => text(out, string, Some(block_indent)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Writes a text plainly where that is safe, as a literal block where it has lines, else in double quotes.
fn text(out: &mut String, string: &str, block_indent: Option<usize>) {
    if is_plain(string) {
        out.push_str(string);
    } else if let Some(by) = block_indent
        && is_literal(string)
    {
        literal(out, string, by);
    } else {
        quoted(out, string);
    }
}

pub(crate) fn is_plain(string: &str) -> bool {
    let bytes = string.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if b" -?:,[]{}#&*!|>'\"%@`".contains(&first) {
        // A dash or colon that cannot be an indicator may begin a plain text: `-x`, `--port=80`, `:8080`.
        let second = bytes.get(1).copied().unwrap_or(b' ');
        if !matches!(first, b'-' | b'?' | b':') || b" ,[]{}".contains(&second) || string.starts_with("---") {
            return false;
        }
    }
    if matches!(last, b' ' | b':') || bytes.len() > 200 {
        return false;
    }
    for (at, &byte) in bytes.iter().enumerate() {
        let safe = match byte {
            b':' => !matches!(bytes.get(at + 1), Some(b' ')),
            b'#' => bytes.get(at.wrapping_sub(1)) != Some(&b' '),
            0x20..=0x7e => true,
            _ => false,
        };
        if !safe {
            return false;
        }
    }
    !scalar::is_ambiguous(string) && !string.starts_with("...")
}

fn is_literal(string: &str) -> bool {
    string.contains('\n')
        && !string.starts_with([' ', '\n', '\t'])
        && !string.contains("\n\n\n")
        && string.chars().all(|c| c == '\n' || c == '\t' || ((' '..='~').contains(&c)))
        && !string.split('\n').any(|line| line.ends_with([' ', '\t']))
        && !string.trim_end_matches('\n').is_empty()
}

fn literal(out: &mut String, string: &str, by: usize) {
    let body = string.trim_end_matches('\n');
    out.push('|');
    match string.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    let kept = string.strip_suffix('\n').unwrap_or(string);
    for line in kept.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, by);
            out.push_str(line);
        }
    }
}

pub(crate) fn quoted(out: &mut String, string: &str) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(c),
            c if c as u32 > 0xffff => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
            c if (c as u32) < 0xa0 || matches!(c as u32, 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use domain::config::Limits;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::yaml::load;

    fn again(value: &Value) -> Value {
        let text = to_yaml(value);
        load(&text, &Limits::default()).unwrap_or_else(|error| panic!("{error}:\n{text}")).value
    }

    #[test]
    fn looks_like_a_manifest() {
        let value = json!({
            "kind": "Pod", "spec": {"containers": [{"name": "a", "args": ["--x=1", "on", "0644"], "command": []}], "port": 1},
            "text": "one\ntwo\n", "empty": {}, "none": null, "list": [[1, 2], []]
        });
        let expected = "kind: Pod\nspec:\n  containers:\n  - name: a\n    args:\n    - --x=1\n    - \"on\"\n    - \"0644\"\n    command: []\n  port: 1\ntext: |\n  one\n  two\nempty: {}\nnone: null\nlist:\n- - 1\n  - 2\n- []\n";
        assert_eq!(to_yaml(&value), expected);
        assert_eq!(again(&value), value);
    }

    #[test]
    fn texts_that_need_care() {
        for text in [
            "", " ", "a ", "-", "- a", "a: b", "a #b", "#", "y", "1:30", "a\n", "\n", "a\n\nb", "a\n\n",
            "  a\nb", "a\n ", "é", "\u{85}", "\u{feff}", "😀", "\0", "...", "---", "? x", ":", ":8080", "*a",
            "<<", "=", "1.0", "1e5", "a\tb\nc", "\t", "a:", "[", "%x", "@x", "`", "a\r\nb", "- - -", "--- a",
            "null", "~",
        ] {
            let value = json!({"k": text, "l": [text, {text: 1}]});
            assert_eq!(again(&value), value, "{text:?}\n{}", to_yaml(&value));
        }
    }

    #[test]
    fn a_text_alone_begins_no_document() {
        let value = json!("---\n\n?");
        assert_eq!(again(&value), value);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in domain::testing::json(), mapping in 1..6_usize, list in 0..5_usize) {
            prop_assert_eq!(again(&value), value.clone());
            let text = to_yaml_indented(&value, Indentation { mapping, list });
            prop_assert_eq!(load(&text, &Limits::default()).unwrap().value, value);
        }

        #[test]
        fn any_text_is_read_back(text in any::<String>()) {
            let value = json!([{ text.clone(): text }]);
            prop_assert_eq!(again(&value), value);
        }

        #[test]
        fn any_ascii_text_is_read_back(text in "[ -~\\n\\t]{0,12}") {
            let value = json!({"a": {"b": [text]}});
            prop_assert_eq!(again(&value), value);
        }
    }
}
