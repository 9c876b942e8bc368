//! Texts as kube-linter prints them: Go's `%q`.

use std::fmt::Write;

/// A text in double quotes with the escapes of Go's `strconv.Quote` (Go documentation, package `strconv`).
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        quote(c, &mut out);
    }
    out.push('"');
    out
}

/// A list of texts as Go prints a slice of them with `%q`: `["a" "b"]`.
pub(super) fn quoted_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(" "))
}

fn quote(c: char, out: &mut String) {
    let escape = match c {
        '"' | '\\' => c,
        c if is_printable(c) => return out.push(c),
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        c => {
            let code = u32::from(c);
            // Writing to a String cannot fail.
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                0x20..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(escape);
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII blank. Rust's `escape_debug` leaves the same characters as
/// they are, except for a combining mark that begins a text: hence the letter before it.
fn is_printable(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && format!("a{c}").escape_debug().nth(1) == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_like_go() {
        for (text, expected) in [
            ("web", r#""web""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\t\n\u{1}\u{7f}\u{7}", r#""\t\n\x01\x7f\a""#),
            ("W:ĸ輦唊#v", r#""W:ĸ輦唊#v""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{301}", "\"\u{301}\""),
            ("\u{a0}\u{200b}\u{e000}", r#""\u00a0\u200b\ue000""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("it's", r#""it's""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(quoted_list([]), "[]");
        assert_eq!(quoted_list(["A", "B\""]), r#"["A" "B\""]"#);
    }
}
