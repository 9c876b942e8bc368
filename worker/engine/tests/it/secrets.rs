//! Secrets that a generator puts into documents, in the prompts that a provider would get; and what is masked in real
//! manifests.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "tests may panic, and read the reference corpus"
)]

use std::io::Read;

use domain::config::Limits;
use domain::policy::{PolicyId, PolicyName};
use engine::document::Document;
use engine::propose::mask::Masked;
use engine::propose::prompt;
use sensitive::Masks;
use sensitive::testing::{Shape, shapes};
use serde_json::Value;

/// The seed of the documents. Any other gives as many.
const SEED: u64 = 2026;

/// What a provider gets for a document. The message of the scanner repeats its secrets where they are values of their own: a
/// scanner quotes values, not parts of them.
fn prompt_of(shape: &Shape) -> String {
    let masked = Masked::new(&shape.document, 4096);
    let policy = PolicyName::Known(PolicyId::EnvVarSecret);
    let quoted: Vec<&str> =
        shape.secrets.iter().map(String::as_str).filter(|secret| is_value(&shape.document, secret)).collect();
    let violation = format!("the value {} is a literal", quoted.join(" and "));
    let opening = prompt::opening(&masked, &policy, &violation, 64 << 10).unwrap();
    opening.messages.into_iter().map(|message| message.content.to_string()).collect()
}

/// Whether a text is a scalar of the document.
fn is_value(document: &Value, text: &str) -> bool {
    match document {
        Value::Array(items) => items.iter().any(|item| is_value(item, text)),
        Value::Object(entries) => entries.values().any(|entry| is_value(entry, text)),
        Value::String(own) => own == text,
        _ => false,
    }
}

#[test]
fn generated_secrets_reach_no_provider() {
    let shapes = shapes(SEED);
    assert!(shapes.len() >= 400, "{}", shapes.len());
    let (mut structured, mut unstructured) = (Vec::new(), Vec::new());
    for shape in shapes.iter().filter(|shape| shape.is_shown(&prompt_of(shape))) {
        if shape.structured { structured.push(&shape.label) } else { unstructured.push(&shape.label) }
    }
    println!(
        "{} documents: {} secrets reach a provider: {structured:?} {unstructured:?}",
        shapes.len(),
        structured.len() + unstructured.len()
    );
    assert!(structured.is_empty(), "{structured:#?}");
    assert!(unstructured.len() * 50 <= shapes.len(), "at most 2 %: {unstructured:#?}");
}

/// Masks are few in real manifests: at most one scalar in 200, true secrets included.
#[test]
fn real_manifests_stay_readable() {
    let Some(path) = domain::testing::corpus("manifests.tar.gz") else { return };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    let (mut scalars, mut masked) = (0_u32, 0_u32);
    for (at, entry) in archive.entries().unwrap().enumerate() {
        let mut text = String::new();
        // Every fifth file: the whole takes five times as long.
        if at % 5 != 0 || entry.unwrap().read_to_string(&mut text).is_err() {
            continue;
        }
        let Ok(document) = Document::parse(&text, &Limits::default()) else { continue };
        count(&document.value, &Masks::of(&document.value, usize::MAX).1, &mut scalars, &mut masked);
    }
    println!("{masked} of {scalars} scalars masked");
    assert!(scalars > 10_000 && masked > 20, "{masked} of {scalars}");
    assert!(masked * 200 <= scalars, "{masked} of {scalars}");
}

fn count(was: &Value, is: &Value, scalars: &mut u32, masked: &mut u32) {
    match (was, is) {
        (Value::Array(was), Value::Array(is)) => {
            was.iter().zip(is).for_each(|(was, is)| count(was, is, scalars, masked));
        }
        (Value::Object(was), Value::Object(is)) => {
            was.values().zip(is.values()).for_each(|(was, is)| count(was, is, scalars, masked));
        }
        (was, is) => {
            *scalars += 1;
            *masked += u32::from(was != is);
        }
    }
}
