//! YAML intake: any text ends in a document within the limits or in an error, the same way twice.

use domain::config::Limits;
use domain::testing::{Inputs, property};
use engine::yaml::{Loaded, load, load_with_spans, split};
use proptest::prelude::*;
use serde_json::Value;

use super::dice::made;
use super::{laws, mutations};

#[test]
fn any_bytes_are_read_or_refused() {
    let bytes = prop::collection::vec(any::<u8>(), 0..200)
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    property("yaml-bytes", Inputs { usual: 1500, share: 22 }, &bytes, |text| is_read_or_refused(&text));
}

#[test]
fn any_words_are_read_or_refused() {
    property("yaml-tokens", Inputs { usual: 1500, share: 22 }, &made(70, mutations::soup), |text| {
        is_read_or_refused(&text);
    });
}

#[test]
fn damaged_manifests_are_read_or_refused() {
    property("yaml-damaged", Inputs { usual: 500, share: 10 }, &made(50, mutations::text), |text| {
        is_read_or_refused(&text);
    });
}

/// Texts of the largest size a document may have, each made of one piece over and over: the work that they cause grows
/// with their size only (a test of minutes instead of seconds is one that hangs).
#[test]
fn the_largest_documents_end() {
    let limits = Limits { document_bytes: 1 << 18, ..Limits::default() };
    let most = limits.document_bytes;
    let full = |head: &str, piece: &str, tail: &str| {
        let times = (most - head.len() - tail.len()) / piece.len();
        format!("{head}{}{tail}", piece.repeat(times))
    };
    let anchors = (0..60).map(|level| format!("&a{level} [")).collect::<Vec<_>>().concat();
    let long = "k".repeat(1 << 16);
    let texts = [
        full("", "[", ""),
        full("", "{", ""),
        full("", "{a: ", ""),
        full("", "[a, ", ""),
        full("[", "a, ", "]"),
        full("[", "\"a\", ", "]"),
        full("[", "a: b, ", "]"),
        full("{", "a, ", "}"),
        full("", "- ", ""),
        full("", "? ", ""),
        full("", "a: ", ""),
        full("", "a\n", ""),
        full("", "- a\n", ""),
        full("", "a: b\n", ""),
        full("", "? a\n", ""),
        full("", "&a ", ""),
        full("", "!a ", ""),
        full("", "!", ""),
        full("", "#", ""),
        full("", " ", ""),
        full("", "\n", ""),
        full("", "\t", ""),
        full("a: |\n", "  x\n", ""),
        full("a: |\n", "\n", "x"),
        full("a: >\n", "  x\n\n", ""),
        full("'", "'' ", "'"),
        full("\"", "\\n", "\""),
        full("\"", "\n", "\""),
        full("", "'", ""),
        full("", "%A\n", ""),
        full("", "---\n", ""),
        full("", "...\n", ""),
        full(&anchors, "1,", &"]".repeat(60)),
        full(&format!("a: &a '{long}'\nb: ["), "*a,", "]"),
        full(&format!("? {long}\n: {{"), "a: 1, ", "}"),
        full(&format!("? {long}\n: ["), "1,", "]"),
    ];
    for text in &texts {
        let start: String = text.chars().take(20).collect();
        let plain = load(text, &limits);
        let with_spans = load_with_spans(text, &limits);
        assert_eq!(plain.map(|loaded| loaded.value), with_spans.map(|loaded| loaded.value), "{start}");
    }
}

/// Limits that small inputs reach.
fn limits() -> Limits {
    Limits { document_depth: 12, document_nodes: 150, document_aliases: 4, ..Limits::default() }
}

fn is_read_or_refused(text: &str) {
    pieces_stand_where_they_say(text);
    let plain = load(text, &limits());
    let with_spans = load_with_spans(text, &limits());
    match (&plain, with_spans) {
        (Ok(plain), Ok(with_spans)) => {
            assert_eq!(
                (&plain.value, &plain.duplicate_keys),
                (&with_spans.value, &with_spans.duplicate_keys)
            );
            spans_lie_within(text, &with_spans);
        }
        (Err(plain), Err(with_spans)) => assert_eq!(*plain, with_spans),
        (plain, with_spans) => panic!("positions change the result: {plain:?} / {with_spans:?}"),
    }
    if let Ok(loaded) = plain {
        let (nodes, depth) = size(&loaded.value);
        assert!(
            nodes <= limits().document_nodes && depth <= limits().document_depth + 1,
            "{nodes} nodes, {depth} deep"
        );
        for duplicate in &loaded.duplicate_keys {
            assert!(!duplicate.as_str().is_empty());
        }
        laws::written_is_read_back(&loaded.value);
    }
}

fn pieces_stand_where_they_say(text: &str) {
    let pieces = split(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut behind = 0;
    for piece in pieces {
        assert!(piece.byte_offset >= behind, "pieces do not overlap");
        behind = piece.byte_offset + piece.text.len();
        let here = text.get(piece.byte_offset..behind);
        assert_eq!(here, Some(piece.text), "the piece at byte {}", piece.byte_offset);
        let lines = text[..piece.byte_offset].matches('\n').count();
        assert_eq!(lines, piece.line_offset, "lines before byte {}", piece.byte_offset);
    }
}

fn spans_lie_within(text: &str, loaded: &Loaded) {
    // What is missing at the end of a text stands behind its last line.
    let lines = 1 + text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for (pointer, position) in &loaded.spans {
        for (from, to) in [position.key, position.value] {
            assert!(text.get(from..to).is_some(), "{pointer}: bytes {from}..{to} of {}", text.len());
        }
        assert!(position.column >= 1 && (1..=lines).contains(&position.line), "{pointer}: {position:?}");
    }
}

fn size(value: &Value) -> (usize, usize) {
    let inner: Vec<_> = match value {
        Value::Array(entries) => entries.iter().map(size).collect(),
        Value::Object(map) => map.values().map(size).collect(),
        _ => Vec::new(),
    };
    (
        1 + inner.iter().map(|(nodes, _)| nodes).sum::<usize>(),
        1 + inner.iter().map(|(_, depth)| *depth).max().unwrap_or(0),
    )
}
