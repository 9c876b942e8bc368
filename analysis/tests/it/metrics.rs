//! `metrics` and `policy-metrics`.

use std::sync::Arc;

use domain::outcome::{ErrorKind, GateResult, Gates, ToolRescan, UNRENDERED};
use domain::run::RunState;
use domain::scanner::Scanner;
use serde_json::{Value, json};

use crate::support::{json, run_folder, stdout, ten};

fn metrics_of(parts: &[&[domain::outcome::Outcome]]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", parts, RunState::Finished);
    json(&["metrics", run.to_str().unwrap(), "--output", "json"])
}

#[test]
fn the_published_keys_have_the_published_meaning() {
    let mut metrics = metrics_of(&[&ten()]);
    metrics.as_object_mut().unwrap().remove("extended").unwrap();
    let expected = json!({
        "detections": 10,
        "patches": 7,
        "verified": 7,
        "accepted": 4,
        "auto_fix_rate": 0.4,
        "median_patch_ops": 2.5,
        "failed_policy": 1,
        "failed_schema": 2,
        "failed_safety": 1,
        "failed_rescan": 0,
        "model_usage": {"prompt_tokens": 100.0, "completion_tokens": 0.0, "total_tokens": 150.0},
    });
    assert_eq!(metrics, expected);
    let keys: Vec<&String> = metrics.as_object().unwrap().keys().collect();
    assert_eq!(keys, expected.as_object().unwrap().keys().collect::<Vec<_>>());
}

#[test]
fn samples_become_pass_at_k() {
    let mut rows = ten();
    assert_eq!(metrics_of(&[&rows])["extended"]["pass_at_k"], json!([]), "no model was asked");
    for (row, (samples, passed)) in rows.iter_mut().zip([(4, 1), (4, 4), (4, 0), (1, 1)]) {
        (row.usage.samples, row.usage.samples_passed) = (Some(samples), Some(passed));
    }
    let expected = json!([
        {"k": 1, "n": 4, "rate": 0.5625},
        {"k": 2, "n": 3, "rate": 0.5},
        {"k": 3, "n": 3, "rate": 1.75 / 3.0},
        {"k": 4, "n": 3, "rate": 2.0 / 3.0},
    ]);
    assert_eq!(metrics_of(&[&rows])["extended"]["pass_at_k"], expected);
}

#[test]
fn accepted_repairs_are_told_by_source_and_answers_from_none() {
    let mut rows = ten();
    for row in &mut rows {
        row.source = "rules".to_owned();
    }
    let more = metrics_of(&[&rows])["extended"].take();
    assert_eq!((&more["accepted_by_source"], &more["model"]), (&json!({"rules": 4}), &Value::Null));
    let accepted: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].accepted()).collect();
    for (at, source, tokens) in
        [(accepted[0], "grok", Some(9)), (accepted[1], "rules", Some(9)), (accepted[2], "rules", None)]
    {
        rows[at].source = source.to_owned();
        (rows[at].usage.samples, rows[at].usage.total_tokens) = (Some(1), tokens);
    }
    let more = metrics_of(&[&rows])["extended"].take();
    assert_eq!(more["accepted_by_source"], json!({"grok": 1, "rules": 3}));
    assert_eq!(
        more["model"],
        json!({"asked": 3, "unanswered": 1, "by_rules": 2, "by_rules_accepted": 2}),
        "the fourth is of the rules alone"
    );
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished);
    let text = stdout(&["metrics", run.to_str().unwrap()]);
    for needed in ["accepted, by grok", "accepted, by rules", "no answer, of those a model was asked about"] {
        assert!(text.contains(needed), "{text}");
    }
}

#[test]
fn ours_lie_beside_them() {
    let more = metrics_of(&[&ten()])["extended"].take();
    assert_eq!(more["runs"], json!(["r1"]));
    assert_eq!((&more["records"], &more["documents"]), (&json!(10), &json!(9)));
    assert_eq!(
        more["status"],
        json!({"accepted": 4, "rejected": 3, "needs_review": 1, "not_applicable": 1, "error": 1})
    );
    assert_eq!(more["accepted_of_all"]["rate"], 0.4);
    // Valid before: the four accepted and the one that needs review.
    assert_eq!(
        (&more["accepted_of_valid"]["count"], &more["accepted_of_valid"]["of"]),
        (&json!(4), &json!(5))
    );
    // One accepted row was never rescanned, one has collateral operations.
    assert_eq!(
        (&more["effective_of_accepted"]["count"], &more["effective_of_accepted"]["of"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(more["faults"], json!({"document": 2, "patch": 1, "environment": 0, "proposer": 1}));
    assert_eq!(more["errors"], json!({"no_rule": 1}));
    assert_eq!(more["cautions"], json!({"tag_unverified": 2, "writes_may_fail": 1}));
    assert_eq!(more["gates"][3], json!({"gate": "schema_before", "passed": 5, "failed": 2, "not_run": 3}));
    assert_eq!((&more["median_patch_ops"], &more["max_patch_ops"]), (&json!(2.5), &json!(6)));
    assert_eq!(more["collateral_ops"], 2);
    assert_eq!(more["latency_ms"]["propose_ms"]["median"], 1000.0);
    assert_eq!(more["latency_ms"]["propose_ms"]["n"], 2);
    assert_eq!(more["cost_usd"], Value::Null);
}

#[test]
fn documents_with_unrendered_placeholders_are_counted_once_each() {
    let said = format!("{UNRENDERED}/metadata/name is \"${{NAME}}\"; render the template and detect again");
    let mut rows = ten();
    assert_eq!(metrics_of(&[&rows])["extended"]["unrendered_documents"], 0);
    // Two records of one document, one of another whose schema nothing judged, one that is not YAML before it is rendered.
    for at in [0, 1] {
        rows[at].document = rows[0].document;
        rows[at].gates = Arc::new(Gates {
            schema_before: GateResult::from_errors(vec!["spec.x".to_owned(), said.clone()]),
            ..Gates::NOT_RUN
        });
    }
    rows[2].errors = vec![said];
    rows[3].error_kind = Some(ErrorKind::UnrenderedTemplate);
    rows[4].errors = vec!["the command says: unrendered template: no".to_owned()];
    assert_eq!(metrics_of(&[&rows])["extended"]["unrendered_documents"], 3);
}

#[test]
fn figures_do_not_depend_on_how_rows_lie_in_files() {
    let rows = ten();
    let whole = metrics_of(&[&rows]);
    assert_eq!(metrics_of(&[&rows[..3], &rows[3..4], &rows[4..]]), whole);
    assert_eq!(metrics_of(&[&rows[5..], &rows[..5]]), whole);
}

#[test]
fn an_empty_run_has_figures() {
    let metrics = metrics_of(&[]);
    assert_eq!((&metrics["detections"], &metrics["auto_fix_rate"]), (&json!(0), &json!(0.0)));
    assert_eq!(metrics["median_patch_ops"], json!(0));
    assert_eq!(metrics["extended"]["accepted_of_all"]["rate"], Value::Null);
}

#[test]
fn every_output_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let run = run.to_str().unwrap();
    let csv = stdout(&["metrics", run, "--output", "csv", "--published"]);
    assert!(
        csv.starts_with("key,value\ndetections,10\n") && csv.contains("model_usage.total_tokens,150.0\n")
    );
    let text = stdout(&["metrics", run]);
    for words in ["accepted, of all", "40.00 %", "effective", "fault: document", "caution: tag unverified"] {
        assert!(text.contains(words), "{words} is missing from\n{text}");
    }
}

#[test]
fn policies_come_in_the_order_of_their_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let run = run.to_str().unwrap();
    let policies = json(&["policy-metrics", run, "--output", "json"]);
    let names: Vec<&String> = policies.as_object().unwrap().keys().collect();
    assert_eq!(names, ["no_latest_tag", "no_privileged", "drop_capabilities", "dangling_service", "other"]);
    let latest = &policies["no_latest_tag"];
    // Two measured rows of 1.5 s and 3.5 s; the rows that nobody judged do not count.
    assert_eq!((&latest["expected_time"], &latest["probability"]), (&json!(2.5), &json!(0.5)));
    assert_eq!((&latest["risk"], &latest["kev"]), (&json!(50.0), &json!(false)));
    assert_eq!(
        (&policies["drop_capabilities"]["risk"], &policies["drop_capabilities"]["kev"]),
        (&json!(85.0), &json!(true))
    );
    assert_eq!(policies["other"]["extended"]["status"]["error"], 1);
    assert_eq!(latest["extended"]["cautions"], 3);
    assert_eq!(policies["no_privileged"]["extended"]["median_patch_ops"], json!(4.0));

    let published = json(&["policy-metrics", run, "--output", "json", "--published"]);
    let names: Vec<&String> = published.as_object().unwrap().keys().collect();
    assert_eq!(names, ["no_latest_tag", "no_privileged", "drop_capabilities"]);
    assert_eq!(
        published["no_privileged"],
        json!({"risk": 85.0, "probability": 1.0, "expected_time": 10.0, "wait": 0.0, "kev": true, "explore": 0.0})
    );
    assert!(
        stdout(&["policy-metrics", run, "--output", "csv"])
            .contains("\nno_privileged,85.0,1.0,10.0,0.0,true,0.0,")
    );
    assert!(stdout(&["policy-metrics", run]).contains("drop_capabilities"));
}

#[test]
fn scanners_that_judged_the_repairs_have_their_own_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = ten();
    let judged = |cleared: Option<bool>, new: &[&str]| ToolRescan {
        cleared,
        new: new.iter().map(|check| (*check).to_owned()).collect(),
    };
    for (row, rescan) in [
        (0, judged(Some(true), &[])),
        (1, judged(Some(false), &["run-as-non-root", "run-as-non-root", "latest-tag"])),
        (2, judged(None, &[])),
        // Not accepted: the figures are about repairs that would be taken.
        (4, judged(Some(false), &["latest-tag"])),
    ] {
        rows[row].tool_rescans.insert(Scanner::KubeLinter, rescan);
    }
    let run = run_folder(dir.path(), "r", &[&rows], RunState::Finished).display().to_string();
    let tools = json(&["metrics", &run, "--output", "json"])["extended"]["rescanned_by"].take();
    let [linter] = &tools.as_object().unwrap().values().collect::<Vec<_>>()[..] else { panic!("{tools}") };
    assert_eq!((&linter["cleared"]["count"], &linter["cleared"]["of"]), (&json!(1), &json!(2)), "{tools}");
    assert_eq!((&linter["with_new"]["count"], &linter["with_new"]["of"]), (&json!(1), &json!(3)), "{tools}");
    assert_eq!(linter["new"], json!({"run-as-non-root": 2, "latest-tag": 1}));
    let text = stdout(&["metrics", &run]);
    assert!(text.contains("cleared for kube-linter, of the accepted that it had found"), "{text}");
    let without = run_folder(dir.path(), "without", &[&ten()], RunState::Finished).display().to_string();
    assert_eq!(json(&["metrics", &without, "--output", "json"])["extended"]["rescanned_by"], json!({}));
}
