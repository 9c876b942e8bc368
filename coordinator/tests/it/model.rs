//! Runs with an LLM proposer, with the binary and a simulated provider: faults, limits, and what is paid for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use domain::outcome::{ErrorKind, Outcome};
use mock_llm::Settings;
use serde_json::{Value, json};

use crate::process::{Ended, Process};
use crate::provider::{Mock, answers, latency, plain};

/// Writes `records` records, each with its own document.
pub(crate) fn corpus(path: &Path, records: usize) {
    let entries: Vec<Value> = (0..records)
        .map(|number| {
            let yaml = format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{number}\nspec:\n  containers:\n  - name: main\n    \
                 image: nginx:1.27\n    securityContext:\n      privileged: true\n"
            );
            json!({
                "id": format!("{number:04}"), "manifest_path": format!("{number}.yaml"), "manifest_yaml": yaml,
                "policy_id": "no_privileged", "violation_text": "",
            })
        })
        .collect();
    std::fs::write(path, serde_json::to_vec(&entries).unwrap()).unwrap();
}

/// A correct patch for every record of the corpus.
pub(crate) fn right() -> String {
    json!({"patch": [{"op": "replace", "path": "/spec/containers/0/securityContext/privileged", "value": false}]})
        .to_string()
}

/// A run in `folder` that calls the provider, without guardrails.
pub(crate) fn start(folder: &Path, mock: &Mock, more: &[&str]) -> Process {
    let (corpus, endpoint) = (folder.join("detections.json"), format!("grok.endpoint={}", mock.url));
    let mut arguments =
        vec!["run", "--output", "json", "--run-id", "r", "--corpus", corpus.to_str().unwrap()];
    arguments.extend(["--out", folder.to_str().unwrap()]);
    let settings =
        ["proposer.mode=grok", "grok.api_key_env=", "guardrails=none", "proposer.retries=0", &endpoint];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    arguments.extend(more);
    Process::coordinator(&arguments)
}

pub(crate) fn outcomes(folder: &Path) -> Vec<Outcome> {
    let parts = std::fs::read_dir(folder.join("r")).unwrap().map(|entry| entry.unwrap().path());
    let parts = parts.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("part-"));
    results::scan::outcomes(parts.map(Into::into)).map(Result::unwrap).collect()
}

pub(crate) fn closing(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", ended.stdout, ended.stderr))
}

#[test]
fn an_error_of_one_record_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 40);
    let broken = |prompt: &str| if prompt.contains("name: p7\n") { "no patch".to_owned() } else { right() };
    // A call that fails while no other succeeds is not held against its record: many have to fail for some to be lost.
    let faults = "500=0.4".parse().unwrap();
    let mock = Mock::start(Settings { answers: answers(broken), faults, ..plain() }, None);
    let ended =
        start(folder.path(), &mock, &["--set", "max_attempts=1", "--set", "proposer.max_failed_share=1"])
            .end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let outcomes = outcomes(folder.path());
    assert_eq!(outcomes.len(), 40, "one outcome a record");
    let lost = outcomes.iter().filter(|outcome| outcome.error_kind == Some(ErrorKind::NoAnswer)).count();
    assert!(lost > 0 && lost < 30, "{lost} records without an answer");
    let accepted = outcomes.iter().filter(|outcome| outcome.accepted()).count();
    assert!(accepted >= 39 - lost, "{accepted} accepted, {lost} lost");
}

#[test]
fn a_sample_that_passes_is_preferred_to_a_rules_patch() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 20);
    let asked: Mutex<HashMap<String, u32>> = Mutex::default();
    let second_only = move |prompt: &str| {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(prompt.to_owned()).or_default();
        *times += 1;
        if *times == 2 { right() } else { "no patch".to_owned() }
    };
    let mock = Mock::start(Settings { answers: answers(second_only), ..plain() }, None);
    let set = ["max_attempts=1", "proposer.samples=3", "guardrails=fallback"];
    let more: Vec<&str> = set.iter().flat_map(|setting| ["--set", setting]).collect();
    let ended = start(folder.path(), &mock, &more).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let outcomes = outcomes(folder.path());
    assert_eq!((outcomes.len(), mock.provider.report().accepted), (20, 60));
    for outcome in outcomes {
        assert_eq!((outcome.usage.samples, outcome.usage.samples_passed), (Some(3), Some(1)));
        assert!(outcome.accepted() && outcome.source == "grok", "{}", outcome.source);
        assert_eq!(outcome.attempt_errors.len(), 2, "{:?}", outcome.attempt_errors);
    }
}

#[cfg(unix)]
#[test]
fn results_before_an_interruption_are_not_paid_for_again() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 60);
    let slow = Settings { answers: answers(|_| right()), latency: latency("lognormal:1.0:0.6"), ..plain() };
    let mock = Mock::start(slow, None);
    let more = ["--set", "limits.requests_per_minute=1200", "--shard-size", "60"];
    let process = start(folder.path(), &mock, &more);
    // One shard: results are persisted one by one.
    while mock.provider.report().accepted < 30 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("--run-id r"), "prints how to resume:\n{}", ended.stderr);
    let ended = start(folder.path(), &mock, &more).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(closing(&ended)["accepted"], 60);
    let report = mock.provider.report();
    assert_eq!((report.accepted, report.distinct_prompts), (60, 60), "calls paid for, and prompts");
}

#[test]
fn a_run_at_its_spend_limit_halts_and_goes_on_with_a_higher_one() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 30);
    let mock = Mock::start(Settings { answers: answers(|_| right()), ..plain() }, None);
    let ended = start(folder.path(), &mock, &["--max-requests", "12"]).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("spend.max_requests"), "{}", ended.stderr);
    assert_eq!(mock.provider.report().accepted, 12);
    let ended = start(folder.path(), &mock, &["--max-requests", "100"]).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!((closing(&ended)["accepted"].as_u64(), mock.provider.report().accepted), (Some(30), 30));
}

#[test]
fn a_wrong_key_stops_the_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("detections.json"), 200);
    let slow = Settings { latency: latency("0.2"), ..plain() };
    let mock = Mock::start(slow, Some("another key"));
    let ended = start(folder.path(), &mock, &[]).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("401: Incorrect API key provided"), "{}", ended.stderr);
    let report = mock.provider.report();
    assert!(report.accepted == 0 && report.refused_401 < 20, "{} calls with a wrong key", report.refused_401);
}
