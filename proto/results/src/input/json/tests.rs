//! Arrays, lines, bad entries, broken files, and inputs made to hurt.

use std::io::{Cursor, Read};

use domain::config::Limits;
use domain::published::Detection;
use proptest::prelude::*;

use super::{Detections, Entry, Malformed};
use crate::file_error::FileError;

/// Gives a few bytes at a time, so that every value lies across reads.
struct Trickle<R>(R, usize);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

fn read_with(text: &[u8], step: usize, limits: &Limits) -> Result<Vec<Entry>, FileError> {
    Detections::new("d.json", Trickle(Cursor::new(text.to_vec()), step), limits).collect()
}

fn read(text: &str) -> Result<Vec<Entry>, FileError> {
    let whole = read_with(text.as_bytes(), usize::MAX, &Limits::default());
    let trickled = read_with(text.as_bytes(), 1, &Limits::default());
    match (&whole, &trickled) {
        (Ok(whole), Ok(trickled)) => assert_eq!(whole, trickled),
        (Err(whole), Err(trickled)) => assert_eq!(whole.to_string(), trickled.to_string()),
        _ => panic!("depends on how it is read: {whole:?} / {trickled:?}"),
    }
    whole
}

fn malformed(text: &str) -> Malformed {
    let entries = read(text).unwrap();
    assert_eq!(entries.len(), 2, "the neighbour goes on");
    assert_eq!(entries[1].content.as_ref().unwrap().id, "ok");
    entries[0].content.clone().unwrap_err()
}

#[test]
fn reads_arrays_and_lines() {
    let entry = r#"{"id":"1","manifest_path":"a.yaml","manifest_yaml":"kind: Pod\nx: \"[{\\\"\"","policy_id":"p","violation_text":"v","more":[1]}"#;
    for text in [
        format!("[{entry}, {entry}]"),
        format!("{entry}\n{entry}\n"),
        format!("\u{feff} [{entry},{entry}]\n"),
    ] {
        let entries = read(&text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].index, 1);
        let detection = entries[1].content.as_ref().unwrap();
        assert_eq!(detection.manifest_yaml.as_deref(), Some("kind: Pod\nx: \"[{\\\"\""));
    }
    assert!(read("[]").unwrap().is_empty());
}

#[test]
fn a_bad_entry_is_named_and_the_others_go_on() {
    const OK: &str = r#"{"id":"ok","policy_id":"p"}"#;
    let found = malformed(&format!(r#"[{{"id":"7","violation_text":"v"}},{OK}]"#));
    assert_eq!(found.id.as_deref(), Some("7"));
    assert!(
        found.message.starts_with("entry 1, line 1 column 2 (byte 1): missing field `policy_id`"),
        "{found:?}"
    );
    let found = malformed(&format!(r#"[{{"id":7.5,"policy_id":"p"}},{OK}]"#));
    assert_eq!((found.id.as_deref(), found.policy_id.as_deref()), (Some("7.5"), Some("p")));
    let found = malformed(&format!(r#"[{{"findings":[]}},{OK}]"#));
    assert!(found.message.ends_with("a list of records stands alone, or under a key"), "{found:?}");
    for bad in ["null", "3", "\"text\"", "[1,2]", "true", "[[[]]]", r#"["1","a","b","p","v"]"#] {
        malformed(&format!("[{bad},{OK}]"));
    }
    let lone = malformed(&format!(r#"[{{"id":"\ud800","policy_id":"p"}},{OK}]"#));
    assert!(lone.message.contains("hex escape"), "{lone:?}");
    let deep = malformed(&format!(
        r#"[{{"id":"1","policy_id":"p","x":{}{}}},{OK}]"#,
        "[".repeat(200),
        "]".repeat(200)
    ));
    assert!(deep.message.contains("nested 201 deep"), "{deep:?}");
}

#[test]
fn whole_numbers_are_ids_and_null_is_an_empty_text() {
    for (id, expected) in [
        ("7", "7"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        // What pandas makes of whole numbers beside a missing one.
        ("7.0", "7"),
        ("1e3", "1000"),
        ("\"007\"", "007"),
    ] {
        let entries = read(&format!(r#"[{{"id":{id},"policy_id":"p","violation_text":null}}]"#)).unwrap();
        let detection = entries[0].content.as_ref().unwrap_or_else(|error| panic!("{id}: {error:?}"));
        assert_eq!((detection.id.as_str(), detection.violation_text.as_str()), (expected, ""), "{id}");
    }
    for id in ["7.5", "1e300", "18446744073709551616", "true", "null", "[1]", "{}"] {
        let entries = read(&format!(r#"[{{"id":{id},"policy_id":"p"}}]"#)).unwrap();
        assert!(entries[0].content.is_err(), "{id}");
    }
}

#[test]
fn a_list_under_a_key_is_the_list() {
    const A: &str = r#"{"id":"a","policy_id":"p"}"#;
    const B: &str = r#"{"tags":["{"],"policy_id":"q","id":"b"}"#;
    for (text, expected) in [
        (format!(r#"{{"detections":[{A},{B}]}}"#), 2),
        (
            format!(
                r#" {{ "version" : 1 , "meta":{{"x":[1]}}, "detections" : [ {A} , {B} ] , "count": 2 }} "#
            ),
            2,
        ),
        (format!(r#"{{"findings":[{B}]}}"#), 1),
        (format!(r#"{{"notes":[{{"x":1}}],"rows":[{A}],"more":[{B},{B}],"end":"]}}"}}"#), 3),
        (r#"{"detections":[]}"#.to_owned(), 0),
        // Records, one to a line, that have a list of their own.
        (format!("{{\"tags\":[{{\"x\":1}}],\"id\":\"a\",\"policy_id\":\"p\"}}\n{A}\n"), 2),
        (format!("{{\"id\":\"a\",\"policy_id\":\"p\",\"detections\":[{A},{A}]}}"), 1),
    ] {
        let entries = read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(entries.len(), expected, "{text}");
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!((entry.index, entry.content.is_ok()), (at as u64, true), "{text}: {entry:?}");
        }
    }
    for (text, expected) in [
        (format!(r#"{{"detections":[{A}]"#), "ends before the closing '}'"),
        (format!(r#"{{"detections":[{A}"#), "ends before the closing ']'"),
        (format!(r#"{{"detections":[{A}]}}x"#), "has text after the closing '}'"),
        (format!(r#"{{"detections":[{A}],}}"#), "expected a key and its value"),
        (format!(r#"{{"detections":[{A}] 1}}"#), "expected ',' or '}'"),
        (format!(r#"{{"detections":[{A},]}}"#), "has a ',' before the closing ']'"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_stands_around_a_list_takes_no_memory() {
    let head = Cursor::new(br#"{"detections":[{"id":"ok","policy_id":"p"}],"log":""#.to_vec());
    let body = std::io::repeat(b'x').take(20_000_000);
    let tail = Cursor::new(br#"","more":[{"id":"2","policy_id":"p"}]}"#.to_vec());
    let limits = Limits { record_bytes: 1000, ..Limits::default() };
    let mut entries = Detections::new("big", head.chain(body).chain(tail), &limits);
    for id in ["ok", "2"] {
        assert_eq!(entries.next().unwrap().unwrap().content.unwrap().id, id);
    }
    assert!(entries.next().is_none());
    assert!(entries.elements.splitter.capacity() < 1 << 20);

    // Before the list it is a value of its own, too long to look past.
    let head = Cursor::new(br#"{"log":""#.to_vec());
    let body = std::io::repeat(b'x').take(20_000_000);
    let tail = Cursor::new(br#"","detections":[{"id":"1","policy_id":"p"}]}"#.to_vec());
    let mut entries = Detections::new("big", head.chain(body).chain(tail), &limits);
    let found = entries.next().unwrap().unwrap().content.unwrap_err();
    assert!(found.message.contains("bytes are more than limits.record_bytes"), "{found:?}");
    assert!(entries.elements.splitter.capacity() < 1 << 20);
}

#[test]
fn an_entry_that_is_not_utf8_is_malformed() {
    let text = b"[{\"id\":\"\xff\",\"policy_id\":\"p\"}, {\"id\":\"ok\",\"policy_id\":\"p\"}]";
    let entries = read_with(text, 7, &Limits::default()).unwrap();
    let found = entries[0].content.as_ref().unwrap_err();
    assert!(found.message.contains("not UTF-8 at byte 8"), "{found:?}");
    assert!(entries[1].content.is_ok());
}

#[test]
fn an_oversized_entry_is_skipped_in_bounded_memory() {
    // 20 MB of one string behind a limit of 1,000 bytes: the buffer must not follow.
    let head = Cursor::new(br#"[{"id":"1","policy_id":""#.to_vec());
    let body = std::io::repeat(b'x').take(20_000_000);
    let tail = Cursor::new(br#""},{"id":"ok","policy_id":"p"}]"#.to_vec());
    let limits = Limits { record_bytes: 1000, ..Limits::default() };
    let mut entries = Detections::new("big", head.chain(body).chain(tail), &limits);
    let found = entries.next().unwrap().unwrap().content.unwrap_err();
    assert!(found.message.contains("20000025 bytes are more than limits.record_bytes = 1000"), "{found:?}");
    assert_eq!(entries.next().unwrap().unwrap().content.unwrap().id, "ok");
    assert!(entries.next().is_none());
    assert!(entries.elements.splitter.capacity() < 1 << 20);
}

#[test]
fn broken_files_name_the_place() {
    for (text, expected) in [
        ("", "d.json, line 1 column 1 (byte 0): is empty"),
        ("kind: Pod", "line 1 column 1 (byte 0): is neither a JSON array nor JSON lines"),
        (
            "[{\"id\":\"1\",\n  \"policy_id\": x}]",
            "line 2 column 16 (byte 27): is broken JSON: expected value",
        ),
        ("[{} {}]", "line 1 column 5 (byte 4): expected ',' or ']'"),
        ("[{},\n]", "line 2 column 1 (byte 5): has a ',' before"),
        ("[{}", "line 1 column 4 (byte 3): ends before the closing ']'"),
        ("[{\"id\": \"abc", "ends inside the entry that begins at line 1 column 2"),
        ("[{}]\n]", "line 2 column 1 (byte 5): has text after"),
        ("[,]", "expected an entry, found ','"),
        ("[{]]", "is broken JSON"),
        ("[{}}]", "expected ',' or ']'"),
        ("[\"a\nb\"]", "is broken JSON: control character"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn after_an_error_it_ends() {
    let mut entries = Detections::new("d", Cursor::new(b"[{},,".to_vec()), &Limits::default());
    assert!(entries.next().unwrap().unwrap().content.is_err());
    assert!(entries.next().unwrap().is_err());
    assert!(entries.next().is_none());
}

fn valid() -> impl Strategy<Value = Vec<Detection>> {
    let one = (any::<String>(), any::<Option<String>>(), any::<String>(), "[\\[\\]{}\",: \\\\\n]{0,12}")
        .prop_map(|(id, manifest_yaml, policy_id, violation_text)| Detection {
            id,
            manifest_path: None,
            manifest_yaml,
            policy_id,
            violation_text,
        });
    prop::collection::vec(one, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_serde_writes_is_read_back(detections in valid(), step in 1..40_usize, pretty: bool) {
        let text = if pretty {
            serde_json::to_vec_pretty(&detections)
        } else {
            serde_json::to_vec(&detections)
        }.unwrap();
        let found: Vec<Detection> = read_with(&text, step, &Limits::default())
            .unwrap().into_iter().map(|entry| entry.content.unwrap()).collect();
        prop_assert_eq!(found, detections);
    }

    #[test]
    fn any_bytes_end_in_entries_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1..40_usize) {
        let _ = read_with(&bytes, step, &Limits { record_bytes: 50, ..Limits::default() });
    }

    #[test]
    fn mutations_agree_with_a_parser_of_the_whole(
        detections in valid(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"[]{},:\"\\ \nx0\xff"[..]), 0..3_u8), 0..4),
        step in 1..40_usize,
    ) {
        let mut text = serde_json::to_vec(&detections).unwrap();
        for (at, byte, action) in cuts {
            if text.is_empty() { break; }
            let at = at.index(text.len());
            match action {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => { text.remove(at); }
            }
        }
        let found = read_with(&text, step, &Limits::default());
        // An array that a full parser takes is taken here with the same entries, good or malformed.
        if let Ok(values) = serde_json::from_slice::<Vec<serde_json::Value>>(&text) {
            let found = found.unwrap();
            prop_assert_eq!(found.len(), values.len());
            for (entry, value) in found.iter().zip(values) {
                let is_detection = value.is_object() && serde_json::from_value::<Detection>(value).is_ok();
                prop_assert_eq!(entry.content.is_ok(), is_detection);
            }
        } else if text.first() == Some(&b'[') && std::str::from_utf8(&text).is_ok() {
            prop_assert!(found.is_err() || serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&text).is_ok());
        }
    }
}
