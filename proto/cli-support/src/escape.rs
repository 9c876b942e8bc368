//! Texts of strangers, made safe to show: on a terminal, in JSON, in a spreadsheet.
//!
//! *Owns* the answer to which characters act instead of being seen ([`acts`]); every text form of every program uses it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character acts on who reads it: control characters (C0, DEL, C1) but line feeds and tabs, what changes the
/// direction of text (Unicode Bidirectional Algorithm, UAX #9), separators of lines and paragraphs, and invisible tags.
pub const fn acts(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Shows characters that act, e.g. as `\u{1b}`, instead of sending them. Line feeds and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// [`visible`] on one line: line feeds and tabs are blanks.
pub fn one_line(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

/// [`visible`] for the lines of a file, such as a diff of it: they may end in a carriage return and a line feed.
pub fn lines(text: &str) -> Cow<'_, str> {
    keeping(text, |_| 0)
}

/// [`lines`] for what is laid out for a terminal: colours stay (`ESC [ digits m`).
pub fn laid_out(text: &str) -> Cow<'_, str> {
    keeping(text, colour)
}

/// `code`: the length of what stays of a text that begins with ESC.
fn keeping(text: &str, code: fn(&str) -> usize) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept = match c {
            '\r' if rest.starts_with("\r\n") => 2,
            '\u{1b}' => code(rest),
            c if acts(c) => 0,
            c => c.len_utf8(),
        };
        if kept == 0 {
            shown.extend(c.escape_unicode());
        }
        shown.push_str(&rest[..kept]);
        rest = &rest[kept.max(c.len_utf8())..];
    }
    Cow::Owned(shown)
}

/// The length of the colour code that a text begins with; 0 for anything else.
fn colour(text: &str) -> usize {
    let Some(code) = text.strip_prefix("\u{1b}[") else { return 0 };
    let digits = code.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if code[digits..].starts_with('m') { digits + 3 } else { 0 }
}

/// The same JSON, with characters that act as escapes of JSON (`\u202e`).
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// A cell of CSV that no spreadsheet computes: one that begins like a formula (`=`, `+`, `-`, `@`, a tab or a line break,
/// and their wide forms) gets an apostrophe in front, unless it is a figure: a number, also in percent or with
/// separators of thousands, an interval of two (`1.0 – 2.0 %`), or the dash for none. Characters that act are shown.
pub fn cell(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    // Blanks and a byte-order mark are passed over by who opens the file.
    let begins = shown.trim_start_matches([' ', '\u{feff}']);
    if begins.starts_with(['=', '+', '-', '@', '\t', '\n', '＝', '＋', '－', '＠']) && !is_figure(&shown)
    {
        return Cow::Owned(format!("'{shown}"));
    }
    shown
}

fn is_figure(text: &str) -> bool {
    text == "-" || text.split(" – ").all(is_number)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.replace(',', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(visible("a\u{1b}[31mb\r"), "a\\u{1b}[31mb\\u{d}");
        assert_eq!(
            visible("\u{9b}\u{202e}\u{2067}\u{200f}\u{e0041}"),
            "\\u{9b}\\u{202e}\\u{2067}\\u{200f}\\u{e0041}"
        );
        assert!(matches!(visible("plain\ntext\tä漢 👩‍💻"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\n\tb\r"), "a  b\\u{d}");
    }

    #[test]
    fn what_is_laid_out_keeps_colours_and_ends_of_lines() {
        let text = "\u{1b}[1mstrong\u{1b}[0m\r\nplain";
        assert_eq!(laid_out(text), text);
        assert_eq!(lines(text), "\\u{1b}[1mstrong\\u{1b}[0m\r\nplain");
        assert_eq!(
            laid_out("\u{1b}[2J\u{1b}]0;t\u{7}\rä\u{9b}1m"),
            "\\u{1b}[2J\\u{1b}]0;t\\u{7}\\u{d}ä\\u{9b}1m"
        );
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"\u{202e}": "\u{9b}\u{7f}\u{e0041}\u{1b}\n"});
        let text = json(&value.to_string()).into_owned();
        assert_eq!(text, "{\"\\u202e\":\"\\u009b\\u007f\\udb40\\udc41\\u001b\\n\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn formulas_are_text_and_numbers_are_numbers() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\\u{d}=1"),
            (" =1", "' =1"),
            ("\u{feff}=1", "'\u{feff}=1"),
            ("＝1", "'＝1"),
            ("-inf", "'-inf"),
            ("-1 – =2", "'-1 – =2"),
        ] {
            assert_eq!(cell(text), expected);
        }
        for figure in [
            "-1",
            "+0.5",
            "-1,234.5",
            "1e-7",
            "-3.20 %",
            "+5%",
            "-0.50 – 0.30 %",
            "-",
            "",
            "a=b",
            "2026-01-01",
        ] {
            assert_eq!(cell(figure), figure);
        }
    }
}
