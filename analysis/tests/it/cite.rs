//! What a paper must state about a run: recorded, or said not to be.

use std::path::Path;

use domain::outcome::{ModelUsage, Outcome};
use domain::run::RunState;
use serde_json::{Value, json};

use crate::support::{failure, json as json_of, run_folder, stdout, ten};

/// Changes the `run.json` of a run.
fn change(run: &Path, change: impl Fn(&mut Value)) {
    let path = run.join("run.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut file);
    std::fs::write(path, file.to_string()).unwrap();
}

/// Rows of rules alone.
fn rules() -> Vec<Outcome> {
    let mut rows = ten();
    for row in &mut rows {
        row.usage = ModelUsage::default();
    }
    rows
}

/// Two records of a model, one of which says what it cost.
fn asked() -> Vec<Outcome> {
    let mut rows = rules();
    for (row, cost) in rows.iter_mut().take(2).zip([Some(0.25), None]) {
        "grok".clone_into(&mut row.mode);
        row.model = Some("grok-x".to_owned());
        row.usage.samples = Some(1);
        row.usage.prompt_tokens = Some(1000);
        row.usage.completion_tokens = Some(20);
        row.usage.total_tokens = Some(1020);
        row.usage.cost_usd = cost;
    }
    rows
}

#[test]
fn a_run_of_rules_says_what_it_did_not_measure() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&rules()], RunState::Finished);
    let run = run.to_str().unwrap();
    let cited = json_of(&["cite", "--output", "json", run]);
    assert_eq!(cited["records"]["n"], 10);
    assert_eq!(cited["records"]["accepted_of_all"]["count"], 4);
    assert_eq!(cited["proposer"]["modes"], json!({"rules": 10}));
    for null in [
        "/planned",
        "/finished",
        "/versions/protocol",
        "/judged/server",
        "/cost/usd",
        "/cost/prices",
        "/tokens/total",
        "/work/wall_s",
        "/work/peak_rss_mb",
    ] {
        assert_eq!(cited.pointer(null), Some(&Value::Null), "{null}");
    }
    assert_eq!(cited["hashes"]["fingerprint"], stdout(&["fingerprint", run]).trim());
    assert_eq!(cited["judged"]["policies"], "catalogue paper");
    assert_eq!(cited["judged"]["number_of_policies"], 30);
    let text = stdout(&["cite", run]);
    for (name, value) in [
        ("wall time, s", "not measured"),
        ("planned", "not recorded"),
        ("model requested (records)", "none asked"),
        ("API server", "none asked"),
        ("cost of the answers of the records, USD", "not measured"),
        ("protocol", "not recorded"),
    ] {
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert!(line.ends_with(value), "{line}");
    }
}

#[test]
fn a_run_of_a_model_says_which_answered_and_what_it_cost() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r2", &[&asked()], RunState::Finished);
    change(&run, |file| {
        file["finished_at"] = json!("2026-11-30T23:59:58.000Z");
        file["wall_s"] = json!(12.5);
        file["judged_by"] = json!({"version": "v1.37.2", "flags": "a=b"});
        file["models"] =
            json!({"requested": {"grok-x": 2}, "served": {"grok-x-0709": 1}, "not_disclosed": 1});
        file["config"]["proposer"]["mode"] = json!("grok");
        file["config"]["grok"] = json!({"model": "grok-x", "price": {"input": 1.5, "output": 3.0}});
    });
    let run = run.to_str().unwrap();
    let cited = json_of(&["cite", "--output", "json", run]);
    assert_eq!(cited["finished"], "2026-11-30T23:59:58Z");
    assert_eq!(cited["judged"]["server"]["version"], "v1.37.2");
    assert_eq!(cited["proposer"]["model_served"], json!({"grok-x-0709": 1}));
    assert_eq!(cited["cost"]["usd"], 0.25);
    assert_eq!(cited["cost"]["rows_without"], 1);
    assert_eq!(cited["cost"]["prices"]["price"]["input"], 1.5);
    assert_eq!(cited["cost"]["prices"]["read"], Value::Null, "not the prices of the list");
    assert_eq!(cited["tokens"]["total"], 2040);
    assert_eq!(cited["tokens"]["reasoning"], Value::Null);
    let text = stdout(&["cite", run]);
    assert!(text.contains("grok-x-0709 (1), not disclosed (1)"), "{text}");
    let entry = stdout(&["cite", "--output", "bibtex", run]);
    assert!(
        entry.starts_with("@misc{k8s-auto-fix-r2,\n") && entry.contains("year         = {2026}"),
        "{entry}"
    );
    assert!(entry.contains("model grok-x, served: grok-x-0709 (1)"), "{entry}");
    let fingerprint = stdout(&["fingerprint", run]);
    assert!(entry.contains(fingerprint.trim()), "{entry}");
}

#[test]
fn an_imported_run_has_no_configuration_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r3", &[&ten()], RunState::Finished);
    change(&run, |file| {
        file["wall_s"] = json!(3.0);
        file["imported_from"] = json!({"detections": "d.json", "patches": null, "verified": null,
                   "entries": {"detections": 10, "patches": 0, "verified": 0}});
    });
    let cited = json_of(&["cite", "--output", "json", run.to_str().unwrap()]);
    for null in ["/judged/policies", "/judged/kubernetes", "/work/wall_s", "/work/workers", "/proposer/seed"]
    {
        assert_eq!(cited.pointer(null), Some(&Value::Null), "{null}");
    }
    assert_eq!(cited["records"]["imported_from"]["detections"], "d.json");
}

#[test]
fn parts_without_a_run_cannot_be_cited() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r4", &[&ten()], RunState::Finished);
    let text = failure(&["cite", run.join("part-00000.parquet").to_str().unwrap()]);
    assert!(text.contains("not the folder of one run") && text.contains("hint:"), "{text}");
}
