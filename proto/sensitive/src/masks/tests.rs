use serde_json::{Value, json};

use super::*;
use crate::testing::shapes;

#[test]
fn generated_secrets_are_masked() {
    let shapes = shapes(14);
    assert!(shapes.len() >= 400, "{}", shapes.len());
    let shown = |value: &Value| serde_json::to_string(value).unwrap();
    let leaks: Vec<_> = shapes
        .iter()
        .filter(|shape| {
            let text = shown(&Masks::of(&shape.document, usize::MAX).1);
            shape.secrets.iter().any(|secret| text.contains(secret.as_str()))
        })
        .collect();
    let structured = leaks.iter().filter(|shape| shape.structured).count();
    let labels: Vec<_> = leaks.iter().map(|shape| format!("{} [{}]", shape.label, shape.structured)).collect();
    println!("{} shapes, {} leak, {structured} of them with structure:\n{}", shapes.len(), leaks.len(), labels.join("\n"));
    assert_eq!(structured, 0, "{labels:#?}");
    assert!(leaks.len() * 50 <= shapes.len(), "{labels:#?}");
}
