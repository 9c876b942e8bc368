//! Detections made to hurt, through the public reader: good records survive bad neighbours, damage is told, and nothing
//! is read or kept beyond the limits. (Arbitrary and mutated text stands beside the parser itself.)

use std::cell::Cell;
use std::io::{Cursor, Read, Write};
use std::rc::Rc;

use domain::config::Limits;
use domain::published::Detection;
use domain::testing::{Inputs, property};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use results::file_error::FileError;
use results::input::json::{Detections, Entry, Input};

const LIMIT: usize = 2_000;

fn limits() -> Limits {
    Limits { record_bytes: LIMIT, ..Limits::default() }
}

/// One element of an array and, when it is a detection within the limits, that detection.
#[derive(Debug, Clone)]
struct Part {
    text: String,
    good: Option<Detection>,
}

fn good() -> impl Strategy<Value = Part> {
    let text = "[a-z\\[\\]{}\",:\\\\\n é\u{0}]{0,20}";
    (text, prop::option::of(text), text, text).prop_map(|(id, manifest_yaml, policy_id, violation_text)| {
        let detection = Detection { id, manifest_path: None, manifest_yaml, policy_id, violation_text };
        Part {
            text: serde_json::to_string(&detection).expect("a detection is plain JSON"),
            good: Some(detection),
        }
    })
}

/// JSON that is not a valid detection: wrong shapes and types, too deep, too long.
fn bad() -> impl Strategy<Value = Part> {
    let field = prop::sample::select(&["id", "policy_id", "violation_text", "manifest_yaml"][..]);
    let wrong = prop::sample::select(&["5.5", "[]", "{}", "true", "1e999999", "\"\\ud800\""][..]);
    prop_oneof![
        // An object might be a detection. None is rejected: proptest ends a long run with many rejections.
        domain::testing::json()
            .prop_map(|value| { if value.is_object() { format!("[{value}]") } else { value.to_string() } }),
        (field, wrong).prop_map(|(field, wrong)| {
            let other = if field == "id" { "policy_id" } else { "id" };
            format!(r#"{{"{other}": "x", "{field}": {wrong}}}"#)
        }),
        (121..400_usize).prop_map(|depth| {
            format!(r#"{{"id": "x", "policy_id": "p", "more": {}{}}}"#, "[".repeat(depth), "]".repeat(depth))
        }),
        (LIMIT..LIMIT * 40)
            .prop_map(|length| format!(r#"{{"id": "x", "policy_id": "{}"}}"#, "[\\\"".repeat(length / 3))),
        Just(r#"{"id": "a", "id": "b", "policy_id": "p"}"#.to_owned()),
    ]
    .prop_map(|text| Part { text, good: None })
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(prop_oneof![3 => good(), 2 => bad()], 0..12)
}

fn array(parts: &[Part]) -> Vec<u8> {
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
    format!("[{}]", texts.join(",\n")).into_bytes()
}

fn gz(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).expect("a vector takes every byte");
    encoder.finish().expect("a vector takes every byte")
}

fn read(bytes: Vec<u8>) -> Result<Vec<Result<Entry, FileError>>, FileError> {
    let input = Input::from_reader("hostile", Cursor::new(bytes))?;
    Ok(Detections::new("hostile", input, &limits()).collect())
}

#[test]
fn good_records_survive_bad_neighbours() {
    property(
        "json-neighbours",
        Inputs { usual: 200, share: 6 },
        &(parts(), any::<bool>()),
        |(parts, packed)| {
            let text = array(&parts);
            let found = read(if packed { gz(&text, 6) } else { text }).unwrap();
            assert_eq!(found.len(), parts.len(), "every element is an entry");
            for (at, (entry, part)) in found.into_iter().zip(&parts).enumerate() {
                let entry = entry.unwrap();
                assert_eq!(entry.index, at as u64);
                match (entry.content, &part.good) {
                    (Ok(found), Some(expected)) => assert_eq!(found, *expected),
                    (Err(malformed), None) => {
                        assert!(
                            malformed.message.starts_with(&format!("entry {}, line ", at + 1)),
                            "{malformed:?}"
                        );
                    }
                    (found, _) => panic!("{found:?} for {}", part.text),
                }
            }
        },
    );
}

#[test]
fn what_was_cut_or_damaged_is_told_and_what_stands_before_it_is_kept() {
    let inputs = (
        prop::collection::vec(good(), 0..8),
        any::<prop::sample::Index>(),
        prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
        0..3_u32,
    );
    property(
        "json-cut-and-damaged-gz",
        Inputs { usual: 200, share: 4 },
        &inputs,
        |(parts, cut, flip, level)| {
            let whole = gz(&array(&parts), level);
            let mut bytes = whole.clone();
            if let Some((at, mask)) = flip {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            } else {
                bytes.truncate(cut.index(bytes.len()));
            }
            let Ok(found) = read(bytes) else { return };
            let complete = found.iter().all(Result::is_ok);
            let expected: Vec<_> = parts.iter().map(|part| part.good.clone().unwrap()).collect();
            let kept: Vec<_> = found.into_iter().filter_map(|entry| entry.ok()?.content.ok()).collect();
            if complete {
                // A header field that does not matter, such as the time, was hit.
                assert_eq!(kept, expected);
            } else if flip.is_none() {
                assert!(expected.starts_with(&kept), "{kept:?}");
            }
        },
    );
}

#[test]
fn any_packed_bytes_end() {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    property("json-any-gz", Inputs { usual: 300, share: 4 }, &(bytes, any::<bool>()), |(bytes, packed)| {
        let packed = if packed { gz(&bytes, 6) } else { [&[0x1f, 0x8b, 8, 0][..], &bytes].concat() };
        if let Ok(found) = read(packed) {
            let errors = found.iter().filter(|entry| entry.is_err()).count();
            assert!(
                errors <= 1 && found.iter().rev().skip(1).all(Result::is_ok),
                "it ends with its first error"
            );
        }
    });
}

/// Counts what is taken from it.
struct Counted<R>(R, Rc<Cell<usize>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read);
        Ok(read)
    }
}

/// The reader holds no more than one record of legal size and a read or two beyond it: what it took from its source
/// before it gave an entry lies not far behind that entry.
#[test]
fn nothing_is_read_ahead() {
    const AHEAD: usize = LIMIT + 2 * (1 << 16);
    property("json-read-ahead", Inputs { usual: 60, share: 2 }, &(parts(), 1..40_usize), |(parts, times)| {
        let all: Vec<Part> = parts.iter().cycle().take(parts.len() * times).cloned().collect();
        let taken = Rc::new(Cell::new(0));
        let source = Counted(Cursor::new(array(&all)), Rc::clone(&taken));
        let mut behind = 1;
        for (entry, part) in Detections::new("hostile", source, &limits()).zip(&all) {
            entry.unwrap();
            behind += part.text.len() + 2;
            assert!(
                taken.get() <= behind + AHEAD,
                "{} bytes for an entry that ends at {behind}",
                taken.get()
            );
        }
    });
}

#[test]
fn bombs_go_off_outside() {
    // 17 MB of open brackets, of one text, of empty entries: packed to a few kB.
    // The empty entries may also be read, one by one, to the end that is missing.
    for filler in ["[", "\"", "{},"] {
        let text = format!("[{}", filler.repeat((17 << 20) / filler.len()));
        let bomb = Input::from_reader("bomb", Cursor::new(gz(text.as_bytes(), 6))).unwrap();
        let mut found = Detections::new("bomb", bomb, &limits());
        let error = found.find_map(Result::err).expect("the file is refused").to_string();
        let streamed = filler == "{}," && error.contains("ends before the closing ']'");
        let told = streamed || error.contains("300 times") || error.contains("expected ',' or ']'");
        assert!(told, "{filler}: {error}");
    }
}
