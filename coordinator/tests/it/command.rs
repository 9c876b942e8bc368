//! Runs that a program proposes for, through the binaries: our own rules behind both protocols, kills, refusals.

use std::collections::BTreeMap;
use std::path::Path;

use domain::outcome::{ErrorKind, Outcome, Status};
use serde_json::{Value, json};

use crate::model::{corpus, outcomes};
use crate::process::{Ended, Process, worker_binary};

/// What all of these runs have: the program alone decides, once.
const ALONE: [&str; 4] =
    ["guardrails=none", "max_attempts=1", "proposer.mode=command", "proposer.program=fixer"];

/// Runs `folder/detections.json` into `folder/out`.
fn start(folder: &Path, program: &Value, set: &[&str]) -> Process {
    let config = folder.join("programs.yaml");
    std::fs::write(&config, json!({"programs": {"fixer": program}}).to_string()).unwrap();
    let (corpus, out) = (folder.join("detections.json"), folder.join("out"));
    let mut arguments =
        vec!["run", "--output", "json", "--run-id", "r", "--corpus", corpus.to_str().unwrap()];
    arguments.extend(["--out", out.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    arguments.extend(set.iter().flat_map(|setting| ["--set", setting]));
    Process::coordinator(&arguments)
}

fn finished(process: Process) -> Value {
    let ended: Ended = process.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    serde_json::from_str(ended.stdout.trim()).unwrap()
}

fn by_id(folder: &Path) -> BTreeMap<String, Outcome> {
    let rows = outcomes(&folder.join("out")).into_iter();
    rows.map(|outcome| (outcome.record_id.as_str().to_owned(), outcome)).collect()
}

/// The records of every fixture of every policy.
fn fixtures(worker: &Path, folder: &Path) {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/fixtures/policies");
    let found = std::process::Command::new(worker)
        .args(["detect", "--output", "detections", manifests])
        .output()
        .unwrap();
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stderr));
    std::fs::write(folder.join("detections.json"), found.stdout).unwrap();
}

#[test]
fn our_rules_through_both_protocols_are_our_rules() {
    let Some(worker) = worker_binary() else { return };
    let worker = worker.to_str().unwrap();
    let folders: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [rules, lines, folder] = folders.each_ref().map(tempfile::TempDir::path);
    for folder in [rules, lines, folder] {
        fixtures(Path::new(worker), folder);
    }
    finished(start(rules, &json!({"command": [worker]}), &[]));
    let program = |protocol: &str| {
        let command = [worker, "propose", "--protocol", protocol];
        json!({"command": command, "protocol": protocol, "secrets": "whole"})
    };
    finished(start(lines, &program("jsonl"), &ALONE));
    finished(start(folder, &program("folder"), &ALONE));
    let (rules, lines, folder) = (by_id(rules), by_id(lines), by_id(folder));
    assert!(rules.len() > 100, "{}", rules.len());
    let mut same = 0;
    for (id, ruled) in &rules {
        let (line, edited) = (&lines[id], &folder[id]);
        let Some(wanted) = &ruled.proposal else {
            assert_eq!(line.error_kind, Some(ErrorKind::NoAnswer), "{line:#?}");
            assert_eq!((line.status, &line.proposal), (Status::Error, &None), "{id}");
            continue;
        };
        if wanted.patch.is_empty() {
            // The repair is what stands beside the object, which a program cannot return.
            assert!(!wanted.companions.is_empty() && line.proposal.is_none(), "{id}: {line:#?}");
            continue;
        }
        let got = line.proposal.as_ref().unwrap_or_else(|| panic!("{id}: {line:#?}"));
        assert_eq!(got.patch, wanted.patch, "{id}");
        // A program returns one object: what stands beside it is lost.
        if wanted.companions.is_empty() {
            assert_eq!((line.status, &line.patched_yaml), (ruled.status, &ruled.patched_yaml), "{id}");
            assert_eq!(edited.status, ruled.status, "{id}: {:?}", edited.errors);
            assert_eq!(edited.patched_yaml, ruled.patched_yaml, "{id}");
            same += 1;
        }
        assert_eq!((line.source.as_str(), line.mode.as_str(), &line.model), ("command", "command", &None));
        assert!(line.timing.llm_ms.is_none() && line.usage.total_tokens.is_none());
    }
    assert!(same > 80, "{same}");
}

/// A program that repairs every record of `corpus`, after a moment.
fn slow_fixer() -> Value {
    let text = r#"while read -r line; do sleep 0.05; id=${line#*\"id\":\"}; id=${id%%\"*}
        echo "{\"id\":\"$id\",\"patch\":[{\"op\":\"replace\",\"path\":\"/spec/containers/0/securityContext/privileged\",\"value\":false}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}"
        done"#;
    json!({"command": ["sh", "-c", text]})
}

#[test]
fn a_run_of_a_program_survives_kills() {
    let (calm, rough) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&calm, &rough] {
        corpus(&folder.path().join("detections.json"), 60);
    }
    let set = [&ALONE[..], &["fleet.shard_size=5"]].concat();
    let wanted = finished(start(calm.path(), &slow_fixer(), &set));
    assert_eq!(wanted["accepted"], 60, "{wanted}");
    for _ in 0..3 {
        let process = start(rough.path(), &slow_fixer(), &set);
        std::thread::sleep(std::time::Duration::from_millis(1200));
        process.signal("KILL");
        process.end();
    }
    let got = finished(start(rough.path(), &slow_fixer(), &set));
    assert_eq!(got["fingerprint"], wanted["fingerprint"]);
    let outcome = by_id(rough.path()).into_values().next().unwrap();
    assert_eq!((outcome.usage.total_tokens, outcome.usage.cost_usd), (Some(15), None), "as it reported");
    assert!(outcome.timing.propose_ms.unwrap() >= 50.0, "{:?}", outcome.timing);
}

/// A program that repairs every record of `corpus` that it is given, after a moment; it dies of two of them.
fn batch_fixer(records_per_process: u32) -> Value {
    let text = r#"sleep 0.1; grep -q 'name: p1[37]$' "$@" && { echo it dies >&2; exit 7; }
        for file; do sed -i 's/privileged: true/privileged: false/' "$file"; done"#;
    let mut command = ["sh", "-c", text, "sh", "manifest.yaml"].map(str::to_owned);
    if records_per_process > 1 {
        "{record}/manifest.yaml".clone_into(&mut command[4]);
    }
    json!({"command": command, "protocol": "folder", "records_per_process": records_per_process})
}

#[test]
fn many_records_a_process_end_as_each_by_itself_whatever_is_killed() {
    let folders: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [alone, calm, rough] = folders.each_ref().map(tempfile::TempDir::path);
    for folder in [alone, calm, rough] {
        corpus(&folder.join("detections.json"), 24);
    }
    let set = [&ALONE[..], &["fleet.shard_size=12"]].concat();
    let wanted = finished(start(alone, &batch_fixer(1), &set));
    assert_eq!((&wanted["accepted"], &wanted["errors"]), (&22.into(), &2.into()), "{wanted}");
    let got = finished(start(calm, &batch_fixer(100), &set));
    assert_eq!(got["fingerprint"], wanted["fingerprint"]);
    for _ in 0..2 {
        let process = start(rough, &batch_fixer(100), &set);
        std::thread::sleep(std::time::Duration::from_millis(700));
        process.signal("KILL");
        process.end();
    }
    let got = finished(start(rough, &batch_fixer(100), &set));
    assert_eq!(got["fingerprint"], wanted["fingerprint"]);
}

#[test]
fn a_program_that_fails_costs_its_record_and_rules_may_step_in() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 3);
    let program = json!({"command": ["sh", "-c", "echo broken by hand >&2; exit 4"], "protocol": "folder"});
    let closing = finished(start(folder.path(), &program, &ALONE));
    assert_eq!(closing["errors"], 3, "{closing}");
    for outcome in by_id(folder.path()).into_values() {
        assert_eq!(outcome.error_kind, Some(ErrorKind::NoAnswer));
        assert!(
            outcome.errors[0].contains("exit code 4; its last lines: broken by hand"),
            "{:?}",
            outcome.errors
        );
    }
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 3);
    let set = [&ALONE[1..], &["guardrails=fallback"]].concat();
    let closing = finished(start(folder.path(), &program, &set));
    assert_eq!(closing["accepted"], 3, "{closing}");
}

#[test]
fn what_is_not_there_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 1);
    for (program, set, words) in [
        (json!({"command": ["no-such-program"]}), "proposer.program=fixer", "no-such-program was not found"),
        (json!({"command": ["sh"]}), "proposer.program=other", "set programs.other.command"),
        (json!({"comand": ["sh"]}), "proposer.program=fixer", "unknown field `comand`"),
        (
            json!({"command": ["sh"], "environment": ["XAI_API_KEY"]}),
            "proposer.program=fixer",
            "a variable of its own",
        ),
        (json!({"command": ["sh"]}), "proposer.program=", "must name one of the programs"),
    ] {
        let ended = start(folder.path(), &program, &[&ALONE[..3], &[set]].concat()).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}
