//! What API servers answered: `cross-version`, `export --verdicts`, and the judge that metrics name.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use domain::api_server::SchemaDepth;
use domain::api_server::{ServerAnswer, ServerAnswers, ServerCause, ServerClass};
use domain::ids::RecordId;
use domain::outcome::{Outcome, Status};
use domain::record::{Neighbours, Record, SourceDocument};
use domain::run::RunState;
use results::corpus_copy::CorpusWriter;
use results::layout::CORPUS_FILE;
use serde_json::{Value, json};

use crate::support::{accepted, failed, failure, json, run_folder, stdout, ten};

const TEXT: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {}\n";

fn answer(class: ServerClass, causes: &[[&str; 3]]) -> ServerAnswer {
    let cause = |[field, reason, message]: &[&str; 3]| ServerCause {
        field: (*field).to_owned(),
        reason: (*reason).to_owned(),
        message: (*message).to_owned(),
    };
    ServerAnswer { class, causes: causes.iter().map(cause).collect() }
}

fn asked(position: u64, version: &str, before: ServerAnswer, after: ServerAnswer) -> Outcome {
    let mut row = accepted(position, "no_privileged", 1);
    row.document = Some(SourceDocument::new(text(position), Neighbours::Unknown).hash);
    row.schema_depth = Some(SchemaDepth::Server);
    row.server = Some(Arc::new(ServerAnswers {
        version: version.to_owned(),
        before: Some(before),
        after: Some(after),
        warnings: vec!["deprecated".to_owned()],
        disagrees: None,
    }));
    row
}

/// The document of a position; the first two are the same.
fn text(position: u64) -> String {
    if position < 2 { TEXT.to_owned() } else { TEXT.replace("web", &format!("web{position}")) }
}

/// Three records under an older and a newer server: the newer one no longer takes one of the documents.
fn runs(dir: &Path) -> [String; 2] {
    let yes = || answer(ServerClass::Accepted, &[]);
    let no = || {
        answer(
            ServerClass::Invalid,
            &[["spec.containers[3].name", "FieldValueInvalid", "Invalid value: \"X\""]],
        )
    };
    let old = [
        asked(0, "v1.9.1", yes(), yes()),
        asked(1, "v1.9.1", yes(), yes()),
        asked(2, "v1.9.1", yes(), yes()),
    ];
    let mut new = [
        asked(0, "v1.37.2", yes(), yes()),
        asked(1, "v1.37.2", yes(), yes()),
        asked(2, "v1.37.2", no(), no()),
    ];
    new[2].status = Status::Rejected;
    new[2].patched_yaml = None;
    [("old", &old), ("new", &new)].map(|(name, rows)| {
        let folder = run_folder(dir, name, &[rows], RunState::Finished);
        let mut corpus = CorpusWriter::create(&folder.join(CORPUS_FILE)).unwrap();
        for row in rows {
            let document = SourceDocument::new(text(row.position), Neighbours::Unknown);
            let record = Record {
                id: RecordId::new(row.record_id.as_str()).unwrap(),
                position: row.position,
                manifest_path: String::new(),
                document: document.hash,
                raw_policy_id: "privileged-container".to_owned(),
                violation_text: String::new(),
                problem: None,
            };
            corpus.push(record, &document).unwrap();
        }
        corpus.finish().unwrap();
        folder.display().to_string()
    })
}

#[test]
fn what_breaks_from_release_to_release() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = runs(dir.path());
    // In the order of the versions, whatever the order of the arguments.
    let value = json(&["cross-version", &new, &old, "--output", "json"]);
    let names: Vec<&Value> = value["servers"].as_array().unwrap().iter().map(|of| &of["name"]).collect();
    assert_eq!(names, ["v1.9.1", "v1.37.2"]);
    let documents = |place: usize| {
        let share = &value["servers"][place]["documents_accepted"];
        (share["count"].as_u64().unwrap(), share["of"].as_u64().unwrap())
    };
    assert_eq!((documents(0), documents(1)), ((2, 2), (1, 2)));
    assert_eq!(value["servers"][1]["records_by_class"]["after"], json!({"accepted": 2, "invalid": 1}));
    let step = &value["steps"][0];
    assert_eq!((&step["from"], &step["documents"]), (&json!("v1.9.1"), &json!("before repair")));
    assert_eq!(
        (&step["records"], &step["newly_refused"], &step["newly_accepted"]),
        (&json!(3), &json!(1), &json!(0))
    );
    assert_eq!(
        step["breaks"],
        json!([{
            "kind": "Pod", "class": "invalid", "field": "spec.containers[*].name", "reason": "FieldValueInvalid",
            "records": 1, "documents": 1, "example": "003", "message": "Invalid value: \"X\"",
        }])
    );
    let text = stdout(&["cross-version", &format!("before={old}"), &format!("after={new}")]);
    assert!(text.contains("What breaks, by cause") && text.contains("before"), "{text}");
}

#[test]
fn runs_without_a_server_are_not_compared() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    let text = failure(&["cross-version", &run]);
    assert!(text.contains("has no answers of an API server") && text.contains("verifier.depth"), "{text}");
    // The paper's table takes the run.
    assert!(stdout(&["cross-version", "--risk", &format!("one={run}")]).contains("Risk closed by version"));
}

#[test]
fn verdicts_are_written_once_for_each_document() {
    let dir = tempfile::tempdir().unwrap();
    let [_, new] = runs(dir.path());
    let to = dir.path().join("out");
    stdout(&["export", &new, "--verdicts", "--to", to.to_str().unwrap()]);
    let mut text = String::new();
    let file = std::fs::File::open(to.join("verdicts.jsonl.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |role: &str| -> Vec<&Value> { lines.iter().filter(|line| line["role"] == role).collect() };
    assert_eq!((of("document").len(), of("ours").len(), of("ours_refused").len()), (2, 1, 1));
    let first = of("document")[0];
    assert_eq!(
        (&first["records"], &first["id"], &first["api_version"], &first["class"], &first["code"]),
        (&json!(2), &json!("001"), &json!("v1"), &json!("accepted"), &json!(201))
    );
    assert_eq!(first["sha256"].as_str().unwrap().len(), 64);
    assert!(first.get("causes").is_none() && first.get("warnings").is_none());
    let refused = of("document")[1];
    assert_eq!(
        refused["causes"][0],
        json!(["spec.containers[3].name", "FieldValueInvalid", "Invalid value: \"X\""])
    );
    assert_eq!((&of("ours")[0]["warnings"], &of("ours")[0]["records"]), (&json!(["deprecated"]), &json!(2)));
    assert_eq!(
        (&of("ours_refused")[0]["form"], &of("ours_refused")[0]["code"]),
        (&json!("json"), &json!(422))
    );
    let about: Value = serde_json::from_slice(&std::fs::read(to.join("verdicts.json")).unwrap()).unwrap();
    assert_eq!((&about["servers"], &about["records"]), (&json!(["v1.37.2"]), &json!(3)));
    assert_eq!(about["flags"], json!({"dryRun": "All", "fieldValidation": "Strict"}));
}

#[test]
fn a_run_without_a_server_has_no_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    CorpusWriter::create(&folder.join(CORPUS_FILE)).unwrap().finish().unwrap();
    let to = dir.path().join("out").display().to_string();
    let text = failure(&["export", folder.to_str().unwrap(), "--verdicts", "--to", &to]);
    assert!(text.contains("no answers of an API server"), "{text}");
}

#[test]
fn metrics_lead_with_the_documents_that_were_valid_and_name_the_judge() {
    let dir = tempfile::tempdir().unwrap();
    let [old, _] = runs(dir.path());
    let more = json(&["metrics", &old, "--output", "json"])["extended"].take();
    assert_eq!(more["judged_by"], json!({"server v1.9.1": 3}));
    let text = stdout(&["metrics", &old]);
    let lead = "Accepted by a server's rules, of the documents that were valid before: 3 of 3 = 100.00 %";
    assert!(text.contains(lead) && text.contains("Judged by: server v1.9.1"), "{text}");

    let mut rows = ten();
    rows[0].schema_depth = None;
    rows[1].schema_depth = Some(SchemaDepth::Both);
    rows[1].server = Some(Arc::new(ServerAnswers {
        version: "v1.37.2".to_owned(),
        before: Some(answer(ServerClass::Accepted, &[])),
        after: Some(answer(ServerClass::Invalid, &[])),
        warnings: vec![],
        disagrees: Some(true),
    }));
    rows[1].gates = Arc::new(domain::outcome::Gates {
        schema: failed("spec.x"),
        ..domain::outcome::Gates::clone(&rows[1].gates)
    });
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished).display().to_string();
    let more = json(&["metrics", &run, "--output", "json"])["extended"].take();
    assert_eq!(more["judged_by"], json!({"embedded rules": 4, "not recorded": 1}));
    assert_eq!((&more["server_disagrees"]["count"], &more["server_disagrees"]["of"]), (&json!(1), &json!(1)));
}
