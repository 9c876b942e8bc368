//! `failures`.

use domain::run::RunState;
use serde_json::json;

use crate::support::{json, run_folder, stdout, ten};

#[test]
fn failures_are_counted_by_every_word_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let run = run.to_str().unwrap();
    let failures = json(&["failures", run, "--output", "json"]);
    assert_eq!((&failures["records"], &failures["failed"]), (&json!(10), &json!(5)));
    let by = |name: &str| -> Vec<(String, u64, String)> {
        failures[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|sum| {
                (
                    sum["value"].as_str().unwrap().to_owned(),
                    sum["count"].as_u64().unwrap(),
                    sum["example"]["record_id"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    };
    let sum = |value: &str, count, example: &str| (value.to_owned(), count, example.to_owned());
    assert_eq!(by("by_gate"), [sum("schema", 2, "005"), sum("", 2, "008"), sum("policy", 1, "007")]);
    assert_eq!(
        by("by_fault"),
        [sum("document", 2, "005"), sum("patch", 1, "007"), sum("none", 1, "008"), sum("proposer", 1, "010")]
    );
    assert_eq!(by("by_kind"), [sum("Pod", 4, "005"), sum("Deployment", 1, "007")]);
    assert_eq!(by("by_error"), [sum("", 4, "005"), sum("no_rule", 1, "010")]);
    // Two messages that differ after their `{` are worded alike.
    assert_eq!(by("by_reason")[0], sum("spec.x: unknown field", 2, "005"));
    assert_eq!(by("by_reason")[3], sum("<unspecified>", 1, "010"));
    assert_eq!(failures["groups"].as_array().unwrap().len(), 4);
    assert_eq!(failures["groups"][0]["count"], 2);

    let rejected = json(&["failures", run, "--output", "json", "--status", "rejected"]);
    assert_eq!(rejected["failed"], 3);
    let nothing = json(&["failures", run, "--output", "json", "--status", "not_applicable"]);
    assert_eq!(nothing["failed"], 1);
}

#[test]
fn text_and_csv_show_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let run = run.to_str().unwrap();
    let text = stdout(&["failures", run, "--top", "1"]);
    assert!(text.starts_with("5 of 10 records\n") && text.contains("… and 3 more"), "{text}");
    let csv = stdout(&["failures", run, "--output", "csv"]);
    assert_eq!(csv.lines().count(), 5);
    assert!(
        csv.contains(
            "\n2,rejected,schema,document,no_latest_tag,Pod,,spec.x: unknown field,r1,005,manifests/4.yaml\n"
        ),
        "{csv}"
    );
}

#[test]
fn the_taxonomy_counts_messages_and_records() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let run = run.to_str().unwrap();
    let table =
        |name: &str| stdout(&["failures", run, "--output", "csv", "--taxonomy", name, "--label", "mine"]);
    assert_eq!(
        table("messages"),
        "dataset,failure_category,count\nmine,spec.x: unknown field,2\nmine,second,1\nmine,a container was lost,1\n"
    );
    assert_eq!(table("summary"), "dataset,total,accepted,rejected\nmine,7,4,3\n");
    assert_eq!(
        table("policies"),
        "dataset,policy_id,count\nmine,no_latest_tag,2\nmine,drop_capabilities,1\n"
    );
}
