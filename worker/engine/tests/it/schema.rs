//! The schema gate against the published verdicts of a real API server (`kubectl apply --dry-run=server`, 2025).
#![expect(clippy::disallowed_types, reason = "tests read the reference corpus")]

use std::collections::BTreeMap;
use std::fs::File;

use domain::config::Limits;
use domain::patch::Patch;
use domain::published::{Detection, Patch as PublishedPatch, Verified};
use domain::testing::corpus;
use engine::document::Document;
use engine::schema::{Report, SchemaErrorKind, Structural};
use engine::verify::apply;
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn read<T: DeserializeOwned>(folder: &std::path::Path, name: &str) -> Vec<T> {
    let file = File::open(folder.join(name)).expect("a published file");
    serde_json::from_reader(std::io::BufReader::new(GzDecoder::new(file))).expect("published records")
}

fn parse(yaml: &str) -> Document {
    Document::parse(yaml, &Limits::default()).expect("a readable document")
}

/// How often the server said one thing and the gate another.
#[derive(Debug, Default, PartialEq)]
struct Agreement {
    both_accept: usize,
    both_refuse: usize,
    /// What depends on the cluster: service accounts and namespaces that it lacks.
    only_server_refuses: usize,
    not_applied: usize,
}

#[test]
fn the_server_and_the_gate_agree() {
    let Some(folder) = corpus("grok_5k_dev") else { return };
    let detections: BTreeMap<_, _> = read::<Detection>(&folder, "detections.json.gz")
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect();
    let proposed: BTreeMap<_, _> = read::<PublishedPatch>(&folder, "patches.json.gz")
        .into_iter()
        .map(|record| (record.id, record.patch))
        .collect();
    let mut seen = Agreement::default();
    let mut strict = 0;
    for verified in read::<Verified>(&folder, "verified.json.gz") {
        let id = &verified.id;
        let document = parse(detections[id].manifest_yaml.as_deref().expect("a document"));
        let patch: Patch = serde_json::from_value(proposed[id].clone()).expect("a patch");
        let Ok(patched) = apply(&document.value, &patch) else {
            seen.not_applied += 1;
            continue;
        };
        let report = Structural::newest().validate(&patched, &[]);
        match (verified.ok_schema.expect("a verdict"), report.passes()) {
            (true, true) => seen.both_accept += 1,
            (true, false) => panic!("false reject of {id}: {:?}", report.errors()),
            (false, true) => seen.only_server_refuses += 1,
            (false, false) => seen.both_refuse += 1,
        }
        if let Some(fields) = unknown_fields(&verified.rest["errors"]) {
            assert_eq!(ours(&report), fields, "unknown fields of {id}");
            strict += 1;
        }
    }
    assert_eq!(strict, 23, "records with a strict decoding error");
    let expected = Agreement { both_accept: 2200, both_refuse: 245, only_server_refuses: 10, not_applied: 7 };
    assert_eq!(seen, expected);
}

/// The fields that the server's strict decoding error names, in its words.
fn unknown_fields(errors: &Value) -> Option<Vec<String>> {
    let text = errors
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .find(|text| text.contains("strict decoding error"))?;
    let fields = text.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut fields: Vec<_> = fields.map(str::to_owned).collect();
    fields.sort_unstable();
    Some(fields)
}

fn ours(report: &Report) -> Vec<String> {
    let unknown = report.errors().iter().filter(|error| error.kind == SchemaErrorKind::UnknownField);
    let text = unknown.map(ToString::to_string);
    let mut fields: Vec<_> = text.filter_map(|text| text.split('"').nth(1).map(str::to_owned)).collect();
    fields.sort_unstable();
    fields
}

/// Real manifests: what the gate refuses is few, and each sort of it was looked at by hand.
#[test]
fn real_manifests_are_refused_for_known_reasons() {
    let Some(folder) = corpus("rules_full") else { return };
    let mut documents: Vec<String> = read::<Detection>(&folder, "detections.json.gz")
        .into_iter()
        .filter_map(|record| record.manifest_yaml)
        .collect();
    documents.sort_unstable();
    documents.dedup();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for yaml in &documents {
        let document = parse(yaml);
        let reason = match Structural::newest().validate(&document.value, &document.duplicate_keys) {
            Report::Valid => "valid",
            Report::UnknownKind { .. } => "unknown kind",
            Report::Invalid(errors) => match &errors[0].kind {
                SchemaErrorKind::UnknownField => "unknown field",
                SchemaErrorKind::NotServed { .. } => "not served",
                SchemaErrorKind::Rule { .. } => "rule",
                SchemaErrorKind::BadFormat(_) | SchemaErrorKind::WrongType { .. } => "not decoded",
                other => panic!("{other:?} in\n{yaml}"),
            },
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let expected =
        [("not decoded", 1), ("not served", 88), ("rule", 296), ("unknown field", 14), ("valid", 2835)]
            .into_iter()
            .collect();
    assert_eq!(reasons, expected);
}
