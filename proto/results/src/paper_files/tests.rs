//! Import, then export: the same JSON values.

use std::io::Read;
use std::path::Path;

use domain::config::Limits;
use domain::ids::RunId;
use domain::outcome::{Fault, Outcome, Status, Verdict};
use serde_json::{Value, json};

use super::{Export, Import, ImportReport, Imported, export};
use crate::corpus_copy::{CorpusReader, CorpusWriter};
use crate::part::PartWriter;

fn import(folder: &Path, files: [&Value; 3]) -> (Vec<Imported>, ImportReport) {
    let names = ["detections", "patches", "verified"].map(|name| folder.join(name).display().to_string());
    for (name, file) in names.iter().zip(files) {
        std::fs::write(name, file.to_string()).unwrap();
    }
    let [detections, patches, verified] = &names;
    let mut import = Import::open(detections, Some(patches), Some(verified), &Limits::default()).unwrap();
    let rows = import.by_ref().map(Result::unwrap).collect();
    (rows, import.report().clone())
}

fn whole(path: &str) -> Value {
    let mut text = Vec::new();
    crate::input::json::Input::open(path).unwrap().read_to_end(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Writes the rows as a run and exports it.
fn round(folder: &Path, rows: &[Imported], gz: bool) -> [Value; 3] {
    let mut corpus = CorpusWriter::create(&folder.join("corpus.parquet")).unwrap();
    let part = folder.join("part.parquet");
    let file = std::fs::File::create(&part).unwrap();
    let mut writer = PartWriter::new(file, RunId::new("imported").unwrap()).unwrap();
    for row in rows {
        corpus.push(row.record.clone(), &row.document).unwrap();
    }
    for rows in rows.chunks(500) {
        let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome.clone()).collect();
        writer.write(&outcomes).unwrap();
    }
    corpus.finish().unwrap();
    writer.finish().unwrap();
    let corpus = CorpusReader::open(&folder.join("corpus.parquet")).unwrap();
    let to = folder.join("out");
    let done = export(Export { corpus: &corpus, parts: vec![part.into()], to: &to, gz }).unwrap();
    done.files.map(|path| whole(&path.display().to_string()))
}

#[test]
fn odd_entries_come_back_as_they_were() {
    let detections = json!([
        {"id": "1", "manifest_path": "a.yaml", "manifest_yaml": "kind: Pod\n", "policy_id": "latest-tag", "violation_text": "v"},
        {"id": "2", "manifest_yaml": null, "policy_id": "x", "more": {"a": [1, 1.5]}},
        {"id": "3", "manifest_path": null, "policy_id": "p"},
        {"id": "4", "manifest_path": "", "manifest_yaml": "", "policy_id": "p", "violation_text": ""},
    ]);
    let patches = json!([
        {"id": "1", "policy_id": "no_latest_tag", "source": "rules", "hardened": true,
         "patch": [{"op": "remove", "path": "/a", "note": "kept"}], "latency_ms": 3, "total_latency_ms": 5},
        {"id": "2", "policy_id": null, "source": "grok", "hardened": false, "patch": [{"op": "merge"}], "model_usage":
         {"prompt_tokens": 4, "completion_tokens": 1.5, "completion_tokens_details": {"reasoning_tokens": 2, "x": 0}}},
        {"id": "4", "source": "grok", "patch": "none", "attempt_errors": ["a", 3], "latency_ms": 1.25},
    ]);
    let verified = json!([
        {"id": "1", "policy_id": "no_latest_tag", "accepted": true, "ok_schema": true, "ok_policy": true,
         "patched_yaml": "kind: Pod\n", "latency_ms": 7, "kubectl_ms": 2, "errors": []},
        {"id": "2", "accepted": false, "ok_schema": false, "ok_policy": false, "ok_safety": false, "patched_yaml": null,
         "errors": ["member 'a' not found"]},
        {"id": "4"},
    ]);
    let folder = tempfile::tempdir().unwrap();
    let (rows, report) = import(folder.path(), [&detections, &patches, &verified]);
    assert_eq!(report.entries().detections, 4);
    assert_eq!(round(folder.path(), &rows, true), [detections, patches, verified]);

    let outcome = |at: usize| &rows[at].outcome;
    assert_eq!(outcome(0).status, Status::Accepted);
    assert_eq!(outcome(0).gates.rescan.verdict, Verdict::NotRun);
    assert_eq!((outcome(0).timing.propose_ms, outcome(0).timing.schema_ms), (Some(5.0), Some(2.0)));
    assert_eq!(outcome(0).kind, "Pod");
    assert_eq!((outcome(1).fault, outcome(1).gates.apply.verdict), (Fault::Patch, Verdict::Failed));
    assert_eq!(outcome(1).gates.policy.verdict, Verdict::Failed, "as published, although it never ran");
    assert_eq!(outcome(1).usage.prompt_tokens, Some(4));
    assert!(outcome(1).proposal.is_none());
    assert_eq!((outcome(2).fault, outcome(2).attempts), (Fault::Proposer, 0));
    assert_eq!(outcome(2).gates.apply.verdict, Verdict::NotRun);
}

#[test]
fn duplicates_strangers_and_rubbish_are_reported() {
    let detection = |id: &str, text: &str| json!({"id": id, "manifest_yaml": text, "policy_id": "p"});
    let detections = json!([detection("1", "old"), 5, detection("2", "b"), detection("1", "new"), {"id": "9"}, {"id": "\n", "policy_id": "p"}]);
    let patch = |id: &str, source: &str| json!({"id": id, "source": source, "patch": []});
    let patches = json!([patch("1", "old"), patch("1", "new"), patch("7", "rules"), null, {"id": "2"}]);
    let verified = json!([{"id": "8", "accepted": true}, {"id": 3}, "x"]);
    let folder = tempfile::tempdir().unwrap();
    let (rows, report) = import(folder.path(), [&detections, &patches, &verified]);
    let found: Vec<(&str, u64, &str)> = rows
        .iter()
        .map(|row| (row.record.id.as_str(), row.record.position, row.outcome.source.as_str()))
        .collect();
    assert_eq!(found, [("2", 0, ""), ("1", 1, "new")]);
    assert_eq!(&*rows[1].document.text, "new");
    assert_eq!(
        (report.detections.entries, report.detections.no_objects, report.detections.superseded),
        (6, 1, 1)
    );
    assert_eq!(report.detections.malformed, 2);
    assert_eq!((report.patches.entries, report.patches.no_objects, report.patches.malformed), (5, 1, 1));
    assert_eq!((report.verified.no_objects, report.verified.malformed), (1, 1));
    assert_eq!(report.patches_without_detection, ["7"]);
    assert_eq!(report.verified_without_detection, ["8"]);
}

/// The reference data beside the workspace, when it is there.
fn reference(set: &str) -> Option<[String; 3]> {
    let folder = domain::testing::corpus(set)?;
    Some(
        ["detections", "patches", "verified"]
            .map(|name| folder.join(format!("{name}.json.gz")).display().to_string()),
    )
}

fn comes_back(set: &str, records: usize) {
    let Some(files) = reference(set) else { return };
    let [detections, patches, verified] = &files;
    let mut import = Import::open(detections, Some(patches), Some(verified), &Limits::default()).unwrap();
    let rows: Vec<Imported> = import.by_ref().map(Result::unwrap).collect();
    assert_eq!(rows.len(), records);
    assert_eq!(import.report().patches_without_detection.len(), 0);
    let folder = tempfile::tempdir().unwrap();
    for (written, path) in round(folder.path(), &rows, false).into_iter().zip(&files) {
        assert!(written == whole(path), "{path} does not come back");
    }
}

#[test]
fn rules_full_comes_back() {
    comes_back("rules_full", 13_656);
}

#[test]
fn grok_comes_back() {
    comes_back("grok_5k_dev", 2_462);
}

#[test]
fn supported_comes_back() {
    comes_back("supported", 1_278);
}
