//! Builders and strategies for the tests of other crates.

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::ids::RecordId;
use crate::record::{Neighbours, Record, SourceDocument};

/// A record and its document.
///
/// # Panics
/// Never: its id is made of digits.
pub fn record(position: u64, policy: &str, yaml: &str) -> (Record, SourceDocument) {
    let document = SourceDocument::new(yaml, Neighbours::Unknown);
    let record = Record {
        id: RecordId::new(format!("{:03}", position + 1)).expect("digits are legal"),
        position,
        manifest_path: format!("manifests/{position}.yaml"),
        document: document.hash,
        raw_policy_id: policy.to_owned(),
        violation_text: String::new(),
        problem: None,
    };
    (record, document)
}

/// Any JSON value of bounded size.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z~/ -]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z~/]{0,4}", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}
