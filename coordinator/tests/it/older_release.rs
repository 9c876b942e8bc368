//! Runs that a release planned which kept the endpoint of the provider in the run.

use std::path::Path;

use serde_json::{Value, json};

use crate::keys::{set, status};
use crate::process::serve;
use crate::support::{coordinator, detections};

/// Makes of a plan in the ledger what a release before protocol 5 wrote.
fn write_as_before(ledger: &Path, run_id: &str, endpoint: &str) {
    let connection = rusqlite::Connection::open(ledger).unwrap();
    let read = "SELECT plan FROM runs WHERE run_id = ?";
    let plan: String = connection.query_row(read, [run_id], |row| row.get(0)).unwrap();
    let mut plan: Value = serde_json::from_str(&plan).unwrap();
    for section in ["grok", "vendor", "vllm"] {
        plan["config"][section]["endpoint"] = json!(endpoint);
        plan["config"][section]["api_key_env"] = json!("SOME_KEY");
        plan["config"][section]["auth_header"] = json!("Authorization");
        plan["config"][section]["auth_scheme"] = json!("Bearer");
    }
    plan["config_hash"] = json!("ab".repeat(32));
    let written = connection.execute("UPDATE runs SET plan = ? WHERE run_id = ?", (plan.to_string(), run_id));
    assert_eq!(written.unwrap(), 1);
}

#[test]
fn a_run_of_an_older_release_is_listed_and_goes_on_only_when_it_is_submitted_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 6);
    let submit = |url: &str, run_id: &str, settings: &[&str]| {
        let arguments = ["submit", "--to", url, "--run-id", run_id, "--corpus", corpus.to_str().unwrap()];
        let output = coordinator(&[&arguments[..], &set(settings)].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let by_model = ["proposer.mode=vllm", "guardrails=none"];
    let (first, url) = serve(&state, &[]);
    for run_id in ["by-model", "doomed"] {
        submit(&url, run_id, &by_model);
    }
    submit(&url, "by-rules", &[]);
    first.signal("INT");
    first.end();
    for run_id in ["by-model", "doomed", "by-rules"] {
        write_as_before(&state.join("ledger.sqlite"), run_id, "http://models.example/v1");
    }

    let (second, url) = serve(&state, &[]);
    let trouble = status(&url, "by-model")["trouble"].as_str().map(str::to_owned).unwrap_or_default();
    for needed in
        ["older release", "http://models.example/v1", "provider vllm", "submit the run again", "cancel"]
    {
        assert!(trouble.contains(needed), "{trouble}");
    }
    assert!(status(&url, "by-rules")["trouble"].is_null(), "the rules call no provider");
    submit(&url, "by-model", &by_model);
    submit(&url, "by-rules", &[]);
    assert!(status(&url, "by-model")["trouble"].is_null());
    assert!(coordinator(&["cancel", "doomed", "--from", &url]).status.success());
    second.signal("INT");
    second.end();

    // Halted only until then; what was cancelled can be removed.
    let (_third, url) = serve(&state, &[]);
    assert!(status(&url, "by-model")["trouble"].is_null());
    let removed = coordinator(&["runs", "prune", "--state", "cancelled", "--yes", "--to", &url]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert!(status(&url, "doomed").is_null() && status(&url, "by-rules")["state"] == "running");
}
