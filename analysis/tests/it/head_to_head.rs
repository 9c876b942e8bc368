//! `escapes`, `compare-proposers`, `power` and `deceptive`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ids::RecordId;
use domain::outcome::{Caution, GateResult, Gates, Outcome, Proposal, Status};
use domain::patch::Patch;
use domain::record::{Neighbours, Record, SourceDocument};
use domain::run::RunState;
use results::corpus_copy::CorpusWriter;
use results::layout::CORPUS_FILE;
use serde_json::{Value, json};

use crate::support::{accepted, failed, failure, json, passed, run_folder, stdout, ten};

fn folder(dir: &Path, run: &str, rows: &[Outcome]) -> String {
    run_folder(dir, run, &[rows], RunState::Finished).display().to_string()
}

fn of<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry[key] == value).unwrap()
}

/// The ten rows, and one whose patch does not apply.
fn eleven() -> Vec<Outcome> {
    let mut rows = ten();
    let mut last = accepted(10, "no_privileged", 1);
    last.status = Status::Rejected;
    last.errors = vec!["no such place".to_owned()];
    last.gates =
        Arc::new(Gates { schema_before: passed(), apply: failed("no such place"), ..Gates::NOT_RUN });
    rows.push(last);
    rows
}

#[test]
fn weaker_regimes_let_more_through() {
    let dir = tempfile::tempdir().unwrap();
    let run = folder(dir.path(), "r1", &eleven());
    let matrix = json(&["escapes", &run, "--output", "json"]);
    let dataset = &matrix["datasets"][0];
    // Review, nothing to fix and an error are not proposals.
    assert_eq!((&dataset["total"], &dataset["full_accepted"]), (&json!(8), &json!(4)));
    assert_eq!(dataset["gate_failures"], json!({"policy": 1, "schema": 2, "safety": 1, "rescan": 0}));
    let regimes: Vec<(u64, u64, f64)> = ["emitted", "policy_only", "admission_style", "full_verifier"]
        .iter()
        .map(|key| {
            let regime = of(&dataset["regimes"], "key", key);
            let count = |name: &str| regime[name].as_u64().unwrap();
            (count("accepted"), count("escapes"), regime["escape_rate"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(regimes, [(8, 4, 0.5), (6, 2, 0.25), (4, 0, 0.0), (4, 0, 0.0)]);
    let policy = of(&dataset["regimes"], "key", "policy_only");
    assert_eq!(policy["extended"]["by_policy"], json!({"no_latest_tag": 2}));
    assert_eq!(policy["extended"]["undecided"], 0);
    let text = stdout(&["escapes", &run]);
    assert!(text.contains("admission style") && text.contains("50.00 %"), "{text}");
}

#[test]
fn runs_are_compared_on_their_common_proposals() {
    let dir = tempfile::tempdir().unwrap();
    let a = folder(dir.path(), "a", &ten());
    let b = folder(dir.path(), "b", &ten()[..6]);
    let totals = |args: &[&str]| -> Vec<Value> {
        let matrix = json(&[args, &["--output", "json"]].concat());
        matrix["datasets"].as_array().unwrap().iter().map(|of| of["total"].clone()).collect()
    };
    assert_eq!(totals(&["escapes", &a, &b]), [7, 6]);
    assert_eq!(totals(&["escapes", &a, &b, "--common"]), [6, 6]);
}

#[test]
fn proposers_are_compared_with_intervals_and_tests() {
    let dir = tempfile::tempdir().unwrap();
    let mut worse = ten();
    for row in &mut worse[..3] {
        row.source = "other".to_owned();
        row.status = Status::Rejected;
        row.usage.cost_usd = Some(0.5);
    }
    let mut by_rules = ten();
    for row in &mut by_rules {
        row.source = "rules".to_owned();
    }
    let c = folder(dir.path(), "c", &by_rules);
    let rules = json(&["compare-proposers", &c, "--output", "json"]);
    assert_eq!(of(&rules["runs"], "run", "c")["cautions_per_accepted"], 0.75);
    let (a, b) = (folder(dir.path(), "a", &ten()), folder(dir.path(), "b", &worse));
    let value = json(&["compare-proposers", &a, &b, "--output", "json"]);
    let (first, second) = (of(&value["runs"], "run", "a"), of(&value["runs"], "run", "b"));
    assert_eq!(first["proposers"], json!(["grok", "rules"]));
    let share = |line: &Value, name: &str| (line[name]["count"].clone(), line[name]["of"].clone());
    assert_eq!(share(first, "accepted_of_all"), (json!(4), json!(10)));
    assert_eq!(share(first, "accepted_of_valid"), (json!(4), json!(5)));
    assert_eq!(share(first, "effective_of_accepted"), (json!(2), json!(4)));
    assert_eq!((&first["collateral_ops"], &first["cautions_per_accepted"]), (&json!(2), &Value::Null));
    assert_eq!(first["ms_per_accepted"], 1250.0);
    assert_eq!((&first["usd_per_accepted"], &second["usd_per_accepted"]), (&Value::Null, &json!(1.5)));
    let mcnemar = &value["paired"]["all"][0];
    assert_eq!((&mcnemar["pairs"], &mcnemar["mcnemar"]["only_first"]), (&json!(10), &json!(3)));
    let p = |of: &Value| of.as_f64().unwrap();
    assert!(
        (p(&mcnemar["mcnemar"]["p"]) - 0.25).abs() < 1e-9 && (p(&mcnemar["holm"]) - 0.25).abs() < 1e-9,
        "{mcnemar}"
    );
    assert_eq!(mcnemar["difference"], 0.3);
    assert_eq!(value["paired"]["valid"][0]["pairs"], 5);
    let policy = of(&value["by_policy"], "policy", "no_latest_tag");
    assert_eq!(policy["runs"]["b"]["accepted_of_all"]["count"], 0);
    let text = stdout(&["compare-proposers", &a, &b]);
    assert!(text.contains("Accepted of all, by policy") && text.contains("+30.00"), "{text}");
    let alone = json(&["compare-proposers", &a, "--output", "json"]);
    assert_eq!(alone["paired"], json!({"all": [], "valid": []}));
}

#[test]
fn a_policy_without_records_has_no_share() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (folder(dir.path(), "a", &ten()), folder(dir.path(), "b", &ten()[..4]));
    let value = json(&["compare-proposers", &a, &b, "--output", "json"]);
    let policy = of(&value["by_policy"], "policy", "drop_capabilities");
    assert!(policy["runs"].get("a").is_some() && policy["runs"].get("b").is_none(), "{policy}");
}

#[test]
fn power_says_what_is_needed_and_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut worse = ten();
    worse[0].status = Status::Rejected;
    let (a, b) = (folder(dir.path(), "a", &ten()), folder(dir.path(), "b", &worse));
    let plain = json(&["power", "--difference", "5pp", "--acceptance", "0.5", "--output", "json"]);
    // 0.50 against 0.55, as R's power.prop.test gives it.
    assert_eq!(plain["needed"][0]["unpaired_each"], 1565);
    assert_eq!((&plain["runs"], &plain["paired"]), (&json!([]), &json!([])));
    let value = json(&["power", "--difference", "30pp", &a, &b, "--output", "json"]);
    assert_eq!((&value["runs"][0]["run"], &value["runs"][0]["acceptance"]["of"]), (&json!("a"), &json!(10)));
    let pair = &value["paired"][0];
    assert_eq!(
        (&pair["pairs"], &pair["discordant"], &pair["difference"]),
        (&json!(10), &json!(0.1), &json!(0.1))
    );
    // No share of 0.1 discordant pairs shows 30 pp, and ten pairs show nothing.
    assert_eq!((&pair["needed"], &pair["could_show"]), (&Value::Null, &Value::Null));
    assert!(failure(&["power", "--difference", "1"]).contains("as in 1pp"));
    assert!(failure(&["power", "--alpha", "0"]).contains("--alpha and --power"));
}

/// A pod, as YAML.
const POD: &str = "kind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: 'nginx:latest', command: [nginx]}\n";

/// A run folder with a copy of its corpus, all of the same pod, with one row for each patch.
fn repaired(dir: &Path, run: &str, patches: &[Value]) -> PathBuf {
    let document = SourceDocument::new(POD, Neighbours::Unknown);
    let rows: Vec<Outcome> = patches
        .iter()
        .zip(0..)
        .map(|(patch, position)| {
            let patch: Patch = serde_json::from_value(patch.clone()).unwrap();
            let mut row = accepted(position, "no_latest_tag", 1);
            row.document = Some(document.hash);
            row.proposal = Some(Arc::new(Proposal { patch, ..Proposal::default() }));
            row
        })
        .collect();
    let folder = run_folder(dir, run, &[&rows], RunState::Finished);
    let mut corpus = CorpusWriter::create(&folder.join(CORPUS_FILE)).unwrap();
    for (position, row) in (0..).zip(&rows) {
        let record = Record {
            id: RecordId::new(row.record_id.as_str()).unwrap(),
            position,
            manifest_path: String::new(),
            document: document.hash,
            raw_policy_id: "latest-tag".to_owned(),
            violation_text: String::new(),
            problem: None,
        };
        corpus.push(record, &document).unwrap();
    }
    corpus.finish().unwrap();
    folder
}

fn set(path: &str, value: &Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

#[test]
fn deceptive_repairs_are_counted_by_proposer_and_detector() {
    let dir = tempfile::tempdir().unwrap();
    let run = repaired(
        dir.path(),
        "r1",
        &[
            set("/spec/containers/0/image", &json!("nginx:1.27")),
            set("/spec/containers", &json!([])),
            set("/spec/containers/0/command", &json!(["true"])),
            set("/no/such/place", &json!(1)),
        ],
    );
    let run = run.to_str().unwrap();
    let value = json(&["deceptive", run, "--output", "json"]);
    let rules = &value["proposers"][0];
    assert_eq!((&rules["run"], &rules["proposer"]), (&json!("r1"), &json!("rules")));
    assert_eq!((&rules["cleared"], &rules["not_examined"]), (&json!(4), &json!(1)));
    assert_eq!((&rules["deceptive"]["count"], &rules["deceptive"]["of"]), (&json!(2), &json!(3)));
    let fired = |name: &str| of(&rules["detectors"], "detector", name)["repairs"].clone();
    assert_eq!((fired("workload_without_container"), fired("command_emptied")), (json!(1), json!(1)));
    assert_eq!((fired("check_disabled"), fired("resource_deleted")), (json!(0), json!(0)));
    let example = &of(&rules["detectors"], "detector", "command_emptied")["examples"][0];
    assert_eq!(example["record_id"], "003");
    let text = stdout(&["deceptive", run]);
    assert!(text.contains("66.67 %") && text.contains("workload without container"), "{text}");
}

#[test]
fn repairs_that_do_not_clear_their_target_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let folder = repaired(dir.path(), "r1", &[set("/spec/containers", &json!([]))]);
    let mut row = accepted(0, "no_latest_tag", 1);
    row.status = Status::Rejected;
    row.gates = Arc::new(Gates { policy: failed("still latest"), ..Gates::clone(&row.gates) });
    crate::support::write(&folder.join("part-00000.parquet"), "r1", &[row]);
    let value = json(&["deceptive", folder.to_str().unwrap(), "--output", "json"]);
    assert_eq!(value, json!({"proposers": []}));
}

#[test]
fn without_the_corpus_nothing_is_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let run = folder(dir.path(), "r1", &ten());
    let rules = json(&["deceptive", &run, "--output", "json"])["proposers"][1].take();
    assert_eq!(rules["proposer"], "rules");
    assert_eq!((&rules["not_examined"], &rules["cleared"]), (&json!(5), &json!(5)));
    assert_eq!(rules["deceptive"]["rate"], Value::Null);
}

#[test]
fn a_caution_does_not_make_a_repair_honest_but_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let folder = repaired(dir.path(), "r1", &[set("/spec/containers", &json!([]))]);
    let patch: Patch = serde_json::from_value(set("/spec/containers", &json!([]))).unwrap();
    let mut row = accepted(0, "no_latest_tag", 1);
    let cautions = vec![Caution::PortRemoved];
    row.proposal = Some(Arc::new(Proposal { patch, cautions, ..Proposal::default() }));
    row.gates = Arc::new(Gates { rescan: GateResult::NOT_RUN, ..Gates::clone(&row.gates) });
    crate::support::write(&folder.join("part-00000.parquet"), "r1", &[row]);
    let rules = json(&["deceptive", folder.to_str().unwrap(), "--output", "json"])["proposers"][0].take();
    assert_eq!((&rules["deceptive"]["count"], &rules["cautioned"]), (&json!(1), &json!(1)));
}

#[test]
fn agreement_is_by_policy_with_causes() {
    let dir = tempfile::tempdir().unwrap();
    let run = folder(dir.path(), "r1", &ten());
    let finding = |manifest: &str, check: &str, context: &str| {
        let manifest = format!("manifests/{manifest}.yaml");
        json!({"manifest": manifest, "kind": "Pod", "name": "web", "check": check, "message": "m", "context": context})
            .to_string()
    };
    let lines = [
        finding("0", "latest-tag", "both"),
        finding("1", "latest-tag", "alone"),
        finding("4", "latest-tag", "folder"),
        finding("9", "latest-tag", "both"),
        finding("2", "privileged-container", "both"),
        finding("2", "sorted-keys", "both"),
    ];
    let place = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("tool={}", path.display())
    };
    let findings = place("findings.jsonl", lines.join("\n"));
    let all: Vec<String> = (0..20).map(|number| format!("manifests/{number}.yaml")).collect();
    let evaluated = place("evaluated.json", json!(all).to_string());
    let args = ["agreement", &run, "--findings", &findings, "--evaluated", &evaluated];
    let value = json(&[&args[..], &["--output", "json"]].concat());
    let tool = &value["against"][0];
    let counts = |of: &Value| ["both", "only_ours", "only_other"].map(|key| of[key].as_u64().unwrap());
    // Ours: 0, 1, 4 and 5 (nothing was to fix in 8); theirs with the folder as context: 0, 4 and 9.
    assert_eq!(counts(&tool["policies"]["no_latest_tag"]), [2, 2, 1]);
    assert_eq!(counts(&tool["policies"]["no_privileged"]), [1, 1, 0]);
    assert_eq!((&tool["documents"], &tool["unmapped"]), (&json!(20), &json!({"sorted-keys": 1})));
    let alone = json(&[&args[..], &["--context", "alone", "--output", "json"]].concat());
    assert_eq!(counts(&alone["against"][0]["policies"]["no_latest_tag"]), [2, 2, 1]);
    assert!(stdout(&args).contains("Disagreements by cause"));
    assert!(failure(&["agreement", &run]).contains("--findings or --labels"));
}
